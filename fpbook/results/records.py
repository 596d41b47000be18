"""One tidy record for every measured number, and tables of them."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from fpbook.results.columns import check_distinct, checked_row, frame

OF_A_RECORD = ("seed", "value")  # its columns after those that all rows have


def record(
    quantity: str,
    value: float,
    network: str | None = None,
    layer: str | None = None,
    seed: int | None = None,
    **abscissae: Any,
) -> dict[str, Any]:
    """One measured number, checked: its columns in canonical order, without those that are None.

    quantity:  a name in QUANTITIES
    value:     a finite number, in the quantity's unit (a share as a fraction)
    network:   whose it is; what it is compared with belongs to the quantity
    layer:     a module's name, or "lowest" or "highest" for the extreme one
    seed:      of the run
    abscissae: what it is measured over, names in ABSCISSAE
    """
    row = {
        "quantity": quantity,
        "network": network,
        "layer": layer,
        **abscissae,
        "seed": seed,
        "value": value,
    }
    return checked_row(row, OF_A_RECORD)


def table(measured: Iterable[Mapping[str, Any]], **fixed: Any) -> pd.DataFrame:
    """A table of records: quantity, network, layer, abscissae that any of them has, seed, value.

    measured: records, or what became of them in JSON
    fixed:    columns that are the same for all, such as the seed

    ValueError if one is no record, or if two differ in nothing but the value.
    """
    found = [checked_row({**row, **fixed}, OF_A_RECORD) for row in measured]
    check_distinct(found)
    return frame(found, OF_A_RECORD)
