"""Linear relaxation of the two-layer network: a lower bound against ANY perturbation of a ball.

In units of |w_i| all neurons are one function:

    y f(x + y delta) = sum_i |w_i| s(q_i + <w_i, delta>/|w_i|),    q_i = y <w_i, x>/|w_i|,

where s is the soft-shrinkage by the threshold. So |delta| <= radius keeps each pre-activation u_i
within radius of q_i in l2, and within radius |w_i|_1/|w_i| in linf, where |w_i| s(u) >= a_i u + c_i
for ANY slope a_i, with c_i the minimum of |w_i| s(u) - a_i u.

All is computed in float64, and each rounding is paid for. To first order in u = eps/2 = 2^-53:

    norm_i and rows_i of d products each miss |w_i| and w_i/|w_i| by (d/2 + 2) u of themselves;
    q_i misses by (3d/2 + 2) u |x|, so an interval of u_i widened by (d + 8) eps size holds it,
    where size = |x| + the largest |delta|, which is sqrt(d) radius in linf: so is its reach there,
    at most, and misses by (3d/2 + 1) u of itself; a neuron this close to a corner counts as one
    that bends;
    sums of m terms miss by m u of the sum of the terms' sizes, none of which is larger than
    (|a_i| + norm_i) size: (m + d + 16) eps of the sum of those is more than all of it together.

What is bounded is f in exact arithmetic, of weights as they are stored.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = torch.finfo(torch.float64).eps  # twice the largest relative error of one rounding
TINY = 1e-150  # below all that float32 numbers lead to; its square is still a number


class Neighbourhood(NamedTuple):
    """y f around n samples: some neurons one by one, and the sum of all others, linear there.

    y f(x + y delta) = base + <direction, delta> + sum_i norm_i s(q_i + <rows_i, delta>)
    for |delta| <= radius.
    """

    rows: Tensor  # (m, d), of norm 1
    norm: Tensor  # (m,); (n, m) where each sample has neurons of its own, 0 for others
    threshold: float
    q: Tensor  # (n, m)
    radius: Tensor  # (n, 1)
    size: Tensor  # (n, 1), |x| + the largest |delta|, l2 both: bounds all pre-activations
    base: Tensor  # (n,)
    slack: Tensor  # (n,), rounding error of base and direction
    direction: Tensor  # (n, d)
    ball: str = "l2"  # or "linf"

    @property
    def pad(self) -> Tensor:
        """What a pre-activation may miss by, (n, 1)."""
        return (self.rows.shape[1] + 8) * EPS * self.size

    @property
    def rounding(self) -> Tensor:
        """What a bound may miss by, for each unit of norm or of slope, (n,)."""
        return (sum(self.rows.shape) + 16) * EPS * self.size.squeeze(1)

    def interval(self) -> tuple[Tensor, Tensor]:
        """The least and the largest pre-activations over the ball, (n, m), rounded outwards."""
        reach = self.radius + self.pad
        if self.ball == "linf":
            reach = self.radius * self.rows.abs().sum(1) + self.pad
        return self.q - reach, self.q + reach

    def samples(self, index: Tensor) -> "Neighbourhood":
        """The neighbourhood of some of the samples."""
        return self._replace(
            q=self.q[index],
            radius=self.radius[index],
            size=self.size[index],
            base=self.base[index],
            slack=self.slack[index],
            direction=self.direction[index],
        )

    def activation(self, u: Tensor) -> Tensor:
        """norm s(u) of pre-activations u (n, m), in units of |w_i|."""
        return self.norm * F.softshrink(u, self.threshold)

    def corners(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Where norm s(u) - a u can be smallest on [low, high], and norm s there: (3, n, m) each.

        At its ends, and at the convex corner between them.
        """
        u = torch.stack([low, low.clamp(min=self.threshold).minimum(high), high])
        return u, self.activation(u)


class Bound(NamedTuple):
    """The minimum of y f over a part of the ball, from below and from above."""

    lower: Tensor  # (n,)
    upper: Tensor  # (n,), y f at the delta that is worst for the lines
    worst: Tensor  # (n, m), the pre-activations at that delta


def chords(u: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes between corners (u, s), each (3, n, m): left and right of the convex one, (n, m)."""
    left, right = (s[1:] - s[:-1]) / (u[1:] - u[:-1]).clamp(min=TINY)
    return left, right


def envelope(net: Neighbourhood, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of the convex envelope of norm s on [low, high], (n, m).

    Left and right of the convex corner, if that is inside.
    """
    u, s = net.corners(low, high)
    left, right = chords(u, s)
    return torch.where(u[1] > low, left, right), torch.where(u[1] < high, right, left)


def bound(net: Neighbourhood, low: Tensor, high: Tensor, slope: Tensor) -> Bound:
    """Bound y f where |delta| <= radius and pre-activations are in [low, high].

    net    the neighbourhood
    low    least pre-activations (n, m)
    high   largest ones
    slope  ANY slopes a of the lines (n, m)

    y f >= base + sum_i (a_i q_i + c_i) - radius |direction + sum_i a_i rows_i|, the norm being the
    dual of the ball's, l2 or l1, less what rounding may have added; the upper bound has it added.
    """
    # c: norm s(u) - a u is piecewise linear with its local minima at the corners
    u, s = net.corners(low, high)
    offset = (s - slope * u).amin(0)
    total = net.direction + slope @ net.rows
    length = total.norm(dim=1, keepdim=True, p=1 if net.ball == "linf" else 2)
    slack = net.slack + net.rounding * (slope.abs().sum(1) + net.norm.sum(-1))
    falls = (net.radius * length).squeeze(1)
    lower = net.base + (slope * net.q + offset).sum(1) - falls - slack
    # the delta at which the lines are lowest
    steepest = total.sign() if net.ball == "linf" else total / length.clamp(min=TINY)
    delta = -net.radius * steepest
    worst = net.q + delta @ net.rows.T
    upper = net.base + (net.direction * delta).sum(1) + net.activation(worst).sum(1)
    # neurons that are surely silent there add nothing, and no error either
    active = (worst.abs() > net.threshold - net.pad).to(net.norm.dtype)
    upper = upper + net.slack + 2 * net.rounding * (active * net.norm).sum(1)
    return Bound(lower, upper, worst)
