"""One value among the records of a report."""

from collections.abc import Iterable, Mapping
from typing import Any


def found(
    records: Iterable[Mapping[str, Any]],
    quantity: str,
    network: str | None = None,
    layer: str | None = None,
    **over: Any,
) -> float | None:
    """The value of the record of this quantity, network and layer; None if it is not there.

    records   of a report
    quantity  its name
    network   whose it is; None: of a record without one
    layer     its name; None: of the record of all layers
    over      what else it must be over, such as alpha; other columns may hold anything
    """
    wanted = {"quantity": quantity, "network": network, "layer": layer, **over}
    for row in records:
        if all(row.get(name) == value for name, value in wanted.items()):
            return row["value"]
    return None
