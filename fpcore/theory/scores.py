"""The exact law of the score S = <w*, z>: an expectation over it is a finite sum."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from fpcore.sparse_codes import sign_counts
from fpcore.sparse_coding import SIMPLEST, check_sizes


class HasSizes(Protocol):
    """What the bounds ask of the sparse coding model."""

    @property
    def d(self) -> int: ...
    @property
    def k(self) -> int: ...
    @property
    def margin(self) -> float: ...
    @property
    def noise(self) -> float: ...


@dataclass(frozen=True)
class Sizes:
    """The four numbers that the bounds need, where no sample is drawn."""

    d: int
    k: int
    margin: float = 1.5
    noise: float = 0.2

    def __post_init__(self):
        check_sizes(self.d, self.k, self.margin, self.noise)


@dataclass(frozen=True)
class Law:
    """The law of |S| given |S| >= margin: all of shape (v,)."""

    score: np.ndarray  # the values of |S|
    probability: np.ndarray  # of each value
    energy: np.ndarray  # E[|z|^2] at each value

    def mean(self, values: np.ndarray) -> float:
        """The expectation of a function of the score, given as its values (v,)."""
        return float(self.probability @ values)


def score_law(data: HasSizes) -> Law:
    """The exact law of |<w*, z>|, from that of the non-zeros that agree and disagree with w*.

    Raises ValueError for another member of the family than the simplest: a finite sum has no
    other, and the bounds know of no other noise.
    """
    member = getattr(data, "member", SIMPLEST)
    if not member.simplest:
        found = f"{member}: the exact law of the score is that of the simplest member alone"
        raise ValueError(f"{found}; measure on samples")
    return _score_law(data.d, data.k, data.margin)


@lru_cache
def _score_law(d: int, k: int, margin: float) -> Law:
    counts, weight = (table.numpy() for table in sign_counts(d, k, margin))
    steps = np.abs(counts[:, 0] - counts[:, 1])  # |S| sqrt(k), a whole number
    active = counts.sum(1)  # k |z|^2
    total = np.bincount(steps, weight)
    energy = np.bincount(steps, weight * active) / np.maximum(total, 1e-300) / k
    score = np.arange(len(total)) / math.sqrt(k)
    kept = total > 0
    return Law(
        score=score[kept],
        probability=total[kept] / total[kept].sum(),
        energy=energy[kept],
    )
