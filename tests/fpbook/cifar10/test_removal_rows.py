import copy

import torch

from fpbook.cifar10.measures import removal_rows
from fpcore.decomposition.ablation import removed, swapped
from fpcore.decomposition.layers import decompose_layers, neurons
from fpcore.models.batch_norm import recalibrated
from fpcore.models.convnet import ConvNet

IMAGES = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))


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


def same(one, other):
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values())
    )


def test_rows_hold_what_is_taken_out_and_its_controls():
    nets = networks()
    clean, purified, control = nets.values()
    rows = removal_rows(nets, IMAGES, 7, (0.0, 1.0))
    ways = {key.split(" in ")[0].split("/")[0] for key in rows}
    assert ways >= {"v", "random", "dealt", "v_c", "v, old statistics", "swapped"}
    taken = removed(clean, purified, 1.0, calibration=IMAGES)
    taken_c = removed(clean, purified, 1.0, control=control, calibration=IMAGES)
    assert same(rows["v/1"], taken)
    assert same(rows["v/0"], recalibrated(clean, IMAGES))
    assert same(rows["v, old statistics/0"], clean)
    assert rows["purified"] is purified
    assert same(rows["purified, anew"], recalibrated(purified, IMAGES))
    assert same(rows["v_c/1"], taken_c) and not same(taken_c, taken)
    assert same(rows["v_c at its length"], removed(clean, control, 1.0, calibration=IMAGES))
    assert same(rows["swapped"], swapped(clean, purified, IMAGES))
    assert same(rows["swapped back"], swapped(purified, clean, IMAGES))
    assert not same(rows["swapped"], rows["swapped back"])
    assert not same(rows["random/1"], rows["dealt/1"])
    assert not same(rows["random/1"], taken)


def test_random_controls_are_drawn_from_the_seed():
    nets = networks()
    rows, again = (removal_rows(nets, IMAGES, 7, alphas) for alphas in ((0.0, 1.0), (1.0,)))
    other = removal_rows(nets, IMAGES, 8, (1.0,))
    for way in ("random", "dealt"):
        assert same(rows[f"{way}/1"], again[f"{way}/1"])
        assert not same(rows[f"{way}/1"], other[f"{way}/1"])


def test_in_each_layer_as_much_is_taken_out_as_v():
    nets = networks()
    clean, purified, _ = nets.values()
    rows = removal_rows(nets, IMAGES, 7, (1.0,))
    before, split = neurons(clean), decompose_layers(clean, purified)
    for way in ("v", "random", "dealt", "v_c"):
        whole, one_layer = neurons(rows[f"{way}/1"]), neurons(rows[f"{way} in conv2"])
        for layer, w in before.items():
            assert torch.equal(one_layer[layer], w) == (layer != "conv2")
            taken, v = (whole[layer] - w).norm(dim=1), split[layer].residual.norm(dim=1)
            torch.testing.assert_close(taken, v, atol=1e-5, rtol=1e-3)
