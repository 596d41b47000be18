"""APGD against what it must do on functions that are known, and where one run is not enough."""

import itertools

import pytest
import torch
from torch import nn

from fpcore.apgd import apgd, checkpoints, ratio, withstand
from fpcore.attacks import pgd, robust_correct
from fpcore.ball import Ball
from fpcore.gradients import margin
from fpcore.models.convnet import ConvNet
from fpcore.models.outputs import correct
from fpcore.models.two_layer import TwoLayer

BALL = Ball("l2", 1.0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def nobody(x):
    return torch.zeros(len(x), dtype=torch.bool)


class Along(nn.Module):
    """One logit, or class scores, a function of the first coordinate."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x[:, 0])


def test_checkpoints_are_those_of_the_paper():
    assert [*checkpoints(100)] == [22, 41, 57, 70, 80, 87, 93, 99]
    for steps in range(1, 50):
        at = checkpoints(steps)
        assert all(a < b for a, b in itertools.pairwise(at))
        assert sum(at.values()) == max(at)


@pytest.mark.parametrize("classes", [4, 10])
def test_the_ratio_is_that_of_its_formula_and_knows_no_scale(classes):
    scores = torch.randn(7, classes, generator=rng())
    y, target = torch.zeros(7, dtype=torch.long), torch.ones(7, dtype=torch.long)
    found = ratio(scores, y, target)
    for one, value in zip(scores, found):
        order = one.sort(descending=True).values
        spread = order[0] - (order[2] + order[3]) / 2
        torch.testing.assert_close(value, (one[1] - one[0]) / spread)
    torch.testing.assert_close(ratio(1e3 * scores + 5, y, target), found, rtol=1e-3, atol=1e-3)
    assert ratio(0 * scores, y, target).isfinite().all()
    torch.testing.assert_close(ratio(scores[:, :3], y, target), scores[:, 1] - scores[:, 0])


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_reaches_the_exact_worst_case_of_a_linear_model(norm):
    net = TwoLayer(12, 5, threshold=0.0, init_norm=2.0, rng=rng())
    w = net.weight.detach().sum(0)
    x = torch.randn(60, 12, generator=rng(1))
    y, ball = net(x).detach().sign(), Ball(norm, 0.3)
    clean, reach = y * net(x).detach(), 0.3 * (w.norm() if norm == "l2" else w.abs().sum())
    found = apgd(net, x, y, ball, 10, nobody(x))
    attacked = y * net(found).detach()
    alive = attacked > 0
    assert ball.size(found - x).max() < 0.3 + 1e-5
    assert torch.equal(alive, clean > reach) and 0 < alive.sum() < 60
    torch.testing.assert_close(attacked[alive], (clean - reach)[alive], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_keeps_to_ball_and_box_and_its_margin_does_not_fall(norm):
    torch.manual_seed(0)
    net, x = ConvNet(1 / 8).eval(), torch.rand(24, 3, 32, 32)
    y = net(x).argmax(1)
    ball = Ball(norm, 0.1 if norm == "l2" else 0.002, (0.0, 1.0))
    start = x + ball.project(ball.random(x, rng()), x)
    for options in ({}, {"start": start}, {"target": (y + 1) % 10}):
        found = apgd(net, x, y, ball, 7, nobody(x), **options)
        assert ball.size(found - x).max() < ball.radius * (1 + 1e-4) + 1e-6
        assert found.min() >= 0 and found.max() <= 1
        rise = margin(net(found), y) - margin(net(x), y)
        if not options:
            assert (rise[correct(net(found), y)] > 1e-4).all()
        assert (found != x).flatten(1).any(1).all()


def test_its_steps_shrink_where_they_are_too_long():
    narrow = Along(lambda u: (u - 0.77).abs() - 0.03)  # steps of the radius pass over the valley
    x, y = torch.zeros(4, 2), torch.ones(4)
    assert correct(narrow(pgd(narrow, x, y, BALL, steps=20, step_size=1.0)), y).all()
    assert not correct(narrow(apgd(narrow, x, y, BALL, 20, nobody(x))), y).any()


def decoy(u):
    """Right at 0. The second class comes near on the right, the third wins on the left."""
    second = 0.9 - (u - 0.3).abs()
    return torch.stack([torch.ones_like(u), second, -2 * u - 0.5], 1)


def test_other_classes_are_tried_where_the_likeliest_cannot_be_reached():
    net, x, y = Along(decoy), torch.zeros(5, 2), torch.zeros(5, dtype=torch.long)
    for restarts, survive in ((1, True), (2, False)):
        alive, lost = withstand(net, x, y, BALL, 10, restarts)
        assert alive.all() == survive and alive.any() == survive and not lost.any()
    assert not robust_correct(net, x, y, BALL, steps=10, restarts=2).any()


def test_random_starts_follow_for_one_logit():
    """Flat at the origin, and broken away from it: only a random start finds a way out."""

    class Valley(nn.Module):
        def forward(self, x):
            return 1 - 4 * (x.norm(dim=1) - 0.1).clamp(min=0)

    x, y = torch.zeros(20, 3), torch.ones(20)
    assert withstand(Valley(), x, y, BALL, 5, 1)[0].all()
    assert not withstand(Valley(), x, y, BALL, 5, 3, rng())[0].any()


def test_a_long_run_follows_on_those_that_came_nearest():
    steps = []

    class Counted(Along):
        def forward(self, x):
            steps.append(len(x))
            return super().forward(x)

    x = torch.stack([torch.linspace(1.2, 3, 8), torch.zeros(8)], 1)
    net, y = Counted(lambda u: u), torch.ones(8)
    assert withstand(net, x, y, BALL, 4, 3)[0].all()
    assert steps.count(8) == 1 + 3 * (4 + 1 + 1) and steps.count(2) == 4 * 5 + 1 + 1


def test_no_samples_are_none_that_withstand():
    alive, lost = withstand(Along(decoy), torch.zeros(0, 2), torch.zeros(0).long(), BALL, 3, 5)
    assert alive.shape == lost.shape == (0,)
