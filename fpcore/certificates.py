"""Certified robustness of the two-layer network against ANY l2 perturbation: a lower bound, sample by sample."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fpcore import checks
from fpcore.attacks import Ball, fgm
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
def certify(model: TwoLayer, x: Tensor, y: Tensor, radius: float, refine: bool = True, chunk: int = 512) -> Certificate:
    """Bound y f(x + delta) from below over the whole l2 ball.

    x (n, d), y (n,) in {-1, +1}; the radius is in the units of x. First by linear relaxation (CROWN with the l2 dual
    norm): with q_i = y <w_i, x>, neuron i's pre-activation stays in [q_i - radius |w_i|, q_i + radius |w_i|]; on that
    interval its activation is at least a_i q + c_i, so y f(x + delta) >= sum_i (a_i q_i + c_i) - radius |sum_i a_i w_i|_2.
    Exact where all neurons are linear on their interval (`exact`). The better of two choices of lines counts. With
    `refine`, samples that are still open, and that FGM does not break, get the quadratic relaxation as well.
    Source: Zhang et al. (2018), for the soft-shrinkage activation of this network; the quadratic relaxation is ours.
    """
    checks.finite("radius", radius)
    parts = [_linear(model, a, b, radius) for a, b in zip(x.split(chunk), y.split(chunk))]
    margin, exact = torch.cat([m for m, _ in parts]), torch.cat([e for _, e in parts])
    if refine and radius > 0:
        broken = fgm(model, x, y, Ball("l2", radius))
        (todo,) = ((margin <= 0) & ~exact & (y * model(broken) > 0)).nonzero(as_tuple=True)
        gram = model.weight @ model.weight.T if len(todo) else None
        for some in todo.split(8):
            margin[some] = torch.maximum(margin[some], _quadratic(model, gram, x[some], y[some], radius).to(margin.dtype))
    return Certificate(margin, exact)


def certified_accuracy(model: TwoLayer, x: Tensor, y: Tensor, radius: float) -> float:
    """Share of samples certified at this l2 radius: a lower bound on robust accuracy."""
    return certify(model, x, y, radius).robust.float().mean().item()


def _linear(model: TwoLayer, x: Tensor, y: Tensor, radius: float) -> tuple[Tensor, Tensor]:
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


def _quadratic(model: TwoLayer, gram: Tensor, x: Tensor, y: Tensor, radius: float, most: int = 1500) -> Tensor:
    """The lower bound with parabolas at the concave corners -b: attacks on many neurons share one budget |delta|^2.

    A line pays for each neuron that might cross its corner as if the whole radius were spent on it. Instead, with the
    gap g = |q + b| to the corner and u = y <w_i, delta>, |u| <= T = radius |w_i|:  ReLU(u - g) <= c u^2, where
    c = (T - g)/T^2 if T <= 2 g, else 1/(4 g). Then y f(x + delta) >= base + <h, delta> - delta^T Q delta with
    Q = sum_i c_i w_i w_i^T = A^T A, and by duality the minimum over the ball is at least
    base - (t radius^2 + h^T (t - Q)^-1 h / 4) for each t > |Q|, where h^T (t - Q)^-1 h = (|h|^2 + (A h)^T (t - A A^T)^-1 A h)/t.
    A Cholesky factor of t - A A^T, from the neurons' `gram` matrix (m, m), proves t > |Q|. At most `most` parabolas a sample.
    """
    w, b, norm = model.weight.double(), model.bias.double(), model.weight.double().norm(dim=1)
    q = y[:, None].double() * (x.double() @ w.T)  # (n, m)
    reach, gap = radius * norm, (q + b).abs()
    slope, offset, _ = lower_line(q - reach, q + reach, b.expand_as(q), q > b)
    bent = (q < b) & (q - reach < -b) & (q + reach > -b) & (gap > 0.15 * reach)
    g, t = gap.clamp(min=1e-30), reach.clamp(min=1e-30)
    c = torch.where(bent, torch.where(t <= 2 * g, (t - g) / t.square(), 0.25 / g), 0.0)
    _, chosen = (c * norm).topk(min(most, max(1, int(bent.sum(1).max()))), dim=1)  # (n, p): those that reach furthest
    bent &= torch.zeros_like(bent).scatter_(1, chosen, True)
    on = (q < -b).double()  # beyond its corner the neuron is active against y: there the parabola bends the line q + b
    slope, offset = torch.where(bent, on, slope), torch.where(bent, on * b, offset)
    h, root = slope @ w, c.gather(1, chosen).sqrt()  # (n, d), (n, p)
    z = root * (h @ w.T).gather(1, chosen)  # A h
    k = gram[chosen[:, :, None], chosen[:, None]].double() * root[:, :, None] * root[:, None]  # A A^T, (n, p, p)
    error = 1e-6 * k.diagonal(dim1=1, dim2=2).sum(1)  # of the float32 gram matrix, in operator norm
    length, bend = h.norm(dim=1), (k @ z[:, :, None]).squeeze(2)
    top = bend.norm(dim=1) / z.norm(dim=1).clamp(min=1e-30)  # about |Q|, or less: then the factor is tried again
    t = torch.maximum(length / (2 * radius) + z.square().sum(1) / length.square().clamp(min=1e-30), 1.1 * top) + error + 1e-30
    worst = torch.full_like(t, torch.inf)
    eye = torch.eye(k.shape[1], dtype=k.dtype, device=k.device)
    for _ in range(6):
        factor, failed = torch.linalg.cholesky_ex((t - error)[:, None, None] * eye - k)
        solved = torch.linalg.solve_triangular(factor, z[:, :, None], upper=False).square().sum((1, 2))
        value = t * radius**2 + (length.square() + solved) / (t - error) / 4
        worst = torch.where(failed == 0, worst.minimum(value), worst)
        if not failed.any():
            break
        t = torch.where(failed == 0, t, 1.6 * t)
    base = (slope * q + offset).sum(1)
    return base - worst - 1e-9 * ((slope * q).abs().sum(1) + offset.abs().sum(1) + worst)
