import copy
import dataclasses

import pytest
import torch
from cifar10_networks import TINY, random_images, same_weights, value

from fpbook.cifar10 import Variant, measure_removal, removal_variants
from fpcore.ball import Ball
from fpcore.decomposition.ablation import removed, swapped
from fpcore.decomposition.layers import decompose_layers, neurons
from fpcore.models.batch_norm import recalibrated
from fpcore.models.convnet import ConvNet

IMAGES = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def whole(way, alpha=1.0):
    """What is taken out of all layers."""
    return Variant(way, alpha=alpha)


def networks():
    """A clean network with statistics, and two near it."""
    nets = {}
    torch.manual_seed(0)
    clean = ConvNet(1 / 8).eval()
    for seed, name in enumerate(("purified", "control")):
        nets[name] = copy.deepcopy(clean)
        torch.manual_seed(seed)
        with torch.no_grad():
            for p in nets[name].parameters():
                p.add_(0.1 * torch.randn_like(p))
    return {"clean": clean, **nets}


def test_variants_hold_what_is_taken_out_and_its_controls():
    nets = networks()
    clean, purified, control = nets.values()
    found = removal_variants(nets, IMAGES, 7, (0, 1))
    taken = removed(clean, purified, 1.0, calibration=IMAGES)
    taken_c = removed(clean, purified, 1.0, control=control, calibration=IMAGES)
    assert same_weights(found[whole("w - v")], taken)
    assert same_weights(found[whole("w - v", 0.0)], recalibrated(clean, IMAGES))
    assert same_weights(found[whole("w - v, old statistics", 0.0)], clean)
    assert found[Variant("purified")] is purified
    assert same_weights(found[Variant("purified, anew")], recalibrated(purified, IMAGES))
    assert same_weights(found[whole("w - v_c")], taken_c)
    assert not same_weights(taken_c, taken)
    at_its_length = removed(clean, control, 1.0, calibration=IMAGES)
    assert same_weights(found[whole("w - v_c at its length")], at_its_length)
    one, other = found[Variant("swapped")], found[Variant("swapped back")]
    assert same_weights(one, swapped(clean, purified, IMAGES))
    assert same_weights(other, swapped(purified, clean, IMAGES))
    assert not same_weights(one, other)
    random, dealt = found[whole("w - random")], found[whole("w - dealt")]
    assert not same_weights(random, dealt)
    assert not same_weights(random, taken)


def test_without_a_control_the_rest_is_there_and_networks_are_not_kept():
    nets = networks()
    with_control = removal_variants(nets, IMAGES, 7, (1.0,))
    del nets["control"]
    found = removal_variants(nets, IMAGES, 7, (1.0,))
    assert {v.network for v in with_control} - {v.network for v in found} == {
        "w - v_c",
        "w - v_c at its length",
    }
    one = whole("w - v")
    assert found[one] is not found[one]  # made anew each time
    assert same_weights(found[one], with_control[one])


def test_random_controls_are_drawn_from_the_seed():
    nets = networks()
    found, again = (removal_variants(nets, IMAGES, 7, alphas) for alphas in ((0.0, 1.0), (1.0,)))
    other = removal_variants(nets, IMAGES, 8, (1.0,))
    for variant in (whole("w - random"), whole("w - dealt")):
        assert same_weights(found[variant], again[variant])
        assert not same_weights(found[variant], other[variant])


def test_in_each_layer_as_much_is_taken_out_as_v():
    nets = networks()
    clean, purified, _ = nets.values()
    found = removal_variants(nets, IMAGES, 7, (1.0,))
    before, split = neurons(clean), decompose_layers(clean, purified)
    for way in ("w - v", "w - random", "w - dealt", "w - v_c"):
        everywhere = neurons(found[whole(way)])
        one_layer = neurons(found[Variant(way, "conv2", alpha=1.0)])
        for layer, w in before.items():
            assert torch.equal(one_layer[layer], w) == (layer != "conv2")
            taken, v = (everywhere[layer] - w).norm(dim=1), split[layer].residual.norm(dim=1)
            torch.testing.assert_close(taken, v, atol=1e-5, rtol=1e-3)


def test_removal_is_measured_under_autoattack_where_that_is_asked_for(monkeypatch):
    def some_survive(net, x, y, ball):
        assert ball == Ball("l2", 0.5, (0.0, 1.0))
        return torch.arange(len(x)) < 2

    monkeypatch.setattr("fpbook.cifar10.removal.kept_autoattack", some_survive)
    config = dataclasses.replace(TINY, attacked_images=4, autoattacked_images=8)
    one, other = whole("w - v"), Variant("purified")
    nets = networks()
    variants = {one: nets["clean"], other: nets["purified"]}
    found = measure_removal(variants, random_images(12), config, [one])
    assert value(found, "autoattack_accuracy", "w - v", alpha=1.0, threat="l2 0.5") == 0.25
    assert len(found) == 5
    assert value(found, "robust_accuracy", "purified") is not None
    with pytest.raises(ValueError, match="autoattacked_images = 0"):
        measure_removal(variants, random_images(12), TINY, [one])
