"""The figure of our evaluation beside AutoAttack's: accuracies, what is between them, times."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fpbook.cifar10.judgements import Judgement
from fpbook.figures.style import GREY, NETWORK_COLORS, PALE_GREY

MARKERS = {"convnet": "o", "resnet18": "s", "transformer": "^"}
LABELS = {"convnet": "ConvNet", "resnet18": "ResNet", "transformer": "transformer"}


def judged_panels(cases: Sequence[Judgement], points: float, times: float) -> Figure:
    """Robust accuracies by both, a point a case; the difference in points; the ratio of times.

    cases:  a colour for each network, a marker for each architecture; hollow where AutoAttack ran
            beside
    points: half the width of the band within which a case is to be
    times:  how many times as fast as AutoAttack a case is to be
    """
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.6, 3.0))
    most = max(100 * max(case.ours, case.theirs) for case in cases)
    left.plot([0, most], [0, most], "-", color=GREY, linewidth=1, zorder=0)
    middle.axhspan(-points, points, color=PALE_GREY, alpha=0.4, linewidth=0, zorder=0)
    middle.axhline(0, color=GREY, linewidth=1, zorder=0)
    right.axhline(times, color=GREY, linestyle="--", linewidth=1, zorder=0)
    for case in cases:
        at = 100 * case.theirs
        _point(left, case, at, 100 * case.ours)
        _point(middle, case, at, case.gap)
        if case.together is not None:
            right.vlines(at, min(case.ratios), max(case.ratios), NETWORK_COLORS[case.network], lw=1)
            _point(right, case, at, case.together)
    left.set(title="robust accuracy, %", ylabel="ours")
    middle.set(title="ours less AutoAttack's, points")
    widest = max(points, *(abs(case.gap) for case in cases))
    middle.set_ylim(-1.5 * widest, 1.5 * widest)
    right.set(title="AutoAttack's time over ours", yscale="log")
    for axis in (left, middle, right):
        axis.set_xlabel("under AutoAttack, %")
    right.set_xlim(left.get_xlim())
    _whole_ticks(right)
    _legend(figure, cases)
    return figure


def _point(axis: Axes, case: Judgement, across: float, up: float) -> None:
    color = NETWORK_COLORS[case.network]
    face = color if case.together is None else "white"
    marker = MARKERS[case.architecture]
    axis.plot(across, up, marker, color=color, markerfacecolor=face, markersize=4)


def _whole_ticks(axis: Axes) -> None:
    """Plain numbers on a logarithmic axis, from 1 on."""
    high = max(axis.get_ylim()[1], 10.0)
    ticks = [one for one in (1, 3, 10, 30, 100, 300, 1000) if one <= high]
    axis.set_ylim(1, high)
    axis.set_yticks(ticks, [f"{one}" for one in ticks])
    axis.minorticks_off()


def _legend(figure: Figure, cases: Sequence[Judgement]) -> None:
    networks = dict.fromkeys(case.network for case in cases)
    kinds = dict.fromkeys(case.architecture for case in cases)
    lines = [
        Line2D([], [], color=NETWORK_COLORS[name], marker="o", linestyle="", label=name)
        for name in networks
    ]
    lines += [
        Line2D(
            [],
            [],
            color="black",
            marker=MARKERS[name],
            fillstyle="none",
            linestyle="",
            label=LABELS[name],
        )
        for name in kinds
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines))
