import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fpcore.attacks import pgd
from fpcore.ball import Ball
from fpcore.certificates.certificate import certify
from fpcore.certificates.quadratic_relaxation import _dual, _lines, _parabolas, shared_budget
from fpcore.models.two_layer import TwoLayer


def network(weight, threshold):
    net = TwoLayer(weight.shape[1], len(weight), threshold)
    net.weight.data = weight.float()
    return net


def random_case(seed, d=12, m=30, n=20, threshold=0.4):
    rng = torch.Generator().manual_seed(seed)
    weight = torch.randn(m, d, generator=rng) * torch.rand(m, 1, generator=rng)
    weight[seed % m] = 0  # a dead neuron
    x = torch.randn(n, d, generator=rng) * 0.7
    y = 2.0 * torch.randint(0, 2, (n,), generator=rng) - 1
    return network(weight, threshold), x, y, rng


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    threshold=st.sampled_from([0.0, 0.1, 0.4, 1.0]),
    radius=st.sampled_from([1e-3, 0.1, 0.3, 1.0]),
)
def test_no_point_of_the_ball_is_below_the_bound(seed, threshold, radius):
    net, x, y, rng = random_case(seed, threshold=threshold)
    bound = shared_budget(net, x, y, torch.full_like(y, radius))
    for _ in range(40):
        direction = F.normalize(torch.randn(x.shape, generator=rng), dim=1)
        length = radius * torch.rand(len(x), 1, generator=rng) ** 0.1
        assert (y * net(x + length * direction) >= bound - 1e-4).all()
    worst = pgd(net, x, y, Ball("l2", radius), steps=30)
    assert (y * net(worst) >= bound - 1e-4).all()


@settings(max_examples=50, deadline=None)
@given(q=st.floats(-2, 2), reach=st.floats(1e-3, 2), b=st.floats(0.01, 1))
def test_lines_stay_below_the_activation(q, reach, b):
    q, reach, b = (torch.tensor([[v]], dtype=torch.float64) for v in (q, reach, b))
    slope, offset = _lines(q, reach, b)
    u = q + reach * torch.linspace(-1, 1, 201, dtype=torch.float64)
    assert (F.relu(u - b) - F.relu(-u - b) >= slope * u + offset - 1e-9).all()


@settings(max_examples=50, deadline=None)
@given(q=st.floats(-2, 1), reach=st.floats(1e-3, 2), b=st.floats(0.01, 1))
def test_parabolas_stay_above_the_concave_corner_and_touch_it(q, reach, b):
    q, reach, b = (torch.tensor([[v]], dtype=torch.float64) for v in (q, reach, b))
    bent, curvature = _parabolas(q, reach, b)
    u = reach * torch.linspace(-1, 1, 2001, dtype=torch.float64)
    slack = curvature * u.square() - F.relu(u.abs() - (q + b).abs())
    if bent:
        assert slack.min() >= -1e-12
        assert slack[u.abs() > (q + b).abs()].min() <= 1e-3 * reach
    else:
        assert curvature == 0


def test_neurons_share_the_radius():
    """Many silent neurons, each within reach of the radius alone: the line gives up."""
    d, radius = 60, 0.5
    net = network(torch.eye(d), 0.45)
    x, y = torch.zeros(1, d), torch.ones(1)
    x[0, :4] = 1.0  # four active features, four times 0.55 of margin
    exact = 4 * 0.55 - radius * math.sqrt(4)  # the adversary does best to lower the four
    line = certify(net, x, y, radius).margin.item()
    bound = shared_budget(net, x, y, torch.tensor([radius])).item()
    assert line < 0 < exact - 0.1 < bound <= exact + 1e-6
    assert certify(net, x, y, radius, branches=1).robust.all()
    assert not certify(net, x, y, radius).robust.any()


def test_without_a_corner_in_reach_the_bound_is_the_minimum():
    net, x, y = network(torch.eye(5), 0.0), torch.full((1, 5), 0.2), torch.ones(1)
    bound = shared_budget(net, x, y, torch.tensor([0.1]))
    assert bound.item() == pytest.approx(1.0 - 0.1 * math.sqrt(5), abs=1e-5)


def test_batches_change_no_bound_and_fewer_parabolas_leave_it_sound():
    net, x, y, _ = random_case(3)
    radius = torch.full_like(y, 0.3)
    whole = shared_budget(net, x, y, radius)
    alone = shared_budget(net, x, y, radius, memory=1)
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-5)
    few = shared_budget(net, x, y, radius, most=3)
    assert few.isfinite().all() and (few > 0).any()
    assert (few <= (y * net(pgd(net, x, y, Ball("l2", 0.3), steps=30))) + 1e-4).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), d=st.integers(1, 30), p=st.integers(1, 30))
def test_parabolas_and_inputs_give_one_dual_above_every_point(seed, d, p):
    """Equations (5) and (6): a factor of the inputs' order, and one of the parabolas'."""
    rng = torch.Generator().manual_seed(seed)
    a = torch.randn(4, p, d, generator=rng, dtype=torch.float64)
    h = torch.randn(4, d, generator=rng, dtype=torch.float64)
    radius = 0.01 + torch.rand(4, generator=rng, dtype=torch.float64)
    of_inputs = _dual(h, radius, a.mT @ a, p)
    of_parabolas = _dual(h, radius, a @ a.mT, d, (a @ h[:, :, None]).squeeze(2))
    torch.testing.assert_close(of_inputs, of_parabolas, rtol=1e-5, atol=1e-9)
    points = torch.randn(500, 4, d, generator=rng, dtype=torch.float64)
    points = torch.cat([points, -h[None], h[None]])
    delta = radius[:, None] * F.normalize(points, dim=2)
    bent = (a @ delta[:, :, :, None]).square().sum((2, 3))
    assert (bent - (h * delta).sum(2) <= of_inputs * (1 + 1e-12)).all()


def test_where_the_parabolas_fall_too_far_no_bound_is_computed_and_no_proof_is_lost():
    net, x, y, _ = random_case(3)
    radius = torch.linspace(0.1, 0.8, len(x))
    every, some = (shared_budget(net, x, y, radius, above=above) for above in (-math.inf, 0.0))
    proved, left = every > 0, some.isinf()
    assert proved.any() and (~proved & left).any()
    torch.testing.assert_close(some[~left], every[~left])
    assert not (proved & left).any()


def test_each_sample_has_its_own_radius():
    net, x, y, _ = random_case(5)
    radius = torch.linspace(0.05, 0.6, len(x))
    each = zip(x.split(1), y.split(1), radius.split(1))
    alone = torch.cat([shared_budget(net, *sample) for sample in each])
    torch.testing.assert_close(shared_budget(net, x, y, radius), alone, atol=1e-5, rtol=1e-5)
