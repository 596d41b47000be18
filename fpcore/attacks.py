"""Attacks: one loop in a ball. FGM is one step of it, PGD many with restarts.

They bound robustness from above.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.alerts import GradientWarning as GradientWarning
from fpcore.apgd import withstand
from fpcore.ball import Ball
from fpcore.extra_attacks import Attack, check_extra, kept_to
from fpcore.extra_attacks import along as along
from fpcore.gradients import (
    broken,
    loss_alone,
    loss_and_grad,
    not_of_inference,
    stepped,
    warn_of_flat,
    warn_of_lost,
    warn_of_probabilities,
    withstood,
)
from fpcore.models.folded import WORTH, folded, parts, taken
from fpcore.models.outputs import correct, evaluating, ready, some, steady_answers, without_nan


def fgm(model: nn.Module, x: Tensor, y: Tensor, ball: Ball, lost: Tensor | None = None) -> Tensor:
    """Fast gradient method, one full step to the sphere: x + radius * steepest(grad).

    model  gives one logit a sample, or class scores; its mode, parameters and gradients stay
    x      samples (n, ...)
    y      their labels (n,)
    ball   the threat: for linf it is FGSM
    lost   (n,), bool, is set where the gradient is not finite, by callers who have checked x and
           y; None: these are checked, and a `GradientWarning` says how often

    Returns adversarial x of the same shape; without a finite gradient, x stays. ValueError where an
    output is not a number, of callers who have not checked.
    Source: Goodfellow et al. (2015); for l2, Allen-Zhu & Li (2020), section 2.
    """
    if lost is None:
        before_attack(model, x, y, ball)
    missed = torch.zeros(len(x), dtype=torch.bool, device=x.device) if lost is None else lost
    output, moved = _once(model, x, y, ball, missed)
    if lost is None:
        without_nan(output)
        warn_of_lost(missed, ball)
    return moved


def before_attack(model: nn.Module, x: Tensor, y: Tensor, ball: Ball, probe: int = 2) -> None:
    """The checks of an attack: raise ValueError that names what is wrong, before any work.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    ball   the threat
    probe  as in `ready`
    """
    checks.instance("ball", ball, Ball, 'Ball("l2", 0.5)')
    checks.network("model", model)
    ball.check(x)
    not_of_inference(model)
    ready(model, x, y, probe)


def one_step(model: nn.Module, x: Tensor, y: Tensor, ball: Ball, lost: Tensor) -> Tensor:
    """`fgm` on x known to be in the box: training, after its first batch, waits for no check.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    ball   the threat
    lost   as in `fgm`
    """
    return _once(model, x, y, ball, lost)[1]


def _once(model: nn.Module, x: Tensor, y: Tensor, ball: Ball, lost: Tensor) -> tuple[Tensor, ...]:
    """The outputs at x, and x after the step of `fgm`, whose arguments these are."""
    with evaluating(model):
        output, _, grad = loss_and_grad(model, x, y)
    return output, stepped(x.detach(), grad, ball, lost)


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    steps: int = 20,
    restarts: int = 1,
    step_size: float | None = None,
    rng: torch.Generator | None = None,
    stop: bool = True,
    lost: Tensor | None = None,
    at_random: bool = False,
) -> Tensor:
    """Projected gradient ascent on the loss: the first run starts at x, each restart at random.

    model      gives one logit a sample, or class scores; its mode, parameters and gradients stay
    x          samples (n, ...)
    y          their labels (n,)
    ball       the threat, and where a restart draws its start
    steps      of each run
    restarts   number of runs
    step_size  in the units of the radius; None: 2.5 radius / steps
    rng        of the random starts
    stop       samples already broken are left alone, which saves their share of the work; without
               it they are not, and all get the x of the largest loss, as training and transfer want
    lost       (n,), bool, as in `fgm`; it is set where an output is not a number as well
    at_random  whether the first run starts at random, too

    Returns a misclassified x where one was met, else the x of the largest loss met, which is never
    below that of where the first run starts. Without a finite gradient a sample stays there, and an
    output that is not a number breaks no sample; at x itself it is a ValueError, unless `lost` is
    given. Source: Madry et al. (2018).
    """
    checks.positive_int("steps", steps)
    checks.positive_int("restarts", restarts)
    checks.random_numbers("rng", rng)
    if step_size is not None and not checks.finite("step_size", step_size) and ball.radius:
        raise ValueError("step_size = 0: give a number above 0, or None for 2.5 radius / steps")
    if lost is None:
        before_attack(model, x, y, ball, probe=1 if stop else 2)
    size = 2.5 * ball.radius / steps if step_size is None else step_size
    if size > torch.finfo(x.dtype).max / 4:
        found = f"step_size = {size:g} is too large for x, which is {x.dtype}"
        raise ValueError(f"{found}: give at most 2 radius, {2 * ball.radius:g}")
    missed = torch.zeros(len(x), dtype=torch.bool, device=x.device) if lost is None else lost
    met = _Met(x.detach(), y, missed)
    with evaluating(model):
        quick = folded(model, x) if len(x) * steps >= WORTH else model
        for random in [at_random, *[True] * (restarts - 1)]:
            if len(met.todo):
                at = ball.start(met.x[met.todo], rng) if random else met.x
                known = lost is None and at is met.x
                _ascend(quick, met, at, ball, steps, size, stop, quick is not model, known)
    if lost is None:
        warn_of_lost(missed, ball)
    return met.best


class _Met:
    """What `pgd` has met of samples x (n, ...) of labels y so far."""

    def __init__(self, x: Tensor, y: Tensor, lost: Tensor):
        self.x, self.y = x, y
        self.lost = lost  # (n,) bool, which had no finite gradient, or an output that is no number
        self.best = x.clone()  # what `pgd` returns
        self.worst_loss = torch.full((len(x),), -torch.inf, dtype=torch.float32, device=x.device)
        self.todo = torch.arange(len(x), device=x.device)  # those not yet broken

    def note(self, which: Tensor, at: Tensor, values: Tensor) -> None:
        """Keep the points of the largest loss, of some of the samples."""
        better = (values > self.worst_loss[which]).nonzero().flatten()  # no NaN is ever better
        self.best.index_copy_(0, which[better], taken(at, better))
        self.worst_loss[which[better]] = values[better]
        self.lost[which] |= values.isnan()


def _ascend(
    model: nn.Module,
    met: _Met,
    at: Tensor,
    ball: Ball,
    steps: int,
    size: float,
    stop: bool,
    rounded: bool,
    first: bool,
) -> None:
    """One run of `pgd`, on the samples that it has to break still.

    model    in evaluation mode
    met      what it has met; it is told of each point
    at       where the run starts (n, ...)
    ball     the threat
    steps    of the run
    size     of a step
    stop     as in `pgd`
    rounded  whether the model is a copy, as in `broken`
    first    whether `at` are the samples themselves, where outputs must be numbers
    """
    x = met.x[met.todo]
    for step in range(steps + 1):
        moved = at if step == steps else torch.empty_like(at)
        wrong = torch.zeros(len(at), dtype=torch.bool, device=at.device)
        for part in parts(at):  # a part stays in the cache while its step is made
            which, y = met.todo[part], met.y[met.todo[part]]
            if step < steps:
                output, values, grad = loss_and_grad(model, at[part], y)
                if first and step == 0:
                    without_nan(output)
                ahead, finite = ball.step(at[part], grad, x[part], size, out=moved[part])
                moved[part] = ahead  # itself, almost always
                met.lost[which] |= ~finite
            else:  # nobody reads the gradient where the last step has led
                output, values = loss_alone(model, at[part], y)
            met.note(which, at[part], values)
            wrong[part] = broken(output, y, rounded)
        if stop and wrong.any():  # a misclassified point is kept, whatever its loss
            met.best[met.todo[wrong]] = at[wrong]
            right = (~wrong).nonzero().flatten()
            met.todo, x, moved = (taken(one, right) for one in (met.todo, x, moved))
            if not len(x):
                return
        at = moved


def transfer(source: nn.Module, ball: Ball, **options: Any) -> Attack:
    """PGD on the network `source`, with `options`, tried on another.

    It finds what the gradient of that one hides, and does not stop where `source` breaks, since the
    other may break further out.
    """
    checks.network("source", source)
    checks.instance("ball", ball, Ball, 'Ball("l2", 0.5)')
    return lambda _, x, y: pgd(source, x, y, ball, **options, stop=False)


@torch.no_grad()
def robust_correct(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    steps: int = 20,
    restarts: int = 5,
    extra: tuple[Attack, ...] = (),
    rng: torch.Generator | None = None,
    chunk: int = 1000,
) -> Tensor:
    """Which samples survive no attack, FGM, the extra attacks and APGD again and again: (n,), bool.

    model     gives one logit a sample, or class scores
    x         samples (n, ...)
    y         their labels (n,)
    ball      the threat
    steps     of each run of APGD
    restarts  number of runs, each on what still stands: on the margin, then with a wrong class each
              to reach, then from random starts
    extra     more attacks, called with gradients on and the model in evaluation mode; one that
              leaves the ball is an error
    rng       of random starts
    chunk     samples attacked at a time

    The mean of it is an upper bound on robust accuracy: an attack that fails proves nothing. A
    `GradientWarning` says how many survivors had no finite gradient. On this book's ConvNets it
    is within a point of AutoAttack's. Source: Croce and Hein (2020), Gowal et al. (2019).
    """
    checks.positive_int("chunk", chunk)
    checks.positive_int("steps", steps)
    checks.positive_int("restarts", restarts)
    checks.random_numbers("rng", rng)
    check_extra(extra)
    before_attack(model, x, y, ball, probe=1)
    attacks: list[Callable[..., Tensor]] = [
        lambda a, b, lost: fgm(model, a, b, ball, lost),
        *(partial(kept_to(ball, attack), model) for attack in extra),
    ]
    output = steady_answers(model, x, y, chunk)
    warn_of_probabilities(output, y)
    right_at_first = correct(output, y)
    survived = torch.zeros_like(right_at_first)
    lost = torch.zeros_like(survived)
    for part in torch.arange(len(x), device=x.device).split(chunk):
        todo = part[right_at_first[part]]
        for attack in attacks:
            if len(todo):
                right, missed = withstood(model, attack, x[todo], y[todo])
                lost[todo] |= missed
                todo = todo[right]
        right, missed = withstand(model, x[todo], y[todo], ball, steps, restarts, rng)
        lost[todo] |= missed
        survived[todo[right]] = True
    warn_of_lost(lost & survived, ball)
    known = survived & ~lost
    warn_of_flat(model, x[known], y[known], ball)
    return survived


def robust_accuracy(model: nn.Module, x: Tensor, y: Tensor, ball: Ball, **options: Any) -> float:
    """Share of samples that survive `robust_correct`: an upper bound on robust accuracy.

    model    gives one logit a sample, or class scores
    x        samples (n, ...)
    y        their labels (n,)
    ball     the threat
    options  of `robust_correct`
    """
    some(x)
    return robust_correct(model, x, y, ball, **options).float().mean().item()
