"""What the command `evaluation` published, case by case, and which of them keep the bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fpbook.results.columns import rows

JUDGED = "evaluation"  # the name of the result
OF_A_CASE = ("architecture", "network", "seed", "threat", "check")


@dataclass(frozen=True)
class Judgement:
    """Both evaluations of a published network at a threat.

    architecture, network, seed, threat: of the case
    check:    who judges: AutoAttack as published, or run beside
    images:   that were attacked
    ours:     robust accuracy by `robust_correct`
    theirs:   by AutoAttack, on the same images
    gap:      ours less theirs, in points
    differ:   share of the images on which they differ
    seconds:  of ours, on one core
    ratios:   AutoAttack's time over ours, of each group of images; empty where not timed
    together: the same of all groups together; None where not timed
    """

    architecture: str
    network: str
    seed: int
    threat: str
    check: str
    images: int
    ours: float
    theirs: float
    gap: float
    differ: float
    seconds: float
    ratios: tuple[float, ...]
    together: float | None

    def keeps(self, points: float, times: float) -> bool:
        """Whether it is within so many points of AutoAttack's, and so many times as fast.

        points: either way
        times:  asked for only where both were timed
        """
        return abs(self.gap) <= points and (self.together is None or self.together >= times)

    @property
    def words(self) -> str:
        """What it is of, in a line."""
        return f"{self.architecture}, {self.network}, seed {self.seed}, {self.threat}"


def judgements(records: pd.DataFrame) -> list[Judgement]:
    """The cases of a result of the command `evaluation`, in its order.

    records: as published
    """
    cases: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows(records):
        cases.setdefault(tuple(row[name] for name in OF_A_CASE), []).append(row)
    return [_judgement(dict(zip(OF_A_CASE, key)), some) for key, some in cases.items()]


def _judgement(of: Mapping[str, Any], some: Sequence[Mapping[str, Any]]) -> Judgement:
    each: dict[str, list[float]] = {}
    for row in some:
        each.setdefault(row["quantity"], []).append(row["value"])
    theirs = each.get("autoattack_time", [])
    return Judgement(
        **of,
        images=max(row["images"] for row in some),
        ours=each["robust_accuracy"][0],
        theirs=each["autoattack_accuracy"][0],
        gap=each["accuracy_gap"][0],
        differ=each["outcomes_differ"][0],
        seconds=sum(each["core_time"]),
        ratios=tuple(each.get("speed_ratio", ())),
        together=sum(theirs) / sum(each["core_time"]) if theirs else None,
    )
