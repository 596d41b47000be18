"""Summaries of records over seeds, and how one row of them is picked."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fpbook.results.columns import (
    ABSCISSAE,
    check_distinct,
    checked_row,
    frame,
    identity,
    rows,
    select,
)
from fpbook.results.intervals import Interval, interval
from fpbook.results.quantities import known, quantity_of
from fpbook.results.records import record, table

OF_A_SUMMARY = ("seeds", "value", "low", "high", "n")
SEEDS = (
    "all",
    "held out",
)  # what a summary is of: all seeds, or all but those on which choices were made


def summary_table(summaries: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A table of summaries: as of records, with the interval (low, high) of the mean over n seeds.

    summaries: rows with quantity, value and n at least; `seeds`, "all" or "held out", is "all"
               unless it is given

    ValueError if one is no summary, if a value is not in its interval, or if one is given twice.
    """
    found = [checked_row({"seeds": "all", **row}, OF_A_SUMMARY) for row in summaries]
    for row in found:
        known("seeds", row["seeds"], SEEDS)
        _check_interval(row)
    check_distinct(found)
    return frame(found, OF_A_SUMMARY)


def _check_interval(row: Mapping[str, Any]) -> None:
    """ValueError unless the value lies in its interval, which has both ends or none."""
    low, high = row.get("low"), row.get("high")
    if row["n"] < 1:
        raise ValueError(f"n = {row['n']}: give how many values it is the mean of, at least 1")
    if (low is None) != (high is None):
        raise ValueError(f"low = {low}, high = {high}: give both ends of the interval, or none")
    if low is not None and high is not None and not low <= row["value"] <= high:
        raise ValueError(
            f"value = {row['value']}: it is not in its interval, give low <= value <= high"
        )


def is_summary(measured: pd.DataFrame) -> bool:
    """Whether a table is one of summaries, and not of records."""
    return "n" in measured.columns


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Tables of records, or of summaries, one after the other; of none, a table of no records."""
    build = summary_table if any(is_summary(one) for one in tables) else table
    return build([row for one in tables for row in rows(one)])


def summarise(measured: pd.DataFrame, tuned_on: Collection[int] = ()) -> pd.DataFrame:
    """Mean and 95% interval over seeds, of records equal but for seed and value: summaries.

    measured: a table of records
    tuned_on: seeds on which choices were made; if there are any, each summary stands there once
              more without them, as that of the seeds "held out"
    """
    every = rows(measured)
    found = _summaries(every, "all")
    if tuned_on:
        found += _summaries(
            [row for row in every if row.get("seed") not in {None, *tuned_on}], "held out"
        )
    return summary_table(found)


def _summaries(measured: Sequence[Mapping[str, Any]], seeds: str) -> list[dict[str, Any]]:
    values: dict[tuple[tuple[str, Any], ...], list[float]] = {}
    for row in measured:
        values.setdefault(tuple(identity(row).items()), []).append(row["value"])
    found = []
    for key, some in values.items():
        one = interval(some, quantity_of(dict(key)["quantity"]).share)
        number = {"value": one.value, "low": one.low, "high": one.high, "n": one.n}
        found.append({**dict(key), "seeds": seeds, **number})
    return found


@dataclass(frozen=True)
class Pick:
    """What names one row of a summary, made by `pick`; what it does not name is empty there."""

    quantity: str
    network: str | None
    layer: str | None
    seeds: str
    abscissae: tuple[tuple[str, Any], ...]

    def find(self, summary: pd.DataFrame) -> Interval | None:
        """The one row of the summary that matches exactly, or None; ValueError if several do."""
        over: dict[str, Any] = dict.fromkeys(ABSCISSAE) | dict(self.abscissae)
        wanted = {
            "quantity": self.quantity,
            "network": self.network,
            "layer": self.layer,
            "seeds": self.seeds,
        }
        matching = select(summary, **wanted, **over)
        found = [] if matching.empty else rows(matching)
        if len(found) > 1:
            raise ValueError(f"{self.columns()}: {len(found)} rows of the summary match")
        return interval_of(found[0]) if found else None

    def columns(self) -> dict[str, Any]:
        """The columns that it names, as {column: value}; `seeds` only if they are not all."""
        named = {
            "quantity": self.quantity,
            "network": self.network,
            "layer": self.layer,
            **dict(self.abscissae),
        }
        named["seeds"] = None if self.seeds == "all" else self.seeds
        return {name: value for name, value in named.items() if value is not None}


def pick(
    quantity: str,
    network: str | None = None,
    layer: str | None = None,
    seeds: str = "all",
    **abscissae: Any,
) -> Pick:
    """What names one row of a summary, checked as a record is.

    quantity:  a name in QUANTITIES
    network:   whose it is
    layer:     a module's name, or "lowest" or "highest"
    seeds:     "all" or "held out"
    abscissae: what it is measured over
    """
    known("seeds", seeds, SEEDS)
    row = record(quantity, 0.0, network, layer, **abscissae)
    over = tuple((name, row[name]) for name in ABSCISSAE if name in row)
    return Pick(quantity=quantity, network=network, layer=layer, seeds=seeds, abscissae=over)


def number(
    summary: pd.DataFrame,
    quantity: str,
    network: str | None = None,
    layer: str | None = None,
    seeds: str = "all",
    **abscissae: Any,
) -> Interval | None:
    """The value with its interval of the one row of a summary that matches exactly, or None.

    summary: a table of summaries; the other arguments are those of `pick`

    Columns that are not named must be empty.
    """
    return pick(quantity, network, layer, seeds, **abscissae).find(summary)


def interval_of(row: Mapping[str, Any]) -> Interval:
    """The interval that a row of a summary holds, with its quantity's unit."""
    unit = quantity_of(row["quantity"]).unit
    low, high = row.get("low"), row.get("high")
    return Interval(value=row["value"], low=low, high=high, n=row["n"], unit=unit)
