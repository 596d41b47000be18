"""Each warning of an evaluation: provoked by a mistake, and silent on sound networks."""

import warnings

import pytest
import torch
from torch import nn

from fpcore import alerts, evaluation
from fpcore.attacks import fgm, pgd, robust_accuracy, robust_correct, transfer
from fpcore.ball import Ball
from fpcore.certificates import certify
from fpcore.evaluation import check_evaluation, check_order
from fpcore.models.outputs import correct

BALL = Ball("l2", 0.3)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def points(n=60, d=6):
    """Samples of two classes, apart by 2 along the first axis."""
    x = torch.randn(n, d, generator=rng())
    y = torch.ones(n)
    y[::2] = -1
    x[:, 0] = 0.3 * x[:, 0] + y
    return x, y


class Along(nn.Module):
    """One logit, a function of the first coordinate."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x[:, 0])


class Scores(nn.Module):
    """Two scores, after something that is done to them."""

    def __init__(self, after=lambda scores: scores):
        super().__init__()
        self.after = after

    def forward(self, x):
        return self.after(torch.stack([-x[:, 0], x[:, 0]], 1))


SOUND = {
    "linear": Along(lambda u: u),
    "curved": Along(lambda u: torch.tanh(u)),
    "scores": Scores(),
    "scaled": Scores(lambda scores: 3 * scores),
}


def classes(net, y):
    return (y > 0).long() if isinstance(net, Scores) else y


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("ball", [BALL, Ball("linf", 0.3), Ball("l2", 0.0)])
def test_sound_networks_are_not_warned_of(name, ball):
    net, (x, y) = SOUND[name], points()
    found = check_evaluation(net, x, classes(net, y), ball, restarts=2)
    clean, pgd_alone = found.accuracies["clean"], found.accuracies["PGD"]
    assert clean > 0.9 and pgd_alone <= clean
    robust_accuracy(net, x, classes(net, y), ball, steps=3, restarts=1)


def test_a_two_layer_network_and_its_certificate_are_sound(sparse, planted):
    net, (x, y) = planted(dense=0.5, noise=0.2), sparse.test_set(60, seed=1)
    proved = certify(net, x, y, 0.1, branches=10).robust
    with warnings.catch_warnings():
        warnings.simplefilter("error", alerts.EvaluationWarning)
        found = check_evaluation(net, x, y, Ball("l2", 0.1), restarts=2, certified=proved)
    assert found.accuracies["certified"] <= found.accuracies["PGD with restarts"]


def said(kind, call, match=""):
    """What of a kind of warning a call says; others are let be."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        call()
    found = [str(one.message) for one in record if issubclass(one.category, kind)]
    assert any(match in text for text in found), [str(one.message) for one in record]
    assert all(f"see {alerts.PAGE}, {kind.__name__}" in text for text in found)
    return found


def both(net, ball=BALL, **options):
    """The same evaluation, quick and thorough."""
    x, y = points()
    labels = classes(net, y)
    yield lambda: robust_correct(net, x, labels, ball, steps=3, restarts=1)
    yield lambda: check_evaluation(net, x, labels, ball, restarts=2, **options)


def test_zero_gradients_are_said():
    for call in both(Along(lambda u: u.detach().sign() + 0 * u)):
        (text,) = said(alerts.ZeroGradientWarning, call, "exactly zero")
        assert "survivors" in text


def test_gradients_that_are_not_finite_are_said():
    for call in both(Along(lambda u: u.sign() * (1 + (u - u.detach()).abs().sqrt()))):
        said(alerts.GradientWarning, call, "not finite")


@pytest.mark.parametrize(
    "net",
    [Scores(lambda scores: (9 * scores).softmax(1)), Along(lambda u: (9 * u).sigmoid())],
    ids=["softmax", "sigmoid"],
)
def test_probabilities_are_said(net):
    for call in both(net):
        said(alerts.SaturatedWarning, call, "probabilities")


def test_scores_whose_loss_is_exactly_zero_are_said():
    *_, thorough = both(Scores(lambda scores: 1e4 * scores))
    said(alerts.SaturatedWarning, thorough, "exactly 0")


def test_a_random_network_is_said_by_every_attack():
    net = Along(lambda u: u + 0.1 * torch.randn_like(u))
    x, y = points()
    calls = [lambda: fgm(net, x, y, BALL), lambda: pgd(net, x, y, BALL, steps=2)]
    for call in [*calls, *both(net)]:
        said(alerts.RandomWarning, call)


def test_a_network_that_looks_at_the_batch_is_said_by_every_attack():
    net = Along(lambda u: u - 0.5 * u.mean())
    x, y = points()
    calls = [lambda: fgm(net, x, y, BALL), lambda: pgd(net, x, y, BALL, steps=2)]
    for call in [*calls, *both(net)]:
        said(alerts.BatchWarning, call)


def test_a_gradient_that_misleads_is_said():
    *_, thorough = both(Along(lambda u: 0.2 * u + 0.3 * torch.sin(25 * u)), Ball("l2", 0.9))
    said(alerts.WeakAttackWarning, thorough)


def test_restarts_that_still_help_are_said():
    class Valleys(nn.Module):
        """Flat, with holes that random starts fall into now and then."""

        def forward(self, x):
            hole = 0.08 - (x[:, 1:3] - x[:, 1:3].round()).norm(dim=1)
            return torch.where(hole > 0, -hole, 1 + 0 * hole)

    x = torch.full((80, 3), 0.5)
    y = torch.ones(80)
    ball = Ball("l2", 1.0)
    said(
        alerts.WeakAttackWarning,
        lambda: check_evaluation(Valleys(), x, y, ball, restarts=2),
        "take more restarts",
    )


def test_steps_that_still_help_are_said():
    # Steps of 1/32 meet the valley, steps of 5/16 pass over it.
    narrow = Along(lambda u: (u - 0.77).abs() - 0.03)
    x, y, ball = torch.zeros(40, 2), torch.ones(40), Ball("l2", 1.0)
    said(
        alerts.WeakAttackWarning,
        lambda: check_evaluation(narrow, x, y, ball, steps=8, restarts=1),
        "take more steps",
    )


def test_an_attack_without_the_gradient_that_wins_is_said():
    hidden = Along(lambda u: u.detach() + 0 * u)
    *_, thorough = both(hidden, Ball("l2", 1.5))
    said(alerts.HiddenGradientWarning, thorough, "(no gradient)")
    source = transfer(Along(lambda u: u), Ball("l2", 1.5))
    *_, thorough = both(hidden, Ball("l2", 1.5), others=(source,))
    said(alerts.HiddenGradientWarning, thorough, "(other attack 1)")


def test_a_certified_sample_that_is_broken_is_said():
    x, y = points()
    net, ball = Along(lambda u: u), Ball("l2", 1.0)
    everything = torch.ones(len(x), dtype=torch.bool)
    said(
        alerts.OrderWarning,
        lambda: check_evaluation(net, x, y, ball, restarts=1, certified=everything),
        "certified, and yet",
    )
    proved = y * net(x) > 1.0
    check_evaluation(net, x, y, ball, restarts=1, certified=proved)
    for wrong in (proved[:3], proved.float(), None.__class__):
        with pytest.raises(ValueError, match="certified"):
            check_evaluation(net, x, y, ball, restarts=1, certified=wrong)


def test_published_accuracies_are_in_order():
    check_order(0.9, 0.5)
    check_order(0.9, 0.5, 0.5)
    said(alerts.OrderWarning, lambda: check_order(0.5, 0.6), "above the clean one")
    said(alerts.OrderWarning, lambda: check_order(0.9, 0.5, 0.6), "above the robust one")
    with pytest.raises(ValueError, match=r"robust = 1.5: give"):
        check_order(0.9, 1.5)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_random_search_keeps_to_ball_and_box_and_raises_the_loss(norm):
    x, y = points()
    net, ball = SOUND["linear"], Ball(norm, 0.5, (-9.0, 9.0))
    moved = evaluation.random_search(net, x, y, ball, rng())
    assert (ball.size(moved - x) <= 0.5 + 1e-5).all()
    assert (y * net(moved) < y * net(x)).all()
    broken = correct(net(x), y) & ~correct(net(moved), y)
    best = correct(net(x), y) & ~correct(net(pgd(net, x, y, ball)), y)
    assert broken.any() and not (broken & ~best).any()
