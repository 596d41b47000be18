"""The card of one training radius and width: four pictures of its runs, each with its words."""

import torch
from matplotlib.figure import Figure

from fpbook.figures.accuracies import bound_lines
from fpbook.figures.style import CLEAN, EVEN_COSINE, PURIFIED
from fpbook.figures.synthetic import SHARES, cosine_histograms, decisions, neuron
from fpbook.synthetic.measured_grid import (
    BOUNDS,
    COMPARED,
    EVALUATED,
    EVALUATION_SAMPLES,
    Accuracies,
    over_seeds,
)
from fpbook.synthetic.neurons import live_cosines, typical_neuron
from fpbook.synthetic.protocol import SyntheticRun
from fpbook.widgets.controls import card, picture, small_axes

LOOKS = {"clean": ("w", CLEAN), "purified": ("w'", PURIFIED)}  # symbol and colour of a network


def run_card(runs: list[SyntheticRun], measured: list[Accuracies]) -> str:
    """The pictures of one training radius and width, as HTML.

    `runs` and `measured` hold one a seed; neuron and decision are those of the first.
    """
    run = runs[0]
    decision, accuracy = decision_panel(run), accuracy_panel(measured)
    for figure, _ in (decision, accuracy):
        mark_training_radius(figure, run.experiment.training_reach)
    pictures = (neuron_panel(run), decision, accuracy, cosine_panel(runs))
    return card(*(picture(figure, words) for figure, words in pictures))


def mark_training_radius(figure: Figure, reach: float) -> None:
    """A dotted line at the training radius, in units of 1/sqrt(k)."""
    axis = figure.axes[0]
    axis.axvline(reach, color="black", linewidth=0.8, linestyle=":")
    axis.text(reach, 0.93, " trained", fontsize=7.5, transform=axis.get_xaxis_transform())


def neuron_panel(run: SyntheticRun) -> tuple[Figure, str]:
    """The live neuron with the median cosine, in the basis of the features, in both networks."""
    i, cos = typical_neuron(run)
    figure, axes = small_axes(2)
    ylabels = {"clean": "$w_i$", "purified": "$w_i'$"}
    for axis, name in zip(axes, COMPARED):
        _, color = LOOKS[name]
        w = run.named(name).weight.detach()[i]
        neuron(axis, w, run.data, color, "", unit=w.norm().clamp(min=1e-30).item())
        axis.set(ylabel=ylabels[name], xlabel="", ylim=(-0.4, 1.1))
    axes[0].set_title("a typical neuron")
    axes[1].set_xlabel("feature $j$")
    where = f"Neuron {i} in the basis of the features, before and after FGM training"
    return figure, f"{where}; their cosine is {cos:.2f}."


def decision_panel(run: SyntheticRun) -> tuple[Figure, str]:
    """The decisions along the dense direction, and where the median one changes its sign."""
    figure, axis = small_axes()
    nets = {f"${symbol}$": (run.named(name), color) for name, (symbol, color) in LOOKS.items()}
    reaches = torch.linspace(0, 1.2, 25)
    x, y = run.x[:EVALUATION_SAMPLES], run.y[:EVALUATION_SAMPLES]
    medians = decisions(axis, nets, run.data, x, y, reaches, unit=run.experiment.k**-0.5)
    axis.set(
        title="decision along the dense direction",
        xlabel=r"moved along $-y\,u^\star$, in $1/\sqrt{k}$",
        ylabel="$y\\,f$ / its median unmoved",
        ylim=(-2, 1.6),
    )
    axis.legend(loc="lower left")
    flips = []
    for median in medians.values():
        below = (median <= 0).nonzero()
        flips.append(f"at {reaches[below[0, 0]]:.2f}" if len(below) else "nowhere up to 1.20")
    clean, purified = flips
    words = (
        "Moved along the dense direction, the median sample changes its label"
        f" {clean} for the clean network, {purified} for the FGM-trained one,"
        " in units of one over root k."
    )
    return figure, words


def accuracy_panel(measured: list[Accuracies]) -> tuple[Figure, str]:
    """Robust accuracy over the evaluation radius between its bounds, with bands over seeds."""
    figure, axis = small_axes()
    numbers = [over_seeds(measured, at) for at in range(len(EVALUATED))]
    for name, (symbol, color) in LOOKS.items():
        means = {bound: [number[name, bound].value for number in numbers] for bound in BOUNDS}
        bound_lines(axis, EVALUATED, means["certified"], means["attacked"], color, f"${symbol}$")
        if len(measured) == 1:
            continue
        for bound in BOUNDS:
            low = [number[name, bound].ends[0] for number in numbers]
            high = [number[name, bound].ends[1] for number in numbers]
            axis.fill_between(EVALUATED, low, high, color=color, alpha=0.13, linewidth=0)
    axis.set(title="robust accuracy", xlabel=r"evaluation radius, in $1/\sqrt{k}$", ylim=SHARES)
    axis.legend(loc="best", fontsize=7.5)
    words = (
        "Attacked and certified accuracy over the evaluation radius,"
        " before and after FGM training; numbers in the table."
    )
    return figure, words


def cosine_panel(runs: list[SyntheticRun]) -> tuple[Figure, str]:
    """Histogram of cos(w_i, w_i') over the live neurons of all seeds."""
    figure, axis = small_axes()
    values = torch.cat([live_cosines(run) for run in runs]).cpu()
    cosine_histograms(axis, {"": (values, PURIFIED)}, bins=40)
    axis.set(
        title="cosine before and after, live neurons",
        xlabel=r"$\cos(w_i, w_i')$; dashed: $1/\sqrt{2}$",
        ylabel="share",
    )
    share = (values > EVEN_COSINE).float().mean()
    words = (
        f"Histogram of cosines, median {values.median():.2f};"
        f" {share:.0%} of the live neurons are above 1/root 2."
    )
    return figure, words
