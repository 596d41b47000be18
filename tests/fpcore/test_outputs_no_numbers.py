"""An output that is no number is one error in every attack and accuracy, and where only an attack
meets it, a warning."""

import pytest
import torch
from torch import nn

from fpcore.alerts import GradientWarning
from fpcore.attacks import fgm, pgd, robust_accuracy, robust_correct
from fpcore.auto_attack import autoattack
from fpcore.ball import Ball
from fpcore.evaluation import check_evaluation
from fpcore.models.outputs import accuracy, classified
from fpcore.models.two_layer import TwoLayer

BALL = Ball("l2", 0.1)
PIXELS = Ball("l2", 0.1, (0.0, 1.0))
CALLS = {
    "fgm": lambda net, x, y: fgm(net, x, y, BALL),
    "pgd": lambda net, x, y: pgd(net, x, y, BALL, steps=2),
    "pgd that does not stop": lambda net, x, y: pgd(net, x, y, BALL, steps=2, stop=False),
    "robust_correct": lambda net, x, y: robust_correct(net, x, y, BALL, steps=2, restarts=1),
    "robust_accuracy": lambda net, x, y: robust_accuracy(net, x, y, BALL, steps=2, restarts=1),
    "check_evaluation": lambda net, x, y: check_evaluation(net, x, y, BALL, steps=2, restarts=1),
    "classified": classified,
    "accuracy": accuracy,
}


class LogOf(nn.Module):
    """Scores of four classes from the log of a sample's first number: none where that is below."""

    def __init__(self, least=0.0):
        super().__init__()
        self.least, self.weight = least, nn.Parameter(torch.tensor([0.0, 1.0, -1.0, 2.0]))

    def forward(self, x):
        return (x.flatten(1)[:, :1] - self.least).log() * self.weight


def samples(bad):
    x, y = torch.rand(8, 6) + 0.2, torch.arange(8) % 4
    for i in bad:
        x[i, 0] = -0.5
    return x, y


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("bad", [(0,), (5,), range(8)], ids=["first", "sixth", "all"])
def test_at_a_sample_it_is_the_same_error_everywhere(call, bad):
    says = r"outputs that are no numbers \(NaN\), .* of them: give samples scaled as in its"
    with pytest.raises(ValueError, match=says):
        call(LogOf(), *samples(bad))


@pytest.mark.parametrize("bad", [0, 70], ids=["first", "beyond the first 64"])
def test_so_it_is_in_autoattack(bad):
    x, y = torch.rand(72, 3, 8, 8) * 0.5 + 0.5, torch.arange(72) % 4
    x[bad] = 0.0
    with pytest.raises(ValueError, match=r"no numbers \(NaN\)"):
        autoattack(LogOf(0.1), x, y, PIXELS, chunk=72)


@pytest.mark.parametrize("name", ["fgm", "pgd"])
def test_of_a_two_layer_network_too(name):
    net, (x, _) = TwoLayer(6, 5), samples(())
    net.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"NaN|not finite"):
        CALLS[name](net, x, torch.tensor([1.0, -1.0]).repeat(4))


def test_where_only_the_attack_meets_it_the_sample_stays_with_a_warning():
    x, y = torch.full((2, 6), 0.05), torch.tensor([3, 3])
    with pytest.warns(GradientWarning):
        adversarial = pgd(LogOf(), x, y, Ball("l2", 1.0), steps=1, stop=False)
    assert adversarial.isfinite().all()
