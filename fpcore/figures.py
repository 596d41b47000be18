"""The book's figures: one function a figure, one look for all."""

import re
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import Tensor

from fpcore.models import TwoLayer
from fpcore.sparse_coding import SparseCoding

# Okabe-Ito: distinguishable with every common colour blindness, and in grey.
CLEAN, PURIFIED, DENSE, CONTROL, INIT = "#D55E00", "#0072B2", "#CC79A7", "#7F7F7F", "#009E73"


def style() -> None:
    """Set matplotlib's defaults for the book."""
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.figsize": (7.2, 3.2),
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "axes.labelsize": 9.5,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "legend.fontsize": 8.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
        }
    )
    if shell := get_ipython():  # a notebook keeps each figure with a text form: the page's alternative text
        plt.switch_backend(plt.get_backend())  # now: loading the inline backend forgets the formatters of figures
        text = shell.display_formatter.formatters["text/plain"]
        text.for_type(Figure, lambda figure, printer, cycle: printer.text(describe(figure)))


def describe(figure: Figure) -> str:
    """A figure in words: of each panel the title, the axes, what is drawn and what is written in it."""
    panels = []
    for axis in figure.axes:
        over = f"{axis.get_ylabel() or 'values'} over {axis.get_xlabel()}" if axis.get_xlabel() else axis.get_ylabel()
        drawn = ", ".join(axis.get_legend_handles_labels()[1])
        written = ", ".join(text.get_text().strip() for text in axis.texts)
        panels.append(": ".join(filter(None, (axis.get_title(), over, drawn, written))))
    words = "; ".join(filter(None, dict.fromkeys(panels))) or "no labels"
    return "Figure: " + re.sub(r"[$\\{}]|\s+(?=\s)", "", words.replace("\n", " "))


def coefficients(w: Tensor, data: SparseCoding) -> Tensor:
    """<w, w*_j M_j> for each feature j, shape (d,): coefficients of one sign add up along the dense direction u*."""
    return (w @ data.features) * data.w_star


def top_sign(values: Tensor) -> Tensor:
    """The sign of the largest coefficient: times it, a neuron's top feature is positive."""
    return values[values.abs().argmax()].sign()


def stems(axis: Axes, values: Tensor, color: str, title: str) -> None:
    """A stem for each feature."""
    axis.vlines(range(len(values)), 0, values.cpu(), color=color, linewidth=0.7)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set(title=title, xlabel="feature $j$")


def neuron(axis: Axes, w: Tensor, data: SparseCoding, color: str, title: str, unit: float = 1.0) -> None:
    """One neuron in the basis of the true features, its top feature positive and marked."""
    values = coefficients(w, data)
    values = (values * top_sign(values) / unit).cpu()
    top = int(values.abs().argmax())
    stems(axis, values, color, title)
    axis.plot(top, values[top], "o", color=color, markersize=4)


def purification(w: Tensor, pure: Tensor, residual: Tensor, data: SparseCoding) -> Figure:
    """The headline: a clean neuron w is a purified one, beta w', plus a dense mixture v (all (d,))."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.5), sharey=True)
    scale = top_sign(coefficients(w, data)) / w.norm()  # one for all, so that the three panels add up
    for axis, part, color, title in (
        (axes[0], w, CLEAN, r"clean neuron $w_i$"),
        (axes[1], pure, PURIFIED, r"purified $\beta_i w_i'$"),
        (axes[2], residual, DENSE, r"dense mixture $v_i$"),
    ):
        stems(axis, scale * coefficients(part, data), color, title)
    axes[0].set_ylabel(r"$\langle\,\cdot\,, w^\star_j M_j\rangle \,/\, \|w_i\|$")
    for axis, sign_text in zip(axes[1:], ("=", "+")):
        axis.text(-0.09, 1.06, sign_text, transform=axis.transAxes, fontsize=13, ha="center")
    return figure


def accuracies(rows: dict[str, dict[str, float]], radius: float) -> Figure:
    """Clean, attacked and certified accuracy of several networks side by side, as bars."""
    names = {
        "clean_accuracy": "clean",
        "robust_accuracy": "worst attack (upper bound)",
        "certified_accuracy": "certified (lower bound)",
    }
    shades = {"clean_accuracy": "#BBBBBB", "robust_accuracy": "#E69F00", "certified_accuracy": "#0072B2"}
    figure, axis = plt.subplots(figsize=(7.2, 2.6))
    few = len(rows) < 4  # many bars leave no room for decimals, nor for the numbers of the grey ones
    for i, (key, label) in enumerate(names.items()):
        values = [row.get(key, 0.0) for row in rows.values()]
        at = [j + 0.27 * (i - 1) for j in range(len(rows))]
        bars = axis.bar(at, values, 0.25, color=shades[key], label=label)
        if few or i:
            axis.bar_label(bars, [f"{v:.{1 if few else 0}%}" for v in values], fontsize=8 if few else 6.8, padding=2)
    axis.set(xticks=range(len(rows)), xticklabels=rows, ylim=(0, 1.18), yticks=(0, 0.5, 1), yticklabels=("0", "50%", "100%"))
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
            found = [(rows[f"{m}/{key}"]["value"], i) for i, m in enumerate(models) if f"{m}/{key}" in rows]
            values, at = zip(*found) if found else ((), ())
            width = 160 if mark == "|" else 26
            axis.scatter(values, at, s=width, color=color, marker=mark, label=label, zorder=3, clip_on=False)
        axis.axvline(0.5, color="black", linewidth=0.7, linestyle=":")
        axis.set(title=title, yticks=range(len(models)), yticklabels=models, xlim=(0, 1), xlabel="accuracy")
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes[0, 0].invert_yaxis()
    labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(*labels, ncols=4, loc="outside lower center", columnspacing=1.0, handletextpad=0.2)
    return figure


def history(entries: list[dict[str, Any]], chance: float | None = None) -> Figure:
    """Accuracies on the left, the neurons' purity and dense part on the right, over training steps."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.1))
    steps = [e["step"] for e in entries]

    def line(axis: Axes, key: str, label: str, color: str, dashes: str = "-") -> None:
        axis.plot(steps, [e[key] for e in entries], dashes, color=color, label=label)

    line(left, "clean_accuracy", "clean", CONTROL)
    line(left, "robust_accuracy", "PGD (upper bound)", "#E69F00")
    line(right, "purity", "purity", PURIFIED)
    line(right, "dense_part", "dense part", DENSE)
    line(right, "cos_init", r"$\cos(w^0, w_t)$", INIT, "--")
    left.set(xlabel="step", title="accuracy", ylim=(-0.02, 1.05))
    right.set(xlabel="step", title="the neurons", ylim=(-0.02, 1.05))
    if chance is not None:
        right.axhline(chance, color="black", linewidth=0.7, linestyle=":", label=r"chance, $1/\sqrt{d}$")
    for axis in (left, right):
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def both_trainings(histories: dict[str, list[dict[str, Any]]], chance: float) -> Figure:
    """The live neurons through clean and then adversarial training: medians over neurons, over training steps."""
    figure, axis = plt.subplots(figsize=(7.2, 2.9))
    end = histories["clean"][-1]["step"]
    entries = [*histories["clean"], *({**e, "step": e["step"] + end} for e in histories["adversarial"][1:])]
    for key, label, color, dashes in (
        ("purity", "purity", PURIFIED, "-"),
        ("dense_part", "dense part", DENSE, "-"),
        ("features_held", "features with a neuron of\npurity over $1/\\sqrt{2}$, share", CLEAN, ":"),
        ("cos_init", r"$\cos(w^0, w_t)$", INIT, "--"),
    ):
        axis.plot([e["step"] for e in entries], [e[key] for e in entries], dashes, color=color, label=label)
    later = histories["adversarial"]
    axis.plot([e["step"] + end for e in later], [e["cos_start"] for e in later], "-", color="black", label=r"$\cos(w, w_t)$")
    axis.axhline(chance, color="black", linewidth=0.7, linestyle=":", label=r"chance, $1/\sqrt{d}$")
    axis.axvline(end, color=CONTROL, linewidth=0.8)
    axis.text(end, 1.06, "FGM training starts", ha="center", fontsize=8.5)
    axis.set(xlabel="step", ylim=(-0.02, 1.05))
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def cosines(groups: dict[str, tuple[Tensor, str]], chance: float | None = None) -> Figure:
    """Histograms of cosines over neurons; the line at 1/sqrt(2) is where |beta w'| = |v|."""
    figure, axis = plt.subplots(figsize=(7.2, 2.8))
    bins = torch.linspace(-0.2, 1, 61).tolist()
    for label, (values, color) in groups.items():
        weights = torch.full_like(values, 1 / len(values)).cpu()
        axis.hist(values.cpu(), bins=bins, weights=weights, alpha=0.75, label=label, color=color)
    axis.axvline(0.5**0.5, color="black", linewidth=0.9, linestyle="--")
    above = axis.get_xaxis_transform()
    axis.text(0.5**0.5, 1.01, r"$\|\beta w'\| > \|v\|$ right of this line", transform=above, ha="center", fontsize=8.5)
    if chance is not None:
        axis.axvspan(-2 * chance, 2 * chance, color="black", alpha=0.08, label=r"chance, $\pm 2/\sqrt{d}$")
    axis.set(xlabel="cosine", ylabel="share of neurons")
    axis.legend(loc="best")
    return figure


def curves(radii: list[float], lines: dict[str, tuple[list[float], str, str]], radius: float | None = None) -> Figure:
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


def brackets(radii: list[float], nets: dict[str, tuple[list[float], list[float], str]], radius: float) -> Figure:
    """Robust accuracy over the l2 radius between its bounds: `nets` maps a label to (certified, attacked, colour)."""
    figure, axis = plt.subplots(figsize=(7.2, 3.0))
    for label, (certified, attacked, color) in nets.items():
        axis.plot(radii, attacked, color=color, label=f"{label}: attacked")
        axis.plot(radii, certified, "--", color=color, label=f"{label}: certified")
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


def with_intervals(axis: Axes, at: Sequence[float], numbers: list[dict[str, Any]], dashes: str, color: str, label: str) -> None:
    """A line through means, with bars for their intervals where there are any."""
    axis.errorbar(at, *means(numbers), fmt=dashes, color=color, label=label, markersize=3.5, linewidth=1.2)


def means(numbers: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The means of measured numbers (n,), and how far their intervals reach below and above them (2, n), 0 without one."""
    values = np.array([n["value"] for n in numbers])
    ends = [[n[end] if n[end] is not None else n["value"] for n in numbers] for end in ("low", "high")]
    return values, np.abs(np.array(ends) - values)


@torch.no_grad()
def decision(
    axis: Axes,
    net: TwoLayer,
    data: SparseCoding,
    x: Tensor,
    y: Tensor,
    radii: Tensor,
    color: str,
    label: str,
    unit: float = 1.0,
) -> Tensor:
    """Draw y f(x - y r unit u*) over r, relative to its median at r = 0, the first: median and central 90% of samples.

    Returns the median (radii,).
    """
    rows = torch.stack([y * net(x - r * unit * y[:, None] * data.u_star) for r in radii])  # (radii, n)
    rows = (rows / rows[0].median().clamp(min=1e-30)).cpu()
    low, middle, high = torch.quantile(rows, torch.tensor([0.05, 0.5, 0.95]), dim=1)
    axis.plot(radii.cpu(), middle, color=color, label=label)
    axis.fill_between(radii.cpu(), low, high, color=color, alpha=0.2, linewidth=0)
    return middle


def along_dense(nets: dict[str, tuple[TwoLayer, str]], data: SparseCoding, x: Tensor, y: Tensor, radii: Tensor) -> Figure:
    """y f(x - y t u*) along the dense direction, relative to its value at t = 0: median and central 90% of samples."""
    figure, axis = plt.subplots(figsize=(7.2, 2.8))
    for label, (net, color) in nets.items():
        decision(axis, net, data, x, y, radii, color, label)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(xlabel=r"distance $t$ moved along $-y\,u^\star$", ylabel=r"$y\,f$, relative to its median at $t=0$", ylim=(-1, 2))
    axis.legend()
    return figure


def decades(axis: Axes) -> None:
    """Logarithmic axes with a few plain numbers on each, also where it spans less than a decade; call it after plotting."""
    axis.set(xscale="log", yscale="log")
    for one, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            ticks = [t for e in range(-6, 7) for s in steps if low <= (t := s * 10.0**e) <= high]
            if len(ticks) >= 3:
                break
        one.set_ticks(ticks, [f"{t:g}" for t in ticks])
        one.set_minor_formatter(NullFormatter())


def guide(axis: Axes, slope: float) -> None:
    """A grey line of the given slope in a log-log plot, through the middle of its points (the positive, finite ones)."""
    points = np.concatenate([np.asarray(line.get_xydata()).reshape(-1, 2) for line in axis.lines])
    logs = np.log(points[(np.isfinite(points) & (points > 0)).all(1)])
    x = np.array([logs[:, 0].min(), logs[:, 0].max()])
    middle = np.median(logs, axis=0)
    axis.plot(np.exp(x), np.exp(middle[1] + slope * (x - middle[0])), color=CONTROL, linewidth=1, zorder=0)


def sweeps(measured: dict[str, dict[str, Any]], homes: dict[str, list[float]], columns: int = 4) -> Figure:
    """Small panels, one a sweep, of figures named "sweep/value/figure"; `homes` marks the protocol's own values.

    Bars are 95% intervals, where there are several seeds.
    """
    words = {"radius * sqrt(k)": r"radius $\tau\sqrt{k}$", "initial norm |w0|, no decay": r"$\|w^0\|$, no weight decay"}
    words |= {"PGD steps in training (1: FGM)": "PGD steps in training", "width m / d": "width $m/d$"}
    table: dict[str, dict[float, dict[str, dict[str, Any]]]] = {}
    for key, number in measured.items():
        sweep, value, name = key.rsplit("/", 2)
        table.setdefault(sweep, {}).setdefault(float(value), {})[name] = number
    figure, axes = plt.subplots(-(-len(table) // columns), columns, figsize=(7.8, 4.6), sharey=True, squeeze=False)
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


def filters(layers: dict[str, Tensor], columns: int = 16) -> Figure:
    """First-layer filters (m, 3, h, w) of several networks, the same neuron in the same place."""
    return images({label: w[:columns] for label, w in layers.items()}, height=0.62, gap=0.35)


def images(rows: dict[str, Tensor], height: float = 0.98, gap: float = 0.1) -> Figure:
    """Rows of images (n, 3, h, w): pixels in [0, 1] as they are; signed ones around 0, each scaled to the full range.

    `height` of a row in inches; `gap` between its label and the first image, in image widths.
    """
    count = min(len(batch) for batch in rows.values())
    figure, axes = plt.subplots(len(rows), count, figsize=(7.6, height * len(rows)), squeeze=False)
    for row, (label, batch) in zip(axes, rows.items()):
        signed = bool(batch.min() < 0)
        for axis, image in zip(row, batch.float().cpu()):
            shown = 0.5 + 0.5 * image / image.abs().max().clamp(min=1e-12) if signed else image
            axis.imshow(shown.clamp(0, 1).permute(1, 2, 0), interpolation="nearest")
            axis.set_axis_off()
        row[0].text(-gap, 0.5, label, transform=row[0].transAxes, ha="right", va="center", fontsize=9)
    return figure
