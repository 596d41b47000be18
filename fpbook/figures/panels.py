"""The panels of the explorer of sizes, described once: a page draws them from data, so do we.

A description says what is drawn of a `Setting`'s numbers, by path: "second.attacked" are the
accuracies under attack of the network after the second stage. `_static/explorer.js` reads it too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fpbook.figures.style import CLEAN, CONTROL, EVEN_COSINE, GREY, PURIFIED
from fpbook.synthetic.explorer_data import COSINE_BINS, MEASURED_AT, MOVED, STEMS

# Of the network after the second stage at radius 0, where nothing attacks: it is the control.
SECOND = {"trained": PURIFIED, "control": CONTROL}
LINEAR = "#000000"


@dataclass(frozen=True)
class Curve:
    """Something drawn in a panel.

    kind:   "line", "band" between two rows, "stems", or "bars" between edges
    of:     the path of the numbers; of a band two, parted by a space
    color:  "clean", "second" or "linear"
    label:  in the legend; "": none
    scale:  what the numbers are multiplied by
    dashed: dotted (2), dashed (1) or neither (0)
    """

    kind: str
    of: str
    color: str
    label: str = ""
    scale: float = 1.0
    dashed: int = 0


@dataclass(frozen=True)
class ExplorerPanel:
    """A panel: its title, axes and what is drawn.

    name:    of the panel, in the page
    title:   and at training radius 0 `control`, if that differs
    x:       the abscissae
    across:  label of the horizontal axis
    unit:    of the vertical one, for values under the pointer
    ylim:    limits of the vertical axis
    curves:  what is drawn
    level:   where a guide stands: horizontal at y, None for none
    upright: the same at x; "reach" for the training radius
    words:   what one sees, for who does not
    control: the title at training radius 0
    """

    name: str
    title: str
    x: tuple[float, ...]
    across: str
    ylim: tuple[float, float]
    curves: tuple[Curve, ...]
    words: str
    unit: str = ""
    level: float | None = None
    upright: float | str | None = None
    control: str = ""


_BOUNDS = (
    Curve("band", "clean.certified clean.attacked", "clean"),
    Curve("band", "second.certified second.attacked", "second"),
    Curve("line", "clean.attacked", "clean", "clean, attacked"),
    Curve("line", "clean.certified", "clean", "clean, certified", dashed=1),
    Curve("line", "second.attacked", "second", "after, attacked"),
    Curve("line", "second.certified", "second", "after, certified", dashed=1),
    Curve("line", "linear", "linear", "linear u⋆", dashed=2),
)
_MOVED = tuple(
    Curve(kind, path.format(name), name, label if kind == "line" else "", 0.01)
    for name, label in (("clean", "clean"), ("second", "after"))
    for kind, path in (("band", "{0}.moved.0 {0}.moved.2"), ("line", "{0}.moved.1"))
)
_FEATURES = tuple(float(i) for i in range(STEMS))
PANELS = (
    ExplorerPanel(
        name="robust",
        title="robust accuracy, %",
        x=MEASURED_AT,
        across="radius of the attack, in 1/√k",
        ylim=(0.0, 100.0),
        curves=_BOUNDS,
        unit="%",
        upright="reach",
        words="Robust accuracy over the radius of attacks, between certificates and attacks.",
    ),
    ExplorerPanel(
        name="cosines",
        title="cosine of each live neuron with its clean self",
        x=tuple(-0.2 + 1.2 * i / COSINE_BINS for i in range(COSINE_BINS + 1)),
        across="cosine; P1 holds right of the line",
        ylim=(0.0, 60.0),
        curves=(Curve("bars", "second.cosines", "second", "% of live neurons"),),
        unit="%",
        upright=EVEN_COSINE,
        words="Histogram of the cosines between neurons before and after the second stage.",
    ),
    ExplorerPanel(
        name="moved",
        title="output when moved against u⋆",
        x=MOVED,
        across="distance moved, in 1/√k",
        ylim=(-1.5, 1.6),
        curves=_MOVED,
        level=0.0,
        words="Outputs, relative to their median, as samples move along the dense direction.",
    ),
    ExplorerPanel(
        name="before",
        title="a typical neuron, clean",
        x=_FEATURES,
        across="features: its own first, 31 others",
        ylim=(-0.35, 1.0),
        curves=(Curve("stems", "second.neuron.0", "clean", "clean w", 0.01),),
        level=0.0,
        words="A clean neuron in the basis of the features: a spike over a floor of many.",
    ),
    ExplorerPanel(
        name="after",
        title="the same neuron after FGM training",
        x=_FEATURES,
        across="features: its own first, 31 others",
        ylim=(-0.35, 1.0),
        curves=(Curve("stems", "second.neuron.1", "second", "after", 0.01),),
        level=0.0,
        words="The same neuron after the second stage, in the basis of the features.",
        control="the same neuron, trained on clean",
    ),
)

# What is said in numbers: {label: (paths, unit)}; of two paths, the ends of an interval.
FACTS: dict[str, tuple[tuple[str, ...], str]] = {
    "live neurons that obey P1": (("second.principle",), "%"),
    "their median cosine": (("second.median",), "/100"),
    "robust at 0.60: linear u⋆": (("linear.4",), "%"),
    "robust at 0.60: clean": (("clean.certified.4", "clean.attacked.4"), "%"),
    "robust at 0.60: after": (("second.certified.4", "second.attacked.4"), "%"),
}


def numbers_at(measured: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one position of the sliders: {"linear", "clean", "second"}.

    measured  {"d-k-margin-threshold": what `measure_group` returns}
    place     {slider: value}

    Raises ValueError for a position that is not measured.
    """
    name = "-".join(f"{place[part]:g}" for part in ("d", "k", "margin", "threshold"))
    width, reach = f"{place['width']:g}", f"{place['reach']:g}"
    group = measured.get(name, {})
    if reach not in group.get("trained", {}).get(width, {}):
        raise ValueError(f"place = {dict(place)!r}: there is no network of it")
    second = dict(group["trained"][width][reach])
    live = max(second["live"], 1)
    second["cosines"] = [100 * count / live for count in second["cosines"]]
    second["neuron"] = second["neuron"] or [[0] * STEMS] * 2
    return {"linear": group["linear"], "clean": group["clean"][width], "second": second}


def numbers(found: Mapping[str, Any], path: str) -> Any:
    """What lies at a path of a setting's numbers, such as "second.moved.1"."""
    here: Any = found
    for part in path.split("."):
        here = here[int(part)] if isinstance(here, Sequence) else here[part]
    return here


def facts(found: Mapping[str, Any]) -> dict[str, str]:
    """What is said in numbers, {label: words}."""
    said = {}
    for label, (paths, unit) in FACTS.items():
        values = [numbers(found, path) for path in paths]
        shown = [f"{v / 100:.2f}" if unit == "/100" else f"{v:.0f}%" for v in values]
        said[label] = " – ".join(dict.fromkeys(shown))
    return said


def draw_panels(found: Mapping[str, Any], reach: float) -> Figure:
    """All panels of a setting at training radius `reach`, in units of 1/sqrt(k)."""
    figure, axes = plt.subplots(2, 3, figsize=(8.4, 4.8), layout="constrained")
    colors = {"clean": CLEAN, "linear": LINEAR, "second": SECOND["trained" if reach else "control"]}
    for axis, panel in zip(axes.flat, PANELS):
        for curve in panel.curves:
            _draw(axis, panel, curve, found, colors[curve.color])
        title = panel.control if panel.control and not reach else panel.title
        # a training radius of 0 is no radius
        upright = reach if panel.upright == "reach" else panel.upright
        if upright:
            axis.axvline(float(upright), color=GREY, linestyle=":", linewidth=1)
        if panel.level is not None:
            axis.axhline(panel.level, color="black", linewidth=0.6)
        axis.set_title(title, fontsize=8.5)
        axis.set_xlabel(panel.across, fontsize=8)
        axis.set_ylim(panel.ylim)
        axis.tick_params(labelsize=7.5)
        if len({curve.label for curve in panel.curves} - {""}) > 1:
            axis.legend(fontsize=7, loc="best")
    said = "\n".join(f"{label}: {words}" for label, words in facts(found).items())
    axes.flat[-1].set_axis_off()
    axes.flat[-1].text(0.0, 0.95, said, va="top", fontsize=8.5, linespacing=1.8)
    return figure


def _draw(
    axis: Axes, panel: ExplorerPanel, curve: Curve, found: Mapping[str, Any], color: str
) -> None:
    """Draw one curve of a panel."""
    rows = [curve.scale * np.array(numbers(found, path)) for path in curve.of.split(" ")]
    if curve.kind == "band":
        axis.fill_between(panel.x, rows[0], rows[1], color=color, alpha=0.18, linewidth=0)
    elif curve.kind == "stems":
        axis.vlines(panel.x, 0, rows[0], color=color, linewidth=2)
    elif curve.kind == "bars":
        axis.stairs(rows[0], panel.x, fill=True, color=color)
    else:
        dashes = ("-", "--", ":")[curve.dashed]
        axis.plot(panel.x, rows[0], dashes, color=color, label=curve.label, linewidth=1.6)
