"""What the page shows of accuracies: every network and variant, with intervals."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fpcore.reporting import drawing
from fpcore.reporting.shown import IN_SYMBOLS, Measured, interval_of_share, shown, written

# Networks made from w without training: what they are made by, their name, and their colour.
MADE = {
    "w - v": ("w without a part of v", "w\u00a0−\u00a0{}v", "v"),
    "w - random": ("w without a random part of the same size", "w\u00a0−\u00a0{}random", "control"),
    "w - v_c": ("w without a part of the control’s v", "w\u00a0−\u00a0{}v<sub>c</sub>", "control"),
    "beta w'": ("only what w′ keeps", "βw′", "update"),
    "w + rank r": (
        "w with the largest directions of w′ − w",
        "w\u00a0+\u00a0rank\u00a0{}",
        "update",
    ),
}


def measured_threats(content: Mapping[str, Any], measured: Measured) -> list[str]:
    """The threats under which robust accuracy was measured, that of the ball first.

    content   of report.json
    measured  its records
    """
    ball = content["about"].get("ball")
    own = f"{ball['norm']} {ball['radius']:g}" if ball else None
    found = {record["threat"]: None for record in measured.variants("robust_accuracy")}
    return sorted(found, key=lambda threat: threat != own)


def accuracies(content: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
    """Groups of rows, one a network: its accuracies, their intervals, and a small chart.

    content   of report.json
    measured  its records
    """
    data = content["about"].get("data") or {}
    counts = {"clean": data.get("images"), "robust": data.get("attacked")}
    fewer = {
        "clean": data.get("images_variants", counts["clean"]),
        "robust": data.get("attacked_variants", counts["robust"]),
    }
    under = measured_threats(content, measured)
    found: dict[str, list[dict[str, Any]]] = {}
    depends = ("network", "alpha", "rank")
    records = [*measured.variants("clean_accuracy"), *measured.variants("robust_accuracy")]
    variants = {tuple(record[name] for name in depends): None for record in records}
    order = [*IN_SYMBOLS, *MADE]
    for variant in sorted(variants, key=lambda one: _place(one, order)):
        keys = dict(zip(depends, variant))
        group, label, color = _described(*variant)
        clean = measured.value("clean_accuracy", **keys)
        robust = [measured.value("robust_accuracy", **keys, threat=threat) for threat in under]
        of = fewer if variant[0] in MADE else counts
        pairs = [
            (value, interval_of_share(value, of[kind]))
            for kind, value in (("clean", clean), *(("robust", value) for value in robust))
        ]
        words = f"clean {written(clean, 'percent')}, " + ", ".join(
            f"under attack {written(value, 'percent')}" for value in robust
        )
        first = pairs[1] if robust else (None, None)
        share = measured.value("parameter_share", **keys)
        found.setdefault(group, []).append({
            "label": label,
            "share": None if share is None else shown(share, "percent"),
            "chart": drawing.two_dots(color, pairs[0], first, f"{label.striptags()}: {words}"),
            "pairs": pairs,
        })  # fmt: skip
    return {"groups": found, "threats": under, "counts": counts, "fewer": fewer}


def _place(variant: tuple, order: list[str]) -> tuple:
    """Where a variant stands among the others."""
    name, alpha, rank = variant
    return (order.index(name) if name in order else len(order), name, alpha or 0, rank or 0)


def _described(name: str, alpha: float | None, rank: int | None) -> tuple[str, Markup, str]:
    """Of a variant its group, its label and whose colour it has."""
    if name not in MADE:
        return "networks", IN_SYMBOLS.get(name, Markup.escape(name)), name
    group, label, color = MADE[name]
    scale = rank if rank is not None else "" if alpha in (None, 1) else f"{alpha:g}\u00a0"
    return group, Markup(label).format(scale), color
