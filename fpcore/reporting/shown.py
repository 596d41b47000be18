"""How a report's numbers are looked up, and how they are shown: each as it is in the record."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from markupsafe import Markup

KEYS = ("quantity", "network", "layer", "rank", "alpha", "threat", "head")
IN_SYMBOLS = {
    "clean": Markup("w"),
    "purified": Markup("w′"),
    "control": Markup("w<sub>c</sub>"),
    "scratch": Markup("w″"),
    "init": Markup("w<sub>0</sub>"),
    "v": Markup("v"),
    "update": Markup("w′ − w"),
}
PLAIN = {"init": "w0", "control": "w_c"}  # where there is no markup: drawings, hover titles
FORMS = {
    "cos": "{:.3f}",
    "percent": "{:.1%}",
    "rank": "{:,.1f}",
    "count": "{:,.0f}",
}


class Measured:
    """The records of a report, found by quantity, network, layer, rank, alpha, threat and head."""

    def __init__(self, records: Iterable[Mapping[str, Any]]):
        self.values: dict[tuple, Any] = {}
        for record in records:
            key = tuple(record.get(name) for name in KEYS)
            if key in self.values:
                what = ", ".join(f"{value}" for value in key if value is not None)
                raise ValueError(f"records = two of {what}: give one")
            self.values[key] = record["value"]

    def value(self, quantity: str, **keys: Any) -> float | None:
        """The value measured of a quantity; None without one, NaN if it is no finite number.

        quantity  its name
        keys      network, layer, rank, alpha, threat: those that it depends on
        """
        key = (quantity, *(keys.get(name) for name in KEYS[1:]))
        if key not in self.values:
            return None
        value = self.values[key]
        return float(value) if is_number(value) else math.nan

    def by_layer(self, quantity: str, layers: Iterable[str], **keys: Any) -> list[float | None]:
        """The values of a quantity in layers, None where there is none."""
        return [self.value(quantity, layer=layer, **keys) for layer in layers]

    def variants(self, quantity: str) -> list[dict[str, Any]]:
        """What else the records of a quantity depend on, in their order, each once."""
        found = [dict(zip(KEYS, key)) for key in self.values if key[0] == quantity]
        return list({tuple(one.items()): one for one in found}.values())


def is_number(value: float | None) -> TypeGuard[float]:
    """Whether there is a finite number.

    value  a number, or None
    """
    return value is not None and math.isfinite(value)


def plain(name: str) -> str:
    """The symbol of a network where there is no markup.

    name  of the network, or "v" or "update"
    """
    return PLAIN.get(name, str(IN_SYMBOLS.get(name, name)))


def written(value: float | None, form: str) -> str:
    """A number as it is read: 0.973, 97.3% or 1,024; a dash for one that is not there.

    value  the number, None or NaN
    form   one of FORMS
    """
    if not is_number(value):
        return "–"
    text = FORMS[form].format(value)
    return (
        text.lstrip("-") if float(text.strip("%").replace(",", "")) == 0 else text.replace("-", "−")
    )


def shown(value: float | None, form: str, why: str = "not measured") -> Markup:
    """A number in HTML, with the record's value beside it; a dash with its reason without one.

    value  the number, None or NaN
    form   one of FORMS
    why    the reason, should there be no record
    """
    if not is_number(value):
        reason = why if value is None else "measured, but undefined: not a finite number"
        dash = '<span class="none" role="img" title="{0}" aria-label="{0}">–</span>'
        return Markup(dash).format(reason)
    return Markup('<data value="{}">{}</data>').format(f"{value:.7g}", written(value, form))


def interval_of_share(value: float | None, n: int | None) -> tuple[float, float] | None:
    """Wilson's 95% interval of a share of n samples; None without a share or an n.

    value  the share, None or NaN
    n      of how many samples it is the share
    """
    if not is_number(value) or not 0 <= value <= 1 or not n:
        return None
    from scipy.stats import binomtest  # here: it is slow to import

    ends = binomtest(round(value * n), n).proportion_ci(method="wilson")
    return float(ends.low), float(ends.high)
