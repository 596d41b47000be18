"""The report as one HTML file, made of report.json's content: it opens offline, and in print."""

import base64
import functools
import hashlib
import shlex
from collections.abc import Mapping
from typing import Any

import jinja2
from markupsafe import Markup

from fpcore.reporting import drawing
from fpcore.reporting.accuracy_view import accuracies, measured_threats
from fpcore.reporting.layer_views import (
    COMPARED_WITH_CLEAN,
    all_layers,
    cosine_chart,
    layer_table,
    removed_parts,
    spectra,
)
from fpcore.reporting.shown import (
    IN_SYMBOLS,
    Measured,
    interval_of_share,
    is_number,
    shown,
    written,
)

ROLES = {
    "clean": "clean weights",
    "purified": "trained on from w against attacks",
    "control": "trained on from w for as long, clean",
    "scratch": "trained against attacks from scratch",
    "init": "initial weights",
}


def page(content: Mapping[str, Any]) -> str:
    """The report's page: one HTML file that loads nothing.

    content  of report.json

    Raises ValueError if two records are of the same thing.
    """
    measured = Measured(content["records"])
    about = content["about"]
    view = {
        "networks": [
            {
                "name": name,
                "symbol": IN_SYMBOLS.get(name, name),
                "role": ROLES.get(name, "another network"),
                **about["networks"][name],
            }
            for name in [*ROLES, *(about["networks"].keys() - ROLES)]
            if name in about["networks"]
        ],
        "finding": _finding(content, measured),
        "cards": _cards(content, measured),
        "split": _split(measured),
        "layers_chart": cosine_chart(content, measured, None),
        "compared": [name for name in COMPARED_WITH_CLEAN if name in about["networks"]],
        "pooled": all_layers(content, measured),
        "table": layer_table(content, measured),
        "accuracies": accuracies(content, measured),
        "removed_chart": removed_parts(content, measured),
        "spectra": spectra(content, measured),
        "command": shlex.join(about["command"]) if about.get("command") else None,
        "duration": _duration(about.get("seconds")),
    }
    return _template().render(content=content, colors=drawing.COLORS, **view)


def figure(content: Mapping[str, Any]) -> str:
    """The cosines by layer as one small SVG, for a notebook, on light and on dark.

    content  of report.json

    Raises ValueError if two records are of the same thing.
    """
    return str(cosine_chart(content, Measured(content["records"]), 640))


@functools.cache
def _template() -> jinja2.Template:
    """The page's template, everything in it escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fpcore.reporting", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "sha256": _digest,
        "shown": shown,
        "written": written,
        "breakable": _breakable,
        "finite": lambda value: value if is_number(value) else 0,
    }
    environment.globals |= {"key": drawing.key, "symbols": IN_SYMBOLS}
    return environment.get_template("report.html.jinja")


def _breakable(name: str) -> Markup:
    """A dotted name that may be broken after its dots and underscores."""
    dotted = Markup.escape(name)
    return dotted.replace(".", Markup(".<wbr>")).replace("_", Markup("_<wbr>"))


def _digest(script: str) -> str:
    """How a page's security policy names the one script that may run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _finding(content: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
    """The sentence at the top, with its verdict and what the control adds."""
    threat = next(iter(measured_threats(content, measured)), None)
    n = (content["about"].get("data") or {}).get("attacked")
    share, control_share = (
        measured.value("share_dominant", network=net) for net in ("purified", "control")
    )
    before, after, control = (
        measured.value("robust_accuracy", network=net, threat=threat)
        for net in ("clean", "purified", "control")
    )
    return {
        "verdict": _verdict(share, before, after, control, n),
        "share": share if is_number(share) else None,
        "before": before,
        "after": after,
        "robust": is_number(before) and is_number(after),
        "control_as_robust": is_number(control) and is_number(after) and control >= after,
        "control_given": "control" in content["about"]["networks"],
        "control_share": control_share,
        "control": control,
    }


def _verdict(
    share: float | None,
    before: float | None,
    after: float | None,
    control: float | None,
    n: int | None,
) -> str:
    """Whether most neurons kept more than they lost, and w' is more robust than w and control.

    Where intervals of n images overlap, more robust is not known.
    """
    if not (is_number(share) and is_number(before) and is_number(after)):
        return "Undecided"
    if share <= 0.5 or after <= before:
        return "Not what feature purification predicts"
    if is_number(control) and control >= after:
        return "Undecided"
    ends, own = interval_of_share(before, n), interval_of_share(after, n)
    apart = not ends or not own or own[0] > ends[1]
    return "Consistent with feature purification" if apart else "Undecided"


def _cards(content: Mapping[str, Any], measured: Measured) -> list[dict[str, Any]]:
    """The four big numbers: (network, value) pairs from w to w', and the control's beside them."""
    threat = next(iter(measured_threats(content, measured)), None)
    data = content["about"].get("data")
    no_images = "not measured" if data else "not measured: no images were given"
    found = []
    for title, note, quantity, nets, form in (
        ("median cos(w, w′)", "1: the same direction", "cos_to_clean", ["purified"], "cos"),
        ("neurons with |βw′| > |v|", "kept more than they lost", "share_dominant",
         ["purified"], "percent"),
        ("robust accuracy, w → w′", "upper bounds", "robust_accuracy", ["clean", "purified"],
         "percent"),
        ("clean accuracy, w → w′", "no attack", "clean_accuracy", ["clean", "purified"],
         "percent"),
    ):  # fmt: skip
        keys = {"threat": threat} if quantity == "robust_accuracy" else {}
        why = no_images if "accuracy" in quantity else "not measured"
        numbers = [
            (net, shown(measured.value(quantity, network=net, **keys), form, why))
            for net in [*nets, "control"]
            if net in content["about"]["networks"]
        ]
        main = [pair for pair in numbers if pair[0] != "control"]
        side = [pair for pair in numbers if pair[0] == "control"]
        note = f"{note}, {threat}" if keys and threat else note
        if measured.value(quantity, network="purified", **keys) is None:
            note = why
        found.append({"title": title, "note": note, "main": main, "control": side})
    return found


def _split(measured: Measured) -> float | None:
    """cos^2 of the median neuron: the share of its squared length that beta w' has."""
    cos = measured.value("cos_to_clean", network="purified")
    return cos * cos if is_number(cos) and 0 <= cos <= 1 else None


def _duration(seconds: float | None) -> str:
    """Seconds as they are read."""
    if not is_number(seconds):
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} seconds"
    return f"{seconds:,.0f} seconds ({seconds / 60:.0f} minutes)"
