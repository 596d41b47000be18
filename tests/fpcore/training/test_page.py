"""The how-to page: its code runs, and its losses are those of the papers."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import fpcore as fp

PAGE = Path(fp.__file__).parents[1] / "pages" / "how-to" / "train-with-your-loss.md"
BALL = fp.Ball("linf", 0.05, (0.0, 1.0))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What the code of the page defines, executed from its top to its end."""
    names, folder = {}, tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
            exec(compile(block, str(PAGE), "exec"), names)
    return names


class Recording(torch.nn.Module):
    """Class scores of a linear layer, and the samples that they were asked of with gradients."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.linear = torch.nn.Linear(12, 4).double()
        self.seen = []

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach())
        return 6 * self.linear(x)


def case(seed=0):
    x = torch.rand(9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Recording(), x, torch.arange(9) % 4


def probabilities(net, x):
    scores = 6 * (x @ net.linear.weight.T + net.linear.bias).detach().numpy()
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def kl(p, q):
    return (p * np.log(p / q)).sum(1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_trades_is_its_formula(seed, beta, page):
    net, x, y = case(seed)
    value = page["trades"](net, x, y, BALL, beta=beta).detach().numpy()
    clean, moved = net.seen
    assert torch.equal(clean, x) and BALL.size(moved - x).max() <= 0.05 + 1e-12
    p, q = probabilities(net, x), probabilities(net, moved)
    expected = -np.log(p[np.arange(9), y]) + beta * kl(p, q)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_the_adversary_of_trades_raises_the_divergence_beyond_chance(page):
    net, x, y = case()
    page["trades"](net, x, y, BALL)
    p, reached = probabilities(net, x), probabilities(net, net.seen[-1])
    rng = torch.Generator().manual_seed(0)
    draws = [BALL.project(BALL.random(x, rng), x) for _ in range(50)]
    chance = np.max([kl(p, probabilities(net, x + draw)) for draw in draws], axis=0)
    assert (kl(p, reached) > chance).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weight", [0.0, 1.0, 5.0])
def test_mart_is_its_formula(seed, weight, page):
    net, x, y = case(seed)
    value = page["mart"](net, x, y, BALL, weight=weight).detach().numpy()
    clean, moved = net.seen
    assert torch.equal(clean, x) and BALL.size(moved - x).max() <= 0.05 + 1e-12
    p, q, i = probabilities(net, x), probabilities(net, moved), np.arange(9)
    others = q.copy()
    others[i, y] = 0
    bce = -np.log(q[i, y]) - np.log(1 - others.max(1))
    expected = bce + weight * kl(p, q) * (1 - p[i, y])
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_the_page_trains_networks_that_are_robust_and_reads_one_back(page):
    ball = fp.Ball("linf", 0.05, (0.0, 1.0))
    for net in (page["net"], page["again"]):  # by MART, by TRADES
        assert fp.robust_accuracy(net, page["x"], page["y"], ball, steps=5, restarts=1) > 0.7
    untrained = page["network"]()
    assert fp.robust_accuracy(untrained, page["x"], page["y"], ball, steps=5, restarts=1) < 0.2
    assert page["history"][-1]["step"] == page["steps"]
