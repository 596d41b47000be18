"""What the page shows layer by layer: charts, the table, and the spectra of what was removed."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fpcore.reporting import drawing
from fpcore.reporting.shown import IN_SYMBOLS, Measured, is_number, plain, written

COMPARED_WITH_CLEAN = ("purified", "control", "scratch")  # with w, neuron by neuron
# The columns of the table of layers: quantity, of which network, form, whether a phone folds it.
COLUMNS = (
    ("share_dominant", "purified", "percent", "|βw′|\u00a0>\u00a0|v|", False),
    ("cos_to_clean", "control", "cos", "cos(w,\u00a0w_c)", True),
    ("cos_to_clean", "scratch", "cos", "cos(w,\u00a0w″)", True),
    ("cos_chance", None, "cos", "chance\u00a0±", True),
    ("cos_to_init", "purified", "cos", "cos(w0,\u00a0w′)", True),
    ("share_switched_on", "purified", "percent", "switched\non, w′", True),
    ("explained_by_clean", "purified", "percent", "explained\nby w", True),
    ("parameter_share", None, "percent", "share of\nweights", True),
)
# What is compared over all layers: quantity, form, what it is in words.
POOLED = (
    ("cos_to_clean", "cos", "median cosine with w"),
    ("share_dominant", "percent", "neurons of w in which it outweighs the rest"),
    ("same_neuron_share", "percent", "hidden neurons nearest to their own ancestor in w"),
    ("explained_by_clean", "percent", "variance that a linear map of w explains"),
    ("cos_to_init", "cos", "median cosine with w0"),
    ("share_switched_on", "percent", "neurons switched on"),
)
FEW = 24  # layers whose spectra are shown at once


def cosine_chart(content: Mapping[str, Any], measured: Measured, width: int | None) -> Markup:
    """The chart of cosines by layer, and of the share of neurons in which beta w' outweighs v.

    content   of report.json
    measured  its records
    width     in pixels, of a drawing that stands alone; None for the page's, which is as wide as it
    """
    names = [layer["name"] for layer in content["layers"]]
    nets = [net for net in COMPARED_WITH_CLEAN if net in content["about"]["networks"]]
    cos = {net: measured.by_layer("cos_to_clean", names, network=net) for net in nets}
    share = {net: measured.by_layer("share_dominant", names, network=net) for net in nets}
    band = measured.by_layer("cos_chance", names)
    numbers = [v for values in cos.values() for v in values if is_number(v)]
    low = -1.0 if min(numbers, default=0) < -0.3 else -0.3
    marks = {v: written(v, "cos").rstrip("0").rstrip(".") for v in (1.0, 0.75, 0.5, 0.25, 0.0)}
    marks |= {-0.5: "−0.5", -1.0: "−1"} if low < -0.3 else {-0.25: "−0.25"}
    panel = drawing.Panel(
        "median cosine with w", cos, (low, 1.0), marks, lambda v: written(v, "cos"), 230, band
    )
    lower = drawing.Panel(
        "neurons that kept more than they lost",
        share,
        (0.0, 1.0),
        {0.0: "0%", 0.5: "50%", 1.0: "100%"},
        lambda v: written(v, "percent"),
        80,
    )
    pooled = [
        f"{plain(net)} {written(measured.value('cos_to_clean', network=net), 'cos')}"
        for net in nets
    ]
    alt = (
        f"Chart over {len(names)} layers: median cosine of each layer's neurons with those of w."
        f" Over all layers: {', '.join(pooled)}. The band is chance."
    )
    panels = [panel, lower] if width is None else [panel]
    return drawing.by_layer(names, panels, alt, width)


def removed_parts(content: Mapping[str, Any], measured: Measured) -> Markup | None:
    """The chart of effective rank and of roughness by layer, as far as they were measured.

    content   of report.json
    measured  its records
    """
    names = [layer["name"] for layer in content["layers"]]
    rank = {
        "v": measured.by_layer("effective_rank_removed", names),
        "update": measured.by_layer("effective_rank_update", names),
    }
    rough = {
        net: measured.by_layer("roughness", names, network=net)
        for net in ("clean", "purified", "v")
    }
    panels = []
    for title, series, form in (
        ("effective rank", rank, "rank"),
        ("roughness: energy in high frequencies", rough, "percent"),
    ):
        numbers = [v for values in series.values() for v in values if is_number(v)]
        if not numbers:
            continue
        top = 1.0 if form == "percent" else _round_up(max(numbers))
        marks = {v: written(v, form).replace(".0", "") for v in (0.0, top / 2, top)}
        write = functools.partial(written, form=form)
        panels.append(drawing.Panel(title, series, (0.0, top), marks, write, 120))
    alt = f"Chart over {len(names)} layers: {' and '.join(one.title for one in panels)}."
    return drawing.by_layer(names, panels, alt) if panels else None


def _round_up(value: float) -> float:
    """The next number of one digit, or 1.5 times a power of ten, at or above a positive one."""
    power = 10 ** math.floor(math.log10(max(value, 1e-9)))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return next(step * power for step in steps if step * power >= value)


def layer_table(content: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
    """The table of layers: its columns that have a number, and of each layer the cells.

    content   of report.json
    measured  its records
    """
    names = [layer["name"] for layer in content["layers"]]
    columns: list[dict[str, Any]] = []
    for quantity, net, form, head, more in COLUMNS:
        values = measured.by_layer(quantity, names, **({"network": net} if net else {}))
        if any(value is not None for value in values):
            columns.append({"head": head, "form": form, "more": more, "values": values})
    cos = measured.by_layer("cos_to_clean", names, network="purified")
    bins = content["histograms"].get("cos_to_clean", {})
    rows = []
    for i, layer in enumerate(content["layers"]):
        own = {
            net: bins[net][layer["name"]]
            for net in COMPARED_WITH_CLEAN
            if layer["name"] in bins.get(net, {})
        }
        rows.append({
            **layer,
            "cos": cos[i],
            "by_head": _by_head(measured, layer),
            "bins": drawing.histogram(own, _in_words(own)) if own else None,
            "cells": [(one["values"][i], one["form"], one["more"]) for one in columns],
        })  # fmt: skip
    return {"columns": columns, "rows": rows}


def _by_head(measured: Measured, layer: Mapping[str, Any]) -> list[tuple[int, float]]:
    """The heads of attention with the lowest and the highest median cosine, with it."""
    cos = functools.partial(measured.value, "cos_to_clean", network="purified", layer=layer["name"])
    each = [(head, cos(head=head)) for head in range(layer.get("heads", 1))]
    there = sorted((value, head) for head, value in each if is_number(value))
    return [(head, value) for value, head in (there[0], there[-1])] if len(there) > 1 else []


def _in_words(bins: Mapping[str, Sequence[int]]) -> str:
    """Where the fullest bin of each histogram lies."""
    found = []
    for net, counts in bins.items():
        if not sum(counts):
            continue
        at = max(range(len(counts)), key=counts.__getitem__)
        low, high = (2 * end / len(counts) - 1 for end in (at, at + 1))
        found.append(f"{plain(net)} most from {low:.2f} to {high:.2f}".replace("-", "−"))
    return f"Histogram of cosines: {'; '.join(found) or 'empty'}"


def all_layers(content: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
    """What was measured over all layers together, of w and of what is compared with it.

    content   of report.json
    measured  its records
    """
    nets = [net for net in ("clean", *COMPARED_WITH_CLEAN) if net in content["about"]["networks"]]
    rows = [
        (words, form, [measured.value(quantity, network=net) for net in nets])
        for quantity, form, words in POOLED
    ]
    there = [row for row in rows if any(value is not None for value in row[2])]
    used = [i for i in range(len(nets)) if any(row[2][i] is not None for row in there)]
    return {
        "networks": [nets[i] for i in used],
        "rows": [(words, form, [values[i] for i in used]) for words, form, values in there],
    }


def spectra(content: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
    """The spectra of v and w' - w, of every layer that has one: those to see first, and the rest.

    content   of report.json
    measured  its records
    """
    found = []
    for layer in content["layers"]:
        name = layer["name"]
        both = {
            what: content["spectra"].get(kind, {}).get(name, [])
            for what, kind in (("v", "removed"), ("update", "update"))
        }
        if not any(both.values()):
            continue
        value = functools.partial(measured.value, layer=name)
        ranks = [value(f"effective_rank_{kind}") for kind in ("removed", "update")]
        gaps = [what for what, values in both.items() if not all(map(is_number, values))]
        words = " and ".join(written(rank, "rank") for rank in ranks)
        alt = f"Spectra of v and of w′ − w in {name}: effective ranks {words}"
        rough = [value("roughness", network=net) for net in ("clean", "purified", "v")]
        found.append({
            "name": name,
            "most": min(layer["neurons"], layer["fan_in"]),
            "chart": drawing.spectrum_curves(both, alt),
            "gaps": [IN_SYMBOLS[what] for what in gaps],
            "ranks": ranks,
            "rough": rough if any(v is not None for v in rough) else None,
        })  # fmt: skip
    if len(found) <= FEW:
        return {"first": found, "rest": []}
    seen = _telling(found, measured)
    return {"first": [found[i] for i in seen], "rest": found}


def _telling(found: Sequence[Mapping[str, Any]], measured: Measured) -> list[int]:
    """Which layers to see first: the first, the last, and those extreme in a measure."""
    chosen = {0, len(found) - 1}
    names = [one["name"] for one in found]
    ranks = [one["ranks"][0] for one in found]
    for values in (
        measured.by_layer("cos_to_clean", names, network="purified"),
        [None if rank is None else rank / one["most"] for rank, one in zip(ranks, found)],
        measured.by_layer("roughness", names, network="v"),
    ):
        order = [i for v, i in sorted((v, i) for i, v in enumerate(values) if is_number(v))]
        chosen |= {*order[:2], *order[-2:]}
    return sorted(chosen)
