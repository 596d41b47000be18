"""Timings as summaries: what a benchmark measured, each with its spread over repeats."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fpbook.results.quantities import quantity_of
from fpbook.results.summaries import summary_table

TIMINGS = (  # quantities, which are told apart by their units
    "wall_time",
    "throughput",
    "product_rate",
    "bandwidth",
    "memory_used",
    "speed_ratio",
    "rate_share",
    "accuracy_gap",
    "exponent",
)
UNITS = {quantity_of(name).unit: name for name in TIMINGS}
TIMED_KEYS = ("name", "value", "unit", "low", "high", "repeats", "settings")  # of what is measured
_OPTIONAL = ("size",)


def timing(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a benchmark measured, as a summary: the value, and the least and largest of repeats.

    row: name, value, unit (a key of UNITS), low, high, repeats, settings (words, or {name: value}),
         and for curves the size that it is over; a value of None could not be measured, and the
         settings say why

    ValueError that names what is missing, or no number.
    """
    if missing := [key for key in TIMED_KEYS if key not in row]:
        raise ValueError(f"{row!r} lacks {missing[0]}: give {', '.join(TIMED_KEYS)}")
    if unknown := [key for key in row if key not in (*TIMED_KEYS, *_OPTIONAL)]:
        raise ValueError(f"{row!r} has {unknown[0]}: give {', '.join((*TIMED_KEYS, *_OPTIONAL))}")
    named = {
        "timed": row["name"],
        "settings": settings_in_words(row["settings"]),
        "size": row.get("size"),
    }
    if row["value"] is None:
        return {"quantity": "unmeasured", **named, "value": 1.0, "n": 1}
    if row["unit"] not in UNITS:
        raise ValueError(f"unit = {row['unit']!r} of {row['name']}: give one of {[*UNITS]}")
    ends = {key: row[key] for key in ("value", "low", "high")}
    return {"quantity": UNITS[row["unit"]], **named, **ends, "n": row["repeats"]}


def timings_table(measured: list[dict[str, Any]]) -> pd.DataFrame:
    """A table of summaries of what benchmarks measured, rows as `timing` takes them.

    measured: in any order; two rows of the same are a ValueError
    """
    return summary_table(timing(row) for row in measured)


def settings_in_words(settings: Any) -> str | None:
    """The settings of a timing, words or {name: value}, as one line; None if there are none."""
    if isinstance(settings, Mapping):
        return ", ".join(f"{name} = {value}" for name, value in settings.items()) or None
    return str(settings) or None
