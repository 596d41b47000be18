import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpcore import Ball, Training, TwoLayer, accuracy, along, certified_accuracy, certify, fgm, pgd, robust_correct, train
from fpcore.certificates import lower_line

RADII = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def s(u, b):
    """The activation ReLU(u - b) - ReLU(-u - b)."""
    return (u - b).clamp(min=0) - (-u - b).clamp(min=0)


def line_on(low, high, b, steep=False):
    """The line below s on [low, high], s there, and whether s was found not to be linear, all in float64."""
    low, high, b = (torch.tensor([v], dtype=torch.float64) for v in (low, high, b))
    slope, offset, relaxed = lower_line(low, high, b, torch.tensor([steep]))
    u = low + (high - low) * torch.linspace(0, 1, 501, dtype=torch.float64)
    return slope * u + offset, s(u, b), bool(relaxed)


number, width = st.floats(-3, 3), st.floats(0, 4)


@given(number, width, st.floats(0, 2), st.booleans())
def test_the_line_is_below_the_activation_and_touches_it(low, width, b, steep):
    line, activation, relaxed = line_on(low, low + width, b, steep)
    assert (line <= activation + 1e-9).all()
    assert (activation - line).min() < 1e-2 * width + 1e-9
    if not relaxed:
        torch.testing.assert_close(line, activation, rtol=0, atol=1e-9)


CASES = {
    "left": (-3.0, -1.2, False),
    "middle": (-0.7, 0.9, False),
    "right": (1.1, 3.0, False),
    "concave": (-2.0, 0.5, True),
    "convex, mostly flat": (-0.5, 1.4, True),
    "convex, mostly steep": (0.5, 2.0, True),
    "both": (-1.5, 2.5, True),
}


@pytest.mark.parametrize("case", CASES)
def test_each_case_has_its_best_line(case):
    low, high, expected = CASES[case]
    line, activation, relaxed = line_on(low, high, 1.0, steep="steep" in case)
    gap = activation - line
    assert relaxed == expected and gap.min() >= -1e-12
    if not expected:
        assert gap.max() < 1e-12
    elif case in ("concave", "both"):
        assert gap[0] < 1e-12  # tight at the lower end, so that no line has a larger minimum
    if case == "concave":
        assert gap[-1] < 1e-12
    if case.startswith("convex"):
        assert (gap < 1e-12).double().mean() > 0.5  # tight on the larger part


@given(st.integers(0, 10**6))
def test_lines_of_many_intervals_at_once_are_those_of_each(seed):
    low = 4 * torch.rand(50, generator=rng(seed), dtype=torch.float64) - 3
    high = low + 3 * torch.rand(50, generator=rng(seed + 1), dtype=torch.float64)
    b = torch.rand(50, generator=rng(seed + 2), dtype=torch.float64)
    slope, offset, relaxed = lower_line(low, high, b, torch.rand(low.shape, generator=rng()) < 0.5)
    inside = (low < -b) & (high > -b) | (low < b) & (high > b)
    assert torch.equal(relaxed, inside)
    u = low + (high - low) * torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    assert (slope * u + offset <= s(u, b) + 1e-9).all()


@pytest.fixture(scope="module")
def nets(sparse, planted):
    """Networks of every kind: pure, dense, noisy, random, trained clean and trained adversarially."""
    random = TwoLayer(sparse.d, 40, threshold=0.15, init_norm=1.0, rng=rng(5))
    clean = TwoLayer(sparse.d, 96, threshold=0.15, rng=rng(6))
    train(clean, sparse, Training(steps=60, lr=5.0, batch=64))
    adversarial = copy.deepcopy(clean)
    train(adversarial, sparse, Training(steps=60, lr=5.0, batch=64, radius=0.1))
    return {
        "pure": planted(),
        "pure, low threshold": planted(threshold=0.05),
        "noisy": planted(noise=0.5, copies=2),
        "dense": planted(dense=1.0, noise=0.1),
        "very dense": planted(dense=3.0, threshold=0.1),
        "linear": planted(dense=0.5, threshold=0.0),
        "random": random,
        "clean": clean,
        "adversarial": adversarial,
    }


NETS = ("pure", "pure, low threshold", "noisy", "dense", "very dense", "linear", "random", "clean", "adversarial")


@pytest.fixture(scope="module")
def samples(sparse):
    return sparse.test_set(60, seed=7)


def values(net, x, y):
    with torch.no_grad():
        return y * net(x)


def perturbed(net, data, x, y, radius):
    """Samples moved by at most the radius: by attacks, by chance, and along what the certificate fears most."""
    ball = Ball("l2", radius)
    yield fgm(net, x, y, ball)
    yield pgd(net, x, y, ball, steps=8, restarts=2, rng=rng())
    yield along(data.u_star, radius)(net, x, y)
    for seed in range(8):
        yield x + radius * ball.steepest(torch.randn(x.shape, generator=rng(seed)))
    yield x + ball.random(x, rng())
    active = (net.preactivations(x).abs() > net.bias).float().detach()
    yield x - radius * y[:, None] * ball.steepest(active @ net.weight.detach())
    worst = x
    for _ in range(6):  # ascent on the margin itself, which no saturation of the loss can stop
        active = (net.preactivations(worst).abs() > net.bias).float().detach()
        worst = x - radius * y[:, None] * ball.steepest(active @ net.weight.detach())
        yield worst


@pytest.mark.parametrize("name", NETS)
def test_nothing_within_the_radius_falls_below_the_certified_margin(name, nets, sparse, samples):
    net, (x, y) = nets[name], samples
    certified = 0
    for radius in RADII:
        certificate = certify(net, x, y, radius)
        certified += int(certificate.robust.sum())
        for moved in perturbed(net, sparse, x, y, radius):
            assert (moved - x).norm(dim=1).max() <= radius + 1e-5
            found = values(net, moved, y)
            assert (found >= certificate.margin - 1e-5 * (1 + found.abs())).all()
            assert not (certificate.robust & (found <= 0)).any()
    assert certified > 30


@pytest.mark.parametrize("seed", range(12))
def test_in_the_plane_no_point_of_the_disc_falls_below_the_certified_margin(seed):
    net = TwoLayer(2, 4 + seed % 3, threshold=0.1 * (seed % 5), init_norm=1.5, rng=rng(seed))
    x = torch.randn(40, 2, generator=rng(seed + 100))
    y = net(x).detach().sign()
    y[y == 0] = 1
    angle = torch.linspace(0, 2 * math.pi, 241)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    for radius in (0.05, 0.2, 0.6):
        disc = torch.cat([torch.zeros(1, 2), *(circle * radius * share for share in torch.linspace(0.1, 1, 10))])
        lowest = (y[:, None] * net((x[:, None] + disc).flatten(0, 1)).detach().view(len(x), -1)).amin(1)
        certificate = certify(net, x, y, radius)
        assert (certificate.margin <= lowest + 1e-5).all()
        spacing = radius * net.weight.detach().norm(dim=1).sum() * (1 - math.cos(math.pi / 240))
        assert ((lowest - certificate.margin)[certificate.exact].abs() <= spacing + 1e-4).all()


@pytest.mark.parametrize("name", [name for name in NETS if name != "linear"])  # threshold 0: a corner in each interval
def test_an_exact_certificate_has_its_closed_form_and_is_attained(name, nets, samples):
    net, (x, y) = nets[name], samples
    exact_ones = 0
    for radius in (1e-4, 1e-3, 0.01):
        certificate = certify(net, x, y, radius)
        active = (net.preactivations(x).abs() > net.bias).float().detach() @ net.weight.detach()
        expected = values(net, x, y) - radius * active.norm(dim=1)
        exact = certificate.exact
        exact_ones += int(exact.sum())
        torch.testing.assert_close(certificate.margin[exact], expected[exact], rtol=1e-4, atol=1e-4)
        worst = x - radius * y[:, None] * Ball("l2", 1.0).steepest(active)
        torch.testing.assert_close(certificate.margin[exact], values(net, worst, y)[exact], rtol=1e-4, atol=1e-4)
    assert exact_ones > 20


def test_a_linear_network_is_certified_exactly(nets, samples):
    net, (x, y) = nets["linear"], samples
    for radius in RADII:
        expected = values(net, x, y) - radius * net.weight.detach().sum(0).norm()
        torch.testing.assert_close(certify(net, x, y, radius).margin, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_radius_zero_gives_the_margin_of_the_sample_itself(name, nets, samples):
    net, (x, y) = nets[name], samples
    for labels in (y, -y):
        torch.testing.assert_close(certify(net, x, labels, 0.0).margin, values(net, x, labels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_the_margin_lies_between_the_lipschitz_bound_and_the_sample_itself(name, nets, samples):
    net, (x, y) = nets[name], samples
    itself, lipschitz = values(net, x, y), net.weight.detach().norm(dim=1).sum()
    for radius in RADII:
        margin = certify(net, x, y, radius).margin
        assert (margin <= itself + 1e-5).all()
        assert (margin >= itself - radius * lipschitz - 1e-3).all()


@pytest.mark.parametrize("name", NETS)
def test_certified_accuracy_is_at_most_attacked_accuracy(name, nets, samples):
    net, (x, y) = nets[name], samples
    for radius in (0.0, 0.05, 0.15, 0.3):
        attacked = robust_correct(net, x, y, Ball("l2", radius), steps=6, restarts=1).float().mean().item()
        assert certified_accuracy(net, x, y, radius) <= attacked <= accuracy(net, x, y)


def test_a_pure_network_is_certified_where_a_dense_one_is_broken(nets, samples):
    (x, y), radius = samples, 0.12
    assert certified_accuracy(nets["pure"], x, y, radius) > 0.9
    assert robust_correct(nets["very dense"], x, y, Ball("l2", 0.4), steps=6, restarts=1).float().mean() < 0.3


@pytest.mark.parametrize("name", ["pure", "noisy", "clean", "adversarial"])
def test_the_margin_falls_as_the_radius_grows(name, nets, samples):
    net, (x, y) = nets[name], samples
    margins = torch.stack([certify(net, x, y, 0.25 * i / 50).margin for i in range(51)])
    assert (margins.diff(dim=0) <= 1e-4).all()


@given(st.floats(1e-3, 1e3))
def test_scaling_the_weights_scales_the_margin(scale):
    net = TwoLayer(6, 9, threshold=0.2, init_norm=1.0, rng=rng(3))
    x = torch.randn(20, 6, generator=rng(4))
    y = net(x).detach().sign()
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        scaled.weight.mul_(scale)
    a, b = certify(net, x, y, 0.1), certify(scaled, x, y, 0.1)
    torch.testing.assert_close(b.margin, scale * a.margin, rtol=1e-3, atol=1e-4 * scale)
    assert torch.equal(a.exact, b.exact)


def test_a_certificate_does_not_depend_on_the_chunk(nets, samples):
    net, (x, y) = nets["noisy"], samples
    whole = certify(net, x, y, 0.1)
    for chunk in (1, 7):
        parts = certify(net, x, y, 0.1, chunk)
        torch.testing.assert_close(parts.margin, whole.margin, rtol=1e-4, atol=1e-5)
        assert torch.equal(parts.exact, whole.exact)


@pytest.mark.parametrize("radius", [math.nan, -0.1, math.inf, None])
def test_a_radius_that_is_no_radius_is_named(radius, nets, samples):
    for function in (certify, certified_accuracy):
        with pytest.raises(ValueError) as error:
            function(nets["pure"], *samples, radius)
        assert f"radius = {radius!r}" in str(error.value)


def test_a_certificate_leaves_no_trace(nets, samples):
    net = copy.deepcopy(nets["noisy"])
    before = net.weight.detach().clone()
    certificate = certify(net, *samples, 0.1)
    assert torch.equal(net.weight, before) and net.weight.grad is None and not certificate.margin.requires_grad


def test_no_sample_is_certified_at_a_radius_but_not_at_a_smaller_one():
    for seed in range(20):
        net = TwoLayer(4, 6, threshold=0.3, init_norm=1.0, rng=rng(seed))
        x = torch.randn(50, 4, generator=rng(seed + 100))
        y = net(x).detach().sign()
        robust = torch.stack([certify(net, x, y, 2 * i / 40).robust for i in range(41)])
        assert robust[1].any() and not robust[-1].all()
        assert not (robust[1:] & ~robust[:-1]).any()


def test_without_a_threshold_the_network_is_linear_and_the_certificate_exact():
    net = TwoLayer(5, 8, threshold=0.0, init_norm=1.0, rng=rng(1))
    x = torch.randn(20, 5, generator=rng(2))
    y = net(x).detach().sign()
    found = certify(net, x, y, 0.3)
    assert found.exact.all()
    expected = y * net(x).detach() - 0.3 * net.weight.detach().sum(0).norm()
    torch.testing.assert_close(found.margin, expected, rtol=1e-3, atol=1e-3)
