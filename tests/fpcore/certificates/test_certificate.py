import copy
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpcore.attacks import along, fgm, pgd, robust_accuracy
from fpcore.ball import Ball
from fpcore.certificates.certificate import certified_accuracy, certified_radius, certify
from fpcore.models.low_rank_update import low_rank
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer

RADII = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def nets(every_kind):
    return every_kind


NETS = (
    "pure",
    "pure, low threshold",
    "noisy",
    "dense",
    "very dense",
    "linear",
    "random",
    "clean",
    "adversarial",
)


@pytest.fixture(scope="module")
def samples(sparse):
    return sparse.test_set(60, seed=7)


def values(net, x, y):
    with torch.no_grad():
        return y * net(x)


def perturbed(net, data, x, y, radius):
    """Samples moved by at most the radius: by attacks, by chance, by what certificates fear."""
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


@pytest.mark.parametrize("branches", [0, 1, 40])
@pytest.mark.parametrize("name", NETS)
def test_nothing_within_the_radius_falls_below_the_certified_margin(
    name, branches, nets, sparse, samples
):
    net, (x, y) = nets[name], samples
    certified = 0
    for radius in RADII:
        certificate = certify(net, x, y, radius, branches)
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
    for radius, branches in ((0.05, 0), (0.2, 0), (0.6, 0), (0.2, 1), (0.6, 50), (0.9, 50)):
        rings = [circle * radius * share for share in torch.linspace(0.1, 1, 10)]
        disc = torch.cat([torch.zeros(1, 2), *rings])
        found = net((x[:, None] + disc).flatten(0, 1)).detach().view(len(x), -1)
        lowest = (y[:, None] * found).amin(1)
        certificate = certify(net, x, y, radius, branches)
        assert (certificate.margin <= lowest + 1e-5).all()
        spacing = radius * net.weight.detach().norm(dim=1).sum() * (1 - math.cos(math.pi / 240))
        assert ((lowest - certificate.margin)[certificate.exact].abs() <= spacing + 1e-4).all()


# not of the linear one: with threshold 0 there is a corner in each interval
@pytest.mark.parametrize("name", [name for name in NETS if name != "linear"])
def test_an_exact_certificate_has_its_closed_form_and_is_attained(name, nets, samples):
    net, (x, y) = nets[name], samples
    exact_ones = 0
    for radius in (1e-4, 1e-3, 0.01):
        certificate = certify(net, x, y, radius)
        active = (net.preactivations(x).abs() > net.bias).float().detach() @ net.weight.detach()
        expected = values(net, x, y) - radius * active.norm(dim=1)
        exact = certificate.exact
        exact_ones += int(exact.sum())
        margin = certificate.margin[exact]
        torch.testing.assert_close(margin, expected[exact], rtol=1e-4, atol=1e-4)
        worst = x - radius * y[:, None] * Ball("l2", 1.0).steepest(active)
        attained = values(net, worst, y)[exact]
        torch.testing.assert_close(margin, attained, rtol=1e-4, atol=1e-4)
    assert exact_ones > 20


def test_a_linear_network_is_certified_exactly(nets, samples):
    net, (x, y) = nets["linear"], samples
    for radius in RADII:
        expected = values(net, x, y) - radius * net.weight.detach().sum(0).norm()
        found = certify(net, x, y, radius).margin
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_radius_zero_gives_the_margin_of_the_sample_itself(name, nets, samples):
    net, (x, y) = nets[name], samples
    for labels in (y, -y):
        found = certify(net, x, labels, 0.0).margin
        torch.testing.assert_close(found, values(net, x, labels), rtol=1e-4, atol=1e-4)


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
        attacked = robust_accuracy(net, x, y, Ball("l2", radius), steps=6, restarts=1)
        assert certified_accuracy(net, x, y, radius) <= attacked <= accuracy(net, x, y)


def test_a_pure_network_is_certified_where_a_dense_one_is_broken(nets, samples):
    (x, y), radius = samples, 0.12
    assert certified_accuracy(nets["pure"], x, y, radius) > 0.9
    attacked = robust_accuracy(nets["very dense"], x, y, Ball("l2", 0.4), steps=6, restarts=1)
    assert attacked < 0.3


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
        parts = certify(net, x, y, 0.1, chunk=chunk)
        torch.testing.assert_close(parts.margin, whole.margin, rtol=1e-4, atol=1e-5)
        assert torch.equal(parts.exact, whole.exact)


@pytest.mark.parametrize("kind", [torch.int64, torch.float64])
def test_labels_of_other_types_are_certified_as_floats_are(nets, samples, kind):
    net, (x, y) = nets["noisy"], samples
    for radius in (0.1, 0.6):
        for branches in (0, 1):
            floats = certify(net, x, y, radius, branches)
            others = certify(net, x, y.to(kind), radius, branches)
            assert torch.equal(floats.margin, others.margin)
            assert torch.equal(floats.attained, others.attained)
    assert not floats.robust.all()
    assert torch.equal(certified_radius(net, x, y, 0), certified_radius(net, x, y.to(kind), 0))


def test_a_certificate_is_made_in_full_precision_inside_autocast(nets, samples):
    net, (x, y) = nets["noisy"], samples
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = certify(net, x, y, 0.1)
    assert torch.equal(inside.margin, certify(net, x, y, 0.1).margin)


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
    assert (
        torch.equal(net.weight, before)
        and net.weight.grad is None
        and not certificate.margin.requires_grad
    )


def test_no_sample_is_certified_at_a_radius_but_not_at_a_smaller_one():
    for seed in range(20):
        net = TwoLayer(4, 6, threshold=0.3, init_norm=1.0, rng=rng(seed))
        x = torch.randn(50, 4, generator=rng(seed + 100))
        y = torch.where(net(x) < 0, -1.0, 1.0)
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


def random_case(seed, m, d, n, threshold, zeros=False):
    """A random network, perhaps of dead neurons, and samples that it mostly classifies right."""
    net = TwoLayer(d, m, threshold, init_norm=1.0, rng=rng(seed))
    with torch.no_grad():
        net.weight.mul_(torch.rand(m, 1, generator=rng(seed + 1)) * d**0.5)
        if zeros:
            net.weight[: (m + 1) // 2] = 0
    x = torch.randn(n, d, generator=rng(seed + 2))
    y = net(x).detach().sign()
    return net, x, torch.where(y == 0, 1.0, y)


def lowest_in_the_plane(net, x, y, radius, angles=360, rings=30):
    """The minimum of y f over a polar grid of the disc, (n,), and a bound on what that misses."""
    angle = torch.linspace(0, 2 * math.pi, angles + 1)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    disc = torch.cat([circle * radius * share for share in torch.linspace(0, 1, rings + 1)])
    found = net((x[:, None] + disc).flatten(0, 1)).detach().view(len(x), -1)
    lipschitz = float(net.weight.detach().norm(dim=1).sum())
    missed = radius * (math.pi / angles + 0.5 / rings) * lipschitz
    return (y[:, None] * found).amin(1), missed


degenerate = given(
    st.integers(0, 10**6),
    st.integers(1, 7),
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.01, 0.3, 1.0, 50.0]),
    st.booleans(),
    st.sampled_from([0.0, 1e-6, 0.1, 0.5, 2.0, 30.0]),
)


@degenerate
def test_no_network_however_degenerate_falls_below_its_certified_margin(
    seed, m, d, n, threshold, zeros, radius
):
    net, x, y = random_case(seed, m, d, n, threshold, zeros)
    stages = [certify(net, x, y, radius, branches) for branches in (0, 1, 30)]
    ball = Ball("l2", radius)
    noise = [2 * radius * torch.randn(x.shape, generator=rng(i)) for i in range(30)]
    moved = [x, *(x + ball.project(delta, x) for delta in noise)]
    moved += [fgm(net, x, y, ball), pgd(net, x, y, ball, steps=10, restarts=3, rng=rng())]
    lowest = torch.stack([values(net, point, y) for point in moved]).amin(0)
    tolerance = 1e-5 * (1 + radius + x.norm(dim=1)) * (1 + net.weight.detach().norm(dim=1).sum())
    for stage in stages:
        assert stage.margin.isfinite().all() and stage.attained.isfinite().all()
        assert (stage.margin <= lowest + tolerance).all()
        assert (stage.margin <= stage.attained + tolerance).all()
        assert not (stage.robust & (lowest <= 0)).any() and not (stage.robust & stage.broken).any()
    for before, after in itertools.pairwise(stages):  # effort only helps
        assert (after.margin >= before.margin).all() and (after.attained <= before.attained).all()


@given(
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.sampled_from([0.1, 0.4, 0.8]),
    st.sampled_from([0.2, 0.5, 1.0]),
)
def test_branching_settles_every_tiny_problem_as_brute_force_does(seed, m, threshold, radius):
    net, x, y = random_case(seed, m, 2, 12, threshold)
    certificate = certify(net, x, y, radius, branches=3000)
    lowest, missed = lowest_in_the_plane(net, x, y, radius)
    assert (certificate.margin <= lowest + 1e-5).all()
    assert (certificate.attained >= lowest - missed - 1e-5).all()
    assert certificate.robust[lowest > missed + 1e-3].all()
    assert not certificate.robust[lowest <= 0].any()


def test_more_branches_settle_what_fewer_leave_open():
    settled = torch.zeros(3, dtype=torch.long)
    for seed in range(12):
        net, x, y = random_case(seed, 12, 4, 40, 0.5)
        for i, branches in enumerate((0, 1, 500)):
            c = certify(net, x, y, 0.5, branches)
            settled[i] += int((c.robust | c.broken).sum())
    assert settled[0] < settled[1] < settled[2] and settled[2] > 0.99 * 12 * 40


def test_the_certified_radius_is_certified_and_nearly_all_that_is_true():
    for seed in range(5):
        net, x, y = random_case(seed, 3, 2, 10, 0.3)
        radii = certified_radius(net, x, y, branches=400)
        for radius, point, label in zip(radii.tolist(), x, y):
            sample, further = (net, point[None], label[None]), 1.01 * radius + 1e-3
            below, _ = lowest_in_the_plane(*sample, radius, rings=60)
            beyond, missed = lowest_in_the_plane(*sample, further, rings=60)
            assert (radius == 0 or below > 0) and beyond < missed
        assert (radii[values(net, x, y) > 1e-3] > 0).all() and (radii <= x.norm(dim=1)).all()


def test_the_certified_radius_of_a_linear_network_is_its_distance_to_the_boundary(nets, samples):
    net, (x, y) = nets["linear"], samples
    expected = values(net, x, y) / net.weight.detach().sum(0).norm()
    found = certified_radius(net, x, y, steps=20)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["pure", "noisy", "dense", "adversarial"])
def test_certified_radii_and_certified_accuracy_agree(name, nets, samples):
    net, (x, y) = nets[name], samples
    radii = certified_radius(net, x, y, branches=1, chunk=17)
    assert (certified_radius(net, x, -y, branches=1)[values(net, x, y) > 0] == 0).all()
    for radius in (0.05, 0.1, 0.2):
        share = (radii > radius).float().mean().item()
        assert abs(certified_accuracy(net, x, y, radius, branches=1) - share) < 1.5 / len(x)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda y: 2 * y, r"y holds \[-2.0, 2.0\]"),
        (lambda y: (y > 0).long(), r"y holds \[0\]"),
        (lambda y: y > 0, r"y holds \[False\]"),
        (lambda y: y * math.nan, r"y holds \[nan"),
        (lambda y: y[:, None], r"y is \(60, 1\)"),
    ],
)
def test_labels_that_would_make_certificates_false_are_refused(change, says, nets, samples):
    x, y = samples
    for call in (lambda *a: certify(*a, 0.1), certified_radius):
        with pytest.raises(ValueError, match=says):
            call(nets["pure"], x, change(y))
        with pytest.raises(ValueError, match="model is a Linear: give a TwoLayer"):
            call(torch.nn.Linear(2, 1), x, y)


@pytest.mark.parametrize("argument", ["branches", "steps", "chunk"])
def test_a_wrong_effort_is_named(argument, nets, samples):
    with pytest.raises(ValueError, match=rf"{argument} = -1"):
        certified_radius(nets["pure"], *samples, **{argument: -1})


class Turned(TwoLayer):
    """Another function than `TwoLayer` states."""

    def forward(self, x):
        return -super().forward(x)


def hooked():
    net = TwoLayer(3, 2)
    net.register_forward_hook(lambda *given: -given[2])
    return net


def of_threshold(value):
    net = TwoLayer(3, 2)
    net.threshold.fill_(value)
    return net


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (Turned(3, 2), "model is a Turned with a forward.* give a plain TwoLayer"),
        (hooked(), "or a hook of it, of its own: give a plain TwoLayer"),
        (
            of_threshold(-1.0),
            r"model\.threshold = -1: give a network with a threshold",
        ),
        (of_threshold(math.nan), r"model\.threshold is not finite"),
    ],
    ids=["forward", "hook", "negative", "nan"],
)
def test_what_computes_another_function_than_a_two_layer_network_is_refused(net, says):
    x, y = torch.rand(4, 3), torch.ones(4)
    for call in (lambda: certify(net, x, y, 0.1), lambda: certified_radius(net, x, y)):
        with pytest.raises(ValueError, match=says):
            call()


def test_a_parametrised_two_layer_network_is_certified_as_what_it_computes(planted, sparse):
    net = planted(noise=0.1)
    x, y = sparse.test_set(20, seed=3)
    updated = low_rank(net, 1, seed=0)
    assert type(updated) is not TwoLayer
    assert torch.equal(certify(updated, x, y, 0.1).margin, certify(net, x, y, 0.1).margin)
