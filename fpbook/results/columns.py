"""The columns of a table of measured numbers: what each may hold, their order; selection."""

import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fpbook.results.quantities import known, quantity_of


@dataclass(frozen=True)
class Abscissa:
    """What a quantity is measured over.

    label: what it is, in words
    unit:  what it counts or is measured in
    kind:  the type of its values: float, int or str
    """

    label: str
    unit: str = ""
    kind: type = float


ABSCISSAE: dict[str, Abscissa] = {
    "radius": Abscissa("radius of the attack", "l2 norm"),
    "norm": Abscissa("norm of the attack", kind=str),
    "steps": Abscissa("steps of the attack", kind=int),
    "threat": Abscissa("norm and radius of the attack", kind=str),
    "member": Abscissa("member of the paper's family of data", kind=str),
    "d": Abscissa("number of features", kind=int),
    "k": Abscissa("active features of a sample", kind=int),
    "width": Abscissa("hidden neurons", "neurons", kind=int),
    "width_factor": Abscissa("width", "times the network's"),
    "rate_factor": Abscissa("learning rate of the second stage", "times the experiment's"),
    "head": Abscissa("head of attention", kind=int),
    "rank": Abscissa("rank of the update", kind=int),
    "alpha": Abscissa("share of the vector that is taken out"),
    "epoch": Abscissa("epoch of training", "epochs", kind=int),
    "round": Abscissa("round of attack and solution", "rounds", kind=int),
    "atoms": Abscissa("atoms a patch", "atoms", kind=int),
    "sweep": Abscissa("assumption that is varied", kind=str),
    "setting": Abscissa("what the varied assumption is set to"),
    "fitted": Abscissa("quantity that a power law is fitted to", kind=str),
    "factor": Abscissa("what the power is of", kind=str),
    "sizes": Abscissa("sizes that a power law is fitted to", kind=str),
    "architecture": Abscissa("architecture of the network", kind=str),
    "experiment": Abscissa("published result whose measures it is held against", kind=str),
    "precision": Abscissa("what products are computed in", kind=str),
    "threads": Abscissa("threads that compute", "threads", kind=int),
    "check": Abscissa("what was tried", kind=str),
    "seeds_of_a_result": Abscissa("seeds that an interval is of", "seeds", kind=int),
    "timed": Abscissa("what is timed", kind=str),
    "settings": Abscissa("sizes and settings that it is timed at", kind=str),
    "images": Abscissa("images that are attacked", "images", kind=int),
    "group": Abscissa("group of these images", kind=int),
    "size": Abscissa("size that a time grows with"),
}

KINDS = {
    "quantity": str,
    "network": str,
    "layer": str,
    **{name: abscissa.kind for name, abscissa in ABSCISSAE.items()},
    "seeds": str,
    "seed": int,
    "value": float,
    "low": float,
    "high": float,
    "n": int,
}

SHARE_ROUNDING = 1e-6  # of a share, in float32


def checked_row(row: Mapping[str, Any], tail: Sequence[str]) -> dict[str, Any]:
    """A row without what is None, in canonical order, each value of its column's kind.

    row:  {column: value}; the quantity must be known, the value be given
    tail: the columns that a row may have after quantity, network, layer and the abscissae

    ValueError that names the column if a value is unsound, or the column unknown.
    """
    share = quantity_of(row.get("quantity", "")).share
    order = ("quantity", "network", "layer", *ABSCISSAE, *tail)
    for name in row:
        known("column", name, order)
    needed = {"value", "n"} & {*tail}
    found = {
        name: _value(name, row.get(name))
        for name in order
        if name in needed or row.get(name) is not None
    }
    # Of data that were not fitted, less than nothing may be explained.
    share = share and "explained" not in found["quantity"]
    if share and not -SHARE_ROUNDING <= found.get("value", 0.0) <= 1 + SHARE_ROUNDING:
        raise ValueError(f"value = {found['value']:g} of {found['quantity']}: give a share, 0 to 1")
    return found


def _value(name: str, value: Any) -> Any:
    """A value as its column's kind; ValueError if it is none."""
    kind = KINDS[name]
    if kind is str:
        good, wanted = isinstance(value, str) and value != "", "a text"
    elif kind is int:
        good, wanted = (
            isinstance(value, numbers.Integral) and not isinstance(value, bool),
            "a whole number",
        )
    else:
        good = (
            isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        )
        wanted = "a finite number"
    if not good:
        raise ValueError(f"{name} = {value!r}: give {wanted}")
    return kind(value)


def identity(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row is of: its columns without seed, value and interval."""
    return {k: v for k, v in row.items() if k not in ("seed", "value", "low", "high", "n")}


def check_distinct(found: Sequence[Mapping[str, Any]]) -> None:
    """ValueError if two rows are of the same, seed included."""
    seen = set()
    for row in found:
        named = identity(row) | {"seed": row.get("seed")}
        if (key := tuple(named.items())) in seen:
            raise ValueError(f"two values of {named}: give each once")
        seen.add(key)


def frame(found: Sequence[Mapping[str, Any]], tail: Sequence[str]) -> pd.DataFrame:
    """Checked rows as a data frame, with those abscissae that any row has.

    Whole numbers stay whole where some are missing.
    """
    over = [name for name in ABSCISSAE if any(name in row for row in found)]
    types = {str: "str", int: "Int64", float: "float64"}
    columns = ("quantity", "network", "layer", *over, *tail)
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in found], dtype=types[KINDS[name]])
            for name in columns
        }
    )


def rows(measured: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as plain dictionaries, without what is empty: fit for JSON."""
    found = measured.astype(object).to_dict("records")
    return [{str(k): KINDS[str(k)](v) for k, v in row.items() if not pd.isna(v)} for row in found]


def select(measured: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows with the wanted values, column by column: a value, a list, or None for none.

    Columns that are not named may hold anything. A column that no row has is empty.
    """
    keep = np.ones(len(measured), dtype=bool)
    for name, value in wanted.items():
        known("column", name, KINDS)
        listed = (
            [value] if isinstance(value, str) or not isinstance(value, Collection) else [*value]
        )
        if name == "quantity":
            for one in listed:
                quantity_of(one)
        if name in measured.columns:
            column = measured[name]
            fits = column.isna() if value is None else column.isin(listed)
            keep &= fits.to_numpy(dtype=bool)
        elif value is not None:
            keep[:] = False
    return measured[keep]
