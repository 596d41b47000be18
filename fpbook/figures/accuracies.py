"""Figures of accuracies: side by side, over radius, size, and what breaks the protocol."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from fpbook.figures.style import (
    ATTACKED,
    CLEAN,
    GREY,
    LIGHT_GREY,
    PALE_GREY,
    PALE_PURIFIED,
    PURIFIED,
    with_intervals,
)
from fpbook.results.columns import rows, select
from fpbook.results.intervals import Interval
from fpbook.results.summaries import interval_of, number

# {accuracy: (its label, colour, mark)}
ACCURACY_MARKS = {
    "clean_accuracy": ("clean", PALE_GREY, "o"),
    "robust_accuracy": ("worst attack (upper bound)", ATTACKED, "D"),
    "certified_accuracy": ("certified (lower bound)", PURIFIED, ">"),
}
# How the axes of `sweep_panels` are labelled, where not by the sweep's name.
SWEEP_LABELS = {
    "radius * sqrt(k)": r"radius $\tau\sqrt{k}$",
    "initial norm |w0|, no decay": r"$\|w^0\|$, no weight decay",
    "PGD steps in training (1: FGM)": "PGD steps in training",
    "width m / d": "width $m/d$",
}


def _numbers(line: pd.DataFrame) -> list[Interval]:
    """The numbers that a summary's rows hold."""
    return [interval_of(row) for row in rows(line)]


def accuracy_bars(summary: pd.DataFrame, networks: Mapping[str, str], radius: float) -> Figure:
    """Clean, attacked and certified accuracy of several networks side by side, as bars.

    summary:  of the accuracies; of one that it does not hold, the bar is 0
    networks: {label: network}
    radius:   l2, of attacks and certificates
    """
    figure, axis = plt.subplots(figsize=(7.2, 2.6))
    # many bars leave no room for decimals, nor for the numbers of the grey ones
    few = len(networks) < 4
    for i, (quantity, (label, shade, _)) in enumerate(ACCURACY_MARKS.items()):
        found = [number(summary, quantity, network) for network in networks.values()]
        values = [one.value if one else 0.0 for one in found]
        at = [j + 0.27 * (i - 1) for j in range(len(networks))]
        bars = axis.bar(at, values, 0.25, color=shade, label=label)
        if few or i:
            words = [f"{v:.{1 if few else 0}%}".replace(".0%", "%") for v in values]
            axis.bar_label(bars, words, fontsize=8 if few else 6.8, padding=2)
    axis.set(
        xticks=range(len(networks)),
        xticklabels=networks,
        ylim=(0, 1.18),
        yticks=(0, 0.5, 1),
        yticklabels=("0", "50%", "100%"),
    )
    axis.set_title(rf"accuracy; $\ell_2$ radius $\tau$ = {radius:.3f}")
    figure.legend(ncols=3, loc="outside lower center")
    return figure


def side_by_side(shown: Mapping[str, pd.DataFrame], labels: Mapping[str, str]) -> Figure:
    """One line a network, one panel for each run, all at the run's radius.

    shown:  {title: summary}
    labels: {network: label}, of those that are not called by their names

    Clean, attacked and certified accuracy as dots, means over seeds; the bound on the model's whole
    class as a bar.
    """
    marks = ACCURACY_MARKS | {
        "clean_accuracy": ("clean", LIGHT_GREY, "o"),
        "class_bound": ("no member of the class exceeds", CLEAN, "|"),
    }
    networks = [*dict.fromkeys(name for summary in shown.values() for name in summary["network"])]
    size = (7.6, 0.9 + 0.27 * len(networks))
    figure, axes = plt.subplots(1, len(shown), figsize=size, sharey=True, squeeze=False)
    for axis, (title, summary) in zip(axes[0], shown.items()):
        for quantity, (label, color, mark) in marks.items():
            line = select(summary, quantity=quantity, seeds="all")
            axis.scatter(
                line["value"],
                [networks.index(name) for name in line["network"]],
                s=160 if mark == "|" else 26,
                color=color,
                marker=mark,
                label=label,
                zorder=3,
                clip_on=False,
            )
        axis.axvline(0.5, color="black", linewidth=0.7, linestyle=":")
        axis.set(
            title=title,
            yticks=range(len(networks)),
            yticklabels=[labels.get(name, name) for name in networks],
            xlim=(0, 1),
            xlabel="accuracy",
        )
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes[0, 0].invert_yaxis()
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        *handles, ncols=4, loc="outside lower center", columnspacing=1.0, handletextpad=0.2
    )
    return figure


def curves(
    radii: Sequence[float],
    lines: Mapping[str, tuple[Sequence[float], str, str]],
    radius: float | None = None,
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
    shown: Mapping[str, pd.DataFrame],
    abscissa: str,
    lines: Mapping[str, tuple[str, str, str, str]],
    xlabel: str,
    levels: Mapping[str, tuple[float, str]] | None = None,
) -> Figure:
    """Accuracies over a logarithmic abscissa, one panel for each run, with 95% intervals.

    shown:    {title: summary}
    abscissa: the column that they are over
    lines:    {label: (quantity, network, colour, line style)}
    xlabel:   of the abscissa
    levels:   {label: (accuracy, colour)}, horizontal lines
    """
    figure, axes = plt.subplots(1, len(shown), figsize=(7.6, 2.8), sharey=True, squeeze=False)
    for axis, (title, summary) in zip(axes[0], shown.items()):
        for label, (quantity, network, color, dashes) in lines.items():
            line = select(summary, quantity=quantity, network=network, seeds="all")
            line = line.sort_values(abscissa)
            with_intervals(axis, [*line[abscissa]], _numbers(line), dashes, color, label)
        for label, (level, color) in (levels or {}).items():
            axis.axhline(level, color=color, linestyle="--", linewidth=1.3, label=label)
        at = sorted({*summary[abscissa]})
        axis.set(title=title, xlabel=xlabel, xscale="log", ylim=(-0.03, 1.05))
        if at[-1] < 1000 * at[0]:  # over more, powers of ten say it better
            axis.set_xticks(at, [f"{x:,}" for x in at], minor=False)
        axis.xaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("accuracy")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def sweep_panels(summary: pd.DataFrame, homes: Mapping[str, float], columns: int = 4) -> Figure:
    """Small panels, one a sweep, of accuracies and purity over what is varied, with 95% intervals.

    summary: of `measure_limit` over sweep and setting
    homes:   {sweep: the protocol's own setting}, which is marked
    columns: of panels
    """
    sweeps = [*dict.fromkeys(summary["sweep"])]
    figure, axes = plt.subplots(
        -(-len(sweeps) // columns), columns, figsize=(7.8, 4.6), sharey=True, squeeze=False
    )
    lines = {
        "clean training, attacked": ("robust_accuracy", "clean", CLEAN, "o-"),
        "FGM training, attacked": ("robust_accuracy", "purified", PALE_PURIFIED, "o-"),
        "FGM training, certified": ("certified_accuracy", "purified", PURIFIED, "o-"),
        "purity after FGM training": ("purity", "purified", "black", ":"),
    }
    for axis, sweep in zip(axes.flat, sweeps):
        varied = select(summary, sweep=sweep, seeds="all")
        settings = [*dict.fromkeys(varied["setting"])]
        for label, (quantity, network, color, dashes) in lines.items():
            line = select(varied, quantity=quantity, network=network)
            # evenly spaced: the values of a sweep span decades
            with_intervals(axis, range(len(settings)), _numbers(line), dashes, color, label)
        axis.set(xticks=range(len(settings)), xticklabels=[f"{v:g}" for v in settings])
        axis.set(xlabel=SWEEP_LABELS.get(sweep, sweep), ylim=(-0.03, 1.05))
        if homes.get(sweep) in settings:
            place = settings.index(homes[sweep])
            axis.axvline(place, color=GREY, linewidth=4, alpha=0.25, zorder=0)
    for axis in axes.flat[len(sweeps) :]:
        axis.set_axis_off()
    figure.supylabel("accuracy, purity", fontsize=9.5)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
