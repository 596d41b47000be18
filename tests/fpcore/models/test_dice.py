"""A network that draws is found out, however rarely it shows; one that does not is not blamed."""

import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from fpcore.alerts import RandomWarning
from fpcore.attacks import fgm, pgd, robust_correct
from fpcore.ball import Ball
from fpcore.models.dice import Dice
from fpcore.models.outputs import accuracy

BALL = Ball("l2", 0.1)
CALLS = {
    "fgm": lambda net, x, y: fgm(net, x, y, BALL),
    "pgd": lambda net, x, y: pgd(net, x, y, BALL, steps=2),
    "robust_correct": lambda net, x, y: robust_correct(net, x, y, BALL, steps=2, restarts=1),
    "accuracy": accuracy,
}


class Noisy(nn.Linear):
    """Scores of three classes, after what `noise` makes of them."""

    def __init__(self, noise):
        super().__init__(6, 3)
        self.noise = noise
        self.generator = torch.Generator().manual_seed(0)
        self.numpy_generator = np.random.default_rng(0)
        self.python_generator = random.Random(0)

    def forward(self, x):
        return self.noise(self, super().forward(x))


def one_class(_, scores):
    return torch.cat([scores[:, :2], scores[:, 2:] + torch.rand(()) * 1e-9], 1)


def reseeded(_, scores):
    torch.manual_seed(0)
    return scores + torch.rand(())


def forked(_, scores):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return scores + torch.rand(())


RARE = {
    "dropout of one in a million": lambda _, s: nn.functional.dropout(s, 1e-6),
    "one class": one_class,
    "rounded away": lambda _, s: s + 1e-12 * torch.rand(s.shape),
    "numpy": lambda _, s: s + 1e-12 * float(np.random.mtrand._rand.rand()),
    "Python": lambda _, s: s + 1e-12 * random.random(),
    "its own": lambda net, s: s + 1e-12 * torch.rand((), generator=net.generator),
    "its own of numpy": lambda net, s: s + 1e-12 * float(net.numpy_generator.random()),
    "its own of Python": lambda net, s: s + 1e-12 * net.python_generator.random(),
}
STEADY = {
    "none": lambda _, s: s,
    "dropout that is off": lambda _, s: nn.functional.dropout(s, 0.5, training=False),
    "seeded each time": reseeded,
    "seeded, and put back": forked,
}


def data(n=8):
    return torch.rand(n, 6, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("noise", RARE.values(), ids=RARE)
def test_randomness_that_hardly_ever_shows_is_a_warning(call, noise):
    with torch.random.fork_rng(), pytest.warns(RandomWarning, match="draws random numbers"):
        call(Noisy(noise), *data())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_noise_that_a_low_precision_rounds_away_is_seen(dtype):
    x, y = data()
    net = Noisy(lambda _, s: s + 1e-6 * torch.rand_like(s)).to(dtype)
    with torch.random.fork_rng(), pytest.warns(RandomWarning):
        accuracy(net, x.to(dtype), y)


@pytest.mark.parametrize("name", ["accuracy", "robust_correct"])
def test_randomness_of_large_batches_alone_is_seen_where_all_samples_are_asked_for(name):
    def noise(_, scores):
        return scores + torch.rand(()) * 1e-12 if len(scores) > 5 else scores

    with torch.random.fork_rng(), pytest.warns(RandomWarning):
        CALLS[name](Noisy(noise), *data())


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("noise", STEADY.values(), ids=STEADY)
def test_a_network_that_answers_the_same_is_not_blamed(call, noise):
    x, y = data()
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("error", RandomWarning)
        call(Noisy(noise), x, y)


def test_looking_moves_no_generator():
    net = Noisy(None)
    dice = Dice(net, torch.device("cpu"))
    before = torch.get_rng_state(), random.getstate(), np.random.mtrand._rand.get_state()[1].copy()
    assert not dice.moved() and not dice.moved()
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
    assert (np.random.mtrand._rand.get_state()[1] == before[2]).all()
    torch.rand((), generator=net.generator)
    assert dice.moved() and not dice.moved()
