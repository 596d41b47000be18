"""Branch and bound: the ball is split at a neuron's concave corner, and each part is bounded."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fpcore.certificates.linear_relaxation import (
    EPS,
    TINY,
    Neighbourhood,
    bound,
    chords,
    envelope,
)


def reduced(net: Neighbourhood, i: int, bends: Tensor) -> Neighbourhood:
    """Sample i alone, with the neurons that do not bend in its ball summed up: few are left.

    `bends` (m,), bool: the neurons that are kept one by one.
    """
    one = net.samples(torch.tensor([i], dtype=torch.int64, device=bends.device))
    active = ~bends & (one.q[0].abs() > net.threshold)
    norm, rows = net.norm[active], net.rows[active]
    return one._replace(
        rows=net.rows[bends],
        norm=net.norm[bends],
        q=one.q[:, bends],
        base=F.softshrink(one.q[:, active], net.threshold) @ norm,
        slack=2 * one.rounding * norm.sum(),
        direction=(norm @ rows)[None],
    )


def relaxed(net: Neighbourhood, bends: Tensor, most: int = 64) -> tuple[Tensor, Tensor]:
    """Bounds on the minimum of y f over the whole ball by ascended slopes, lower and upper, (n,).

    net    the neighbourhood of the samples
    bends  the neurons of each that are relaxed (n, m), bool; all others are linear in its ball
    most   samples at a time, which share their products

    What `branch` finds of each sample before it splits a ball, up to rounding.
    """
    bounds = []
    for index in torch.arange(len(bends), device=bends.device).split(most):
        some, bent = net.samples(index), bends[index]
        linear = net.norm * (~bent & (some.q.abs() > net.threshold))
        some = some._replace(
            norm=net.norm * bent,
            base=(F.softshrink(some.q, net.threshold) * linear).sum(1),
            slack=2 * some.rounding * linear.sum(1),
            direction=linear @ net.rows,
        )
        low, high = some.interval()
        left, right = envelope(some, low, high)
        slope = torch.where(some.q > net.threshold, right, left)
        rate = 1 / _largest_eigenvalues(net.rows, bent.to(net.rows.dtype))
        bounds.append(bound(some, low, high, ascend(some, low, high, slope, rate)))
    return torch.cat([each.lower for each in bounds]), torch.cat([each.upper for each in bounds])


def branch(net: Neighbourhood, branches: int) -> tuple[float, float]:
    """Bounds on the minimum of y f over the ball of one sample, lower and upper.

    Slopes are ascended in each part of the ball, at most `branches` in all, and the part is split
    until its bound is positive.
    """
    low, high = net.interval()
    left, right = envelope(net, low, high)
    slope = torch.where(net.q > net.threshold, right, left)
    rate = 1 / _largest_eigenvalue(net.rows)
    margin = torch.full_like(net.base, -torch.inf)  # of each part that is left
    settled = torch.inf  # the least margin of the parts that are done with
    attained = torch.inf
    count = 0
    while True:
        # Bound: a part inherits the bound of the whole.
        slope = ascend(net, low, high, slope, rate)
        found = bound(net, low, high, slope)
        margin = margin.fmax(found.lower)
        attained = min(attained, found.upper.min().item())
        count += len(slope)
        # Drop what is proved; stop when all is, when the label changes, or when no split is left.
        todo = ~(margin > 0)
        settled = min([settled, *margin[~todo].tolist()])
        margin = margin[todo]
        if attained <= 0 or not todo.any() or count + 2 * len(margin) > branches:
            return min([settled, *margin.tolist()]), attained
        slope, low, high = slope[todo], low[todo], high[todo]
        # At its worst delta the lines miss y f by the sum of the gaps, of which a split closes one:
        # where those left after as many splits as allowed reach y f, the bound stays below 0.
        gap = gaps(net, low, high, slope, found.worst[todo])
        unclosed = gap.clamp(min=0).sort(1, descending=True).values[:, branches:].sum(1)
        if (unclosed >= found.upper[todo]).any():
            return min([settled, *margin.tolist()]), attained
        # Branch.
        low, high, parent = split(net, low, high, gap)
        slope, margin = slope[parent], margin[parent]


def ascend(
    net: Neighbourhood,
    low: Tensor,
    high: Tensor,
    slope: Tensor,
    rate: float | Tensor,
    steps: int = 4,
) -> Tensor:
    """Slopes (n, m) with a larger bound, which is concave in them, by proximal gradient ascent.

    net    the neighbourhood of one sample, or of n
    low    least pre-activations in each part (n, m)
    high   largest ones
    slope  the slopes to start from (n, m)
    rate   of the ascent, at most 1/|rows|^2; of each sample (n, 1)
    steps  of the ascent
    """
    u, s = net.corners(low, high)
    left, right = chords(u, s)
    least = 1e-3 * net.norm.amax(-1, keepdim=True)
    for _ in range(steps):
        # Gradient of the smooth part, a q - radius |direction + a rows|.
        total = net.direction + slope @ net.rows
        length = total.norm(dim=1, keepdim=True).maximum(least)
        step = rate * length / net.radius.clamp(min=TINY)
        z = slope / step + net.q - (net.radius * total / length) @ net.rows.T
        # -c is the conjugate of the envelope e: its proximal point follows from that of e (Moreau).
        below = (z - left / step).maximum(u[0]).minimum(u[1])
        above = (z - right / step).maximum(u[1]).minimum(u[2])
        slope = step * (z - (below + above - u[1]))
    return slope


def gaps(net: Neighbourhood, low: Tensor, high: Tensor, slope: Tensor, worst: Tensor) -> Tensor:
    """How far each neuron's line is below it at the worst delta, (n, m).

    Only at a concave corner is there a gap to close by a split: without one it is -inf.

    net    the neighbourhood
    low    least pre-activations in each part (n, m)
    high   largest ones
    slope  of the lines (n, m)
    worst  pre-activations at the worst delta (n, m)
    """
    u, s = net.corners(low, high)
    gap = net.activation(worst) - slope * worst - (s - slope * u).amin(0)
    return gap.masked_fill((low >= -net.threshold) | (high <= -net.threshold), -torch.inf)


def split(
    net: Neighbourhood, low: Tensor, high: Tensor, gap: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut each part in two at the concave corner u_i = -threshold of the largest gap.

    net   the neighbourhood of one sample
    low   least pre-activations in each of n parts (n, m)
    high  largest ones
    gap   of each neuron's line (n, m); a part of infinite ones has no corner and stays whole

    On each side all intervals shrink to what is left of the ball. Returns low and high of the new
    parts, and the index of the old part that each is from.
    """
    n = len(gap)
    largest, neuron = gap.max(1, keepdim=True)  # (n, 1) each
    # The two sides of the cut are caps of the ball.
    cos = net.rows[neuron[:, 0]] @ net.rows.T  # (n, m)
    cut = -net.threshold - net.q[0, neuron]
    above_low, above_high = _cap(net, cos, cut - net.pad)
    below_low, below_high = _cap(net, -cos, -cut - net.pad)

    # First all upper sides, then all lower ones.
    low, high = low.repeat(2, 1), high.repeat(2, 1)
    parent = torch.arange(n, device=gap.device).repeat(2)
    cut_low = low.maximum(torch.cat([above_low, below_low]))
    cut_high = high.minimum(torch.cat([above_high, below_high]))
    cut_low[:n].scatter_(1, neuron, -net.threshold)
    cut_high[n:].scatter_(1, neuron, -net.threshold)

    # Nothing to cut: the first copy stays as it is, the second goes.
    whole = largest.isinf().repeat(2, 1)
    low = torch.where(whole, low, cut_low)
    high = torch.where(whole, high, cut_high.maximum(cut_low))
    keep = ~whole.squeeze(1) | (torch.arange(2 * n, device=gap.device) < n)
    return low[keep], high[keep], parent[keep]


def _cap(net: Neighbourhood, cos: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """The range of all pre-activations over the cap <rows_i, delta> >= least of the ball, (n, m).

    With `cos` (n, m) = <rows_i, rows> and `least` (n, 1), the extremes of <rows, delta> are on the
    rim, cos least +- sqrt((1 - cos^2) (radius^2 - least^2)), or where the cap holds one, a pole.
    All are rounded outwards: `cos` of two rows misses by (2d + 4) u.
    """
    radius = net.radius
    error = (net.rows.shape[1] + 8) * EPS
    rim = (1 + 3 * error - cos**2) * (radius - least) * (radius + least)
    reach = rim.clamp(min=0).sqrt() + 2 * net.pad
    low = torch.where(least <= (error - cos) * radius, -radius - net.pad, cos * least - reach)
    high = torch.where(least <= (error + cos) * radius, radius + net.pad, cos * least + reach)
    return net.q + low, net.q + high


def _largest_eigenvalue(rows: Tensor) -> float:
    """Of rows rows^T, as `_largest_eigenvalues` finds it."""
    return _largest_eigenvalues(rows, rows.new_ones(1, len(rows))).item()


def _largest_eigenvalues(rows: Tensor, chosen: Tensor, steps: int = 5) -> Tensor:
    """Of rows rows^T of some rows each, (n, 1), by the power method: a little too small.

    So the ascent is a little bolder. `chosen` (n, m): 1 for the rows that count, else 0.
    """
    v = chosen @ rows
    for _ in range(steps):
        v = ((v @ rows.T) * chosen) @ rows
        v = v / v.norm(dim=1, keepdim=True).clamp(min=TINY)
    return ((v @ rows.T) * chosen).norm(dim=1, keepdim=True).square().clamp(min=1.0)
