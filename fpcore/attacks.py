"""Attacks: one loop in a ball. FGM is one step of it, PGD many with restarts.

They bound robustness from above.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.ball import Ball
from fpcore.models.outputs import correct, evaluating, fitting, one_label_each

# (model, x, y) -> adversarial x of the same shape
Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def _objective(output: Tensor, y: Tensor) -> Tensor:
    """What attacks raise, (n,): m, where the loss is log(1 + e^m).

    Its gradient does not vanish where the loss saturates. For one logit m = -y f; for class scores
    m = logsumexp of the other classes' scores - the score of y.
    """
    one_label_each(output, y)
    if output.ndim == 1:
        return -y * output
    index = y[:, None]
    return output.scatter(1, index, -torch.inf).logsumexp(1) - output.gather(1, index).squeeze(1)


@torch.no_grad()
def _loss(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and per-sample objectives (n,)."""
    output = model(x)
    return output, _objective(output, y).float()


def _loss_and_grad(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, per-sample objectives (n,) and their gradient with respect to x alone."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        output = model(x)
        values = _objective(output, y)
        (grad,) = torch.autograd.grad(values.sum(), x)
    return output.detach(), values.detach().float(), grad  # scores are bfloat16 under autocast


def fgm(model: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> Tensor:
    """Fast gradient method, one full step to the sphere: x + radius * steepest(grad).

    model  gives one logit a sample, or class scores; its mode, parameters and gradients stay
    x      samples (n, ...)
    y      their labels (n,)
    ball   the threat: for linf it is FGSM

    Returns adversarial x of the same shape. Source: Goodfellow et al. (2015); for l2, Allen-Zhu &
    Li (2020), section 2.
    """
    ball.check(x)
    return one_step(model, x, y, ball)


def one_step(model: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> Tensor:
    """`fgm` on x known to be in the box: training, after its first batch, waits for no check.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    ball   the threat
    """
    with evaluating(model):
        _, _, grad = _loss_and_grad(model, x, y)
    return x + ball.project(ball.radius * ball.steepest(grad), x)


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

    Returns a misclassified x where one was met, else the x of the largest loss met, which is never
    below that of x itself. Source: Madry et al. (2018).
    """
    checks.positive_int("steps", steps)
    checks.positive_int("restarts", restarts)
    ball.check(x)
    size = 2.5 * ball.radius / steps if step_size is None else checks.finite("step_size", step_size)
    best = x.detach().clone()
    worst_loss = torch.full((len(x),), -torch.inf, device=x.device)
    todo = torch.arange(len(x), device=x.device)  # not yet broken
    with evaluating(model):
        for restart in range(restarts):
            x0, y0 = x[todo], y[todo]
            delta = ball.project(ball.random(x0, rng), x0) if restart else torch.zeros_like(x0)
            for step in range(steps + 1):
                moved = x0 + delta
                if step < steps:
                    output, values, grad = _loss_and_grad(model, moved, y0)
                else:  # nobody reads the gradient where the last step has led
                    output, values = _loss(model, moved, y0)
                # Keep the point of the largest loss.
                better = values > worst_loss[todo]
                best[todo[better]] = moved[better]
                worst_loss[todo[better]] = values[better]
                # Of a broken sample keep a misclassified point, whatever its loss, and let it be.
                if stop:
                    alive = correct(output, y0)
                    best[todo[~alive]] = moved[~alive]
                    todo, x0, y0 = todo[alive], x0[alive], y0[alive]
                    delta, grad = delta[alive], grad[alive]
                    if len(todo) == 0:
                        return best
                if step < steps:
                    delta = ball.project(delta + size * ball.steepest(grad), x0)
    return best


def along(direction: Tensor, radius: float) -> Attack:
    """The attack x - y radius u along a unit vector u = `direction` (d,), for labels -1 and +1."""
    checks.finite("radius", radius)
    length = direction.norm().item()
    if not abs(length - 1) < 1e-3:
        advice = "give a unit vector, direction / direction.norm()"
        raise ValueError(f"|direction| = {length:g}: {advice}")

    def attack(_, x: Tensor, y: Tensor) -> Tensor:
        return x - radius * y[:, None] * direction

    return attack


def transfer(source: nn.Module, ball: Ball, **options: Any) -> Attack:
    """PGD on the network `source`, with `options`, tried on another.

    It finds what the gradient of that one hides, and does not stop where `source` breaks, since the
    other may break further out.
    """
    return lambda _, x, y: pgd(source, x, y, ball, **options, stop=False)


def _kept_to(ball: Ball, attack: Attack) -> Attack:
    """A user's attack as textbooks write it, which raises ValueError where it leaves the ball."""

    def kept(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad(), evaluating(model):
            moved = attack(model, x, y).detach()
        gone = ball.size(moved - x)
        rounding = 4 * torch.finfo(x.dtype).eps * ball.size(x)  # of x + delta
        if not (gone <= (1 + 1e-4) * ball.radius + rounding).all():
            found = f"an extra attack moved x by {gone.max():g}"
            raise ValueError(f"{found}: give one of radius {ball.radius:g}")
        ball.check(moved)
        return moved

    return kept


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
    """Which samples survive no attack, FGM, the extra attacks and PGD with restarts: (n,), bool.

    model     gives one logit a sample, or class scores
    x         samples (n, ...)
    y         their labels (n,)
    ball      the threat
    steps     of PGD
    restarts  of PGD
    extra     more attacks, called with gradients on and the model in evaluation mode; one that
              leaves the ball is an error
    rng       of PGD's random starts
    chunk     samples attacked at a time

    The mean of it is an upper bound on robust accuracy: an attack that fails proves nothing.
    """
    ball.check(x)
    one_label_each(x, y)
    attacks: list[Attack] = [
        lambda _, a, b: a,
        lambda net, a, b: fgm(net, a, b, ball),
        *(_kept_to(ball, attack) for attack in extra),
        lambda net, a, b: pgd(net, a, b, ball, steps, restarts, rng=rng),
    ]
    survived = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for todo in torch.arange(len(x), device=x.device).split(chunk):
        for attack in attacks:
            if len(todo):
                adversarial = attack(model, x[todo], y[todo])
                with evaluating(model):
                    todo = todo[correct(fitting(model(adversarial), y[todo]), y[todo])]
        survived[todo] = True
    return survived


def robust_accuracy(model: nn.Module, x: Tensor, y: Tensor, ball: Ball, **options: Any) -> float:
    """Share of samples that survive `robust_correct`: an upper bound on robust accuracy.

    model    gives one logit a sample, or class scores
    x        samples (n, ...)
    y        their labels (n,)
    ball     the threat
    options  of `robust_correct`
    """
    return robust_correct(model, x, y, ball, **options).float().mean().item()
