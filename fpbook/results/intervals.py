"""Intervals over seeds: the mean, and Student's 95% interval of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Bound = float | tuple[float, float]  # for ">" and "<" a number; for "in" both ends of a range


@dataclass(frozen=True)
class Interval:
    """A mean over n seeds with its 95% interval.

    value:     the mean
    low, high: the interval's ends; None for a single seed
    n:         how many values it is the mean of
    unit:      of its quantity, as in `Quantity`
    """

    value: float
    low: float | None
    high: float | None
    n: int
    unit: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the interval; of a single seed, its value twice."""
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        return low, high

    def unfavourable(self, sign: str) -> float:
        """The end that is furthest from meeting a bound ">" or "<"; of a single seed, its value."""
        return self.ends[0 if sign == ">" else 1]

    def meets(self, sign: str, bound: Bound) -> bool | None:
        """Whether it meets a bound ">" or "<", or lies "in" a range, its ends excluded.

        True if the whole interval does, False if no part of it does, None otherwise.
        """
        (low, high), one = self.ends, bound if isinstance(bound, tuple) else (bound, bound)
        if sign == "in":
            inside = one[0] < low and high < one[1]
            outside = high <= one[0] or one[1] <= low
            return True if inside else False if outside else None
        met = {end > one[0] if sign == ">" else end < one[0] for end in (low, high)}
        return met.pop() if len(met) == 1 else None

    def slack(self, sign: str, bound: Bound) -> tuple[float, float]:
        """How far the unfavourable and the favourable end are on the good side of a bound.

        Negative where they miss it. Of a range "in", an end's slack is that to the nearer end.
        """
        (low, high), ends = self.ends, bound if isinstance(bound, tuple) else (bound, bound)
        if sign == "in":
            each = [min(end - ends[0], ends[1] - end) for end in (low, high)]
        else:
            each = [end - ends[0] if sign == ">" else ends[0] - end for end in (low, high)]
        return min(each), max(each)


def interval(values: Sequence[float], share: bool = False, unit: str = "") -> Interval:
    """Mean and 95% Student-t interval of values, one a seed; no interval from a single one.

    values: finite numbers
    share:  whether to cut the interval to [0, 1]; not if a value lies outside, as an explained
            share may
    unit:   of the quantity
    """
    array = np.asarray(values, dtype=float)
    if not len(array) or not np.isfinite(array).all():
        raise ValueError(f"values = {values!r}: give at least one finite number, one a seed")
    mean, n = float(array.mean()), len(array)
    if n == 1:
        return Interval(value=mean, low=None, high=None, n=1, unit=unit)
    # t(0.975, n - 1) s / sqrt(n), with s^2 the unbiased variance
    half = float(stats.t.ppf(0.975, n - 1) * array.std(ddof=1) / np.sqrt(n))
    low, high = mean - half, mean + half
    if share and (array >= 0).all() and (array <= 1).all():
        low, high = max(low, 0.0), min(high, 1.0)
    return Interval(value=mean, low=low, high=high, n=n, unit=unit)
