"""A tighter lower bound on the two-layer network: attacks on many neurons share one budget |delta|^2."""

import torch
from torch import Tensor

from fpcore.models.two_layer import TwoLayer


@torch.no_grad()
def shared_budget(
    model: TwoLayer,
    x: Tensor,
    y: Tensor,
    radius: Tensor,
    most: int = 1500,
    memory: int = 10_000_000,
    gram: Tensor | None = None,
) -> Tensor:
    """Lower bound on y f(x + delta) over |delta|_2 <= radius, (n,), with parabolas at the concave corners -b.

    x (n, d), y (n,), radius (n,). A linear relaxation pays for each neuron that might cross its corner as if the whole
    radius were spent on it. Instead, with the gap g = |q + b| to the corner, q = y <w_i, x>, and u = y <w_i, delta>,
    |u| <= T = radius |w_i|:  ReLU(u - g) <= c u^2, where c = (T - g)/T^2 if T <= 2 g, else 1/(4 g). Then
    y f(x + delta) >= base + <h, delta> - delta^T Q delta with Q = sum_i c_i w_i w_i^T = A^T A, and by duality the minimum
    over the ball is at least base - (t radius^2 + h^T (t - Q)^-1 h / 4) for each t > |Q|, where
    h^T (t - Q)^-1 h = (|h|^2 + (A h)^T (t - A A^T)^-1 A h)/t. A Cholesky factor of t - A A^T proves t > |Q|.
    At most `most` parabolas a sample, those that reach furthest; `memory` bounds the entries of A A^T in one batch.
    """
    if gram is None:
        gram = model.weight @ model.weight.T
    w, norm = model.weight.double(), model.weight.double().norm(dim=1)
    b = model.threshold.double() * norm
    q, radius = y[:, None].double() * (x.double() @ w.T), radius[:, None].double()  # (n, m)
    reach, gap = radius * norm, (q + b).abs()
    bent = (q < b) & (q - reach < -b) & (q + reach > -b) & (gap > 0.15 * reach)
    g, t = gap.clamp(min=1e-30), reach.clamp(min=1e-30)
    c = torch.where(bent, torch.where(t <= 2 * g, (t - g) / t.square(), 0.25 / g), 0.0)
    count = min(most, max(1, int(bent.sum(1).max())))
    if len(x) > 1 and len(x) * count**2 > memory:
        size = -(-len(x) // 2)
        halves = zip(x.split(size), y.split(size), radius.squeeze(1).split(size))
        return torch.cat([shared_budget(model, a, b, r, most, memory, gram) for a, b, r in halves])
    chosen = (c * norm).topk(count, dim=1).indices  # (n, p)
    bent &= torch.zeros_like(bent).scatter_(1, chosen, True)
    slope, offset = _lines(q, reach, b)
    on = (
        q < -b
    ).double()  # beyond its corner the neuron is active against y: there the parabola bends the line q + b
    slope, offset = torch.where(bent, on, slope), torch.where(bent, on * b, offset)
    h, root = slope @ w, c.gather(1, chosen).sqrt()  # (n, d), (n, p)
    z = root * (h @ w.T).gather(1, chosen)  # A h
    k = (
        gram[chosen[:, :, None], chosen[:, None]].double() * root[:, :, None] * root[:, None]
    )  # A A^T, (n, p, p)
    error = 1e-6 * k.diagonal(dim1=1, dim2=2).sum(1)  # of the float32 gram matrix, in operator norm
    size, radius = h.norm(dim=1), radius.squeeze(1)
    top = (k @ z[:, :, None]).squeeze(2).norm(dim=1) / z.norm(dim=1).clamp(
        min=1e-30
    )  # |Q| or less: then tried again
    t = (
        torch.maximum(
            size / (2 * radius) + z.square().sum(1) / size.square().clamp(min=1e-30), 1.1 * top
        )
        + error
        + 1e-30
    )
    worst, eye = torch.full_like(t, torch.inf), torch.eye(count, dtype=k.dtype, device=k.device)
    for _ in range(6):
        factor, failed = torch.linalg.cholesky_ex((t - error)[:, None, None] * eye - k)
        solved = (
            torch.linalg.solve_triangular(factor, z[:, :, None], upper=False).square().sum((1, 2))
        )
        value = t * radius**2 + (size.square() + solved) / (t - error) / 4
        worst = torch.where((failed == 0) & value.isfinite(), worst.minimum(value), worst)
        if not failed.any():
            break
        t = torch.where(failed == 0, t, 1.6 * t)
    base = (slope * q + offset).sum(1)
    slack = 1e-7 * (
        (slope * q).abs().sum(1) + offset.abs().sum(1) + worst
    )  # the radius comes in float32
    return base - worst - slack


def _lines(q: Tensor, reach: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """For each neuron a line a u + c below ReLU(u - b) - ReLU(-u - b) on [q - reach, q + reach]: (a, c).

    The activation itself where it is linear; at the convex corner the tangent of slope 1 if q > b, else the flattest line
    through the corner; at the concave corner alone the chord.
    """
    low, high = q - reach, q + reach
    on, off = (low >= b) | (high <= -b), (low >= -b) & (high <= b)
    fall = (-low - b).clamp(min=0)  # minus the activation at low
    concave = (low < -b) & (high <= b) & (high > -b)
    chord, flat = fall / (high - low).clamp(min=1e-30), fall / (b - low).clamp(min=1e-30)
    slope = torch.where(concave, chord, torch.where(q > b, 1.0, flat))
    offset = torch.where(concave, -slope * high, -slope * b)
    slope = torch.where(on, 1.0, torch.where(off, 0.0, slope))
    offset = torch.where(high <= -b, b, torch.where(low >= b, -b, torch.where(off, 0.0, offset)))
    return slope, offset
