"""Figures of the five CIFAR-10 networks, each beside the others: what is measured of which."""

from collections.abc import Collection, Mapping

import pandas as pd
from matplotlib.figure import Figure

from fpbook.cifar10.networks import SYMBOLS, TRAINED
from fpbook.figures.cifar10 import bars, series
from fpbook.figures.style import (
    CLEAN,
    CONTROL,
    DENSE,
    INIT,
    NETWORK_COLORS,
    PALE_GREY,
    PURIFIED,
    SCRATCH,
)
from fpbook.results import Pick, pick

Summaries = Mapping[str, pd.DataFrame]  # by the title of a panel, as `beside` gives them
# {what is taken out: (the network's name in records, colour)}
TAKEN = {
    "$v$": ("w - v", PURIFIED),
    "random": ("w - random", CONTROL),
    "dealt": ("w - dealt", CLEAN),
    "$v_c$": ("w - v_c", INIT),
}
OLD_WAYS = {"$v$, old statistics": ("w - v, old statistics", DENSE)}


def trained_accuracies(shown: Summaries) -> Figure:
    """Clean and robust accuracy of the four trained networks, a panel a run."""
    kinds = {
        "clean": (pick("clean_accuracy"), PALE_GREY),
        "robust, PGD": (pick("robust_accuracy"), PURIFIED),
    }
    return bars(shown, "network", {SYMBOLS[name]: name for name in TRAINED}, kinds, "accuracy")


def cosines_of_pairs(shown: Summaries, layers: Collection[str]) -> Figure:
    """The median cosine of a layer's neurons in two networks, for all pairs that say something."""
    kinds = {
        "$w^0$, $w$": (pick("cos_to_init", "clean"), INIT),
        "$w^0$, $w'$": (pick("cos_to_init", "purified"), DENSE),
        "$w$, $w'$": (pick("cos_to_clean", "purified"), PURIFIED),
        "$w$, $w_c$": (pick("cos_to_clean", "control"), CONTROL),
        "$w$, $w''$": (pick("cos_to_clean", "scratch"), SCRATCH),
        "$w'$, $w''$": (pick("cos_to_purified", "scratch"), CLEAN),
    }
    return bars(shown, "layer", {name: name for name in layers}, kinds, "median cosine")


def explained_by_others(shown: Summaries, layers: Collection[str], scratch: bool = True) -> Figure:
    """What a linear map of one network's layer explains of another's, median over neurons.

    shown    {title: summary}
    layers   that are shown
    scratch  whether there is a network from scratch
    """
    kinds = {
        "$w_c$ by $w$": (pick("explained_by_clean", "control"), CONTROL),
        "$w'$ by $w$": (pick("explained_by_clean", "purified"), PURIFIED),
        "$w''$ by $w$": (pick("explained_by_clean", "scratch"), SCRATCH),
        "$w'$ by $w^0$": (pick("explained_by_init", "purified"), INIT),
    }
    if not scratch:
        del kinds["$w''$ by $w$"]
    groups = {name.replace("blocks.", ""): name for name in layers}
    return bars(shown, "layer", groups, kinds, "variance explained")


def over_share_taken(shown: Summaries, quantity: str) -> Figure:
    """An accuracy over alpha, the share of a vector that is taken out of w, a panel a run."""
    lines = {
        label: (pick(quantity, way), color, "o-")
        for label, (way, color) in (TAKEN | OLD_WAYS).items()
    }
    ylabel = {"clean_accuracy": "clean accuracy", "robust_accuracy": "robust accuracy"}[quantity]
    label = r"$\alpha$, share taken out"
    return series(shown, "alpha", lines, label, ylabel, ylim=None)


def taken_of_one_layer(shown: Summaries, layers: Collection[str]) -> Figure:
    """Robust accuracy where a vector is taken out of one layer; dashed: out of none."""
    kinds = {
        label: (pick("robust_accuracy", way, alpha=1), color)
        for label, (way, color) in TAKEN.items()
    }
    level = pick("robust_accuracy", "w - v", alpha=0)
    groups = {name: name for name in layers}
    return bars(shown, "layer", groups, kinds, "robust accuracy", level=level)


def blocks_left_out(shown: Summaries, blocks: Collection[str]) -> Figure:
    """Clean accuracy of w and w' where one block is taken out."""
    kinds = {
        SYMBOLS[name]: (pick("accuracy_without", name), NETWORK_COLORS[name])
        for name in ("clean", "purified")
    }
    groups = {name.replace("blocks.", ""): name for name in blocks}
    return bars(shown, "layer", groups, kinds, "accuracy without a block")


def by_convolution(shown: Summaries, quantity: str, names: Collection[str], ylabel: str) -> Figure:
    """What is measured behind each convolution's normalisation, of several networks.

    shown     {title: summary}
    quantity  what it is
    names     of the networks
    ylabel    of the numbers
    """
    groups = {f"conv{i}": f"bn{i}" for i in (1, 2, 3, 4, 5)}
    kinds: dict[str, tuple[Pick, str]] = {
        SYMBOLS[name]: (pick(quantity, name), NETWORK_COLORS[name]) for name in names
    }
    return bars(shown, "layer", groups, kinds, ylabel)


def over_atoms(shown: Summaries, dictionaries: Mapping[str, str]) -> Figure:
    """What of a patch stays unexplained, over the number of atoms; {network: label}."""
    lines = {
        label: (pick("unexplained_share", name), NETWORK_COLORS.get(name, DENSE), "o-")
        for name, label in dictionaries.items()
    }
    return series(shown, "atoms", lines, "atoms a patch", "share left unexplained")


def over_attack_steps(shown: Summaries) -> Figure:
    """Accuracy of the four trained networks over the number of steps of an attack."""
    lines = {
        SYMBOLS[name]: (pick("pgd_accuracy", name), NETWORK_COLORS[name], "o-") for name in TRAINED
    }
    return series(shown, "steps", lines, "steps of PGD")
