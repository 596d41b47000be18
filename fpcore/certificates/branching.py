"""Branch and bound: the ball is split where a neuron has its concave corner, and each part is bounded."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fpcore.certificates.linear_relaxation import Neighbourhood, bound, envelope


def reduced(net: Neighbourhood, i: int, bends: Tensor) -> Neighbourhood:
    """Sample i alone, with the neurons that do not bend in its ball summed up: few are left."""
    one = net.samples(torch.tensor([i], device=bends.device))
    active = ~bends & (one.q[0].abs() > net.threshold)
    norm, rows = net.norm[active], net.rows[active]
    return one._replace(
        rows=net.rows[bends],
        norm=net.norm[bends],
        q=one.q[:, bends],
        base=F.softshrink(one.q[:, active], net.threshold) @ norm,
        slack=1e-6 * norm.sum() * one.size.squeeze(1),
        direction=(norm @ rows)[None],
    )


def branch(net: Neighbourhood, branches: int) -> tuple[float, float]:
    """Bounds of one sample, lower and upper: each part of its ball is ascended, and split until its bound is positive."""
    low, high = net.q - net.radius, net.q + net.radius
    left, right = envelope(net, low, high)
    a, rate = torch.where(net.q > net.threshold, right, left), 1 / _largest_eigenvalue(net.rows)
    margin = torch.full_like(net.base, -torch.inf)
    settled, attained, count = torch.inf, torch.inf, 0
    while True:
        a = ascend(net, low, high, a, rate)
        lower, upper, worst = bound(net, low, high, a)
        margin = margin.fmax(lower)  # a part inherits the bound of the whole
        attained, count = min(attained, upper.min().item()), count + len(a)
        todo = ~(margin > 0)
        settled = min([settled, *margin[~todo].tolist()])
        if attained <= 0 or not todo.any() or count + 2 * int(todo.sum()) > branches:
            return min([settled, *margin[todo].tolist()]), attained
        a, low, high, worst, margin, upper = (
            part[todo] for part in (a, low, high, worst, margin, upper)
        )
        gap = gaps(net, low, high, a, worst)
        rest = gap.clamp(min=0).sort(1, descending=True).values[:, branches:].sum(1)
        if (
            rest >= upper
        ).any():  # at this delta the bound stays below 0 after as many splits as we may make
            return min([settled, *margin.tolist()]), attained
        low, high, old = split(net, low, high, gap)
        a, margin = a[old], margin[old]


def ascend(
    net: Neighbourhood, low: Tensor, high: Tensor, a: Tensor, rate: float, steps: int = 4
) -> Tensor:
    """Slopes with a larger bound, which is concave in a: proximal gradient ascent, at a rate of at most 1/|rows|^2."""
    u, s = net.corners(low, high)
    left, right = (s[1:] - s[:-1]) / (u[1:] - u[:-1]).clamp(min=1e-30)
    for _ in range(steps):
        v = net.direction + a @ net.rows
        length = v.norm(dim=1, keepdim=True).clamp(min=1e-3 * net.norm.max().item())
        step = rate * length / net.radius
        z = a / step + net.q - (net.radius * v / length) @ net.rows.T
        # -c is the conjugate of the envelope e: its proximal point follows from that of e (Moreau)
        below, above = (
            (z - left / step).maximum(u[0]).minimum(u[1]),
            (z - right / step).maximum(u[1]).minimum(u[2]),
        )
        a = step * (z - (below + above - u[1]))
    return a


def gaps(net: Neighbourhood, low: Tensor, high: Tensor, a: Tensor, worst: Tensor) -> Tensor:
    """How far each neuron's line is below it at the worst delta, if its concave corner is inside; else -inf."""
    u, s = net.corners(low, high)
    gap = net.activation(worst) - a * worst - (s - a * u).amin(0)
    return gap.masked_fill((low >= -net.threshold) | (high <= -net.threshold), -torch.inf)


def split(
    net: Neighbourhood, low: Tensor, high: Tensor, gap: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut each part in two at the concave corner u_i = -threshold of the largest gap; a part without one stays whole.

    On each side all intervals shrink to what is left of the ball. Returns low, high and the part that each is from.
    """
    cost, at = gap.max(1, keepdim=True)
    cos, cut = net.rows[at[:, 0]] @ net.rows.T, -net.threshold - net.q[0, at]
    above, below = _cap(net, cos, cut), _cap(net, -cos, -cut)
    low, high, old = (
        low.repeat(2, 1),
        high.repeat(2, 1),
        torch.arange(len(gap), device=gap.device).repeat(2),
    )
    cut_low = low.maximum(torch.cat([above[0], below[0]]))
    cut_high = high.minimum(torch.cat([above[1], below[1]]))
    (
        cut_low[: len(gap)].scatter_(1, at, -net.threshold),
        cut_high[len(gap) :].scatter_(1, at, -net.threshold),
    )
    whole = cost.isinf().repeat(
        2, 1
    )  # nothing to cut: the first copy stays as it is, the second goes
    low, high = (
        torch.where(whole, low, cut_low),
        torch.where(whole, high, cut_high.maximum(cut_low)),
    )
    keep = ~whole.squeeze(1) | (torch.arange(len(old), device=gap.device) < len(gap))
    return low[keep], high[keep], old[keep]


def _cap(net: Neighbourhood, cos: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """The range of all pre-activations over the cap <rows_i, delta> >= least of the ball; cos (n, m) = <rows_i, rows>."""
    r = net.radius
    reach = (
        ((1 + 1e-6 - cos**2) * (r**2 - least**2)).clamp(min=0).sqrt()
    )  # 1e-6: rounding of cos near 1
    low = torch.where(least <= -cos * r, -r, cos * least - reach)
    return net.q + low, net.q + torch.where(least <= cos * r, r, cos * least + reach)


def _largest_eigenvalue(rows: Tensor, steps: int = 5) -> float:
    """Of rows rows^T, by the power method; a little too small, which only makes the ascent bolder."""
    v = rows.sum(0)
    for _ in range(steps):
        v = (rows @ v) @ rows
        v = v / v.norm().clamp(min=1e-30)
    return max((rows @ v).norm().item() ** 2, 1.0)
