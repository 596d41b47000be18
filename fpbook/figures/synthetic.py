"""Figures of neurons and decisions on the sparse coding model, whose features are known."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fpbook.figures.style import (
    ATTACKED,
    CLEAN,
    DENSE,
    EVEN_COSINE,
    GREY,
    INIT,
    PURIFIED,
    share_histogram,
)
from fpbook.synthetic.neurons import coefficients
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding

SHARES = (-0.02, 1.05)  # the vertical axis of what lies in [0, 1]


def top_sign(values: Tensor) -> Tensor:
    """The sign of the largest coefficient: times it, a neuron's top feature is positive."""
    return values[values.abs().argmax()].sign()


def stems(axis: Axes, values: Tensor, color: str, title: str) -> None:
    """A stem for each feature."""
    axis.vlines(range(len(values)), 0, values.cpu(), color=color, linewidth=0.7)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set(title=title, xlabel="feature $j$")


def neuron(
    axis: Axes,
    w: Tensor,
    data: SparseCoding,
    color: str,
    title: str,
    unit: float = 1.0,
) -> None:
    """One neuron in the basis of the true features, its top feature positive and marked.

    axis   where to draw
    w      the neuron, (d,)
    data   the model with the features
    color  of the stems
    title  of the axis
    unit   what counts as 1 on the vertical axis
    """
    values = coefficients(w, data)
    values = (values * top_sign(values) / unit).cpu()
    top = int(values.abs().argmax())
    stems(axis, values, color, title)
    axis.plot(top, values[top], "o", color=color, markersize=4)


def purification(w: Tensor, pure: Tensor, residual: Tensor, data: SparseCoding) -> Figure:
    """The headline: a clean neuron is a purified one plus a dense mixture.

    w         the clean neuron, (d,)
    pure      its part along the purified one, beta w', (d,)
    residual  the rest, v, (d,)
    data      the model with the features
    """
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.5), sharey=True)
    # One scale for all, so that the three panels add up.
    scale = top_sign(coefficients(w, data)) / w.norm()
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


def chance_line(axis: Axes, chance: float) -> None:
    """A dotted line at the cosine that random directions have."""
    label = r"chance, $1/\sqrt{d}$"
    axis.axhline(chance, color="black", linewidth=0.7, linestyle=":", label=label)


def history(entries: list[dict[str, Any]], chance: float | None = None) -> Figure:
    """Accuracies on the left, the neurons' purity and dense part on the right, over the steps."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.1))
    steps = [entry["step"] for entry in entries]
    for axis, key, label, color, dashes in (
        (left, "clean_accuracy", "clean", GREY, "-"),
        (left, "robust_accuracy", "PGD (upper bound)", ATTACKED, "-"),
        (right, "purity", "purity", PURIFIED, "-"),
        (right, "dense_part", "dense part", DENSE, "-"),
        (right, "cos_init", r"$\cos(w^0, w_t)$", INIT, "--"),
    ):
        axis.plot(steps, [entry[key] for entry in entries], dashes, color=color, label=label)
    left.set(xlabel="step", title="accuracy", ylim=SHARES)
    right.set(xlabel="step", title="the neurons", ylim=SHARES)
    if chance is not None:
        chance_line(right, chance)
    for axis in (left, right):
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def both_trainings(histories: Mapping[str, list[dict[str, Any]]], chance: float) -> Figure:
    """Medians over the live neurons through clean and then FGM training, over the steps of both.

    `histories` are those of a run, by the name of the network that a training ends with.
    """
    figure, axis = plt.subplots(figsize=(7.2, 2.9))
    first, second = histories["clean"], histories["purified"]
    end = first[-1]["step"]
    since = [end + entry["step"] for entry in second]
    # The second training starts where the first one ends: its first entry would be a double point.
    entries = [*first, *second[1:]]
    steps = [*(entry["step"] for entry in first), *since[1:]]
    held = "features with a neuron of\npurity over $1/\\sqrt{2}$, share"
    for key, label, color, dashes in (
        ("purity", "purity", PURIFIED, "-"),
        ("dense_part", "dense part", DENSE, "-"),
        ("features_held", held, CLEAN, ":"),
        ("cos_init", r"$\cos(w^0, w_t)$", INIT, "--"),
    ):
        axis.plot(steps, [entry[key] for entry in entries], dashes, color=color, label=label)
    cosines_since = [entry["cos_start"] for entry in second]
    axis.plot(since, cosines_since, "-", color="black", label=r"$\cos(w, w_t)$")
    chance_line(axis, chance)
    axis.axvline(end, color=GREY, linewidth=0.8)
    axis.text(end, 1.06, "FGM training starts", ha="center", fontsize=8.5)
    axis.set(xlabel="step", ylim=SHARES)
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def cosine_histograms(
    axis: Axes,
    groups: Mapping[str, tuple[Tensor, str]],
    bins: int,
    alpha: float = 1.0,
) -> None:
    """Histograms of cosines over neurons, and a dashed line where |beta w'| = |v|.

    axis    where to draw
    groups  {label: (cosines (n,), colour)}
    bins    how many, from -0.2 to 1
    alpha   opacity of the bars, for groups that cover each other
    """
    edges = torch.linspace(-0.2, 1, bins + 1, dtype=torch.float32, device="cpu").tolist()
    for label, (values, color) in groups.items():
        share_histogram(axis, values, edges, color, label=label, alpha=alpha)
    axis.axvline(EVEN_COSINE, color="black", linewidth=0.9, linestyle="--")


def cosines(groups: Mapping[str, tuple[Tensor, str]], chance: float | None = None) -> Figure:
    """Histograms of cosines over neurons, {label: (cosines (n,), colour)}."""
    figure, axis = plt.subplots(figsize=(7.2, 2.8))
    cosine_histograms(axis, groups, bins=60, alpha=0.75)
    words = r"$\|\beta w'\| > \|v\|$ right of this line"
    above = axis.get_xaxis_transform()
    axis.text(EVEN_COSINE, 1.01, words, transform=above, ha="center", fontsize=8.5)
    if chance is not None:
        label = r"chance, $\pm 2/\sqrt{d}$"
        axis.axvspan(-2 * chance, 2 * chance, color="black", alpha=0.08, label=label)
    axis.set(xlabel="cosine", ylabel="share of neurons")
    # Below the panel: on a phone it would cover bars.
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@torch.no_grad()
def decisions(
    axis: Axes,
    nets: Mapping[str, tuple[TwoLayer, str]],
    data: SparseCoding,
    x: Tensor,
    y: Tensor,
    distances: Tensor,
    unit: float = 1.0,
) -> dict[str, Tensor]:
    """y f(x - y t u*) over the distance t, relative to its median at t = 0, and a line at 0.

    Lines are medians over samples, bands their central 90%.

    axis       where to draw
    nets       {label: (network f, colour)}
    data       the model with the dense direction u*
    x          samples, (n, d)
    y          their labels, (n,), -1 or 1
    distances  t in units of `unit`, the first 0, (distances,)
    unit       of distance, l2
    Returns {label: medians (distances,)}.
    """
    medians = {}
    levels = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float32, device="cpu")
    for label, (net, color) in nets.items():
        moved = [y * net(x - r * unit * y[:, None] * data.u_star) for r in distances]
        rows = torch.stack(moved)  # (distances, n)
        rows = (rows / rows[0].median().clamp(min=1e-30)).cpu()
        low, medians[label], high = torch.quantile(rows, levels, dim=1)
        axis.plot(distances.cpu(), medians[label], color=color, label=label)
        axis.fill_between(distances.cpu(), low, high, color=color, alpha=0.2, linewidth=0)
    axis.axhline(0, color="black", linewidth=0.8)
    return medians


def along_dense(
    nets: Mapping[str, tuple[TwoLayer, str]],
    data: SparseCoding,
    x: Tensor,
    y: Tensor,
    radii: Tensor,
) -> Figure:
    """The decisions of networks on samples that are moved along the dense direction.

    nets   {label: (network f, colour)}
    data   the model with the dense direction u*
    x      samples, (n, d)
    y      their labels, (n,), -1 or 1
    radii  l2 distances, the first 0, (radii,)
    """
    figure, axis = plt.subplots(figsize=(7.2, 2.8))
    decisions(axis, nets, data, x, y, radii)
    axis.set(
        xlabel=r"distance $t$ moved along $-y\,u^\star$",
        ylabel=r"$y\,f$, relative to $t=0$",
        ylim=(-1, 2),
    )
    axis.legend()
    return figure
