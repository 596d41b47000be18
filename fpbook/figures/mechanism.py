"""Figures of how purification works: samples, neurons and bounds on the sparse coding model."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fpbook.figures.accuracies import ACCURACY_MARKS
from fpbook.figures.style import CLEAN, CONTROL, DENSE, GREY, INIT, PURIFIED, share_histogram
from fpbook.figures.synthetic import neuron
from fpbook.results.columns import select
from fpbook.results.summaries import number
from fpcore.decomposition.purification import Features
from fpcore.sparse_coding import SparseCoding

STYLES = {"clean": (CLEAN, "s"), "purified": (PURIFIED, "o")}  # also told apart in grey


def two_bases(x: Tensor, data: SparseCoding) -> Figure:
    """A sample x (d,) as the network sees it, and in the features of the model `data`."""
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 2.5), sharey=True)
    for axis, values, color, title, label in (
        (axes[0], x, CONTROL, "the input $x$", "coordinate"),
        (axes[1], x @ data.features, PURIFIED, r"the same input, $M^\top x$", "feature $j$"),
    ):
        axis.vlines(range(data.d), 0, values.cpu(), color=color, linewidth=0.7)
        axis.set(title=title, xlabel=label)
    return figure


def landmark(axis: Axes, at: float, label: str, side: str = "left") -> None:
    """A thin vertical line at a radius or size, with its name above the axis."""
    axis.axvline(at, color=CONTROL, linewidth=0.8)
    above = axis.get_xaxis_transform()
    axis.text(at, 1.01, label, transform=above, color="black", ha=side, fontsize=9)


def legend_below(axis: Axes, columns: int) -> None:
    """What is drawn in a panel, named below it, where nothing is covered, also on a phone."""
    handles = axis.get_legend_handles_labels()
    figure: Any = axis.figure
    figure.legend(*handles, loc="outside lower center", ncols=columns)


def window(
    radii: Sequence[float],
    linear: Sequence[float],
    certified: Sequence[float],
    data: SparseCoding,
    radius: float,
) -> Figure:
    """Accuracies over the radius of the linear classifier u* and of a pure network.

    radii      l2
    linear     robust accuracy of u*, exact
    certified  that of the pure network, a lower bound
    data       the model, for the landmarks 1/sqrt(d) and 1/sqrt(k)
    radius     that the book evaluates at, dotted
    """
    figure, axis = plt.subplots(figsize=(7.2, 3.0))
    axis.plot(radii, linear, "-", color=CLEAN, label="linear $u^\\star$, exact")
    axis.plot(radii, certified, "--", color=PURIFIED, label="pure network, certified")
    axis.axvline(radius, color="black", linewidth=0.8, linestyle=":")
    above = axis.get_xaxis_transform()
    axis.text(radius, 1.01, r"$\tau$", transform=above, ha="center", fontsize=10)
    landmark(axis, 1 / math.sqrt(data.d), r"$1/\sqrt{d}$", "center")
    landmark(axis, 1 / math.sqrt(data.k), r"$1/\sqrt{k}$", "center")
    axis.set(xlabel=r"$\ell_2$ radius", ylabel="robust accuracy", ylim=(-0.02, 1.02))
    legend_below(axis, 2)
    return figure


def lottery(rank: Tensor, d: int, shown: int = 50) -> Figure:
    """How often the feature that a neuron ends with had which rank at initialization.

    rank   (neurons,), 0 for the largest initial overlap
    d      number of features: by chance each rank has the share 1/d
    shown  ranks that are drawn
    """
    figure, axis = plt.subplots(figsize=(7.2, 2.5))
    edges = [i - 0.5 for i in range(shown + 1)]
    share_histogram(axis, rank.float(), edges, INIT)
    axis.axhline(1 / d, color="black", linewidth=0.9, linestyle="--", label="chance, $1/d$")
    axis.set(xlabel="initial rank of the feature it ends with", ylabel="share of neurons")
    axis.legend()
    return figure


def three_neurons(w: Tensor, held: Features, which: Tensor, data: SparseCoding) -> Figure:
    """Three neurons in the basis of the features, each relative to its length.

    w      all neurons, (m, d)
    held   what they hold
    which  the indices of the three
    data   the model with the features
    """
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.5), sharey=True)
    for axis, i in zip(axes, which.tolist()):
        title = f"purity {held.purity[i]:.2f}, dense {held.dense_part[i]:.2f}"
        neuron(axis, w[i], data, CLEAN, title, float(w[i].norm()))
    axes[0].set_ylabel(r"coefficient $/\,\|w_i\|$")
    return figure


def mixture_spectrum(mixtures: Tensor, random: Tensor) -> Figure:
    """Singular values of the mixtures (n,), as dots, and of random vectors as long, as a line."""
    figure, axis = plt.subplots(figsize=(7.2, 2.5))
    axis.plot(mixtures.cpu(), ".", color=DENSE, label="mixtures, clean network")
    axis.plot(random.cpu(), color=CONTROL, label="random, as long")
    axis.set(xlabel="index", ylabel="singular value", ylim=(0, None))
    legend_below(axis, 2)
    return figure


def purity_and_removed(before: Features, after: Features, removed: Tensor) -> Figure:
    """Live neurons before and after FGM training, and where what was removed points.

    before   what the live neurons of w hold
    after    what those of w' hold
    removed  |cos(v, u*)| of the live neurons (n,)
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 2.9))
    for held, label, (color, mark) in (
        (before, "clean $w$", STYLES["clean"]),
        (after, "purified $w'$", STYLES["purified"]),
    ):
        at = held.purity.cpu(), held.dense_part.cpu()
        left.scatter(*at, s=5, alpha=0.4, color=color, marker=mark, label=label)
    left.set(xlabel="purity", ylabel="dense part", xlim=(0, 1.02), ylim=(-0.02, 1))
    right.hist(removed.cpu(), bins=40, color=DENSE)
    right.set(xlabel=r"$|\cos(v_i, u^\star)|$", ylabel="neurons", xlim=(0, 1))
    left.legend(markerscale=3, loc="lower left")
    return figure


def robustness_bars(summary: pd.DataFrame, networks: Mapping[str, str], radius: float) -> Figure:
    """Clean, attacked and certified accuracy of many networks, a row each: {label: network}.

    summary   of the accuracies
    networks  {label: network}; a bar spans what is open between certificate and attack
    radius    l2, of attacks and certificates
    """
    figure, axis = plt.subplots(figsize=(7.2, 1.0 + 0.27 * len(networks)))
    rows = range(len(networks))
    values = {
        quantity: [number(summary, quantity, network) for network in networks.values()]
        for quantity in ACCURACY_MARKS
    }
    at = {name: [one.value if one else 0.0 for one in found] for name, found in values.items()}
    spans = at["certified_accuracy"], at["robust_accuracy"]
    axis.hlines(rows, *spans, color=GREY, linewidth=3, alpha=0.4)
    for quantity, (label, color, mark) in ACCURACY_MARKS.items():
        drawn = axis.scatter(at[quantity], rows, s=26, color=color, marker=mark, label=label)
        drawn.set(zorder=3, clip_on=False)
    axis.set(yticks=rows, yticklabels=networks, xlim=(0, 1), xlabel="accuracy")
    axis.set_xticks([0, 0.5, 1], ["0", "50%", "100%"])
    axis.set_title(rf"$\ell_2$ radius $\tau$ = {radius:.3f}")
    axis.grid(axis="y", linewidth=0.4, alpha=0.6)
    axis.invert_yaxis()
    legend_below(axis, 3)
    return figure


def removal(taken: pd.DataFrame, looks: Mapping[str, tuple[str, str]]) -> Figure:
    """Robust accuracy over the share of a part that was removed from the clean weights.

    taken  records of `robust_accuracy` over `alpha`, each "network" named like its part
    looks  {part: (colour, line style)}
    """
    figure, axis = plt.subplots(figsize=(7.2, 2.8))
    for name, (color, dashes) in looks.items():
        line = select(taken, quantity="robust_accuracy", network=name)
        axis.plot(line["alpha"], line["value"], dashes, color=color, label=name)
    axis.set(
        xlabel=r"share $\alpha$ removed",
        ylabel="robust accuracy\n(upper bound)",
        ylim=(-0.02, 1.05),
    )
    legend_below(axis, 3)
    return figure


def corners_in_reach(convex: Mapping[str, Tensor], concave: Mapping[str, Tensor]) -> Figure:
    """How many neurons of a network have a corner in reach: {network: (n,) counts of samples}."""
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 2.6), sharey=True)
    for axis, name, counts in zip(axes, ("convex", "concave"), (convex, concave)):
        for label, numbers in counts.items():
            color = STYLES[label][0]
            axis.hist(numbers.cpu(), bins=30, color=color, alpha=0.7, label=label)
        axis.set(title=f"{name} corner in reach", xlabel="neurons")
    axes[0].set_ylabel("samples")
    legend_below(axes[1], 2)
    return figure


def certified_radii(radii: Mapping[str, Tensor], marks: Mapping[str, float]) -> Figure:
    """Histograms of certified radii {network: (n,)} in units of 1/sqrt(k), with {name: radius}."""
    figure, axis = plt.subplots(figsize=(7.2, 2.6))
    edges = torch.linspace(0, 1, 51, dtype=torch.float32, device="cpu").tolist()
    for label, values in radii.items():
        axis.hist(values.cpu(), bins=edges, color=STYLES[label][0], alpha=0.7, label=label)
    above = axis.get_xaxis_transform()
    for (label, at), side in zip(marks.items(), ("right", "left")):
        axis.axvline(at, color="black", linewidth=0.8, linestyle=":")
        axis.text(at, 1.01, label, transform=above, ha=side)
    axis.set(xlabel=r"certified radius, in units of $1/\sqrt{k}$", ylabel="samples")
    legend_below(axis, 2)
    return figure


def mixtures_attacked(
    sizes: Sequence[float], lines: Mapping[str, Sequence[float]], data: SparseCoding
) -> Figure:
    """Accuracies of symmetric networks over the size r of their mixture.

    sizes  r, in units of the feature
    lines  "attacked", "formula", "dense" and "certified": an accuracy for each size
    data   the model, for the landmarks 1/sqrt(k) and k/sqrt(d)
    """
    figure, axis = plt.subplots(figsize=(7.2, 3.1))
    for name, mark, label, color in (
        ("attacked", "o", "strongest attack", CLEAN),
        ("formula", "s", "formula", "black"),
        ("dense", "-", r"along $-y u^\star$", DENSE),
        ("certified", "--", "certified", PURIFIED),
    ):
        axis.plot(sizes, lines[name], mark, color=color, label=label, markerfacecolor="none")
    landmark(axis, 1 / math.sqrt(data.k), r"$1/\sqrt{k}$ ", "right")
    landmark(axis, data.k / math.sqrt(data.d), r" $k/\sqrt{d}$", "left")
    axis.set(xlabel="dense mixture $r$, in features", ylabel="accuracy", ylim=(0, 1.03))
    legend_below(axis, 4)
    return figure


def pulled_to(
    grid: Sequence[float],
    pulls: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    data: SparseCoding,
) -> Figure:
    """The mixture that the gradient pulls to, over the mixture that the network has.

    grid   mixtures r, in units of the feature
    pulls  {"clean" or "FGM": (by the gradient, by the formula)}, a mixture for each of the grid
    data   the model, for the landmark k/sqrt(d)
    """
    figure, axis = plt.subplots(figsize=(7.2, 3.1))
    looks = {"clean": STYLES["clean"], "FGM": STYLES["purified"]}
    for label, (measured, predicted) in pulls.items():
        color, mark = looks[label]
        axis.plot(grid, predicted, color=color, label=f"{label}, formula")
        axis.plot(grid, measured, mark, color=color, label=f"{label}, gradient")
    axis.plot(grid, grid, ":", color="black", linewidth=1, label="at rest")
    landmark(axis, data.k / math.sqrt(data.d), r"$k/\sqrt{d}$", "center")
    axis.set(xlabel="mixture $r$ of the network", ylabel="mixture pulled to", ylim=(-0.1, 0.6))
    legend_below(axis, 3)
    return figure
