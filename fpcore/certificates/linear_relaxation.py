"""Certified robustness of the two-layer network against ANY l2 perturbation: a lower bound, sample by sample.

In units of |w_i| all neurons are one function: y f(x + y delta) = sum_i |w_i| s(q_i + <w_i, delta>/|w_i|), where s is the
soft-shrinkage by the threshold and q_i = y <w_i, x>/|w_i|. So |delta| <= radius keeps each pre-activation u_i within
radius of q_i, where |w_i| s(u) >= a_i u + c_i for ANY slope a_i, with c_i the minimum of |w_i| s(u) - a_i u.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Neighbourhood(NamedTuple):
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

    def samples(self, index: Tensor) -> "Neighbourhood":
        q, radius, size, base, slack, direction = (field[index] for field in self[3:])
        return Neighbourhood(
            self.rows, self.norm, self.threshold, q, radius, size, base, slack, direction
        )

    def activation(self, u: Tensor) -> Tensor:
        return self.norm * F.softshrink(u, self.threshold)

    def corners(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Where norm s(u) - a u can be smallest on [low, high], its ends and the convex corner; and norm s there."""
        u = torch.stack([low, low.clamp(min=self.threshold).minimum(high), high])
        return u, self.activation(u)


def envelope(net: Neighbourhood, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of the convex envelope of norm s on [low, high], left and right of the convex corner if it is inside."""
    u, s = net.corners(low, high)
    left, right = (s[1:] - s[:-1]) / (u[1:] - u[:-1]).clamp(min=1e-30)
    return torch.where(u[1] > low, left, right), torch.where(u[1] < high, right, left)


def bound(
    net: Neighbourhood, low: Tensor, high: Tensor, a: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
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
