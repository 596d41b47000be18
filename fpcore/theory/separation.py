"""How narrow the data's margin may be, by the formula for symmetric networks, at each size."""

import math
from dataclasses import dataclass

import numpy as np

from fpcore import checks
from fpcore.sparse_codes import sign_counts
from fpcore.theory.scores import HasSizes, Sizes
from fpcore.theory.symmetric_networks import stationary_mixture

STEPS = 20  # halvings of a radius
THRESHOLDS = np.linspace(0.3, 0.8, 26)  # that are tried, in units of 1/sqrt(k)


@dataclass(frozen=True)
class Separation:
    """Where one radius separates the network with a mixture from the pure one, by the formula."""

    d: int
    k: int
    margin: float  # the least score that is kept, a multiple of 1/sqrt(k)
    kept: float  # the share of all codes that have it
    threshold: float  # b_i/|w_i|, in units of 1/sqrt(k)
    reach: float  # the radius, in units of 1/sqrt(k)
    mixture: float  # r of the clean network, in units of the feature
    cosine: float  # cos(w, w') of its neurons with the pure ones
    clean: float  # robust accuracy with the mixture
    pure: float  # and without it


def symmetric_accuracy(
    data: HasSizes, threshold: float, reach: float, mixture: float = 0.0
) -> float:
    """Robust accuracy of the symmetric network, P[M(tau) > 0], if no neuron crosses a corner.

    data       the sizes of the model
    threshold  b_i/|w_i|, in units of one feature: 1/sqrt(k)
    reach      the radius tau, in units of 1/sqrt(k)
    mixture    r, in units of the feature

    Exact in the law of the code, and in that of the noise. Source: the theorem on the worst
    perturbation, "One radius separates them" in the book.
    """
    for name, value in (("threshold", threshold), ("reach", reach), ("mixture", mixture)):
        checks.finite(name, value)
    worst = _Worst(data, np.array([threshold]), mixture)
    return float(worst.accuracy(np.array([reach]))[0])


class _Worst:
    """M(tau) of one network at several thresholds: its law over codes, Gaussian in the noise.

    data        the sizes of the model
    thresholds  (p,), in units of 1/sqrt(k)
    mixture     r
    """

    def __init__(self, data: HasSizes, thresholds: np.ndarray, mixture: float):
        counts, weight = (t.numpy() for t in sign_counts(data.d, data.k, data.margin))
        likely = weight > 1e-10  # of 1, the largest: what is left out changes no digit
        counts, weight = counts[likely], weight[likely]
        score = np.abs(counts[:, 0] - counts[:, 1]) / math.sqrt(data.k)
        active = counts.sum(1)
        self.weight = weight / weight.sum()
        # R = |w_j| and sqrt(N) Q = |sum of w_j over S|, both over alpha
        length = math.sqrt(1 + 2 * mixture / math.sqrt(data.d) + mixture**2)
        together = active * (1 + 2 * active * mixture / math.sqrt(data.d) + active * mixture**2)
        self.loss = np.sqrt(together / data.k)  # of M, for a reach of 1
        dense = 1 + active * mixture / math.sqrt(data.d)
        self.mean = score * (dense - thresholds[:, None] * length)  # (p, v): M(0) without noise
        self.spread = data.noise * np.sqrt(together / data.d)  # of chi + N r y<u*, xi>

    def accuracy(self, reach: np.ndarray) -> np.ndarray:
        """P[M(tau) > 0] at each threshold with its reach (p,): (p,)."""
        from scipy.special import ndtr  # here: it would take most of the time of `import fpcore`

        left = self.mean - reach[:, None] * self.loss
        if not self.spread.any():
            return (left > 0) @ self.weight
        return ndtr(left / self.spread) @ self.weight

    def largest_reach(self, share: float) -> np.ndarray:
        """The largest reach at which `share` is still right, (p,): accuracy falls with it."""
        low = np.zeros(len(self.mean))
        high = np.full(len(self.mean), 2 * float((self.mean / self.loss).max()) + 1e-9)
        for _ in range(STEPS):
            middle = (low + high) / 2
            right = self.accuracy(middle) > share
            low, high = np.where(right, middle, low), np.where(right, high, middle)
        return low


def narrowest_margin(
    d: int, noise: float = 0.2, excess: float = 1.6, error: float = 0.01
) -> Separation | None:
    """The smallest margin at which one radius separates clean from pure, over all k; None: none.

    d       number of features
    noise   as in `SparseCoding`
    excess  the mixture at which clean training stops, over the one at which it rests
    error   at that radius the pure network is right on at least 1 - error, and that with the
            mixture on less than `error`

    And cos(w, w') > 1/sqrt(2) for every neuron, so that the principle holds, and the radius is at
    most the threshold, so that no attack wakes a silent pure neuron. Scores are multiples of
    1/sqrt(k), and so are the margins that are tried, up to 3.
    """
    checks.positive_int("d", d)
    best: Separation | None = None
    for k in range(2, math.isqrt(d) + 1):
        for count in range(1, math.floor(min(3.0, math.sqrt(k)) * math.sqrt(k)) + 1):
            data = Sizes(d, k, count / math.sqrt(k), noise)
            if best is not None and data.margin >= best.margin:
                break
            mixture = excess * stationary_mixture(data)
            if mixture < 1 and (found := _separate(data, mixture, error)):
                best = found
                break
    return best


def _separate(data: Sizes, mixture: float, error: float) -> Separation | None:
    """The best threshold, each with the largest radius that the pure network withstands."""
    pure, mixed = _Worst(data, THRESHOLDS, 0.0), _Worst(data, THRESHOLDS, mixture)
    reach = np.minimum(pure.largest_reach(1 - error), THRESHOLDS)
    left = mixed.accuracy(reach)
    at = int(left.argmin())
    if left[at] >= error:
        return None
    return Separation(
        d=data.d,
        k=data.k,
        margin=data.margin,
        kept=share_kept(data),
        threshold=float(THRESHOLDS[at]),
        reach=float(reach[at]),
        mixture=mixture,
        cosine=(1 + mixture / math.sqrt(data.d))
        / math.sqrt(1 + 2 * mixture / math.sqrt(data.d) + mixture**2),
        clean=float(left[at]),
        pure=float(pure.accuracy(reach)[at]),
    )


def share_kept(data: HasSizes) -> float:
    """The share of all codes whose |score| is at least the margin: P[|<w*, z>| >= margin]."""
    # The law of all codes but those of score 0, which have no label; their share is added.
    counts, weight = (t.numpy() for t in sign_counts(data.d, data.k, 0.0))
    steps = np.abs(counts[:, 0] - counts[:, 1])
    inside = steps >= data.margin * math.sqrt(data.k) - 1e-6
    share = weight[inside].sum() / weight.sum()
    return float(share * (1 - _share_of_zero(data.d, data.k)))


def _share_of_zero(d: int, k: int) -> float:
    """P[<w*, z> = 0]: by inversion of the characteristic function of a sum of d signs."""
    phase = (np.arange(4096) + 0.5) * math.pi / 4096
    return float(np.mean((1 - k / d + k / d * np.cos(phase)) ** d))
