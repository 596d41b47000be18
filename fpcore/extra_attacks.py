"""Attacks that are functions, tried beside the gradient's: of the user, or along a direction."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.ball import Ball
from fpcore.gradients import tracked
from fpcore.models.outputs import evaluating

# (model, x, y) -> adversarial x of the same shape
Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def along(direction: Tensor, radius: float) -> Attack:
    """The attack x - y radius u along a unit vector u = `direction` (d,), for labels -1 and +1."""
    checks.finite("radius", radius)
    if checks.tensor("direction", direction, "(d,)").ndim != 1:
        raise ValueError(f"direction is {tuple(direction.shape)}: give a vector (d,)")
    length = direction.norm().item()
    if not abs(length - 1) < 1e-3:
        advice = "give a unit vector, direction / direction.norm()"
        raise ValueError(f"|direction| = {length:g}: {advice}")

    def attack(_, x: Tensor, y: Tensor) -> Tensor:
        return x - radius * y[:, None] * direction

    return attack


def check_extra(extra: tuple[Attack, ...]) -> None:
    """Raise ValueError unless these are functions."""
    if not isinstance(extra, tuple | list) or not all(callable(each) for each in extra):
        found = f"extra = {checks.briefly(extra)}"
        raise ValueError(f"{found}: give a tuple of functions (model, x, y) -> x, (attack,) if one")


def kept_to(ball: Ball, attack: Attack) -> Callable[..., Tensor]:
    """A user's attack as textbooks write it, which raises ValueError where it leaves the ball."""

    def kept(model: nn.Module, x: Tensor, y: Tensor, _: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
            moved = attack(model, tracked(x), tracked(y))
        if not isinstance(moved, Tensor) or moved.shape != x.shape:
            found = f"an extra attack returned {checks.briefly(moved)}"
            raise ValueError(f"{found}: give one that returns x moved, {tuple(x.shape)}")
        moved = moved.detach()
        gone = ball.size(moved - x)
        rounding = 4 * torch.finfo(x.dtype).eps * ball.size(x)  # of x + delta
        if not (gone <= (1 + 1e-4) * ball.radius + rounding).all():
            found = f"an extra attack moved x by {gone.max():g}"
            raise ValueError(f"{found}: give one of radius {ball.radius:g}")
        ball.check(moved)
        return moved

    return kept
