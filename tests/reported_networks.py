"""What tests of the report share: tiny networks, images, a value among records."""

import copy

import torch
from torch import nn

from fpcore.ball import Ball

BALL = Ball("l2", 0.3, (0.0, 1.0))


def images(n=24, seed=0, size=6, classes=3):
    """Random images (n, 3, size, size) with labels in turn."""
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, size, size, generator=rng), torch.arange(n) % classes


def convolutional(seed, classes=3):
    """Two convolutions with batch normalisation, and a linear layer."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(32, classes),
    )
    return net.eval()


def perceptron(seed, classes=3):
    """Two linear layers, no normalisation."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(108, 16), nn.ReLU(), nn.Linear(16, classes)).eval()


def moved(net, size, seed):
    """A copy of a network, its parameters moved at random by `size` of their spread."""
    twin, rng = copy.deepcopy(net), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in twin.parameters():
            spread = p.float().std(correction=0) + 0.01
            p.add_((size * spread * torch.randn(p.shape, generator=rng)).to(p))
    return twin


def five(make=convolutional):
    """Five networks by their role."""
    clean = make(1)
    return {
        "clean": clean,
        "adversarial": moved(clean, 0.5, 2),
        "control": moved(clean, 0.1, 3),
        "init": make(4),
        "scratch": make(5),
    }


def value(found, quantity, network=None, layer=None, **over):
    """The value of the one record of this kind."""
    wanted = {"quantity": quantity, "network": network, "layer": layer, **over}
    rows = [r for r in found.records if all(r.get(k) == v for k, v in wanted.items())]
    (row,) = [
        r
        for r in rows
        if set(r) - {"threat", "seed", "value"}
        <= {key for key, given in wanted.items() if given is not None}
    ]
    return row["value"]
