"""What always holds: of attacks, certificates and the decomposition, at random shapes and types."""

import copy
import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fpcore.attacks import fgm, pgd, robust_correct
from fpcore.ball import Ball
from fpcore.certificates import certified_radius, certify
from fpcore.decomposition.ablation import removed
from fpcore.decomposition.layers import decompose_layers, neurons
from fpcore.decomposition.purification import cosine, decompose, features, live, replaced, top_part
from fpcore.decomposition.relations import layer_relations
from fpcore.evaluation import check_evaluation
from fpcore.models.batch_norm import recalibrated
from fpcore.models.linearised import Linearised
from fpcore.models.low_rank_update import low_rank
from fpcore.models.outputs import accuracy, classified, correct
from fpcore.models.two_layer import TwoLayer

NORMS = st.sampled_from(["l2", "linf"])
SEEDS = st.integers(0, 10**6)
FLOATS = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(seed, *shape):
    return torch.randn(shape, generator=rng(seed))


def kinds_of_memory(x):
    """The same samples, otherwise in memory."""
    yield x
    yield x.contiguous(memory_format=torch.channels_last)
    yield torch.stack([x, x], dim=-1)[..., 0]
    yield x.transpose(2, 3).contiguous().transpose(2, 3)
    yield x.clone().requires_grad_()


def network(seed=0):
    """A small network with all that could be changed: modes, statistics, gradients, dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 3),
        )
        net(torch.rand(8, 3, 6, 6)).square().sum().backward()
    net[1].eval()
    net[6].bias.requires_grad_(False)
    return net


def attacks(net, x, y, ball):
    """What each attack makes of x, in the order of strength."""
    yield fgm(net, x, y, ball)
    yield pgd(net, x, y, ball, steps=3, restarts=2, rng=rng())
    yield pgd(net, x, y, ball, steps=2, step_size=5.0 + ball.radius, stop=False)


@given(NORMS, st.one_of(st.just(0.0), st.floats(1e-4, 3)), st.booleans(), SEEDS, st.data())
def test_attacks_stay_in_ball_and_box_whatever_the_type_and_memory(norm, radius, boxed, seed, data):
    dtype = data.draw(st.sampled_from([*FLOATS]))
    side, n = data.draw(st.integers(2, 7)), data.draw(st.integers(1, 5))
    net = network(seed).eval().to(dtype)
    # Of values that bfloat16 holds, so that x + delta - x is not rounded by x.
    x = (torch.rand(n, 3, side, side, generator=rng(seed)) * 64).round().div(64).to(dtype)
    x = [*kinds_of_memory(x)][data.draw(st.integers(0, 4))]
    y = torch.randint(0, 3, (n,), generator=rng(seed))
    ball = Ball(norm, radius, (0.0, 1.0) if boxed else None)
    slack = 4 * torch.finfo(dtype).eps * (1 + radius) * side
    for moved in attacks(net, x, y, ball):
        assert moved.shape == x.shape and moved.dtype == dtype and moved.isfinite().all()
        assert (ball.size((moved - x).detach().double()) <= radius * (1 + slack) + slack).all()
        assert not boxed or ((moved >= -slack) & (moved <= 1 + slack)).all()
        if radius == 0:
            torch.testing.assert_close(moved, x.detach(), rtol=0, atol=slack)


def everything(net):
    """All that a network holds, copied."""
    return (
        copy.deepcopy(net.state_dict()),
        [module.training for module in net.modules()],
        [p.requires_grad for p in net.parameters()],
        [None if p.grad is None else p.grad.clone() for p in net.parameters()],
    )


CALLS = {
    "fgm": lambda net, x, y, ball: fgm(net, x, y, ball),
    "pgd": lambda net, x, y, ball: pgd(net, x, y, ball, 2, 2, rng=rng()),
    "robust_correct": lambda net, x, y, ball: robust_correct(net, x, y, ball, 2, 2, rng=rng()),
    "check_evaluation": lambda net, x, y, ball: check_evaluation(net, x, y, ball, 2, 1),
    "accuracy": lambda net, x, y, ball: accuracy(net, x, y),
    "recalibrated": lambda net, x, y, ball: recalibrated(net, x),
    "removed": lambda net, x, y, ball: removed(net, network(1), 1.0, None, rng(), x),
    "decompose_layers": lambda net, x, y, ball: decompose_layers(net, network(1)),
    "layer_relations": lambda net, x, y, ball: layer_relations(net, network(1), x),
    "low_rank": lambda net, x, y, ball: low_rank(net, 2, seed=0),
    "Linearised": lambda net, x, y, ball: Linearised(net, x)(x),
}


@pytest.mark.filterwarnings("ignore::fpcore.alerts.EvaluationWarning")
@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_changed_that_was_given(name):
    net, x, y = network(), torch.rand(6, 3, 6, 6, generator=rng()), torch.arange(6) % 3
    state, *rest = everything(net)
    before, labels = x.clone(), y.clone()
    drawn = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    CALLS[name](net, x, y, Ball("l2", 0.3, (0.0, 1.0)))
    state_after, *rest_after = everything(net)
    assert all(torch.equal(state[key], value) for key, value in state_after.items())
    assert rest[:2] == rest_after[:2]
    for one, other in zip(rest[2], rest_after[2]):
        assert one is other is None or torch.equal(one, other)
    assert torch.equal(x, before) and torch.equal(y, labels) and not x.requires_grad
    assert torch.equal(torch.get_rng_state(), drawn[0]) and random.getstate() == drawn[2]
    assert (np.random.get_state()[1] == drawn[1]).all()  # noqa: NPY002


class Linear(nn.Module):
    """One logit <w, x>, or scores x @ w.T: the worst case has a closed form."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x):
        return x @ (self.w if self.w.ndim == 1 else self.w.T)


@given(NORMS, SEEDS, st.integers(-37, 37), st.sampled_from([torch.float32, torch.float64]))
def test_fgm_has_its_closed_form_whatever_the_size_of_the_gradient(norm, seed, power, dtype):
    w, x = normal(seed, 9).to(dtype), normal(seed + 1, 6, 9).to(dtype)
    y, ball = normal(seed + 2, 6).sign().to(dtype), Ball(norm, 0.3)
    moved = fgm(Linear(w * 10.0**power), x, y, ball)
    unit = w / w.norm() if norm == "l2" else w.sign()
    torch.testing.assert_close(moved, x - 0.3 * y[:, None] * unit, rtol=1e-3, atol=1e-4)


@given(NORMS, SEEDS, st.integers(2, 6), st.floats(0.01, 2))
def test_robust_accuracy_of_a_linear_classifier_is_exact_and_falls_with_the_radius(
    norm, seed, classes, radius
):
    w, x = normal(seed, 2, 7), normal(seed + 1, 30, 7)
    y = torch.randint(0, 2, (30,), generator=rng(seed))
    net = Linear(w)
    apart = w[1] - w[0]
    margin = (2 * y - 1) * (x @ apart)
    reach = apart.norm() if norm == "l2" else apart.abs().sum()
    before = torch.ones(30, dtype=torch.bool)
    for share in (0.0, 0.3, 1.0, classes / 2):
        ball = Ball(norm, share * radius)
        survived = robust_correct(net, x, y, ball, steps=5, restarts=1)
        settled = (margin - ball.radius * reach).abs() > 1e-3 * (1 + reach)
        assert torch.equal(survived[settled], (margin > ball.radius * reach)[settled])
        assert not (survived & ~before)[settled].any()
        before = survived | ~settled


@given(NORMS, SEEDS, st.floats(0.01, 0.5))
@settings(max_examples=10)
def test_more_steps_of_one_size_and_more_restarts_never_lower_the_loss(norm, seed, radius):
    net = TwoLayer(6, 5, 0.2, init_norm=1.0, rng=rng(seed))
    x, ball = normal(seed, 20, 6), Ball(norm, radius)
    y = net(x).detach().sign() + (net(x) == 0)
    losses, survivors = [], []
    for steps in (1, 2, 5):
        moved = pgd(net, x, y, ball, steps, step_size=radius / 2, stop=False)
        losses.append(-y * net(moved).detach())
    for restarts in (1, 2, 4):
        moved = pgd(net, x, y, ball, 3, restarts, rng=rng(seed), stop=False)
        survivors.append(-y * net(moved).detach())
    for weak, strong in (*itertools.pairwise(losses), *itertools.pairwise(survivors)):
        assert (strong >= weak - 1e-6).all()


def exact_margin(net, x, y, radius):
    """min y f over the discs around samples x (n, 2): all points where a piece may have its least.

    Of a linear piece that is the end of the disc along its slope, or on an edge of the piece, whose
    ends are on the circle or where two edges meet. So f at all of these, whatever piece they are
    in, has the minimum among its values.
    """
    w, t = net.weight.detach().double(), net.threshold.item()
    size = w.norm(dim=1)
    unit = w / size[:, None]
    edges = [(u, sign * t) for u in unit for sign in (1.0, -1.0)]  # <u, x> = offset
    found = []
    for centre, label in zip(x.double(), y.double()):
        spots = [centre]
        for active in itertools.product((0.0, 1.0), repeat=len(w)):
            slope = (torch.tensor(active, dtype=torch.float64)[:, None] * w).sum(0)
            if slope.norm() > 0:
                spots.append(centre - label * radius * slope / slope.norm())
        for u, offset in edges:
            gap = offset - u @ centre
            if gap.abs() <= radius:
                along = torch.stack([-u[1], u[0]]) * (radius**2 - gap**2).sqrt()
                spots += [centre + gap * u + along, centre + gap * u - along]
        for (u, a), (v, b) in itertools.combinations(edges, 2):
            both = torch.stack([u, v])
            if torch.linalg.det(both).abs() > 1e-9:
                spot = torch.linalg.solve(both, torch.tensor([a, b], dtype=torch.float64).to(u))
                if (spot - centre).norm() <= radius:
                    spots.append(spot)
        points = torch.stack(spots)
        along = points @ unit.T
        values = torch.nn.functional.softshrink(along, t) @ size
        found.append((label * values).min())
    return torch.stack(found)


@given(SEEDS, st.integers(1, 3), st.floats(0, 1), st.floats(0.01, 2), st.integers(-6, 6))
@settings(max_examples=20)
def test_certified_is_below_exact_and_exact_below_attacked(seed, m, threshold, radius, power):
    net = TwoLayer(2, m, threshold, init_norm=1.0, rng=rng(seed))
    with torch.no_grad():
        net.weight[0] *= 10.0**power  # norms of any ratio
    x = 2 * normal(seed, 5, 2)
    y = (net(x).detach().double() >= 0).float() * 2 - 1
    exact = exact_margin(net, x, y, radius)
    slack = 1e-6 * (net.weight.norm(dim=1).sum() * (x.norm(dim=1) + radius)).double()
    for branches in (0, 1, 50):
        proved = certify(net, x, y, radius, branches)
        assert (proved.margin <= exact + slack).all() and (proved.attained >= exact - slack).all()
        assert not (proved.robust & (exact < -slack)).any()
        assert not (proved.broken & (exact > slack)).any()
    survived = robust_correct(net, x, y, Ball("l2", radius), steps=20, restarts=2, rng=rng())
    assert not ((exact > slack) & ~survived).any()  # what nothing breaks, no attack does
    assert not (proved.robust & ~survived & (exact.abs() > slack)).any()
    near = certified_radius(net, x, y, branches=20, steps=6)
    inside = exact_margin(net, x[:1], y[:1], 0.999 * near[0].item())
    assert near[0] == 0 or (inside > -slack[0]).all()


SCALES = st.integers(-37, 37)


@given(SEEDS, SCALES, SCALES, st.sampled_from([*FLOATS]))
def test_w_is_beta_w_adv_plus_v_at_every_scale_and_type(seed, power, other, dtype):
    reach = 3 if dtype == torch.float16 else 37
    a = (normal(seed, 9, 8).double() * 10.0 ** max(-reach, min(reach, power))).to(dtype)
    b = (normal(seed + 1, 9, 8).double() * 10.0 ** max(-reach, min(reach, other))).to(dtype)
    parts = decompose(a, b)
    for part in (parts.pure, parts.residual, parts.cos):
        assert part.isfinite().all()
    size = a.double().abs().amax(1, keepdim=True)
    total = (parts.pure.double() + parts.residual.double()) / size
    torch.testing.assert_close(total, a.double() / size, rtol=1e-4, atol=1e-5)
    v, along = parts.residual.double() / size, b.double() / b.double().abs().amax(1, keepdim=True)
    assert ((v * along).sum(1).abs() <= 1e-5 * along.norm(dim=1) * (1 + v.norm(dim=1))).all()
    wanted = torch.cosine_similarity(a.double() / size, along, dim=1)
    torch.testing.assert_close(parts.cos.double(), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cosine(-a, b), -parts.cos, rtol=1e-5, atol=1e-6)


@given(SEEDS, SCALES)
def test_top_part_and_live_do_not_depend_on_the_scale(seed, power):
    m = torch.linalg.qr(normal(seed, 6, 6).double()).Q.float()
    w = normal(seed + 1, 9, 6) * torch.logspace(0, -2, 9)[:, None]
    scale = 10.0**power
    part, scaled = top_part(w, m), top_part((w.double() * scale).float(), m)
    held = features(w, m, m[0])
    torch.testing.assert_close(scaled.double() / scale, part.double(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(part.norm(dim=1), held.purity * held.norm, rtol=1e-4, atol=1e-6)
    net = TwoLayer(6, 9)
    expected = live(replaced(net, w))
    assert torch.equal(live(replaced(net, (w.double() * scale).float())), expected)
    assert expected.any() and not expected.all()


def rotated(seed, d):
    """A random rotation (d, d), in float64."""
    q, r = torch.linalg.qr(normal(seed, d, d).double())
    return q * r.diagonal().sign()


@given(SEEDS)
@settings(max_examples=10)
def test_the_science_does_not_change_with_a_rotation_or_the_names_of_neurons(seed):
    d, m = 8, 12
    net = TwoLayer(d, m, 0.2, init_norm=1.0, rng=rng(seed)).double()
    other = normal(seed + 1, m, d).double()
    basis, u = rotated(seed + 2, d), rotated(seed + 3, d)[0]
    x = normal(seed + 4, 20, d).double()
    y = net(x).detach().sign()
    y[:5] *= -1
    turn = rotated(seed + 5, d)
    order = torch.randperm(m, generator=rng(seed))
    signs = normal(seed + 6, m, 1).sign().double()
    w = net.weight.detach()

    def science(net, other, basis, u, x, order):
        """The measures, neuron by neuron in the order of the first network, and of samples."""
        back = order.argsort()
        parts, held = decompose(net.weight.detach(), other), features(net.weight.detach(), basis, u)
        proved = certify(net, x, y, 0.2, branches=5)
        survived = robust_correct(net, x, y, Ball("l2", 0.2), steps=5, restarts=1)
        neuron = torch.stack(
            [parts.cos.abs(), parts.beta, held.purity, held.dense_part, held.norm, live(net) * 1.0]
        )[:, back]
        return neuron, torch.stack([proved.margin, net(x).detach(), survived.double()])

    same = torch.arange(m)
    one = science(net, other, basis, u, x, same)
    turned = replaced(net, w @ turn.T)
    found = science(turned, other @ turn.T, turn @ basis, turn @ u, x @ turn.T, same)
    for a, b in zip(one, found):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
    # f is a sum of odd functions: w_i -> -w_i changes its sign, so all neurons turn, or none.
    named = replaced(net, w[order])
    for a, b in zip(one, science(named, other[order], basis, u, x, order)):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
    flipped = decompose(signs * w, other)
    torch.testing.assert_close(flipped.cos.abs(), decompose(w, other).cos.abs())
    held, as_before = features(signs * w, basis, u), features(w, basis, u)
    torch.testing.assert_close(held.purity, as_before.purity)
    torch.testing.assert_close(held.dense_part, as_before.dense_part)


@given(SEEDS, st.integers(1, 9))
@settings(max_examples=10)
def test_the_order_of_samples_and_the_chunk_change_nothing(seed, chunk):
    net = TwoLayer(6, 7, 0.1, init_norm=1.0, rng=rng(seed)).double()
    x = normal(seed, 16, 6).double()
    y = net(x).detach().sign()
    order = torch.randperm(16, generator=rng(seed))
    ball = Ball("l2", 0.3)

    def measured(x, y, chunk):
        return {
            "right": classified(net, x, -y, chunk) ^ classified(net, x, y, chunk),
            "survived": robust_correct(net, x, y, ball, 4, 1, chunk=chunk),
            "margin": certify(net, x, y, 0.3, 3, chunk).margin,
            "radius": certified_radius(net, x, y, 3, 4, chunk),
            "moved": fgm(net, x, y, ball),
        }

    whole, parts = measured(x, y, 16), measured(x[order], y[order], chunk)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value[order], rtol=1e-9, atol=1e-9, msg=name)


def test_layers_are_measured_alike_in_every_precision():
    clean, pure = network(0).eval(), network(1).eval()
    for dtype, slack in FLOATS.items():
        one, other = (copy.deepcopy(net).to(dtype) for net in (clean, pure))
        found = decompose_layers(one, other)
        for layer, (w, w_adv) in zip(found, zip(neurons(clean).values(), neurons(pure).values())):
            wanted = decompose(w.double(), w_adv.double())
            torch.testing.assert_close(found[layer].cos.double(), wanted.cos, rtol=0, atol=slack)
    assert correct(torch.tensor([1.0, -1.0]), torch.tensor([1, -1])).all()
