"""Figures of what layers hold: cosines neuron by neuron, filters, spectra, images."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from fpbook.figures.style import EVEN_COSINE, share_histogram
from fpcore.decomposition.filter_spectra import spectrum
from fpcore.decomposition.layers import neurons
from fpcore.decomposition.purification import chance_cosine
from fpcore.decomposition.relations import layer_relations

# The band of cosines that random neurons have, and the line where |beta w'| = |v|.
CHANCE: dict[str, Any] = {"color": "black", "alpha": 0.08}
EVEN_LINE: dict[str, Any] = {"color": "black", "linewidth": 0.8, "linestyle": "--"}
# {layer: {label: (cosines of the layer's neurons (n,), colour)}}
LayerCosines = Mapping[str, Mapping[str, tuple[Tensor, str]]]


def pairwise(
    nets: Mapping[str, nn.Module], pairs: Mapping[str, tuple[str, str, str]]
) -> tuple[dict[str, dict[str, tuple[Tensor, str]]], dict[str, float]]:
    """What `layer_histograms` and `over_depth` draw: cosines by layer, and chance, 1/sqrt(d), too.

    Neuron by neuron, of those switched on in both; `pairs` maps a label to (name of one network,
    of another, colour).
    """
    each = {
        label: (layer_relations(nets[one], nets[other]), color)
        for label, (one, other, color) in pairs.items()
    }
    first = next(iter(nets.values()))
    chance = {layer: chance_cosine(w.shape[1]) for layer, w in neurons(first).items()}
    cosines = {
        layer: {label: (found[layer], color) for label, (found, color) in each.items()}
        for layer in chance
    }
    return cosines, chance


def over_depth(layers: LayerCosines, chance: Mapping[str, float]) -> Figure:
    """What `layer_histograms` shows, for networks of many layers.

    Boxes hold half of a layer's neurons, lines nine in ten; chance, +-2/sqrt(d), is grey.
    """
    figure, axis = plt.subplots(figsize=(7.8, 3.4))
    colors = {label: color for label, (_, color) in next(iter(layers.values())).items()}
    width = 0.8 / len(colors)
    for i, (label, color) in enumerate(colors.items()):
        shift = (i - (len(colors) - 1) / 2) * width
        axis.boxplot(
            [groups[label][0].cpu().numpy() for groups in layers.values()],
            positions=[j + shift for j in range(len(layers))],
            widths=0.8 * width,
            whis=(5, 95),
            showfliers=False,
            showcaps=False,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": color, "edgecolor": color},
            whiskerprops={"color": color},
            medianprops={"color": "white"},
            label=label,
        )
    for j, layer in enumerate(layers):
        reach = 2 * chance[layer]
        axis.fill_between([j - 0.5, j + 0.5], -reach, reach, **CHANCE, linewidth=0)
    axis.axhline(EVEN_COSINE, **EVEN_LINE)
    names = [layer.replace("blocks.", "") for layer in layers]
    axis.set_xticks(range(len(layers)), names, rotation=90)
    axis.set(ylabel="cosine", xlim=(-0.6, len(layers) - 0.4))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=len(colors))
    return figure


def layer_histograms(layers: LayerCosines, chance: Mapping[str, float]) -> Figure:
    """One panel a layer: histograms of cosines; chance, +-2/sqrt(d), is grey."""
    figure, axes = plt.subplots(
        2, -(-len(layers) // 2), figsize=(7.8, 4.2), sharex=True, sharey=True, squeeze=False
    )
    edges = torch.linspace(-0.4, 1, 43, dtype=torch.float32, device="cpu").tolist()
    for axis, (layer, groups) in zip(axes.flat, layers.items()):
        for label, (values, color) in groups.items():
            share_histogram(axis, values, edges, color, label=label, alpha=0.6)
        axis.axvline(EVEN_COSINE, **EVEN_LINE)
        axis.axvspan(-2 * chance[layer], 2 * chance[layer], **CHANCE)
        axis.set(title=layer)
    for axis in axes.flat[len(layers) :]:
        axis.set_axis_off()
    figure.supxlabel("cosine", fontsize=9.5)
    figure.supylabel("share of neurons", fontsize=9.5)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def over_frequency(rows: Mapping[str, tuple[Tensor, str]]) -> Figure:
    """The spectra of filters, {label: (filters, colour)}; white noise is the dashed line."""
    figure, axis = plt.subplots(figsize=(7.2, 2.8))
    for label, (filters, color) in rows.items():
        frequencies, energy = spectrum(filters)
        axis.plot(
            frequencies.cpu(), energy.cpu(), color=color, label=label, marker="o", markersize=3.5
        )
    axis.axhline(1, color="black", linestyle="--", linewidth=0.9)
    axis.set(
        xlabel="spatial frequency, cycles a pixel", ylabel="energy / white noise", yscale="log"
    )
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def singular_values(rows: Mapping[str, Tensor]) -> Figure:
    """Singular values of each layer's update over their index, relative to the largest."""
    figure, axis = plt.subplots(figsize=(7.2, 2.8))
    shades = plt.get_cmap("viridis")
    for i, (layer, values) in enumerate(rows.items()):
        indices = range(1, len(values) + 1)
        axis.plot(indices, values.cpu(), color=shades(i / len(rows)), label=layer)
    axis.set(
        xlabel="index of the singular value",
        ylabel="singular value / largest",
        xscale="log",
        ylim=(0, 1.05),
    )
    ticks = (1, 2, 5, 10, 20, 50)
    axis.set_xticks(ticks, map(str, ticks))
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def filter_rows(layers: dict[str, Tensor], columns: int = 16) -> Figure:
    """First-layer filters (m, 3, h, w) of several networks, the same neuron in the same place."""
    return images({label: w[:columns] for label, w in layers.items()}, height=0.62, gap=0.35)


def images(rows: dict[str, Tensor], height: float = 0.98, gap: float = 0.1) -> Figure:
    """Rows of images (n, 3, h, w), {label: images}, as many of each as of the shortest row.

    Pixels in [0, 1] are shown as they are; signed ones around 0, each image scaled to the full
    range. `height` of a row in inches; `gap` from its label to the first image, in image widths.
    """
    count = min(len(batch) for batch in rows.values())
    figure, axes = plt.subplots(len(rows), count, figsize=(7.6, height * len(rows)), squeeze=False)
    for row, (label, batch) in zip(axes, rows.items()):
        signed = bool(batch.min() < 0)
        for axis, image in zip(row, batch.float().cpu()):
            if signed:
                image = 0.5 + 0.5 * image / image.abs().max().clamp(min=1e-12)
            axis.imshow(image.clamp(0, 1).permute(1, 2, 0), interpolation="nearest")
            axis.set_axis_off()
        beside = {"transform": row[0].transAxes, "ha": "right", "va": "center", "fontsize": 9}
        row[0].text(-gap, 0.5, label, **beside)
    return figure
