import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from fpbook.synthetic.measures import soundness
from fpcore.attacks import Ball, along, fgm, pgd, robust_correct
from fpcore.certificates.branching import _largest_eigenvalue, ascend
from fpcore.certificates.certificate import certified_accuracy, certified_radius, certify
from fpcore.certificates.linear_relaxation import Neighbourhood, bound, envelope
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer
from fpcore.training import Training, train

RADII = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def s(u, b):
    """The activation ReLU(u - b) - ReLU(-u - b)."""
    return (u - b).clamp(min=0) - (-u - b).clamp(min=0)


def one_neuron(q, b, radius, norm=1.0):
    """The network s(u; b) of one input, around the sample q, as the certificate sees it; float64."""
    column = torch.tensor([[float(radius)]], dtype=torch.float64)
    zero, q = (
        torch.zeros(1, dtype=torch.float64),
        torch.as_tensor(q, dtype=torch.float64).view(1, 1),
    )
    rows, size = torch.ones(1, 1, dtype=torch.float64), q.abs() + column
    return Neighbourhood(
        rows,
        rows[0] * norm,
        float(b),
        q,
        column,
        size,
        zero,
        zero,
        torch.zeros(1, 1, dtype=torch.float64),
    )


number, width = st.floats(-3, 3), st.floats(0, 4)


@given(number, width, st.floats(0, 2), st.floats(-5, 5), st.floats(0.1, 10))
def test_a_line_of_any_slope_is_below_the_activation_and_touches_it(low, width, b, slope, norm):
    net = one_neuron(low + width / 2, b, width / 2, norm)
    low = torch.full((1, 1), low, dtype=torch.float64)
    corners, values = net.corners(low, low + width)
    offset = (values - slope * corners).amin()
    u = (low + width * torch.linspace(0, 1, 501, dtype=torch.float64)).squeeze()
    gap = norm * s(u, b) - slope * u - offset
    assert gap.min() >= -1e-9
    assert gap.min() <= (norm + abs(slope)) * width / 400 + 1e-9  # the grid may miss the corner


@given(number, st.floats(0.01, 4), st.floats(0, 2), st.floats(0.1, 10))
def test_the_envelope_is_the_largest_convex_function_below(low, width, b, norm):
    net = one_neuron(low + width / 2, b, width / 2, norm)
    grid = low + width * torch.linspace(0, 1, 401, dtype=torch.float64)
    interval = (grid[:1, None], grid[-1:, None])
    corners, values = net.corners(*interval)
    lines = torch.stack(
        [a * grid + (values - a * corners).amin() for a in torch.cat(envelope(net, *interval))]
    )
    activation = norm * s(grid, b)
    # the lower convex hull of the points on the grid
    hull = [0]
    for i in range(1, len(grid)):
        while len(hull) > 1 and (
            (activation[hull[-1]] - activation[hull[-2]]) * (grid[i] - grid[hull[-2]])
            >= (activation[i] - activation[hull[-2]]) * (grid[hull[-1]] - grid[hull[-2]])
        ):
            hull.pop()
        hull.append(i)
    expected = torch.from_numpy(
        np.interp(grid.numpy(), grid[hull].numpy(), activation[hull].numpy())
    )
    torch.testing.assert_close(lines.amax(0), expected, rtol=0, atol=norm * width / 150)


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
        disc = torch.cat(
            [torch.zeros(1, 2), *(circle * radius * share for share in torch.linspace(0.1, 1, 10))]
        )
        lowest = (
            y[:, None] * net((x[:, None] + disc).flatten(0, 1)).detach().view(len(x), -1)
        ).amin(1)
        certificate = certify(net, x, y, radius, branches)
        assert (certificate.margin <= lowest + 1e-5).all()
        spacing = radius * net.weight.detach().norm(dim=1).sum() * (1 - math.cos(math.pi / 240))
        assert ((lowest - certificate.margin)[certificate.exact].abs() <= spacing + 1e-4).all()


@pytest.mark.parametrize(
    "name", [name for name in NETS if name != "linear"]
)  # threshold 0: a corner in each interval
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
        torch.testing.assert_close(
            certificate.margin[exact], values(net, worst, y)[exact], rtol=1e-4, atol=1e-4
        )
    assert exact_ones > 20


def test_a_linear_network_is_certified_exactly(nets, samples):
    net, (x, y) = nets["linear"], samples
    for radius in RADII:
        expected = values(net, x, y) - radius * net.weight.detach().sum(0).norm()
        torch.testing.assert_close(
            certify(net, x, y, radius).margin, expected, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", NETS)
def test_radius_zero_gives_the_margin_of_the_sample_itself(name, nets, samples):
    net, (x, y) = nets[name], samples
    for labels in (y, -y):
        torch.testing.assert_close(
            certify(net, x, labels, 0.0).margin, values(net, x, labels), rtol=1e-4, atol=1e-4
        )


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
        attacked = (
            robust_correct(net, x, y, Ball("l2", radius), steps=6, restarts=1).float().mean().item()
        )
        assert certified_accuracy(net, x, y, radius) <= attacked <= accuracy(net, x, y)


def test_a_pure_network_is_certified_where_a_dense_one_is_broken(nets, samples):
    (x, y), radius = samples, 0.12
    assert certified_accuracy(nets["pure"], x, y, radius) > 0.9
    assert (
        robust_correct(nets["very dense"], x, y, Ball("l2", 0.4), steps=6, restarts=1)
        .float()
        .mean()
        < 0.3
    )


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
            floats, others = (
                certify(net, x, labels, radius, branches) for labels in (y, y.to(kind))
            )
            assert torch.equal(floats.margin, others.margin) and torch.equal(
                floats.attained, others.attained
            )
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
    """A random network, some of whose neurons may be dead, and samples that it mostly classifies right."""
    net = TwoLayer(d, m, threshold, init_norm=1.0, rng=rng(seed))
    with torch.no_grad():
        net.weight.mul_(torch.rand(m, 1, generator=rng(seed + 1)) * d**0.5)
        if zeros:
            net.weight[: (m + 1) // 2] = 0
    x = torch.randn(n, d, generator=rng(seed + 2))
    y = net(x).detach().sign()
    return net, x, torch.where(y == 0, 1.0, y)


def lowest_in_the_plane(net, x, y, radius, angles=360, rings=30):
    """The minimum of y f over a fine polar grid of the disc, (n,); and an upper bound on what the grid misses."""
    angle = torch.linspace(0, 2 * math.pi, angles + 1)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    disc = torch.cat([circle * radius * share for share in torch.linspace(0, 1, rings + 1)])
    lowest = (y[:, None] * net((x[:, None] + disc).flatten(0, 1)).detach().view(len(x), -1)).amin(1)
    return lowest, radius * (math.pi / angles + 0.5 / rings) * float(
        net.weight.detach().norm(dim=1).sum()
    )


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
    ball, moved = Ball("l2", radius), [x]
    moved += [
        x + ball.project(2 * radius * torch.randn(x.shape, generator=rng(i)), x) for i in range(30)
    ]
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
    assert (certificate.margin <= lowest + 1e-5).all() and (
        certificate.attained >= lowest - missed - 1e-5
    ).all()
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


def solved(net_, steps=4000):
    """The best bound of the linear relaxation over the whole ball, by many steps of ascent."""
    low, high = net_.q - net_.radius, net_.q + net_.radius
    a = ascend(
        net_, low, high, envelope(net_, low, high)[1], 1 / _largest_eigenvalue(net_.rows), steps
    )
    return bound(net_, low, high, a)


def local(rows, norm, threshold, q, radius):
    """f of these neurons alone around one sample, float64."""
    rows, norm, q = (torch.as_tensor(v, dtype=torch.float64) for v in (rows, norm, q))
    zero, column = (
        torch.zeros(1, dtype=torch.float64),
        torch.full((1, 1), radius, dtype=torch.float64),
    )
    return Neighbourhood(
        rows, norm, threshold, q[None], column, column + q.norm(), zero, zero, 0 * rows[:1]
    )


@pytest.mark.parametrize("seed", range(8))
def test_optimised_slopes_are_exact_where_no_concave_corner_is_in_reach(seed):
    g, d, m, radius, threshold = rng(seed), 4, 9, 0.6, 0.5
    rows = torch.nn.functional.normalize(torch.randn(m, d, generator=g, dtype=torch.float64), dim=1)
    norm, q = (
        torch.rand(m, generator=g) + 0.1,
        radius - threshold + 1.2 * torch.rand(m, generator=g),
    )
    net = local(rows, norm, threshold, q, radius)
    lower, upper, _ = solved(net)

    # an independent solver: minimise <norm, t> with t >= 0, t >= u - threshold and |delta| <= radius
    R, n, u = rows.numpy(), norm.double().numpy(), q.double().numpy()
    constraints = [
        {"type": "ineq", "fun": lambda z: radius**2 - z[:d] @ z[:d]},
        {"type": "ineq", "fun": lambda z: z[d:]},
        {"type": "ineq", "fun": lambda z: z[d:] - u - R @ z[:d] + threshold},
    ]
    start = np.concatenate([np.zeros(d), np.maximum(u - threshold, 0) + 0.1])
    found = minimize(
        lambda z: n @ z[d:],
        start,
        constraints=constraints,
        method="SLSQP",
        options={"maxiter": 1000},
    ).fun
    assert abs(lower.item() - found) < 5e-4 and lower.item() <= upper.item()
    fixed = max(
        bound(net, net.q - radius, net.q + radius, a)[0].item()
        for a in envelope(net, net.q - radius, net.q + radius)
    )
    assert fixed <= lower.item() + 1e-9


@pytest.mark.parametrize("pushed", [1, 2, 3])
def test_orthonormal_neurons_have_their_closed_form(pushed):
    """`pushed` equal neurons above the corner, one below it: the worst delta lowers the first alone, equally, to the corner."""
    q, threshold, radius = torch.tensor([0.9] * pushed + [0.3]), 0.5, 0.5
    lower, upper, _ = solved(
        local(torch.eye(pushed + 1), torch.ones(pushed + 1), threshold, q, radius)
    )
    expected = pushed * max(0.4 - radius / pushed**0.5, 0.0)
    assert abs(lower.item() - expected) < 1e-4 and abs(upper.item() - expected) < 1e-4


def test_the_certified_radius_is_certified_and_nearly_all_that_is_true():
    for seed in range(5):
        net, x, y = random_case(seed, 3, 2, 10, 0.3)
        radii = certified_radius(net, x, y, branches=400)
        for radius, point, label in zip(radii.tolist(), x, y):
            below, _ = lowest_in_the_plane(net, point[None], label[None], radius, rings=60)
            beyond, missed = lowest_in_the_plane(
                net, point[None], label[None], 1.01 * radius + 1e-3, rings=60
            )
            assert (radius == 0 or below > 0) and beyond < missed
        assert (radii[values(net, x, y) > 1e-3] > 0).all() and (radii <= x.norm(dim=1)).all()


def test_the_certified_radius_of_a_linear_network_is_its_distance_to_the_boundary(nets, samples):
    net, (x, y) = nets["linear"], samples
    expected = values(net, x, y) / net.weight.detach().sum(0).norm()
    torch.testing.assert_close(
        certified_radius(net, x, y, steps=20), expected, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("name", ["pure", "noisy", "dense", "adversarial"])
def test_certified_radii_and_certified_accuracy_agree(name, nets, samples):
    net, (x, y) = nets[name], samples
    radii = certified_radius(net, x, y, branches=1, chunk=17)
    assert (certified_radius(net, x, -y, branches=1)[values(net, x, y) > 0] == 0).all()
    for radius in (0.05, 0.1, 0.2):
        share = (radii > radius).float().mean().item()
        assert abs(certified_accuracy(net, x, y, radius, branches=1) - share) < 1.5 / len(x)


def test_no_attack_breaks_a_certified_sample_in_a_hundred_thousand_pairs(nets, sparse):
    (x, y), total = sparse.test_set(600, seed=11), {"pairs": 0, "certified": 0, "broken": 0}
    radii = torch.linspace(0.0, 0.45, 20).tolist()
    for net in nets.values():
        for part, branches in (
            (slice(60), 20),
            (slice(60, None), 0),
        ):  # branching costs most of the time
            for name, count in soundness(net, x[part], y[part], radii, branches, rng=rng()).items():
                total[name] += count
    assert total["pairs"] >= 100_000
    assert total["certified"] > 0.2 * total["pairs"]
    assert total["broken"] == 0


def test_the_soundness_sweep_notices_a_broken_certificate(nets, samples, monkeypatch):
    monkeypatch.setattr(
        "fpbook.synthetic.measures.certify",
        lambda net, x, y, radius, branches: certify(net, x, y, 0.5 * radius, branches),
    )
    counts = soundness(nets["dense"], *samples, [0.1, 0.3])
    assert counts["pairs"] == 120 and counts["broken"] > 0


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
