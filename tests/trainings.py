"""What the tests of training share: a small network and data, and data that stop a run."""

import json

import torch

from fpcore.models.two_layer import TwoLayer
from fpcore.training import Schedule, Training

D = 32
QUICK = Training(steps=10, lr=2.0, batch=16, seed=1)
HARD = Training(
    steps=10,
    lr=Schedule((0, 0.5), (1, 2)),
    batch=16,
    momentum=0.9,
    weight_decay=1e-3,
    radius=Schedule((0, 0.05), (1, 0.2)),
    threshold=Schedule((0, 0.05), (1, 0.2)),
    clip=1.0,
    seed=1,
)


class Stopped(Exception):
    """What stops a run half-way."""


class Stopping:
    """Data that stops a run at a step."""

    def __init__(self, data, at):
        self.data, self.at = data, at

    def batch(self, size, seed, step):
        if step == self.at:
            raise Stopped
        return self.data.batch(size, seed, step)


class Constant:
    """Data that gives the same batch at every step."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def batch(self, size, seed, step):
        return self.x, self.y


def network(m=16, seed=0):
    return TwoLayer(D, m, threshold=0.05, rng=torch.Generator().manual_seed(seed))


def measure(net):
    return {"norm": net.state_dict()[next(iter(net.state_dict()))].norm().item()}


def same_state(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def same_history(a, b):
    """Equal entry by entry; NaN, the loss of step 0, equals itself."""
    return json.dumps(a) == json.dumps(b)
