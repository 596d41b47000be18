"""Whether the book's intervals contain what they should: on data whose mean is known.

And what chance alone does to many verdicts at once.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from fpbook.results.intervals import Bound, Interval, interval
from fpbook.results.ledger import Entry

LEVEL = 0.025  # chance that a 95% interval lies wholly on the wrong side of its mean
Draw = Callable[[np.random.Generator, int], np.ndarray]

# Data of known mean, {name: (mean, how n values are drawn)}. The last is like an accuracy on 1000
# samples: a share near 1, whose interval is cut.
SYNTHETIC_DATA: dict[str, tuple[float, Draw]] = {
    "normal": (0.0, lambda rng, n: rng.normal(size=n)),
    "skewed (exponential)": (1.0, lambda rng, n: rng.exponential(size=n)),
    "share near 1": (0.995, lambda rng, n: rng.binomial(1000, 0.995, size=n) / 1000),
}


def coverage(data: str, n: int, trials: int, seed: int = 0) -> float:
    """How many of the book's 95% intervals contain the true mean: a fraction.

    data:   a name in SYNTHETIC_DATA
    n:      values an interval is made of, as many as a result has seeds
    trials: intervals
    seed:   of the data
    """
    mean, draw = SYNTHETIC_DATA[data]
    rng = np.random.default_rng([seed, n, len(data)])
    hits = 0
    for _ in range(trials):
        low, high = interval([*draw(rng, n)], share=data.startswith("share")).ends
        hits += low <= mean <= high
    return hits / trials


def p_value(number: Interval, sign: str, bound: Bound) -> float | None:
    """The chance of such a mean, or one further inside the bound, were the true mean the bound.

    number: a mean with its interval; of a single value there is no chance, but None
    sign:   ">", "<" or "in"
    bound:  what the mean must be above, below or between

    Below 0.025 exactly where the whole interval meets the bound. One-sided, Student's t; of a range
    the larger of those of its two ends.
    """
    if number.low is None or number.high is None or number.n < 2:
        return None
    # an interval that is cut to [0, 1] keeps one end
    half = max(number.high - number.value, number.value - number.low)
    error = half / float(stats.t.ppf(1 - LEVEL, number.n - 1))
    inside, _ = replace(number, low=None, high=None).slack(sign, bound)
    if error == 0:
        return 0.0 if inside > 0 else 1.0
    return float(stats.t.sf(inside / error, number.n - 1))


def holm(chances: Sequence[float]) -> list[float]:
    """Holm's adjusted p values: below a level, all together are wrong no more often than that.

    chances: p values, in any order, which the result keeps

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    order = sorted(range(len(chances)), key=lambda i: chances[i])
    found, worst = [0.0] * len(chances), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(chances) - rank) * chances[i]))
        found[i] = worst
    return found


@dataclass(frozen=True)
class Comparisons:
    """What chance does to a ledger of many verdicts.

    figures:  bounded figures that have an interval
    alone:    bounded figures of a single value: their verdict knows no chance
    decided:  claims that hold or fail
    expected: of these, how many may be wrong by chance, at most
    holding:  ids of the claims that hold, each with its p value after Holm's adjustment
    """

    figures: int
    alone: int
    decided: int
    expected: float
    holding: tuple[tuple[str, float], ...]

    @property
    def kept(self) -> list[str]:
        """Claims that hold also after the adjustment."""
        return [name for name, chance in self.holding if chance < LEVEL]

    @property
    def lost(self) -> list[str]:
        """Claims that hold, but not after the adjustment."""
        return [name for name, chance in self.holding if chance >= LEVEL]


def comparisons(entries: Iterable[Entry]) -> Comparisons:
    """Of how many comparisons a ledger is made, and what they allow chance to do.

    entries: the ledger

    A claim that is false passes by chance at most once in 40: one of its figures is on the wrong
    side, and passes that often. A claim that is true fails if any of its figures does: at most so
    many times once in 40. Holm's adjustment is over all claims that are measured; the p value of a
    claim is the largest of its figures', as all must pass.
    """
    figures = alone = decided = 0
    expected, chances = 0.0, {}
    holding = []
    for entry in entries:
        pairs = [*zip(entry.claim.evidence, entry.numbers)]
        bounded = [(one, number) for one, number in pairs if one.sign and number]
        found = [p_value(number, one.sign, one.bound) for one, number in bounded]
        known = [chance for chance in found if chance is not None]
        figures, alone = figures + len(known), alone + len(found) - len(known)
        decided += entry.verdict in ("holds", "fails")
        if entry.verdict == "holds":
            expected += LEVEL if known else 0.0
            holding.append(entry.claim.id)
        elif entry.verdict == "fails":
            expected += LEVEL * len(known)
        if known and entry.verdict != "not yet measured":
            chances[entry.claim.id] = max(known)
    adjusted = dict(zip(chances, holm([*chances.values()])))
    return Comparisons(
        figures=figures,
        alone=alone,
        decided=decided,
        expected=expected,
        holding=tuple((name, adjusted.get(name, math.nan)) for name in holding),
    )
