"""What a polynomial of degree 3 can do: a cubic that knows the features, and its certificate."""

import math

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.sparse_coding import SparseCoding


class Cubic(nn.Module):
    """f(x) = sum_j w*_j (<M_j, x>^3 + linear <M_j, x>): a polynomial of degree 3 that knows the features. Not trained."""

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
    """Lower bound (n,) on sum_j p(q_j + delta_j), p(t) = t^3 + linear t, over ALL |delta|_2 <= radius; q is (n, d).

    With q_j = y w*_j <M_j, x> this is y f(x + delta) for the cubic f(x) = sum_j w*_j p(<M_j, x>). Lagrange dual: for each
    multiplier c >= 0 the coordinates part, each a cubic on [-radius, radius], and the sum of their minima
    of p(q_j + t) + c t^2, less c radius^2, is a bound; golden-section search for the best c (any c is sound).
    """
    (
        checks.finite("radius", radius),
        checks.finite("linear", linear, low=-math.inf),
        checks.positive_int("steps", steps),
    )
    q = q.double()
    first = linear + 3 * q * q  # p(q + t) - p(q) = first t + 3 q t^2 + t^3

    def dual(c: Tensor) -> Tensor:
        second = 3 * q + c[:, None]
        inner = (second * second - 3 * first).clamp(min=0).sqrt() - second
        points = [
            torch.full_like(q, -radius),
            torch.full_like(q, radius),
            (inner / 3).clamp(-radius, radius),
        ]
        lowest = torch.stack([((t + second) * t + first) * t for t in points]).amin(0)
        return lowest.sum(1) - c * radius**2

    low = torch.zeros(len(q), dtype=q.dtype, device=q.device)
    high = (
        low
        + 3 * q.abs().amax()
        + 3 * radius
        + (first.norm(dim=1) / max(radius, 1e-12)).clamp(max=1e12)
    )
    best, golden = dual(low), (math.sqrt(5) - 1) / 2
    for _ in range(steps):
        left, right = high - golden * (high - low), low + golden * (high - low)
        a, b = dual(left), dual(right)
        best = torch.maximum(best, torch.maximum(a, b))
        low, high = torch.where(a < b, left, low), torch.where(a < b, high, right)
    return (q**3 + linear * q).sum(1) + best - 1e-12


def cubic_accuracy(
    data: SparseCoding, x: Tensor, y: Tensor, radius: float, linear: float = 0.0
) -> float:
    """Share of samples on which the cubic is certified against ANY perturbation: what degree 3 can do, at least."""
    q = y[:, None] * (x @ data.features) * data.w_star
    return (certify_cubic(q, radius, linear) > 0).float().mean().item()
