"""What no linear classifier and no polynomial of degree 2 can do, whoever trains it.

All bounds are exact sums over the law of the score S = <w*, z>, not estimates from samples. They
need d, k, margin and noise alone, so `data` is a `SparseCoding` or anything else with these four,
at any size.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import Tensor

from fpcore import checks
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.scores import HasSizes, score_law


def dense_accuracy(data: HasSizes, radius: float) -> float:
    """Exact robust accuracy of the dense direction u*, at an l2 radius in the units of x.

    P[|S| + noise g > radius sqrt(d)] with g ~ N(0, 1). At radius 0, its clean accuracy.
    """
    law = score_law(data)
    reach = checks.finite("radius", radius) * math.sqrt(data.d)
    if data.noise == 0:
        return law.mean(law.score > reach)
    return law.mean(_normal_cdf((law.score - reach) / data.noise))


def critical_radius(data: HasSizes) -> float:
    """|E[y x]| = E|S|/sqrt(d), in the units of x.

    From this radius on, no linear classifier beats the constant 0 in any convex margin loss.
    """
    law = score_law(data)
    return law.mean(law.score) / math.sqrt(data.d)


def linear_bound(data: HasSizes, radius: float, cosines: int = 200) -> float:
    """An upper bound on the robust accuracy of EVERY linear classifier at this l2 radius.

    With a = cos(u, u*), y<u, x>/|u| = a (|S| + noise g)/sqrt(d) + X, where X has mean 0 and a known
    variance v given S. By Cantelli's inequality X exceeds r > 0 with probability at most
    v/(v + r^2). The bound is the mean of that over S and g, for the worst a >= 0 (a < 0 only lowers
    it); on each of the `cosines` cells, both a and v are replaced by their worst there.
    """
    checks.positive_int("cosines", cosines)
    edges = np.linspace(0, 1, cosines + 1)
    return float(max(linear_bound_on(data, radius, low, high) for low, high in pairwise(edges)))


def linear_bound_at(data: HasSizes, radius: float, cosine: float) -> float:
    """The bound for the linear classifiers at one value of cos(u, u*), between 0 and 1."""
    checks.finite("cosine", cosine, high=1.0)
    return linear_bound_on(data, radius, cosine, cosine)


def linear_bound_on(data: HasSizes, radius: float, low: float, high: float) -> float:
    """The bound for the linear classifiers with low <= cos(u, u*) <= high: Cantelli's inequality.

    data    the sizes of the model
    radius  of the l2 ball, in the units of x
    low     the least cosine, at which the variance is largest
    high    the largest one, at which the mean of a score >= 0 is
    """
    law = score_law(data)
    checks.finite("radius", radius)
    g, weight = _normal_grid() if data.noise else (np.zeros(1), np.ones(1))
    # Along u*, and the variance of the rest, X, given S.
    dense = (law.score[:, None] + data.noise * g) / math.sqrt(data.d)  # (v, g): y<u*, x>
    spread = (law.energy - law.score**2 / data.d) / max(1, data.d - 1) + data.noise**2 / data.d
    variance = (1 - low**2) * spread[:, None]
    # Cantelli: P[X > missing] <= v/(v + missing^2).
    missing = radius - np.maximum(low * dense, high * dense)
    safe = np.maximum(missing, 0) ** 2
    exceed = np.where(missing > 0, variance / np.maximum(variance + safe, 1e-300), 1.0)
    return law.mean(exceed @ weight)


def _normal_grid(points: int = 161, reach: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """Cells of N(0, 1): right ends, where what rises with g is largest, and masses.

    The mass beyond is in the last.
    """
    ends = np.linspace(-reach, reach, points)
    mass = np.diff(_normal_cdf(ends), prepend=0.0)
    mass[-1] += _normal_cdf(np.array(-reach))
    return ends, mass


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    """P[g <= x], g ~ N(0, 1)."""
    from scipy.special import ndtr  # here: it would take most of the time of `import fpcore`

    return ndtr(x)


def even_part_bound(odd: float) -> float:
    """1/2 + odd/2, which the robust accuracy of f = o + e (odd and even part) cannot exceed.

    That of o alone is at most `odd`, against an odd adversary. The data is symmetric under
    (x, y) -> (-x, -y); an adversary with delta(-x, -y) = -delta(x, y) respects that. If f is right
    at both x + delta and its mirror image, then y o(x + delta) > |e(x + delta)|, so o is right
    there. For degree 2, o is linear and `odd` is `linear_bound`: a bound for every polynomial of
    degree 2.
    """
    return 0.5 + checks.finite("odd", odd, high=1.0) / 2


def quadratic_bound(data: HasSizes, radius: float, cosines: int = 200) -> float:
    """An upper bound on the robust accuracy of EVERY polynomial of degree 2.

    Chance, plus half the linear classifiers'.
    """
    return even_part_bound(linear_bound(data, radius, cosines))


LOSSES = {"logistic": lambda m: np.logaddexp(0, -m), "hinge": lambda m: np.maximum(0, 1 - m)}


@dataclass(frozen=True)
class Optimum:
    """The linear class's best adversarial loss."""

    loss: float
    scale: float  # s of a minimiser s u*
    zero: float  # the loss of the constant 0


def linear_optimum(data: HasSizes, radius: float, loss: str = "logistic") -> Optimum:
    """The minimum over ALL linear (and degree-2) f of the adversarial loss within an l2 radius.

    That is E loss(min over |delta| <= radius of y f(x + delta)). By convexity and symmetry a
    minimiser is s u*, s >= 0: one number, found by minimising E loss(s(y<u*, x> - radius)) with
    Gauss-Hermite quadrature for the noise. From the critical radius on it is the constant 0.
    """
    from scipy.optimize import minimize_scalar  # here, because it takes long to import

    checks.choice("loss", loss, LOSSES)
    checks.finite("radius", radius)
    law = score_law(data)
    g, weight = np.polynomial.hermite_e.hermegauss(80)
    margins = (law.score[:, None] + data.noise * g) / math.sqrt(data.d) - radius  # (v, g)

    def value(scale: float) -> float:
        return law.mean(LOSSES[loss](scale * margins) @ weight) / math.sqrt(2 * math.pi)

    zero = value(0.0)
    if radius >= critical_radius(data):
        return Optimum(loss=zero, scale=0.0, zero=zero)
    largest = 1e3 * math.sqrt(data.d)
    found = minimize_scalar(
        value, bounds=(0.0, largest), method="bounded", options={"xatol": 1e-9 * largest}
    )
    # A bounded search can settle beside a small optimum: once more, near it.
    found = minimize_scalar(
        value, bounds=(0.0, 2 * found.x), method="bounded", options={"xatol": 1e-12 * largest}
    )
    return Optimum(loss=float(found.fun), scale=float(found.x), zero=zero)


def few_features(data: SparseCoding, size: int) -> Tensor:
    """The unit vector u = sum of w*_j M_j over `size` features, over sqrt(size), (d,).

    A linear classifier blind to the other features. Below a radius of 1/sqrt(size k) it is right,
    robustly, on the few samples in which one of its features speaks for the label: more than u* at
    a large radius.
    """
    if not 1 <= checks.positive_int("size", size) <= data.d:
        raise ValueError(f"size = {size}: give at most d = {data.d} features")
    return data.features[:, :size] @ data.w_star[:size] / math.sqrt(size)
