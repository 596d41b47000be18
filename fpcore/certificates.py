"""Certified robustness of the two-layer network against ANY l2 perturbation: a lower bound, sample by sample."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fpcore import checks
from fpcore.models import TwoLayer


@dataclass(frozen=True)
class Certificate:
    """`margin` (n,): lower bound on y f(x + delta) over |delta|_2 <= radius; `exact` (n,): no neuron was relaxed."""

    margin: Tensor
    exact: Tensor

    @property
    def robust(self) -> Tensor:
        """Samples that no perturbation of this radius can misclassify, (n,), bool."""
        return self.margin > 0


@torch.no_grad()
def certify(model: TwoLayer, x: Tensor, y: Tensor, radius: float, chunk: int = 512) -> Certificate:
    """Bound y f(x + delta) from below over the whole l2 ball by linear relaxation (CROWN with the l2 dual norm).

    x (n, d), y (n,) in {-1, +1}; the radius is in the units of x. With q_i = y <w_i, x>, neuron i's pre-activation
    stays in [q_i - radius |w_i|, q_i + radius |w_i|]; on that interval its activation is at least a_i q + c_i, so
    y f(x + delta) >= sum_i (a_i q_i + c_i) - radius |sum_i a_i w_i|_2. Exact where all neurons are linear on their
    interval (`exact`). The better of two choices of lines counts.
    Source: Zhang et al. (2018), for the soft-shrinkage activation of this network.
    """
    checks.finite("radius", radius)
    parts = [_certify(model, a, b, radius) for a, b in zip(x.split(chunk), y.split(chunk))]
    return Certificate(torch.cat([m for m, _ in parts]), torch.cat([e for _, e in parts]))


def certified_accuracy(model: TwoLayer, x: Tensor, y: Tensor, radius: float) -> float:
    """Share of samples certified at this l2 radius: a lower bound on robust accuracy."""
    return certify(model, x, y, radius).robust.float().mean().item()


def _certify(model: TwoLayer, x: Tensor, y: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    w, b = model.weight, model.bias
    q = y[:, None] * (x @ w.T)  # (n, m)
    reach = radius * w.norm(dim=1)
    margins = []
    for steep in (torch.zeros_like(q, dtype=torch.bool), q > b):  # two sound bounds: the better one counts
        slope, offset, unstable = lower_line(q - reach, q + reach, b.expand_as(q), steep)
        bound = (slope * q + offset).sum(1) - radius * (slope @ w).norm(dim=1)
        # float32 sums of m terms: keep the bound sound by the size of their rounding error
        margins.append(bound - 1e-6 * ((slope * q).abs().sum(1) + offset.abs().sum(1)))
    exact = ~unstable.any(1) | (model.threshold == 0)  # without a threshold f is linear
    return torch.maximum(*margins), exact


def lower_line(low: Tensor, high: Tensor, b: Tensor, steep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A line a u + c below s(u) = ReLU(u - b) - ReLU(-u - b) on [low, high], elementwise: (a, c, s is not linear there).

    s has slope 1, 0, 1 left of -b, between, right of b. Where the interval holds the concave corner -b alone, the best
    line is the chord. Where it holds the convex corner b, alone or with -b, there are two: the tangent of slope 1 at b
    (where `steep`), or the flattest line through b, which has slope 0 alone and meets s(low) with -b (elsewhere).
    """
    left, right = low < -b, high > b  # reaches beyond the corner -b, b
    linear = (low >= b) | (high <= -b) | ~(left | right)
    concave, convex = left & ~right & ~linear, right & ~linear
    fall = (-low - b).clamp(min=0)  # -s(low), positive only left of -b
    slope = ((low >= b) | (high <= -b)).to(low.dtype)
    slope = torch.where(concave, fall / (high - low).clamp(min=1e-30), slope)
    slope = torch.where(convex, torch.where(steep, 1.0, fall / (b - low).clamp(min=1e-30)), slope)
    # each line passes through a known point (u0, s(u0))
    offset = torch.where(high <= -b, b, torch.where(low >= b, -b, torch.zeros_like(b)))
    offset = torch.where(concave, -slope * high, offset)
    offset = torch.where(convex, -slope * b, offset)
    return slope, offset, ~linear
