"""What a polynomial of degree 3 can do: a cubic that knows the features, and its certificate."""

import math

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.sparse_coding import SparseCoding


class Cubic(nn.Module):
    """f(x) = sum_j w*_j (<M_j, x>^3 + linear <M_j, x>): knows the features, and is not trained."""

    def __init__(self, features: Tensor, w_star: Tensor, linear: float = 0.0):
        super().__init__()
        self.register_buffer("features", features)
        self.register_buffer("w_star", w_star)
        self.features: Tensor
        self.w_star: Tensor
        self.linear = checks.finite("linear", linear, low=-math.inf)

    def forward(self, x: Tensor) -> Tensor:
        q = x @ self.features
        return (q**3 + self.linear * q) @ self.w_star


@torch.no_grad()
def certify_cubic(q: Tensor, radius: float, linear: float = 0.0, steps: int = 30) -> Tensor:
    """Lower bound (n,) on sum_j p(q_j + delta_j) over the l2 ball of delta, p(t) = t^3 + linear t.

    q       (n, d): with q_j = y w*_j <M_j, x> the sum is y f(x + delta) of the `Cubic` f
    radius  of the ball, in the units of x
    linear  as in `Cubic`
    steps   of the golden-section search for the multiplier c, of which any is sound

    Lagrange dual: for each c >= 0, the sum of the minima of p(q_j + t) + c t^2, each a cubic on
    [-radius, radius], less c radius^2, is a bound.
    """
    checks.finite("radius", radius)
    checks.finite("linear", linear, low=-math.inf)
    checks.positive_int("steps", steps)
    q = checks.all_finite("q", checks.row_vectors("q", q)).double()

    # From zero to where the dual falls for sure.
    first = linear + 3 * q * q
    low = torch.zeros(len(q), dtype=q.dtype, device=q.device)
    steepest = (first.norm(dim=1) / max(radius, 1e-12)).clamp(max=1e12)
    high = low + 3 * q.abs().amax() + 3 * radius + steepest

    best = _cubic_dual(q, first, radius, low)
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(steps):
        left, right = high - golden * (high - low), low + golden * (high - low)
        at_left = _cubic_dual(q, first, radius, left)
        at_right = _cubic_dual(q, first, radius, right)
        best = torch.maximum(best, torch.maximum(at_left, at_right))
        rises = at_left < at_right
        low, high = torch.where(rises, left, low), torch.where(rises, high, right)
    return (q**3 + linear * q).sum(1) + best - 1e-12


def _cubic_dual(q: Tensor, first: Tensor, radius: float, c: Tensor) -> Tensor:
    """The dual at the multipliers c (n,), less sum_j p(q_j): sum_j min_t (...) - c radius^2, (n,).

    q       (n, d)
    first   (n, d), of p(q + t) - p(q) = first t + 3 q t^2 + t^3
    radius  |t| <= radius
    c       (n,)
    """
    second = 3 * q + c[:, None]  # of first t + second t^2 + t^3
    # Smallest at an end, or at the larger root of the derivative.
    inner = (second * second - 3 * first).clamp(min=0).sqrt() - second
    points = [
        torch.full_like(q, -radius),
        torch.full_like(q, radius),
        (inner / 3).clamp(-radius, radius),
    ]
    lowest = torch.stack([((t + second) * t + first) * t for t in points]).amin(0)
    return lowest.sum(1) - c * radius**2


def cubic_accuracy(
    data: SparseCoding, x: Tensor, y: Tensor, radius: float, linear: float = 0.0
) -> float:
    """Share of samples on which the cubic is certified: what degree 3 can do, at least.

    data    knows the features
    x       samples (n, d)
    y       their labels (n,), -1 or +1
    radius  of the l2 ball, in the units of x
    linear  as in `Cubic`
    """
    q = y[:, None] * (x @ data.features) * data.w_star.sign()
    return (certify_cubic(q, radius, linear) > 0).float().mean().item()
