"""The balls that attacks stay in: l2 and linf, with a box; what nearest and steepest mean there."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fpcore import checks

SQUARABLE = 1e-15  # squares of gradients between it and its inverse neither under- nor overflow


@dataclass(frozen=True)
class Ball:
    """Perturbations |delta|_p <= radius of each sample, for p = 2 ("l2") or infinity ("linf").

    The radius is in the units of the input (pixels in [0, 1], say). `box` = (low, high) keeps
    x + delta inside the valid range as well. All methods work on batches (n, ...).
    """

    norm: str
    radius: float
    box: tuple[float, float] | None = None

    def __post_init__(self):
        checks.choice("norm", self.norm, ("l2", "linf"))
        checks.finite("radius", self.radius)
        if self.box is not None:
            if not isinstance(self.box, (tuple, list)) or len(self.box) != 2:
                raise ValueError(f"box = {self.box!r}: give (low, high), or None for no box")
            for end in self.box:
                checks.finite(f"box = {self.box}: an end", end, low=-sys.float_info.max)
            if not self.box[0] < self.box[1]:
                raise ValueError(f"box = {self.box}: give (low, high) with low < high")

    def check(self, x: Tensor) -> None:
        """Raise ValueError if x leaves the box: to be clipped, it would have to leave the ball.

        Or if radius or box are more than the type of x holds.
        """
        if checks.tensor("x", x).is_floating_point():
            self._fits(x.dtype)
        if x.numel() and self.box is not None:
            low, high = self.box
            least, most = (value.item() for value in x.detach().aminmax())
            slack = 1e-5 * (high - low)
            if not (low - slack <= least and most <= high + slack):
                found = f"x spans {least:g} to {most:g}, box = {self.box}"
                raise ValueError(f"{found}: scale x into it, or give x's own box")

    def _fits(self, dtype: torch.dtype) -> None:
        """Raise ValueError if radius or box are so large that their sums are infinite in a type."""
        most = torch.finfo(dtype).max / 4
        for name, value in (("radius", self.radius), *(("box", end) for end in self.box or ())):
            if abs(value) > most:
                found = f"{name} = {value:g} is too large for x, which is {dtype}"
                raise ValueError(f"{found}: give at most {most:g}")

    def size(self, delta: Tensor) -> Tensor:
        """|delta| of each sample, shape (n,)."""
        if self.norm == "linf":
            return delta.flatten(1).abs().amax(1)
        scale = _power_of_two(delta)
        return (delta / _column(scale, delta)).flatten(1).norm(dim=1) * scale

    def project(self, delta: Tensor, x: Tensor) -> Tensor:
        """The nearest delta in the ball, then clipped to the box, which only shrinks it."""
        if self.norm == "l2":
            scale = self.radius / _positive(self.size(delta))
            delta = delta * _column(scale.clamp(max=1), delta)
        else:
            delta = delta.clamp(-self.radius, self.radius)
        return delta if self.box is None else (x + delta).clamp(*self.box) - x

    def steepest(self, grad: Tensor) -> Tensor:
        """The direction of unit norm in which a function of gradient `grad` rises most.

        0 for 0, and for a sample whose gradient is not finite: it gives no direction.
        """
        if self.norm == "linf":
            direction = grad.sign()
        else:
            grad = grad / _column(_power_of_two(grad), grad)
            direction = grad / _column(_positive(grad.flatten(1).norm(dim=1)), grad)
        return direction.masked_fill(_column(~finite_rows(grad), grad), 0)

    def step(
        self,
        at: Tensor,
        grad: Tensor,
        x: Tensor,
        size: float | Tensor,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One step up `grad` from `at` and back into the ball around x, in few passes over memory.

        at    samples in the ball (n, ...)
        grad  of what is to rise, there
        x     the ball's centres (n, ...)
        size  of the step, in the units of the radius: of all, or of each sample (n,)
        out   where the result may be written: `grad`, or what shares no memory with `at` and x

        Returns x + project(at - x + size * steepest(grad), x), and which samples had a finite
        gradient, (n,), bool.
        """
        each = torch.as_tensor(size, dtype=at.dtype, device=at.device).expand(len(at))
        if self.norm == "linf":
            finite, share = finite_rows(grad), each
        else:
            length = torch.linalg.vector_norm(grad, dim=tuple(range(1, grad.ndim)))
            share, least = each / length, max(SQUARABLE, torch.finfo(grad.dtype).smallest_normal)
            finite = (length > least) & (length < 1 / SQUARABLE) & share.isfinite()
        whole = bool(finite.all())
        if not whole or out is None or (out.dtype, out.shape) != (at.dtype, at.shape):
            out = None
        direction = torch.sign(grad, out=out) if self.norm == "linf" else grad
        moved = torch.addcmul(at, direction, _column(share, grad), out=out)
        if not whole:  # not a number, zero, or what is computed under- or overflows
            slow = at + _column(each, grad) * self.steepest(grad)
            moved = torch.where(_column(finite, moved), moved, slow)
            finite = finite_rows(grad)
        return self.back(moved, x), finite

    def back(self, moved: Tensor, x: Tensor) -> Tensor:
        """x + project(moved - x, x), written into `moved`; both finite, and near the ball.

        moved  points (n, ...)
        x      the ball's centres (n, ...)
        """
        delta = moved.sub_(x)
        if self.norm == "linf":
            delta.clamp_(-self.radius, self.radius)
        else:
            length = torch.linalg.vector_norm(delta, dim=tuple(range(1, delta.ndim)))
            if self.radius < SQUARABLE or not length.isfinite().all():  # squares may have gone
                length = self.size(delta)
            delta.mul_(_column((self.radius / _positive(length)).clamp(max=1), delta))
        moved = delta.add_(x)
        return moved if self.box is None else moved.clamp_(*self.box)

    def random(self, x: Tensor, rng: torch.Generator | None) -> Tensor:
        """A uniformly random point of the ball for each sample of x, before clipping to the box."""
        like: dict[str, Any] = {"generator": rng, "dtype": torch.float32, "device": x.device}
        if self.norm == "linf":
            uniform = torch.rand(x.shape, **like)
            return ((2 * uniform - 1) * self.radius).to(x.dtype)
        direction = self.steepest(torch.randn(x.shape, **like))
        dimension = math.prod(x.shape[1:])
        share = torch.rand(len(x), **like) ** (1 / dimension)
        return (direction * _column(share * self.radius, x)).to(x.dtype)

    def start(self, x: Tensor, rng: torch.Generator | None) -> Tensor:
        """Where an attack on x begins at random: a uniformly random point, clipped to the box."""
        return x + self.project(self.random(x, rng), x)


def finite_rows(values: Tensor) -> Tensor:
    """Which samples of (n, ...) hold finite numbers only: (n,), bool."""
    return values.mul(0).flatten(1).sum(1) == 0  # 0 times infinity or NaN is NaN


def _column(values: Tensor, like: Tensor) -> Tensor:
    """Values (n,) as (n, 1, ...), to be broadcast over `like` (n, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _power_of_two(values: Tensor) -> Tensor:
    """Near the largest |entry| of each sample of (n, ...): (n,).

    Divided by it, squares neither under- nor overflow, and nothing is rounded.
    """
    largest = values.detach().flatten(1).abs().amax(1).double()
    reach = 14 if values.dtype == torch.float16 else 100
    exponent = torch.frexp(largest.nan_to_num(posinf=1.0)).exponent.clamp(-reach, reach)
    return torch.ldexp(torch.ones_like(largest), exponent).to(values.dtype)


def _positive(size: Tensor) -> Tensor:
    """Sizes to divide by: 1e-30 for 0; in float16, where that is 0, its smallest normal number."""
    return size.clamp(min=max(1e-30, torch.finfo(size.dtype).smallest_normal))
