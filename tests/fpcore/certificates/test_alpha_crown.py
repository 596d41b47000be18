"""Our certificate beside an alpha-CROWN that shares no code with it: neither breaks a sample."""

import pytest
import torch
from alpha_crown import alpha_crown

from fpcore.apgd import withstand
from fpcore.ball import Ball
from fpcore.certificates import certify
from fpcore.models.two_layer import TwoLayer

RADII = (0.02, 0.05, 0.1, 0.2, 0.3)


@pytest.fixture(scope="module")
def bounds(every_kind, sparse):
    """{network, radius: (the oracle's bounds, our certificate, who withstands an attack)}."""
    x, y = sparse.test_set(40, seed=7)
    return {
        (name, radius): (
            alpha_crown(net.weight, net.threshold, x, y, radius),
            certify(net, x, y, radius, branches=100),
            withstand(net, x, y, Ball("l2", radius), 10, 1)[0],
        )
        for name, net in every_kind.items()
        for radius in RADII
    }


def test_what_either_certifies_no_attack_breaks(bounds):
    for oracle, ours, stood in bounds.values():
        assert not ((oracle > 0) & ~stood).any() and not (ours.robust & ~stood).any()
        assert not ((oracle > 0) & ours.broken).any()
    assert any((~stood).any() for *_, stood in bounds.values())


def test_a_bound_of_the_oracle_is_below_what_is_attained(bounds):
    for oracle, ours, _ in bounds.values():
        assert (oracle <= ours.attained + 1e-6 * ours.attained.abs() + 1e-6).all()


def test_the_oracle_certifies_less_and_nothing_that_ours_does_not(bounds):
    theirs, own = (
        sum(int(each.sum()) for each in found)
        for found in zip(*((oracle > 1e-6, ours.robust) for oracle, ours, _ in bounds.values()))
    )
    for oracle, ours, _ in bounds.values():
        assert not ((oracle > 1e-6) & ~ours.robust).any()
    assert 0.5 * own < theirs <= own


def test_where_no_neuron_bends_both_have_the_minimum_itself(bounds):
    seen = 0
    for (name, _), (oracle, ours, _) in bounds.items():
        if name == "linear":  # of threshold 0: its two ReLUs bend, their difference does not
            continue
        exact = ours.exact
        torch.testing.assert_close(oracle[exact].float(), ours.margin[exact], rtol=1e-4, atol=1e-5)
        seen += int(exact.sum())
    assert seen > 20


def test_of_one_neuron_it_is_the_formula():
    """f = ReLU(3 x_1 - 3/2) near x_1 = 1: within r it falls to 3 (1 - r) - 3/2."""
    net = TwoLayer(2, 1, threshold=0.5)
    net.weight.data = torch.tensor([[3.0, 0.0]])
    x, y = torch.tensor([[1.0, 7.0]]), torch.ones(1)
    for radius, least in ((0.1, 1.2), (0.4, 0.3), (0.5, 0.0)):
        found = alpha_crown(net.weight, net.threshold, x, y, radius)
        torch.testing.assert_close(found, torch.tensor([least]).double(), atol=1e-6, rtol=1e-6)
