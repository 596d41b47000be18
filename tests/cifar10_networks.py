"""What the tests of fpbook.cifar10 share: images, related networks, values among records."""

import copy

import torch

from fpbook.cifar10 import CifarExperiment
from fpbook.results import number, summarise, table
from fpcore.images import Images
from fpcore.models.convnet import ConvNet

TINY = CifarExperiment(
    width=1 / 8,
    train_images=64,
    test_images=32,
    clean_epochs=1,
    adversarial_epochs=1,
    seeds=1,
    batch=32,
    attacked_images=12,
    ranks=(0, 2),
    control_ranks=(2,),
)


def random_images(n, seed=0):
    """Random images with labels in turn."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, 32, 32, generator=rng).contiguous(memory_format=torch.channels_last)
    return Images(x, torch.arange(n) % 10, "random")


def near(net, scale, seed):
    """A copy of a network with noise on its parameters."""
    twin, rng = copy.deepcopy(net), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(scale * p.std().nan_to_num(0.0) * torch.randn(p.shape, generator=rng))
    return twin


def family():
    """Five networks: a clean one, near descendants of it, and two of other origin."""
    nets = []
    for seed in range(3):
        torch.manual_seed(seed)
        nets.append(ConvNet(1 / 4).eval())
    init, clean, scratch = nets
    return {
        "init": init,
        "clean": clean,
        "purified": near(clean, 0.4, 1),
        "control": near(clean, 0.1, 2),
        "scratch": scratch,
    }


def switch_off(net, layer, *which):
    """Make neurons of a layer small, as weight decay does."""
    with torch.no_grad():
        net.get_submodule(layer).weight[list(which)] *= 1e-6


def same_weights(one, other):
    """Whether two networks are the same, statistics included."""
    return all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


def value(found, quantity, network=None, layer=None, **abscissae):
    """The value of one record among those of a seed; None if it is not there."""
    one = number(summarise(table(found)), quantity, network, layer, **abscissae)
    return None if one is None else one.value
