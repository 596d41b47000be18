"""Figures of what layers hold: cosines neuron by neuron, filters, spectra, images."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from fpcore.decomposition.filter_spectra import spectrum
from fpcore.decomposition.layers import neurons
from fpcore.decomposition.purification import chance_cosine
from fpcore.decomposition.relations import layer_relations


def pairwise(
    nets: Mapping[str, nn.Module], pairs: Mapping[str, tuple[str, str, str]]
) -> tuple[dict[str, dict[str, tuple[Tensor, str]]], dict[str, float]]:
    """What `layer_histograms` and `over_depth` draw: {layer: {label: (cosines, colour)}}, and {layer: 1/sqrt(d)}.

    `pairs` maps a label to (one network, another, colour); neuron by neuron, of those switched on in both.
    """
    each = {
        label: (layer_relations(nets[one], nets[other]), color)
        for label, (one, other, color) in pairs.items()
    }
    rows = {layer: w.shape[1] for layer, w in neurons(next(iter(nets.values()))).items()}
    cosines = {
        layer: {label: (found[layer], color) for label, (found, color) in each.items()}
        for layer in rows
    }
    return cosines, {layer: chance_cosine(d) for layer, d in rows.items()}


def over_depth(
    layers: Mapping[str, Mapping[str, tuple[Tensor, str]]], chance: Mapping[str, float]
) -> Figure:
    """What `layer_histograms` shows, for networks of many layers: boxes hold half of a layer's neurons, lines nine in ten."""
    figure, axis = plt.subplots(figsize=(7.8, 3.4))
    labels = [*next(iter(layers.values()))]
    width = 0.8 / len(labels)
    for i, label in enumerate(labels):
        color = next(iter(layers.values()))[label][1]
        axis.boxplot(
            [groups[label][0].cpu().numpy() for groups in layers.values()],
            positions=[j + (i - (len(labels) - 1) / 2) * width for j in range(len(layers))],
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
        axis.fill_between(
            [j - 0.5, j + 0.5],
            -2 * chance[layer],
            2 * chance[layer],
            color="black",
            alpha=0.08,
            linewidth=0,
        )
    axis.axhline(0.5**0.5, color="black", linewidth=0.8, linestyle="--")
    axis.set_xticks(
        range(len(layers)), [layer.replace("blocks.", "") for layer in layers], rotation=90
    )
    axis.set(ylabel="cosine", xlim=(-0.6, len(layers) - 0.4))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=len(labels))
    return figure


def layer_histograms(
    layers: Mapping[str, Mapping[str, tuple[Tensor, str]]], chance: Mapping[str, float]
) -> Figure:
    """One panel a layer: histograms of cosines, {layer: {label: (values, colour)}}; chance, +-2/sqrt(d), is grey."""
    figure, axes = plt.subplots(
        2, -(-len(layers) // 2), figsize=(7.8, 4.2), sharex=True, sharey=True, squeeze=False
    )
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


def over_frequency(rows: Mapping[str, tuple[Tensor, str]]) -> Figure:
    """The spectra of filters, {label: (filters, colour)}, relative to white noise, which is the dashed line."""
    figure, axis = plt.subplots(figsize=(7.2, 2.8))
    for label, (w, color) in rows.items():
        axis.plot(
            *(values.cpu() for values in spectrum(w)),
            color=color,
            label=label,
            marker="o",
            markersize=3.5,
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
    for i, (layer, values) in enumerate(rows.items()):
        axis.plot(
            range(1, len(values) + 1),
            values.cpu(),
            color=plt.get_cmap("viridis")(i / len(rows)),
            label=layer,
        )
    axis.set(
        xlabel="index of the singular value",
        ylabel="singular value / largest",
        xscale="log",
        ylim=(0, 1.05),
    )
    axis.set_xticks(ticks := [1, 2, 5, 10, 20, 50], map(str, ticks))
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def filter_rows(layers: dict[str, Tensor], columns: int = 16) -> Figure:
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
        row[0].text(
            -gap, 0.5, label, transform=row[0].transAxes, ha="right", va="center", fontsize=9
        )
    return figure
