"""Figures of the CIFAR-10 chapters that `fpcore.figures` does not have."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fpcore.figures import CLEAN, CONTROL, INIT, PURIFIED

SCRATCH = "#E69F00"
COLORS = {"init": INIT, "clean": CLEAN, "purified": PURIFIED, "control": CONTROL, "scratch": SCRATCH}

Line = tuple[Sequence[float], str, str]  # values, colour, line style


def lines(axis: Axes, x: Sequence[float], rows: Mapping[str, Line], **labels: object) -> None:
    """Labelled lines over x, one marker a value; `labels` go to the axis (xlabel, title, ylim, ...)."""
    for label, (values, color, dashes) in rows.items():
        axis.plot(x, values, dashes, color=color, label=label, marker="o", markersize=3.5)
    axis.set(**labels)


def two_panels(x: Sequence[float], panels: Mapping[str, Mapping[str, Line]], xlabel: str, ylabel: str = "accuracy") -> Figure:
    """Panels side by side, {title: {label: line}}, of accuracies or other shares in [0, 1]; one legend for all."""
    figure, axes = plt.subplots(1, len(panels), figsize=(7.6, 2.9), sharey=True, squeeze=False)
    for axis, (title, rows) in zip(axes[0], panels.items()):
        lines(axis, x, rows, title=title, xlabel=xlabel, ylim=(-0.02, 1.02))
    handles = {text: handle for axis in axes[0] for handle, text in zip(*axis.get_legend_handles_labels())}
    axes[0, 0].set_ylabel(ylabel)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(5, len(handles)))
    return figure


def layer_histograms(layers: Mapping[str, Mapping[str, tuple[Tensor, str]]], chance: Mapping[str, float]) -> Figure:
    """One panel a layer: histograms of cosines, {layer: {label: (values, colour)}}; chance, +-2/sqrt(d), is grey."""
    figure, axes = plt.subplots(2, -(-len(layers) // 2), figsize=(7.8, 4.2), sharex=True, sharey=True, squeeze=False)
    bins = torch.linspace(-0.4, 1, 43).tolist()
    for axis, (layer, groups) in zip(axes.flat, layers.items()):
        for label, (values, color) in groups.items():
            weights = torch.full_like(values, 1 / len(values)).cpu()
            axis.hist(values.cpu(), bins=bins, weights=weights, alpha=0.6, color=color, label=label)
        axis.axvline(0.5**0.5, color="black", linewidth=0.8, linestyle="--")
        axis.axvspan(-2 * chance[layer], 2 * chance[layer], color="black", alpha=0.08)
        axis.set(title=layer)
    for axis in axes.flat[len(layers) :]:
        axis.set_axis_off()
    figure.supxlabel("cosine", fontsize=9.5)
    figure.supylabel("share of neurons", fontsize=9.5)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def spectra(rows: Mapping[str, Tensor]) -> Figure:
    """Singular values of each layer's update over their index, relative to the largest."""
    figure, axis = plt.subplots(figsize=(7.2, 2.8))
    for i, (layer, values) in enumerate(rows.items()):
        axis.plot(range(1, len(values) + 1), values.cpu(), color=plt.get_cmap("viridis")(i / len(rows)), label=layer)
    axis.set(xlabel="index of the singular value", ylabel="singular value / largest", xscale="log", ylim=(0, 1.05))
    axis.set_xticks(ticks := [1, 2, 5, 10, 20, 50], map(str, ticks))
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure
