"""Figures of accuracies: side by side, over the radius, over sizes, over what breaks the protocol."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from fpbook.figures.style import CLEAN, CONTROL, PURIFIED, with_intervals


def accuracy_bars(rows: dict[str, dict[str, float]], radius: float) -> Figure:
    """Clean, attacked and certified accuracy of several networks side by side, as bars."""
    names = {
        "clean_accuracy": "clean",
        "robust_accuracy": "worst attack (upper bound)",
        "certified_accuracy": "certified (lower bound)",
    }
    shades = {
        "clean_accuracy": "#BBBBBB",
        "robust_accuracy": "#E69F00",
        "certified_accuracy": "#0072B2",
    }
    figure, axis = plt.subplots(figsize=(7.2, 2.6))
    few = (
        len(rows) < 4
    )  # many bars leave no room for decimals, nor for the numbers of the grey ones
    for i, (key, label) in enumerate(names.items()):
        values = [row.get(key, 0.0) for row in rows.values()]
        at = [j + 0.27 * (i - 1) for j in range(len(rows))]
        bars = axis.bar(at, values, 0.25, color=shades[key], label=label)
        if few or i:
            axis.bar_label(
                bars,
                [f"{v:.{1 if few else 0}%}" for v in values],
                fontsize=8 if few else 6.8,
                padding=2,
            )
    axis.set(
        xticks=range(len(rows)),
        xticklabels=rows,
        ylim=(0, 1.18),
        yticks=(0, 0.5, 1),
        yticklabels=("0", "50%", "100%"),
    )
    axis.set_title(rf"accuracy; $\ell_2$ radius $\tau$ = {radius:.3f}")
    figure.legend(ncols=3, loc="outside lower center")
    return figure


def side_by_side(shown: dict[str, dict[str, dict[str, Any]]]) -> Figure:
    """One line a model, one panel for each run in `shown` (title -> figures "model/figure"), all at the run's radius.

    Clean, attacked and certified accuracy as dots, means over seeds; the bound on the model's whole class as a bar.
    """
    marks = {
        "clean_accuracy": ("clean", "#999999", "o"),
        "robust_accuracy": ("worst attack (upper bound)", "#E69F00", "D"),
        "certified_accuracy": ("certified (lower bound)", PURIFIED, ">"),
        "class_bound": ("no member of the class exceeds", CLEAN, "|"),
    }
    models = [*dict.fromkeys(key.split("/")[0] for rows in shown.values() for key in rows)]
    size = (7.6, 0.9 + 0.27 * len(models))
    figure, axes = plt.subplots(1, len(shown), figsize=size, sharey=True, squeeze=False)
    for axis, (title, rows) in zip(axes[0], shown.items()):
        for key, (label, color, mark) in marks.items():
            found = [
                (rows[f"{m}/{key}"]["value"], i)
                for i, m in enumerate(models)
                if f"{m}/{key}" in rows
            ]
            values, at = zip(*found) if found else ((), ())
            width = 160 if mark == "|" else 26
            axis.scatter(
                values, at, s=width, color=color, marker=mark, label=label, zorder=3, clip_on=False
            )
        axis.axvline(0.5, color="black", linewidth=0.7, linestyle=":")
        axis.set(
            title=title,
            yticks=range(len(models)),
            yticklabels=models,
            xlim=(0, 1),
            xlabel="accuracy",
        )
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes[0, 0].invert_yaxis()
    labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        *labels, ncols=4, loc="outside lower center", columnspacing=1.0, handletextpad=0.2
    )
    return figure


def curves(
    radii: list[float], lines: dict[str, tuple[list[float], str, str]], radius: float | None = None
) -> Figure:
    """Accuracy over the l2 radius: `lines` maps a label to (values, colour, line style)."""
    figure, axis = plt.subplots(figsize=(7.2, 3.0))
    for label, (values, color, dashes) in lines.items():
        axis.plot(radii, values, dashes, color=color, label=label)
    if radius is not None:
        axis.axvline(radius, color="black", linewidth=0.8, linestyle=":")
        axis.text(radius, 1.04, r" $\tau$", fontsize=10)
    axis.set(xlabel=r"$\ell_2$ radius", ylabel="accuracy", ylim=(-0.02, 1.1))
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def bound_lines(
    axis: Axes,
    radii: Sequence[float],
    certified: Sequence[float],
    attacked: Sequence[float],
    color: str,
    label: str,
) -> None:
    """Robust accuracy over the radius from above, attacked, and from below, certified and dashed.

    axis       where to draw
    radii      on the horizontal axis
    certified  a lower bound at each radius
    attacked   an upper bound at each radius
    color      of both lines
    label      of the network, in the legend
    """
    axis.plot(radii, attacked, color=color, label=f"{label} attacked")
    axis.plot(radii, certified, "--", color=color, label=f"{label} certified")


def brackets(
    radii: list[float], nets: dict[str, tuple[list[float], list[float], str]], radius: float
) -> Figure:
    """Robust accuracy over the l2 radius between its bounds.

    `nets` maps a label to (certified, attacked, colour); a dotted line stands at `radius`.
    """
    figure, axis = plt.subplots(figsize=(7.2, 3.0))
    for label, (certified, attacked, color) in nets.items():
        bound_lines(axis, radii, certified, attacked, color, f"{label}:")
        axis.fill_between(radii, certified, attacked, color=color, alpha=0.25, linewidth=0)
    axis.axvline(radius, color="black", linewidth=0.8, linestyle=":")
    axis.text(radius, 1.04, r" $\tau$", fontsize=10)
    axis.set(xlabel=r"$\ell_2$ radius", ylabel="accuracy", ylim=(-0.02, 1.1))
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def over(
    shown: dict[str, dict[str, Any]],
    lines: dict[str, tuple[str, str, str]],
    xlabel: str,
    levels: dict[str, tuple[float, str]] | None = None,
) -> Figure:
    """Accuracies named "x/name" over a logarithmic x, one panel for each run in `shown` (title -> figures).

    `lines` maps a name to (label, colour, line style), `levels` a label to (accuracy, colour). Bars are 95% intervals,
    where there are several seeds.
    """
    figure, axes = plt.subplots(1, len(shown), figsize=(7.6, 2.8), sharey=True, squeeze=False)
    for axis, (title, rows) in zip(axes[0], shown.items()):
        at = sorted({int(key.split("/")[0]) for key in rows})
        for name, (label, color, dashes) in lines.items():
            with_intervals(axis, at, [rows[f"{x}/{name}"] for x in at], dashes, color, label)
        for label, (level, color) in (levels or {}).items():
            axis.axhline(level, color=color, linestyle="--", linewidth=1.3, label=label)
        axis.set(title=title, xlabel=xlabel, xscale="log", ylim=(-0.03, 1.05))
        axis.set_xticks(at, [f"{x:,}" for x in at], minor=False)
        axis.xaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("accuracy")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def sweep_panels(
    measured: dict[str, dict[str, Any]], homes: dict[str, list[float]], columns: int = 4
) -> Figure:
    """Small panels, one a sweep, of figures named "sweep/value/figure"; `homes` marks the protocol's own values.

    Bars are 95% intervals, where there are several seeds.
    """
    words = {
        "radius * sqrt(k)": r"radius $\tau\sqrt{k}$",
        "initial norm |w0|, no decay": r"$\|w^0\|$, no weight decay",
    }
    words |= {
        "PGD steps in training (1: FGM)": "PGD steps in training",
        "width m / d": "width $m/d$",
    }
    table: dict[str, dict[float, dict[str, dict[str, Any]]]] = {}
    for key, number in measured.items():
        sweep, value, name = key.rsplit("/", 2)
        table.setdefault(sweep, {}).setdefault(float(value), {})[name] = number
    figure, axes = plt.subplots(
        -(-len(table) // columns), columns, figsize=(7.8, 4.6), sharey=True, squeeze=False
    )
    lines = (
        ("robust_accuracy", "clean training, attacked", CLEAN, "o-"),
        ("robust_accuracy_adv", "FGM training, attacked", "#56B4E9", "o-"),
        ("certified_accuracy_adv", "FGM training, certified", PURIFIED, "o-"),
        ("purity_adv", "purity after FGM training", "black", ":"),
    )
    for axis, (sweep, rows) in zip(axes.flat, table.items()):
        for name, label, color, dashes in lines:
            at = range(len(rows))  # evenly spaced: the values of a sweep span decades
            with_intervals(axis, at, [row[name] for row in rows.values()], dashes, color, label)
        axis.set(xticks=range(len(rows)), xticklabels=[f"{v:g}" for v in rows], ylim=(-0.03, 1.05))
        axis.set_xlabel(words.get(sweep, sweep))
        for own in homes.get(sweep, []):
            axis.axvline([*rows].index(own), color=CONTROL, linewidth=4, alpha=0.25, zorder=0)
    for axis in axes.flat[len(table) :]:
        axis.set_axis_off()
    figure.supylabel("accuracy, purity", fontsize=9.5)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
