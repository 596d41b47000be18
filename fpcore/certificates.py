"""Certified robustness of the two-layer network against ANY l2 perturbation: a lower bound, sample by sample.

In units of |w_i| all neurons are one function: y f(x + y delta) = sum_i |w_i| s(q_i + <w_i, delta>/|w_i|), where s is the
soft-shrinkage by the threshold and q_i = y <w_i, x>/|w_i|. So |delta| <= radius keeps each pre-activation u_i within
radius of q_i, where |w_i| s(u) >= a_i u + c_i for ANY slope a_i, with c_i the minimum of |w_i| s(u) - a_i u.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fpcore import checks
from fpcore.models import TwoLayer, one_label_each, signs
from fpcore.parabolas import shared_budget

BRANCHES = 100  # of a sample: enough for all but a few in a thousand of the book's purified networks


@dataclass(frozen=True)
class Certificate:
    """What is known about the minimum of y f(x + delta) over |delta|_2 <= radius, sample by sample.

    `margin` (n,) is a lower bound; `attained` (n,) an upper one, the value at the worst perturbation that was met;
    `exact` (n,): no neuron was relaxed, all are linear over the whole ball, and the margin is the minimum itself.
    """

    margin: Tensor
    attained: Tensor
    exact: Tensor

    @property
    def robust(self) -> Tensor:
        """Samples that no perturbation of this radius can misclassify, (n,), bool."""
        return self.margin > 0

    @property
    def broken(self) -> Tensor:
        """Samples that a perturbation of this radius does misclassify, (n,), bool. Those that are neither are open."""
        return self.attained <= 0


@torch.no_grad()
def certify(model: TwoLayer, x: Tensor, y: Tensor, radius: float, branches: int = 0, chunk: int = 512) -> Certificate:
    """Bound y f(x + delta) from below over the whole l2 ball: linear relaxation, parabolas, branch and bound.

    x (n, d), y (n,) in {-1, +1}; the radius is in the units of x. Each stage sees the samples that the earlier ones left
    open: `branches` = 0 takes the better of two choices of slopes (fast: for many radii); 1 adds an attack, the parabolas
    of `shared_budget`, and optimised slopes; more also splits the ball where a neuron has its concave corner, into at
    most so many parts, until the sample is settled. The margin of a split sample then tells its label, but is not the
    largest that could be proved. Rounding is allowed for as float32 has it: on a GPU, leave
    torch.set_float32_matmul_precision at "highest", its default.
    Source: Zhang et al. (2018); for optimised slopes Xu et al. (2021), for splits Wang et al. (2021).
    """
    checks.finite("radius", radius), checks.whole("branches", branches), checks.positive_int("chunk", chunk)
    _check(model, x, y)
    radii = x.new_full((len(x),), radius)  # y may hold integers
    parts = [_certify(model, *part, branches) for part in zip(x.split(chunk), y.split(chunk), radii.split(chunk))]
    return Certificate(*(torch.cat(values) for values in zip(*parts)))


def certified_accuracy(model: TwoLayer, x: Tensor, y: Tensor, radius: float, branches: int = BRANCHES) -> float:
    """Share of samples certified at this l2 radius: a lower bound on robust accuracy."""
    return certify(model, x, y, radius, branches).robust.float().mean().item()


@torch.no_grad()
def certified_radius(
    model: TwoLayer, x: Tensor, y: Tensor, branches: int = BRANCHES, steps: int = 12, chunk: int = 512
) -> Tensor:
    """The largest l2 radius certified by bisection, sample by sample, (n,): no smaller perturbation changes the label.

    In the units of x; 0 for misclassified samples. The bisection starts from |x|, which no sample survives since
    f(0) = 0, so that `steps` halvings leave |x|/2^steps. What it returns was itself certified.
    """
    checks.whole("branches", branches), checks.positive_int("steps", steps), checks.positive_int("chunk", chunk)
    _check(model, x, y)
    found = []
    for a, b in zip(x.split(chunk), y.split(chunk)):
        high = a.norm(dim=1)
        low = torch.zeros_like(high)  # b may hold integers
        for _ in range(steps):
            middle = (low + high) / 2
            robust = _certify(model, a, b, middle, branches)[0] > 0
            low, high = torch.where(robust, middle, low), torch.where(robust, high, middle)
        found.append(low)
    return torch.cat(found)


def _check(model: TwoLayer, x: Tensor, y: Tensor) -> None:
    """Raise ValueError for what the certificates are not of: a label of 2, say, would double the margin."""
    if not isinstance(model, TwoLayer):
        raise ValueError(f"model is a {type(model).__name__}: give a TwoLayer, certificates are of no other network")
    one_label_each(x, signs(y))


class _Local(NamedTuple):
    """y f around n samples: some neurons one by one, and the sum of all others, which are linear there.

    y f(x + y delta) = base + <direction, delta> + sum_i norm_i s(q_i + <rows_i, delta>), for |delta| <= radius.
    """

    rows: Tensor  # (m, d), of norm 1
    norm: Tensor  # (m,)
    threshold: float
    q: Tensor  # (n, m)
    radius: Tensor  # (n, 1)
    size: Tensor  # (n, 1), |x| + radius: bounds all pre-activations
    base: Tensor  # (n,)
    slack: Tensor  # (n,), rounding error of base and direction
    direction: Tensor  # (n, d)

    def samples(self, index: Tensor) -> "_Local":
        q, radius, size, base, slack, direction = (field[index] for field in self[3:])
        return _Local(self.rows, self.norm, self.threshold, q, radius, size, base, slack, direction)

    def activation(self, u: Tensor) -> Tensor:
        return self.norm * F.softshrink(u, self.threshold)

    def corners(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Where norm s(u) - a u can be smallest on [low, high], its ends and the convex corner; and norm s there."""
        u = torch.stack([low, low.clamp(min=self.threshold).minimum(high), high])
        return u, self.activation(u)


# The slack is for rounding in float32, so autocast must not round more coarsely.
@torch.autocast("cuda", enabled=False)
@torch.autocast("cpu", enabled=False)
def _certify(model: TwoLayer, x: Tensor, y: Tensor, radius: Tensor, branches: int) -> tuple[Tensor, Tensor, Tensor]:
    y = y.to(x.dtype)
    norm, threshold = model.weight.norm(dim=1), model.threshold.item()
    rows = model.weight / norm.clamp(min=1e-30)[:, None]
    radius, zero = radius[:, None], torch.zeros_like(y)
    net = _Local(
        rows, norm, threshold, y[:, None] * (x @ rows.T), radius, x.norm(dim=1, keepdim=True) + radius, zero, zero, 0 * x
    )
    low, high = net.q - radius, net.q + radius
    bends = (low < threshold) & (high > threshold) | (low < -threshold) & (high > -threshold)
    bends &= (norm > 0) & (threshold > 0)  # without a threshold f is linear
    left, right = envelope(net, low, high)
    flat, slopes = (bound(net, low, high, a) for a in (left, torch.where(net.q > threshold, right, left)))
    margin, attained = flat[0].maximum(slopes[0]), flat[1].minimum(slopes[1])
    if branches and len(todo := _open(margin, attained, bends)):
        part, worst = net.samples(todo), slopes[2][todo]
        for _ in range(8):  # an attack, each step to the worst point for the neurons active at the last: breaks most
            _, value, worst = bound(part, low[todo], high[todo], norm * (worst.abs() > threshold))
            attained[todo] = attained[todo].minimum(value)
        todo = _open(margin, attained, bends)
        if len(todo):
            margin[todo] = margin[todo].maximum(shared_budget(model, x[todo], y[todo], radius[todo, 0]).to(margin.dtype))
        for i in _open(margin, attained, bends).tolist():
            proved, met = _branch(_reduced(net, i, bends[i]), branches)
            margin[i], attained[i] = max(margin[i].item(), proved), min(attained[i].item(), met)
    return margin, attained, ~bends.any(1)


def _open(margin: Tensor, attained: Tensor, bends: Tensor) -> Tensor:
    return ((margin <= 0) & (attained > 0) & bends.any(1)).nonzero().flatten()


def envelope(net: _Local, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of the convex envelope of norm s on [low, high], left and right of the convex corner if it is inside."""
    u, s = net.corners(low, high)
    left, right = (s[1:] - s[:-1]) / (u[1:] - u[:-1]).clamp(min=1e-30)
    return torch.where(u[1] > low, left, right), torch.where(u[1] < high, right, left)


def bound(net: _Local, low: Tensor, high: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A lower bound on y f where |delta| <= radius and pre-activations are in [low, high], from ANY slopes a (n, m).

    Returns the bound (n,); y f at the delta that is worst for the lines, an upper bound (n,); pre-activations there.
    """
    u, s = net.corners(low, high)
    offset = (s - a * u).amin(0)  # s - a u is piecewise linear with its local minima at the corners
    v = net.direction + a @ net.rows
    length = v.norm(dim=1, keepdim=True)
    # float32 sums of m terms: keep the bound sound by the size of their rounding error
    slack = net.slack + 1e-6 * (a.abs() * net.size + offset.abs()).sum(1)
    lower = net.base + (a * net.q + offset).sum(1) - (net.radius * length).squeeze(1) - slack
    delta = -net.radius * v / length.clamp(min=1e-30)
    worst = net.q + delta @ net.rows.T
    return lower, net.base + (net.direction * delta).sum(1) + net.activation(worst).sum(1), worst


def _reduced(net: _Local, i: int, bends: Tensor) -> _Local:
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


def _branch(net: _Local, branches: int) -> tuple[float, float]:
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
        a, low, high, worst, margin, upper = (part[todo] for part in (a, low, high, worst, margin, upper))
        gap = gaps(net, low, high, a, worst)
        rest = gap.clamp(min=0).sort(1, descending=True).values[:, branches:].sum(1)
        if (rest >= upper).any():  # at this delta the bound stays below 0 after as many splits as we may make
            return min([settled, *margin.tolist()]), attained
        low, high, old = split(net, low, high, gap)
        a, margin = a[old], margin[old]


def ascend(net: _Local, low: Tensor, high: Tensor, a: Tensor, rate: float, steps: int = 4) -> Tensor:
    """Slopes with a larger bound, which is concave in a: proximal gradient ascent, at a rate of at most 1/|rows|^2."""
    u, s = net.corners(low, high)
    left, right = (s[1:] - s[:-1]) / (u[1:] - u[:-1]).clamp(min=1e-30)
    for _ in range(steps):
        v = net.direction + a @ net.rows
        length = v.norm(dim=1, keepdim=True).clamp(min=1e-3 * net.norm.max().item())
        step = rate * length / net.radius
        z = a / step + net.q - (net.radius * v / length) @ net.rows.T
        # -c is the conjugate of the envelope e: its proximal point follows from that of e (Moreau)
        below, above = (z - left / step).maximum(u[0]).minimum(u[1]), (z - right / step).maximum(u[1]).minimum(u[2])
        a = step * (z - (below + above - u[1]))
    return a


def gaps(net: _Local, low: Tensor, high: Tensor, a: Tensor, worst: Tensor) -> Tensor:
    """How far each neuron's line is below it at the worst delta, if its concave corner is inside; else -inf."""
    u, s = net.corners(low, high)
    gap = net.activation(worst) - a * worst - (s - a * u).amin(0)
    return gap.masked_fill((low >= -net.threshold) | (high <= -net.threshold), -torch.inf)


def split(net: _Local, low: Tensor, high: Tensor, gap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cut each part in two at the concave corner u_i = -threshold of the largest gap; a part without one stays whole.

    On each side all intervals shrink to what is left of the ball. Returns low, high and the part that each is from.
    """
    cost, at = gap.max(1, keepdim=True)
    cos, cut = net.rows[at[:, 0]] @ net.rows.T, -net.threshold - net.q[0, at]
    above, below = _cap(net, cos, cut), _cap(net, -cos, -cut)
    low, high, old = low.repeat(2, 1), high.repeat(2, 1), torch.arange(len(gap), device=gap.device).repeat(2)
    cut_low = low.maximum(torch.cat([above[0], below[0]]))
    cut_high = high.minimum(torch.cat([above[1], below[1]]))
    cut_low[: len(gap)].scatter_(1, at, -net.threshold), cut_high[len(gap) :].scatter_(1, at, -net.threshold)
    whole = cost.isinf().repeat(2, 1)  # nothing to cut: the first copy stays as it is, the second goes
    low, high = torch.where(whole, low, cut_low), torch.where(whole, high, cut_high.maximum(cut_low))
    keep = ~whole.squeeze(1) | (torch.arange(len(old), device=gap.device) < len(gap))
    return low[keep], high[keep], old[keep]


def _cap(net: _Local, cos: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """The range of all pre-activations over the cap <rows_i, delta> >= least of the ball; cos (n, m) = <rows_i, rows>."""
    r = net.radius
    reach = ((1 + 1e-6 - cos**2) * (r**2 - least**2)).clamp(min=0).sqrt()  # 1e-6: rounding of cos near 1
    low = torch.where(least <= -cos * r, -r, cos * least - reach)
    return net.q + low, net.q + torch.where(least <= cos * r, r, cos * least + reach)


def _largest_eigenvalue(rows: Tensor, steps: int = 5) -> float:
    """Of rows rows^T, by the power method; a little too small, which only makes the ascent bolder."""
    v = rows.sum(0)
    for _ in range(steps):
        v = (rows @ v) @ rows
        v = v / v.norm().clamp(min=1e-30)
    return max((rows @ v).norm().item() ** 2, 1.0)
