import itertools

import pytest
import torch

from fpbook.synthetic.measures import soundness
from fpcore.attacks import fgm, pgd
from fpcore.ball import Ball
from fpcore.certificates.certificate import certified_accuracy, certified_radius, certify
from fpcore.members import Member
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.symmetric_networks import symmetric_network

RADII = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
MEMBERS = {
    "simplest": Member(),
    "on the axes": Member(block=1),
    "in blocks": Member(block=4),
    "spread": Member((1, 3), (0.5, 2)),
    "two-valued": Member((1, 3), (0.5, 2), "two-valued"),
    "bounded noise": Member(bounded=0.3),
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def model(member, d=24):
    return SparseCoding(d, 4, 1.2, 0.2, seed=3, member=member)


def network(data, mixture, rest, threshold=0.25):
    net = symmetric_network(data, threshold, mixture)
    net.weight.data += rest * torch.randn(net.weight.shape, generator=rng(1)) / data.d**0.5
    return net


def values(net, x, y):
    with torch.no_grad():
        return y * net(x)


@pytest.mark.parametrize("mixture", [0.0, 0.4])
def test_on_the_axes_the_certificate_is_the_minimum_itself(mixture):
    data = model(Member(block=1))
    net, (x, y) = network(data, mixture, rest=0.0), data.test_set(200, seed=1)
    certified = 0
    for radius in RADII:
        certificate = certify(net, x, y, radius, norm="linf")
        certified += int(certificate.robust.sum())
        corner = values(net, x - radius * y[:, None] * data.u_star.sign(), y)
        torch.testing.assert_close(certificate.margin, corner, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(certificate.attained, corner, atol=1e-5, rtol=1e-5)
    assert 0 < certified < 200 * len(RADII)


@pytest.mark.parametrize("branches", [0, 1])
@pytest.mark.parametrize("rest", [0.0, 0.1, 1.0])
def test_nothing_within_the_radius_falls_below_the_margin(branches, rest):
    data = model(Member())
    net, (x, y) = network(data, 0.3, rest), data.test_set(100, seed=2)
    for radius in RADII:
        ball = Ball("linf", radius)
        certificate = certify(net, x, y, radius, branches, norm="linf")
        moved = [fgm(net, x, y, ball), pgd(net, x, y, ball, steps=10, restarts=2, rng=rng())]
        moved += [x + radius * torch.randn(x.shape, generator=rng(s)).sign() for s in range(20)]
        for each in moved:
            assert (values(net, each, y) >= certificate.margin - 1e-5).all()
        assert (certificate.attained >= certificate.margin).all()
        assert not (certificate.robust & certificate.broken).any()


def test_in_the_plane_no_point_of_a_fine_grid_is_below_the_margin():
    side = torch.linspace(-1, 1, 41, dtype=torch.float64)
    grid = torch.tensor(list(itertools.product(side.tolist(), side.tolist()))).double()
    for seed in range(20):
        net = TwoLayer(2, 5, threshold=0.4, init_norm=1.0, rng=rng(seed)).double()
        x = torch.randn(8, 2, generator=rng(seed + 100), dtype=torch.float64)
        y = values(net, x, 1.0).sign() + (values(net, x, 1.0) == 0)
        certificate = certify(net, x, y, 0.3, branches=1, norm="linf")
        lowest = torch.stack([values(net, x + 0.3 * delta, y) for delta in grid]).amin(0)
        assert (certificate.margin <= lowest + 1e-12).all()
        # attained is y f at a point of the ball: no smaller than the minimum, which the grid misses
        # by at most its spacing times the slope
        slope = net.weight.norm(dim=1).sum() * 0.3 * 2 / 40
        assert (certificate.attained >= lowest - slope).all()


@pytest.mark.parametrize("name", MEMBERS)
def test_no_attack_breaks_what_is_certified_of_any_member(name):
    """Over 100,000 pairs of samples and radii in l2, and as many in linf."""
    data = model(MEMBERS[name])
    net = network(data, 0.2, 0.05)
    x, y = data.test_set(3400, seed=4)
    for norm, unit in (("l2", 1.0), ("linf", 0.2)):
        radii = [unit * r for r in (0.05, 0.1, 0.2, 0.4, 0.8)]
        counts = soundness(net, x, y, radii, branches=0, restarts=1, rng=rng(), norm=norm)
        assert counts["pairs"] == 17000 and counts["broken"] == 0
        assert 1000 < counts["certified"] < 17000


def test_the_certified_radius_is_certified_and_nothing_much_beyond():
    data = model(Member(block=1))
    net, (x, y) = network(data, 0.0, 0.0), data.test_set(50, seed=5)
    radius = certified_radius(net, x, y, branches=1, norm="linf")
    for i, found in enumerate(radius.tolist()):
        part = x[i : i + 1], y[i : i + 1]
        assert found > 0 and certified_accuracy(net, *part, found, norm="linf") == 1
        assert certified_accuracy(net, *part, 1.01 * found + 1e-3, norm="linf") == 0


def test_an_unknown_norm_is_an_error():
    data = model(Member())
    x, y = data.test_set(2, seed=0)
    for call in (certify, certified_accuracy):
        with pytest.raises(ValueError, match="norm = 'l1': choose one of 'l2', 'linf'"):
            call(network(data, 0.0, 0.0), x, y, 0.1, norm="l1")
