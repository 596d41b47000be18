import pytest
import torch

from fpcore.decomposition.layers import neurons, switched_on
from fpcore.models.convnet import ConvNet
from fpcore.models.resnet import ResNet


@pytest.mark.parametrize("off", ["weight", "scale"])
@pytest.mark.parametrize(
    ("network", "layer", "norm"),
    [(ConvNet, "conv2", "bn2"), (ResNet, "blocks.1.conv1", "blocks.1.bn2")],
)
def test_a_neuron_is_off_when_its_weights_or_the_scale_after_it_have_gone(
    network, layer, norm, off
):
    net = network(1 / 8)
    with torch.no_grad():
        net.get_submodule(layer if off == "weight" else norm).weight[2] *= 1e-6
    on = switched_on(net)
    assert on.keys() == neurons(net).keys()
    gone = {name: mask.logical_not().nonzero().flatten().tolist() for name, mask in on.items()}
    assert gone == {name: [2] if name == layer else [] for name in on}


def test_a_scale_between_two_blocks_switches_no_neuron_off():
    """What a residual block reads is a sum of convolutions: its scale belongs to none of them."""
    net = ResNet(1 / 8)
    with torch.no_grad():
        net.blocks[1].bn1.weight[2] *= 1e-6
    assert all(mask.all() for mask in switched_on(net).values())
