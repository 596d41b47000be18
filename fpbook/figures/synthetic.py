"""Figures of neurons and decisions on the sparse coding model, where the true features are known."""

from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fpbook.figures.style import CLEAN, CONTROL, DENSE, INIT, PURIFIED
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding


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


def neuron(
    axis: Axes, w: Tensor, data: SparseCoding, color: str, title: str, unit: float = 1.0
) -> None:
    """One neuron in the basis of the true features, its top feature positive and marked."""
    values = coefficients(w, data)
    values = (values * top_sign(values) / unit).cpu()
    top = int(values.abs().argmax())
    stems(axis, values, color, title)
    axis.plot(top, values[top], "o", color=color, markersize=4)


def purification(w: Tensor, pure: Tensor, residual: Tensor, data: SparseCoding) -> Figure:
    """The headline: a clean neuron w is a purified one, beta w', plus a dense mixture v (all (d,))."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.5), sharey=True)
    scale = (
        top_sign(coefficients(w, data)) / w.norm()
    )  # one for all, so that the three panels add up
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
        right.axhline(
            chance, color="black", linewidth=0.7, linestyle=":", label=r"chance, $1/\sqrt{d}$"
        )
    for axis in (left, right):
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def both_trainings(histories: dict[str, list[dict[str, Any]]], chance: float) -> Figure:
    """The live neurons through clean and then adversarial training: medians over neurons, over training steps."""
    figure, axis = plt.subplots(figsize=(7.2, 2.9))
    end = histories["clean"][-1]["step"]
    entries = [
        *histories["clean"],
        *({**e, "step": e["step"] + end} for e in histories["adversarial"][1:]),
    ]
    for key, label, color, dashes in (
        ("purity", "purity", PURIFIED, "-"),
        ("dense_part", "dense part", DENSE, "-"),
        (
            "features_held",
            "features with a neuron of\npurity over $1/\\sqrt{2}$, share",
            CLEAN,
            ":",
        ),
        ("cos_init", r"$\cos(w^0, w_t)$", INIT, "--"),
    ):
        axis.plot(
            [e["step"] for e in entries],
            [e[key] for e in entries],
            dashes,
            color=color,
            label=label,
        )
    later = histories["adversarial"]
    axis.plot(
        [e["step"] + end for e in later],
        [e["cos_start"] for e in later],
        "-",
        color="black",
        label=r"$\cos(w, w_t)$",
    )
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
    axis.text(
        0.5**0.5,
        1.01,
        r"$\|\beta w'\| > \|v\|$ right of this line",
        transform=above,
        ha="center",
        fontsize=8.5,
    )
    if chance is not None:
        axis.axvspan(
            -2 * chance, 2 * chance, color="black", alpha=0.08, label=r"chance, $\pm 2/\sqrt{d}$"
        )
    axis.set(xlabel="cosine", ylabel="share of neurons")
    axis.legend(loc="best")
    return figure


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
    rows = torch.stack(
        [y * net(x - r * unit * y[:, None] * data.u_star) for r in radii]
    )  # (radii, n)
    rows = (rows / rows[0].median().clamp(min=1e-30)).cpu()
    low, middle, high = torch.quantile(rows, torch.tensor([0.05, 0.5, 0.95]), dim=1)
    axis.plot(radii.cpu(), middle, color=color, label=label)
    axis.fill_between(radii.cpu(), low, high, color=color, alpha=0.2, linewidth=0)
    return middle


def along_dense(
    nets: dict[str, tuple[TwoLayer, str]], data: SparseCoding, x: Tensor, y: Tensor, radii: Tensor
) -> Figure:
    """y f(x - y t u*) along the dense direction, relative to its value at t = 0: median and central 90% of samples."""
    figure, axis = plt.subplots(figsize=(7.2, 2.8))
    for label, (net, color) in nets.items():
        decision(axis, net, data, x, y, radii, color, label)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(
        xlabel=r"distance $t$ moved along $-y\,u^\star$",
        ylabel=r"$y\,f$, relative to its median at $t=0$",
        ylim=(-1, 2),
    )
    axis.legend()
    return figure
