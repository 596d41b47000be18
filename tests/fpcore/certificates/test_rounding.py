"""No rounding of their own makes certificates false: float64 minima are the judge.

FPCORE_FAULTS=200 searches five times as many networks as are searched without.
"""

import itertools
import math
import os

import pytest
import torch
import torch.nn.functional as F
from counting import count

from fpcore.attacks import pgd
from fpcore.ball import Ball
from fpcore.certificates.certificate import certified_radius, certify
from fpcore.certificates.quadratic_relaxation import shared_budget
from fpcore.models.two_layer import TwoLayer


def network(weight, threshold):
    net = TwoLayer(weight.shape[1], len(weight), threshold)
    net.weight.data = weight
    return net


def values(net, x):
    """f of float64 points (..., d), in float64."""
    weight = net.weight.detach().double()
    norm = weight.norm(dim=1)
    u = x @ (weight / norm.clamp(min=1e-150)[:, None]).T
    return F.softshrink(u, net.threshold.item()) @ norm


def rounding(net, x, radius):
    """What `values` may miss by within the radius of samples (n, d), (n,)."""
    return 1e-14 * net.weight.detach().double().norm(dim=1).sum() * (x.norm(dim=1) + radius)


def lowest_in_the_disc(net, x, y, radius):
    """The minimum of y f over the disc around each sample (n, 2), (n,): by enumeration.

    f is linear between the lines u_i = +-threshold, so its minimum is where two lines cross, where
    one meets the circle, or where the circle is furthest along a gradient.
    """
    weight, x = net.weight.detach().double(), x.double()
    rows = F.normalize(weight, dim=1, eps=1e-150)
    lowest = []
    patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=len(weight)))).double()
    steepest = F.normalize(patterns @ weight, dim=1, eps=1e-150)
    for point, label in zip(x, y.double()):
        normal = rows.repeat(2, 1)  # the lines <normal, delta> = level
        level = torch.cat([threshold - rows @ point for threshold in threshold_pair(net)])
        along = torch.stack([-normal[:, 1], normal[:, 0]], 1)
        half = (radius**2 - level**2).clamp(min=0).sqrt()[:, None]
        rim = [level[:, None] * normal + sign * half * along for sign in (-1, 1)]
        first, second = torch.combinations(torch.arange(len(level))).T
        det = normal[first, 0] * normal[second, 1] - normal[first, 1] * normal[second, 0]
        cross = torch.stack(
            [
                level[first] * normal[second, 1] - level[second] * normal[first, 1],
                level[second] * normal[first, 0] - level[first] * normal[second, 0],
            ],
            1,
        )
        cross = cross[det != 0] / det[det != 0][:, None]
        ends = [radius * steepest, -radius * steepest, torch.zeros(1, 2, dtype=torch.float64)]
        points = torch.cat([*rim, cross, *ends])
        points = points[points.norm(dim=1) <= radius * (1 + 1e-15)]
        lowest.append((label * values(net, point + points)).min())
    return torch.stack(lowest)


def threshold_pair(net):
    return net.threshold.item(), -net.threshold.item()


def test_a_strong_neuron_one_step_inside_its_corner_is_not_taken_for_silent():
    weight = [[-0.7401720285415649, -0.6724175810813904], [-783355.125, -621574.4375]]
    net = network(torch.tensor(weight), 0.5)
    x = torch.tensor([[7.552245616912842, -13.270602226257324]])
    delta = torch.tensor([[2.218914038853247, 1.7606577164616888]], dtype=torch.float64)
    radius = 2.8325774669647217
    assert delta.norm() < radius and values(net, x.double() + delta) < -0.6
    for branches in (0, 1, 100):
        assert not certify(net, x, torch.ones(1), radius, branches).robust
        assert certified_radius(net, x, torch.ones(1), branches) < radius
    assert shared_budget(net, x, torch.ones(1), torch.tensor([radius])) < 0


def cornered(seed, n=100):
    """A network of two neurons and n samples made to be certified wrongly, if any can be.

    At the vertex -radius w_2/|w_2| the strong neuron is some steps of float32 from its concave
    corner; the weak one, at a small angle to it, is just active in all of the disc. So f falls
    below 0 only by what those steps hide. Returns the network, samples, radius.
    """
    g = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(1, generator=g)
    angle = torch.cat([angle, angle + 10 ** (-3 * torch.rand(1, generator=g))])
    rows = torch.stack([angle.cos(), angle.sin()], 1)
    strength = 10 ** torch.tensor([0.0, float(6 * torch.rand(1, generator=g))])
    net = network(rows * strength[:, None], float(0.1 + torch.rand(1, generator=g)))
    rows = F.normalize(net.weight.detach().double(), dim=1)
    threshold = net.threshold.item()
    radius = torch.tensor(threshold * (1 + 4 * torch.rand(1, generator=g).item())).item()
    steps = torch.randint(-4, 5, (n,), generator=g).double() * 2.0**-24
    above = 10 ** (-8 * torch.rand(n, generator=g).double())
    q = torch.stack([threshold + radius + above, (radius - threshold) * (1 + steps)], 1)
    return net, torch.linalg.solve(rows, q.T).T.float(), radius


@pytest.mark.counted
@pytest.mark.parametrize("branches", [0, 40])
def test_no_certified_pair_of_neurons_is_broken_at_its_worst_vertex(branches):
    times = max(1, int(os.environ.get("FPCORE_FAULTS", "40")) // 40)
    seeds = times * (250 if branches == 0 else 4)
    pairs = certified = 0
    for seed in range(seeds):
        net, x, radius = cornered(seed)
        y = torch.ones(len(x))
        robust = certify(net, x, y, radius, branches).robust
        weight = net.weight.detach().double()
        vertices = F.normalize(torch.cat([weight, -weight, weight.sum(0)[None]]), dim=1)
        vertices = torch.cat([vertices, -weight.sum(0)[None] / weight.sum(0).norm()])
        lowest = values(net, x.double()[:, None] - radius * vertices).amin(1)
        assert not (robust & (lowest < -rounding(net, x, radius))).any()
        pairs += len(x)
        certified += int(robust.sum())
    assert pairs == 100 * seeds and certified > pairs / 20
    count("pairs made against rounding", pairs)


@pytest.mark.counted
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6, 1e-30])
def test_no_margin_is_above_the_minimum_by_enumeration(scale):
    settled = exact = 0
    for seed in range(25):
        g = torch.Generator().manual_seed(seed)
        weight = torch.randn(4, 2, generator=g) * scale ** torch.rand(4, 1, generator=g)
        net = network(weight, (0.0, 0.1, 0.4, 1.0)[seed % 4])
        x = torch.randn(8, 2, generator=g)
        y = torch.where(values(net, x.double()) < 0, -1.0, 1.0)
        for radius in (0.0, 1e-3, 0.2, 0.7):
            lowest, error = lowest_in_the_disc(net, x, y, radius), rounding(net, x, radius)
            bounds = [certify(net, x.double(), y, radius, branches) for branches in (0, 1, 100)]
            shared = shared_budget(net, x, y, torch.full((len(x),), radius, dtype=torch.float64))
            assert (shared <= lowest + error).all()
            for found in bounds:
                assert (found.margin <= lowest + error).all()
                assert (found.attained >= lowest - error).all()
                assert (
                    (found.margin - lowest)[found.exact].abs() <= 100 * error[found.exact]
                ).all()
                exact += int(found.exact.sum())
            settled += int((bounds[-1].robust | bounds[-1].broken).sum())
    count("pairs made against rounding", 25 * 8 * 4)
    # where 30 orders of magnitude lie between neurons, the strong ones' rounding hides weak ones
    assert settled > (0.95 if scale < 1 else 0.98) * 25 * 8 * 4 and exact > 500


def test_a_million_neurons_that_agree_are_certified_no_further_than_they_hold():
    net = network(torch.full((1_000_000, 1), 0.1), 0.5)
    x, y = torch.ones(1, 1), torch.ones(1)
    assert certify(net, x, y, 0.5 * (1 - 1e-8)).robust
    assert not certify(net, x, y, 0.5).robust
    assert 0.499 < certified_radius(net, x, y, branches=0) <= 0.5


def test_coarser_products_of_float32_change_no_certificate(every_kind, sparse):
    x, y = sparse.test_set(40, seed=7)
    for name in ("noisy", "clean"):
        fine = certify(every_kind[name], x, y, 0.15, branches=20)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            coarse = certify(every_kind[name], x, y, 0.15, branches=20)
        finally:
            torch.set_float32_matmul_precision(before)
        assert torch.equal(fine.margin, coarse.margin)
        assert torch.equal(fine.attained, coarse.attained)


def test_bounds_are_rounded_outwards_to_the_type_of_the_samples(every_kind, sparse):
    x, y = sparse.test_set(40, seed=7)
    for name, net in every_kind.items():
        single, double = certify(net, x, y, 0.1, 1), certify(net, x.double(), y, 0.1, 1)
        assert single.margin.dtype == torch.float32 and double.margin.dtype == torch.float64
        assert (single.margin.double() <= double.margin).all(), name
        assert (single.attained.double() >= double.attained).all(), name
        torch.testing.assert_close(single.margin.double(), double.margin, rtol=2.0**-23, atol=1e-30)


def test_no_attack_is_below_the_quadratic_relaxation_alone(every_kind, sparse):
    x, y = sparse.test_set(40, seed=8)
    for net in every_kind.values():
        for radius in (0.05, 0.2):
            bound = shared_budget(net, x, y, torch.full_like(y, radius))
            worst = pgd(net, x, y, Ball("l2", radius * (1 - 1e-6)), steps=20).double()
            assert (y * values(net, worst) >= bound - rounding(net, x, radius)).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda net, x: (net.bfloat16(), x), r"model.weight is torch.bfloat16"),
        (lambda net, x: (net.half(), x), r"model.weight is torch.float16"),
        (lambda net, x: (net, x.half()), r"x is torch.float16"),
        (lambda net, x: (net, x.long()), r"x is torch.int64"),
        (lambda net, x: (net, x * math.nan), r"x is not finite"),
        (lambda net, x: (net, x.double() * 1e40), r"x is not finite, or beyond float32"),
        (lambda net, x: (net, x.double() * 1e-60), r"x holds numbers too small"),
        (lambda net, x: (network(net.weight.data / 0, 0.1), x), r"model.weight is not finite"),
    ],
)
def test_numbers_that_float64_could_not_bound_are_refused(change, says):
    g = torch.Generator().manual_seed(1)
    net, x = change(network(torch.randn(3, 2, generator=g), 0.2), torch.randn(4, 2, generator=g))
    y = torch.ones(4)
    for call in (
        lambda: certify(net, x, y, 0.1),
        lambda: certified_radius(net, x, y),
        lambda: shared_budget(net, x, y, 0.1 * y),
    ):
        with pytest.raises(ValueError, match=says):
            call()
