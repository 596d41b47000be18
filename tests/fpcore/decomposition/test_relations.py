import copy

import pytest
import torch

from fpcore.decomposition.layers import decompose_layers
from fpcore.decomposition.relations import (
    explained,
    hidden_medians,
    layer_relations,
    matched,
    same_neuron,
)
from fpcore.models.convnet import ConvNet


def network(seed):
    torch.manual_seed(seed)
    return ConvNet(1 / 4).eval()


def near(net, scale, seed):
    """A copy of a network with noise on its parameters."""
    twin, rng = copy.deepcopy(net), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(scale * p.std().nan_to_num(0.0) * torch.randn(p.shape, generator=rng))
    return twin


def test_descendants_are_told_from_strangers():
    clean, stranger = network(0), network(1)
    child = near(clean, 0.4, 1)
    relations = layer_relations(clean, child)
    assert relations["conv3"].median() == pytest.approx(1 / 1.16**0.5, abs=0.03)
    assert len(hidden_medians(relations)) == len(relations) - 1 == 5
    assert hidden_medians(relations)[2] == relations["conv3"].median()
    assert same_neuron(clean, child) == 1.0
    assert same_neuron(clean, stranger) < 0.4


@pytest.mark.parametrize("part", ["conv1", "bn1"])  # the weights, or the scale after them
def test_neurons_switched_off_in_either_network_have_no_cosine(part):
    one, other = network(0), near(network(0), 0.4, 1)
    whole = layer_relations(one, other)
    switch_off(one, part, 1)
    switch_off(other, part, 5)
    other.conv1.weight.data[5] *= -1  # such a neuron's cosine means nothing
    kept = [i for i in range(8) if i not in (1, 5)]
    found = layer_relations(one, other)
    assert torch.equal(found["conv1"], whole["conv1"][kept])
    assert torch.equal(found["conv2"], whole["conv2"])
    assert same_neuron(one, other) == 1.0


@pytest.mark.parametrize("measure", [layer_relations, decompose_layers])
def test_the_layer_in_which_two_networks_differ_is_named(measure):
    one, other = ConvNet(1 / 8), ConvNet(1 / 8)
    other.conv3 = torch.nn.Conv2d(8, 12, 5)
    with pytest.raises(ValueError, match=r"layer conv3 is \(12, 72\) against \(12, 200\)"):
        measure(one, other)


def switch_off(net, layer, *which):
    with torch.no_grad():
        net.get_submodule(layer).weight[list(which)] *= 1e-6


def test_matching_finds_a_permutation_and_little_in_filters_with_scrambled_phases():
    one, other = network(1), network(1)
    with torch.no_grad():
        other.conv2.weight.copy_(-other.conv2.weight.flip(0))
    found, chance = matched(one, other, "conv2")
    assert found == pytest.approx(1.0) and 0.1 < chance < 0.4
    with torch.no_grad():  # constant filters have no phases to scramble: then chance is as good
        for weight in (one.conv2.weight, other.conv2.weight):
            weight.copy_(weight.mean((2, 3), keepdim=True).expand_as(weight))
    assert matched(one, other, "conv2") == pytest.approx((1.0, 1.0))


def test_a_mixture_of_neurons_is_explained_by_them_and_a_stranger_is_not():
    rng = torch.Generator().manual_seed(0)
    x, held = torch.rand(200, 3, 32, 32, generator=rng).split(100)
    clean = network(1)
    mixed, mixture = copy.deepcopy(clean), torch.randn(24, 24, generator=rng)
    with torch.no_grad():
        mixed.conv3.weight.copy_(torch.einsum("ij,jkhw->ikhw", mixture, clean.conv3.weight))
    found = explained(clean, mixed, x, held)["conv3"]
    assert found == pytest.approx(torch.ones(24), abs=1e-3)
    others = (near(clean, 0.1, 2), near(clean, 0.4, 1), network(2))
    shares = [explained(clean, other, x, held) for other in others]
    for layer in ("conv2", "conv3"):
        close, further, stranger = (share[layer].median() for share in shares)
        assert 1 > close > further > stranger
    switch_off(clean, "conv2", 3)
    assert len(explained(mixed, clean, x, held)["conv2"]) == 15
