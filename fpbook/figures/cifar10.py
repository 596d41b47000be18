"""Figures of what is measured on CIFAR-10: over radius, rank, width, threat.

Panels stand side by side, one for each summary in `shown`, as `fpbook.results.beside` gives them.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from fpbook.cifar10.experiment import THREATS
from fpbook.cifar10.networks import SYMBOLS, TRAINED
from fpbook.figures.style import NETWORK_COLORS, means, with_intervals
from fpbook.results import Interval, Pick, pick, rows, select
from fpbook.results.columns import ABSCISSAE
from fpbook.results.summaries import interval_of

# What AutoAttack leaves.
CROSS: dict[str, Any] = {"marker": "x", "markersize": 7, "markeredgewidth": 1.8}


def _along(summary: pd.DataFrame, over: str, of: Pick) -> dict[Any, Interval]:
    """Numbers that differ in one column alone, {its value: number}, in the order of its values.

    summary  a table of summaries
    over     the column
    of       what the other columns hold; those that it does not name are empty
    """
    empty: dict[str, Any] = dict.fromkeys(("network", "layer", *ABSCISSAE))
    wanted = empty | of.columns() | {"seeds": of.seeds}
    del wanted[over]
    found = {row[over]: row for row in rows(select(summary, **wanted)) if over in row}
    return {at: interval_of(found[at]) for at in sorted(found)}


def series(
    shown: Mapping[str, pd.DataFrame],
    over: str,
    lines: Mapping[str, tuple[Pick, str, str]],
    xlabel: str,
    ylabel: str = "accuracy",
    ylim: tuple[float, float] | None = (-0.06, 1.06),
) -> Figure:
    """Measured numbers over an abscissa, with their 95% intervals, one panel a run.

    shown   {title: summary}
    over    the abscissa
    lines   {label: (what is drawn, all but its abscissa; colour; line style)}
    xlabel  of the abscissa
    ylabel  of the numbers
    ylim    limits of the vertical axis; None: all that is drawn

    What a run has not measured is left out.
    """
    figure, axes = plt.subplots(
        1, len(shown), figsize=(7.6, 2.9), sharex=True, sharey=True, squeeze=False
    )
    for axis, (title, summary) in zip(axes[0], shown.items()):
        for label, (of, color, dashes) in lines.items():
            if found := _along(summary, over, of):
                with_intervals(axis, [*found], [*found.values()], dashes, color, label)
        axis.set(title=title, xlabel=xlabel)
        if ylim is not None:  # set_ylim(None) would freeze them before the next panel is drawn
            axis.set_ylim(ylim)
    axes[0, 0].set_ylabel(ylabel)
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def bars(
    shown: Mapping[str, pd.DataFrame],
    over: str,
    groups: Mapping[str, str],
    kinds: Mapping[str, tuple[Pick, str]],
    ylabel: str,
    level: Pick | None = None,
) -> Figure:
    """Measured numbers as groups of bars, with their 95% intervals, one panel a run.

    shown   {title: summary}
    over    the column in which the groups differ
    groups  {label: the column's value}
    kinds   {label: (what is drawn of each group, all but that column; colour)}
    ylabel  of the numbers
    level   a number that a dashed line stands at

    What a run has not measured is left out.
    """
    figure, axes = plt.subplots(1, len(shown), figsize=(7.6, 2.9), sharey=True, squeeze=False)
    width = 0.8 / len(kinds)
    for axis, (title, summary) in zip(axes[0], shown.items()):
        for i, (label, (of, color)) in enumerate(kinds.items()):
            found = _along(summary, over, of)
            numbers = {
                j + (i - (len(kinds) - 1) / 2) * width: found[group]
                for j, group in enumerate(groups.values())
                if group in found
            }
            if not numbers:
                continue
            heights = [one.value for one in numbers.values()]
            axis.bar([*numbers], heights, width, color=color, label=label)
            with_intervals(axis, [*numbers], [*numbers.values()], " ", "black", "")
        if level is not None and (at := level.find(summary)):
            axis.axhline(at.value, color="black", linestyle="--", linewidth=0.9)
        turned = 0 if len(groups) <= 4 else 30 if len(groups) <= 8 else 90
        axis.set_xticks(range(len(groups)), groups, rotation=turned)
        axis.set_title(title)
    axes[0, 0].set_ylabel(ylabel)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(kinds)
    )
    return figure


def against(
    shown: Mapping[str, pd.DataFrame],
    over: str,
    lines: Mapping[str, tuple[Pick, Pick, str]],
    labels: tuple[str, str],
) -> Figure:
    """One measured number over another, with 95% intervals of both, one panel a run.

    shown   {title: summary}
    over    the abscissa in which the points of a line differ, which is written beside each
    lines   {label: (what is across; what is up; colour)}
    labels  of the axes, across and up

    What a run has not measured is left out.
    """
    figure, axes = plt.subplots(
        1, len(shown), figsize=(7.6, 3.2), sharex=True, sharey=True, squeeze=False
    )
    for axis, (title, summary) in zip(axes[0], shown.items()):
        for label, (across, up, color) in lines.items():
            wide, high = _along(summary, over, across), _along(summary, over, up)
            _points(axis, {at: (wide[at], high[at]) for at in high if at in wide}, color, label)
        axis.set(title=title, xlabel=labels[0])
    axes[0, 0].set_ylabel(labels[1])
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _points(
    axis: Axes, numbers: Mapping[float, tuple[Interval, Interval]], color: str, label: str
) -> None:
    """A line of points (across, up), each with what it is at written beside it."""
    (xs, x_reach), (ys, y_reach) = (means([pair[i] for pair in numbers.values()]) for i in (0, 1))
    style: dict[str, Any] = {"fmt": "o-", "color": color, "markersize": 3.5, "linewidth": 1.2}
    axis.errorbar(xs, ys, y_reach, x_reach, label=label, **style)
    for at, place in zip(numbers, zip(xs, ys)):
        text: dict[str, Any] = {"textcoords": "offset points", "fontsize": "small", "color": color}
        axis.annotate(f"\u00d7{Fraction(at)}", place, (5, -10), **text)


def over_radius(
    shown: Mapping[str, pd.DataFrame], withstood: Mapping[str, Mapping[str, Tensor]]
) -> Figure:
    """Accuracy over the radius of attacks, one panel a norm, and under AutoAttack, as crosses.

    shown      {title: summary}, of `pgd_accuracy` by norm and radius: the last of them as lines,
               the others as pale points
    withstood  {network: {threat: which images AutoAttack left}}
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.1), sharey=True, squeeze=False)
    for axis, norm in zip(axes[0], ("l2", "linf")):
        scale, unit = (255, r"$\ell_\infty$, in 1/255") if norm == "linf" else (1, r"$\ell_2$")
        for name in TRAINED:
            color = NETWORK_COLORS[name]
            for i, summary in enumerate(shown.values(), 1):
                found = _along(summary, "radius", pick("pgd_accuracy", name, norm=norm))
                at, values = [scale * r for r in found], [one.value for one in found.values()]
                if i < len(shown):
                    axis.plot(at, values, "o", color=color, alpha=0.35, markersize=3)
                else:
                    axis.plot(at, values, "o-", color=color, label=SYMBOLS[name], markersize=3.5)
            for threat, alive in withstood.get(name, {}).items():
                kind, radius = THREATS[threat]
                if kind == norm:
                    left = alive.float().mean().item()
                    axis.plot(scale * radius, left, color=color, **CROSS)
        axis.set(xlabel=f"radius, {unit}", ylim=(-0.02, 1.02))
    axes[0, 0].set_ylabel("accuracy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if any(withstood.values()):
        handles.append(Line2D([], [], linestyle="", color="gray", **CROSS))
        labels.append("AutoAttack")
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def threats(summary: pd.DataFrame) -> Figure:
    """Accuracy under AutoAttack as bars, one group a threat, with 95% intervals.

    What PGD alone leaves is paler, on top.
    """
    figure, axis = plt.subplots(figsize=(7.6, 2.9))
    width = 0.8 / len(TRAINED)
    for i, name in enumerate(TRAINED):
        for j, threat in enumerate(THREATS):
            pgd, auto = (
                pick(quantity, name, threat=threat).find(summary)
                for quantity in ("pgd_accuracy", "autoattack_accuracy")
            )
            if pgd is None or auto is None:
                continue
            at = j + (i - (len(TRAINED) - 1) / 2) * width
            axis.bar(at, pgd.value, width, color=NETWORK_COLORS[name], alpha=0.35)
            axis.bar(at, auto.value, width, color=NETWORK_COLORS[name])
            with_intervals(axis, [at], [auto], " ", "black", "")
    labels = [
        threat.replace("l2", r"$\ell_2$").replace("linf", r"$\ell_\infty$") for threat in THREATS
    ]
    axis.set_xticks(range(len(THREATS)), labels)
    axis.set(ylabel="accuracy", xlim=(-0.6, len(THREATS) - 0.4))
    handles = [Patch(color=NETWORK_COLORS[name], label=SYMBOLS[name]) for name in TRAINED]
    handles.append(Patch(color="gray", alpha=0.35, label="PGD alone"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def low_rank_updates(
    shown: Mapping[str, pd.DataFrame],
    ranks: Sequence[int],
    kinds: Mapping[str, tuple[str, str]],
) -> Figure:
    """Low-rank updates, a row of panels a run, with 95% intervals.

    shown  {title: summary}
    ranks  that are shown
    kinds  {label: (the update's name as a network, colour)}

    Robust gain regained over the rank and over the share of parameters trained, and clean accuracy
    over the rank. All of w trained on the same schedule is dashed, and a star.
    """
    figure, axes = plt.subplots(len(shown), 3, figsize=(7.8, 2.5 * len(shown) + 0.4), squeeze=False)
    for (over_rank, over_share, clean), (title, summary) in zip(axes, shown.items()):
        for label, (name, color) in kinds.items():
            _over_rank(over_rank, summary, ranks, pick("regained", name), (color, label))
            _over_rank(clean, summary, ranks, pick("clean_accuracy", name), (color, ""))
            if name != "truncated update":  # all of w was trained for it
                _over_share(over_share, summary, name, color)
        for axis, quantity in ((over_rank, "regained"), (clean, "clean_accuracy")):
            dashes = {"color": "black", "linestyle": "--", "linewidth": 0.9, "label": "full"}
            if full := pick(quantity, "full update").find(summary):
                axis.axhline(full.value, **dashes)
            axis.set_xticks(range(len(ranks)), map(str, ranks))
            axis.set(xlabel="rank", xlim=(-0.4, len(ranks) - 0.6))
        if full := pick("regained", "full update").find(summary):
            over_share.plot(1, full.value, "*", color="black", markersize=8)
        over_share.set(xlabel="parameters trained / all", xscale="log")
        for axis in (over_rank, over_share, clean):  # on a phone they stand one below the other
            axis.set_title(title)
        over_share.set(ylim=over_rank.get_ylim(), yticklabels=[])
        over_rank.set_ylabel("robust gain regained")
        clean.set_ylabel("clean accuracy")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(kinds) + 1
    )
    return figure


def _over_rank(
    axis: Axes, summary: pd.DataFrame, ranks: Sequence[int], of: Pick, look: tuple[str, str]
) -> None:
    """What an update is at each rank; the ranks stand at equal distances. look: colour, label."""
    found = _along(summary, "rank", of)
    at = {i: found[rank] for i, rank in enumerate(ranks) if rank in found}
    if at:
        with_intervals(axis, [*at], [*at.values()], "o-", *look)


def _over_share(axis: Axes, summary: pd.DataFrame, name: str, color: str) -> None:
    """What an update regains over the share of the parameters that it trains."""
    regained = _along(summary, "rank", pick("regained", name))
    share = _along(summary, "rank", pick("parameter_share", name))
    if regained:
        at = [share[rank].value for rank in regained]
        with_intervals(axis, at, [*regained.values()], "o-", color, "")
