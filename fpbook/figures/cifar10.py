"""Figures of what is measured on CIFAR-10: over radius, rank, width, threat."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from fpbook.cifar10.networks import SUFFIXES, SYMBOLS
from fpbook.cifar10.protocol import THREATS
from fpbook.figures.style import NETWORK_COLORS, means, with_intervals


def series(
    shown: Mapping[str, Mapping[str, Any]],
    x: Sequence[float],
    rows: Mapping[str, tuple[str, str, str]],
    xlabel: str,
    ylabel: str = "accuracy",
    ylim: tuple[float, float] | None = (-0.06, 1.06),
) -> Figure:
    """Measured shares over x, one panel for each run in `shown` (title -> figures), with their 95% intervals.

    `rows` maps a label to (name, colour, line style); "{}" in the name stands for the x. What a run has not measured is
    left out.
    """
    figure, axes = plt.subplots(
        1, len(shown), figsize=(7.6, 2.9), sharex=True, sharey=True, squeeze=False
    )
    for axis, (title, measured) in zip(axes[0], shown.items()):
        for label, (name, color, dashes) in rows.items():
            if at := [value for value in x if name.format(f"{value:g}") in measured]:
                with_intervals(
                    axis,
                    at,
                    [measured[name.format(f"{value:g}")] for value in at],
                    dashes,
                    color,
                    label,
                )
        axis.set(title=title, xlabel=xlabel)
        if (
            ylim is not None
        ):  # set_ylim(None) would freeze the limits before the next panel is drawn
            axis.set_ylim(ylim)
    axes[0, 0].set_ylabel(ylabel)
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def bars(
    shown: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, str],
    rows: Mapping[str, tuple[str, str]],
    ylabel: str,
    level: str | None = None,
) -> Figure:
    """Measured shares or cosines as groups of bars, one panel for each run in `shown`, with their 95% intervals.

    `rows` maps a label to (name, colour); "{}" in the name stands for what `groups` maps a group's label to. `level`
    names a dashed line.
    """
    figure, axes = plt.subplots(1, len(shown), figsize=(7.6, 2.9), sharey=True, squeeze=False)
    width = 0.8 / len(rows)
    for axis, (title, measured) in zip(axes[0], shown.items()):
        for i, (label, (name, color)) in enumerate(rows.items()):
            at = [j + (i - (len(rows) - 1) / 2) * width for j in range(len(groups))]
            numbers = [measured[name.format(group)] for group in groups.values()]
            axis.bar(at, [n["value"] for n in numbers], width, color=color, label=label)
            with_intervals(axis, at, numbers, " ", "black", "")
        if level is not None:
            axis.axhline(measured[level]["value"], color="black", linestyle="--", linewidth=0.9)
        axis.set_xticks(
            range(len(groups)),
            groups,
            rotation=0 if len(groups) <= 4 else 30 if len(groups) <= 8 else 90,
        )
        axis.set_title(title)
    axes[0, 0].set_ylabel(ylabel)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(rows)
    )
    return figure


def against(
    shown: Mapping[str, Mapping[str, Any]],
    x: Sequence[float],
    rows: Mapping[str, tuple[str, str, str]],
    labels: tuple[str, str],
) -> Figure:
    """One measured share over another, a point for each x, one panel for each run in `shown`, with 95% intervals of both.

    `rows` maps a label to (name across, name up, colour); "{}" in the names stands for the x, which is written beside its
    point. What a run has not measured is left out.
    """
    figure, axes = plt.subplots(
        1, len(shown), figsize=(7.6, 3.2), sharex=True, sharey=True, squeeze=False
    )
    for axis, (title, measured) in zip(axes[0], shown.items()):
        for label, (across, up, color) in rows.items():
            at = [value for value in x if up.format(f"{value:g}") in measured]
            (xs, x_reach), (ys, y_reach) = (
                means([measured[name.format(f"{value:g}")] for value in at])
                for name in (across, up)
            )
            axis.errorbar(
                xs,
                ys,
                y_reach,
                x_reach,
                fmt="o-",
                color=color,
                label=label,
                markersize=3.5,
                linewidth=1.2,
            )
            for value, place in zip(at, zip(xs, ys)):
                offset = {"textcoords": "offset points", "fontsize": "small"}
                axis.annotate(f"\u00d7{Fraction(value)}", place, (5, -10), color=color, **offset)
        axis.set(title=title, xlabel=labels[0])
    axes[0, 0].set_ylabel(labels[1])
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def over_steps(steps: Sequence[int], rows: Mapping[str, Sequence[float]]) -> Figure:
    """Accuracy of networks over the number of steps of an attack, {network: values}."""
    figure, axis = plt.subplots(figsize=(7.2, 2.6))
    for name, values in rows.items():
        axis.plot(
            steps,
            values,
            color=NETWORK_COLORS[name],
            label=SYMBOLS[name],
            marker="o",
            markersize=3.5,
        )
    axis.set(xlabel="steps of PGD", ylabel="accuracy", ylim=(-0.02, 1.02))
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def over_radius(
    radii: Mapping[str, Sequence[float]],
    rows: Mapping[str, Mapping[str, Sequence[float]]],
    withstood: Mapping[str, Mapping[str, Tensor]],
) -> Figure:
    """Accuracy over the radius, one panel a norm: {norm: {network: values}} as lines, {network: {threat: outcomes}}, what
    AutoAttack left of the images, as crosses.
    """
    figure, axes = plt.subplots(1, len(radii), figsize=(7.6, 3.1), sharey=True, squeeze=False)
    for axis, (norm, x) in zip(axes[0], radii.items()):
        scale, unit = (255, r"$\ell_\infty$, in 1/255") if norm == "linf" else (1, r"$\ell_2$")
        for name, values in rows[norm].items():
            line = {
                "color": NETWORK_COLORS[name],
                "label": SYMBOLS[name],
                "marker": "o",
                "markersize": 3.5,
            }
            axis.plot([scale * r for r in x], values, **line)
            for threat, alive in withstood.get(name, {}).items():
                kind, radius = THREATS[threat]
                if kind == norm:
                    cross = {
                        "color": NETWORK_COLORS[name],
                        "marker": "x",
                        "markersize": 7,
                        "markeredgewidth": 1.8,
                    }
                    axis.plot(scale * radius, alive.float().mean().item(), **cross)
        axis.set(xlabel=f"radius, {unit}", ylim=(-0.02, 1.02))
    axes[0, 0].set_ylabel("accuracy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if any(withstood.values()):
        handles.append(Line2D([], [], marker="x", linestyle="", color="gray", markeredgewidth=1.8))
        labels.append("AutoAttack")
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def threats(measured: Mapping[str, dict[str, Any]]) -> Figure:
    """Accuracy under AutoAttack as bars, one group a threat; what PGD alone leaves is paler, on top. 95% intervals."""
    figure, axis = plt.subplots(figsize=(7.6, 2.9))
    width = 0.8 / len(SUFFIXES)
    for i, (name, suffix) in enumerate(SUFFIXES.items()):
        for j, threat in enumerate(THREATS):
            pgd, auto = (
                measured.get(f"{attack}_accuracy{suffix}/{threat}")
                for attack in ("pgd", "autoattack")
            )
            if pgd is None or auto is None:
                continue
            at = j + (i - (len(SUFFIXES) - 1) / 2) * width
            axis.bar(at, pgd["value"], width, color=NETWORK_COLORS[name], alpha=0.35)
            axis.bar(at, auto["value"], width, color=NETWORK_COLORS[name])
            with_intervals(axis, [at], [auto], " ", "black", "")
    labels = [
        threat.replace("l2", r"$\ell_2$").replace("linf", r"$\ell_\infty$") for threat in THREATS
    ]
    axis.set_xticks(range(len(THREATS)), labels)
    axis.set(ylabel="accuracy", xlim=(-0.6, len(THREATS) - 0.4))
    handles = [Patch(color=NETWORK_COLORS[name], label=SYMBOLS[name]) for name in SUFFIXES]
    figure.legend(
        handles=[*handles, Patch(color="gray", alpha=0.35, label="PGD alone")],
        loc="outside lower center",
        ncols=5,
    )
    return figure


def low_rank_updates(
    shown: Mapping[str, Mapping[str, Any]], ranks: Sequence[int], colors: Mapping[str, str]
) -> Figure:
    """Low-rank updates, a row of panels a run: robust gain regained over the rank and over the share of parameters trained,
    and clean accuracy over the rank, with 95% intervals.

    `colors` maps a kind of update to its colour. All of w trained on the same schedule is dashed, and a star.
    """
    figure, axes = plt.subplots(len(shown), 3, figsize=(7.8, 2.5 * len(shown) + 0.4), squeeze=False)
    for (over_rank, over_share, clean), (title, measured) in zip(axes, shown.items()):
        for kind, color in colors.items():
            if not (
                at := [i for i, rank in enumerate(ranks) if f"{kind}/{rank}/regained" in measured]
            ):
                continue
            figures = {
                key: [measured[f"{kind}/{ranks[i]}/{key}"] for i in at]
                for key in ("regained", "clean_accuracy")
            }
            with_intervals(over_rank, at, figures["regained"], "o-", color, kind)
            with_intervals(clean, at, figures["clean_accuracy"], "o-", color, "")
            if kind != "truncated":  # all of w was trained for it
                share = [measured[f"{kind}/{ranks[i]}/parameter_share"]["value"] for i in at]
                with_intervals(over_share, share, figures["regained"], "o-", color, "")
        for axis, key in ((over_rank, "regained"), (clean, "clean_accuracy")):
            axis.axhline(
                measured[f"full/{key}"]["value"],
                color="black",
                linestyle="--",
                linewidth=0.9,
                label="full",
            )
            axis.set_xticks(range(len(ranks)), map(str, ranks))
            axis.set(xlabel="rank", xlim=(-0.4, len(ranks) - 0.6))
        over_share.plot(1, measured["full/regained"]["value"], "*", color="black", markersize=8)
        over_share.set(
            xlabel="parameters trained / all",
            xscale="log",
            title=title,
            ylim=over_rank.get_ylim(),
            yticklabels=[],
        )
        over_rank.set_ylabel("robust gain regained")
        clean.set_ylabel("clean accuracy")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(colors) + 1
    )
    return figure
