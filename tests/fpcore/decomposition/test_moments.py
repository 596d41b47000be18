"""What a linear map explains, from sums over chunks, against least squares on all rows at once."""

import copy

import pytest
import torch
from reported_networks import convolutional, images

from fpcore.decomposition import moments
from fpcore.decomposition.preactivations import preactivation
from fpcore.decomposition.relations import explained


def directly(one, other, layer, x, held):
    """The share explained, by numpy's least squares on the deviations from the means."""

    def rows(net, some):
        maps = preactivation(net, layer, some)
        return maps.movedim(1, -1).flatten(0, -2).double()

    a, b, a_held, b_held = (rows(net, some) for some in (x, held) for net in (one, other))
    # Eight neurons of six channels depend on each other, up to what float32 rounds.
    linear = torch.linalg.pinv(a - a.mean(0), rtol=1e-4) @ (b - b.mean(0))
    missed = b_held - b.mean(0) - (a_held - a.mean(0)) @ linear
    return 1 - missed.square().sum(0) / (b_held - b_held.mean(0)).square().sum(0)


@pytest.mark.parametrize("at_once", [1, 300, 10**9])
def test_chunks_of_images_make_no_difference(at_once, monkeypatch):
    monkeypatch.setattr(moments, "AT_ONCE", at_once)
    (x, _), (held, _) = images(24, 0), images(20, 1)
    one, other = convolutional(1), convolutional(2)
    found = explained(one, other, x, held)
    assert [*found] == ["0", "3"]
    for layer, shares in found.items():
        torch.testing.assert_close(
            shares, directly(one, other, layer, x, held), rtol=1e-5, atol=1e-5
        )


def test_means_far_from_zero_cost_no_digits():
    rng = torch.Generator().manual_seed(0)
    a, noise = (torch.randn(500, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    found, far = moments.Moments(), moments.Moments()
    for some in torch.arange(500).split(90):
        found.add(a[some], a[some] + noise[some])
        far.add(a[some] + 1e5, a[some] + noise[some] - 1e6)
    expected = found.explained(*found.linear())
    assert (expected > 0.3).all() and (expected < 0.7).all()
    torch.testing.assert_close(far.explained(*far.linear()), expected, rtol=1e-7, atol=1e-7)


def test_a_neuron_that_gives_one_value_has_no_share():
    clean = convolutional(1)
    other = copy.deepcopy(clean)
    with torch.no_grad():
        other[3].weight[2] = 0.02 * torch.randn(6, 1, 1, generator=torch.Generator().manual_seed(3))
    x, held = images(24, 0)[0], torch.full((6, 3, 6, 6), 0.4)
    clean[0].padding = other[0].padding = (0, 0)  # at its border an image is not constant
    found = explained(clean, other, x, held)
    assert all(shares.isnan().all() for shares in found.values())


def test_each_network_runs_twice(monkeypatch):
    one, other = convolutional(1), convolutional(2)
    calls = []
    for net in (one, other):
        net.register_forward_hook(lambda net, args, out: calls.append(len(args[0])))
    explained(one, other, images(24, 0)[0], images(20, 1)[0])
    assert calls == [24, 24, 20, 20]
