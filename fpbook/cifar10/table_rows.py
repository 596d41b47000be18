"""Which numbers the tables of the CIFAR-10 chapters hold, {label: its pick}, by table."""

from collections.abc import Collection, Mapping

import pandas as pd

from fpbook.cifar10.dose import RATE_FACTORS, TURNED
from fpbook.cifar10.experiment import THREATS, CifarExperiment
from fpbook.cifar10.networks import SYMBOLS, TRAINED
from fpbook.results import Pick, number, pick, show
from fpbook.results.tables import markdown_table

LARGER = r"share with $\lVert\beta w'\rVert > \lVert v\rVert$"
OWN_ANCESTOR = "nearest to its own ancestor"
ACCURACIES = {"clean": "clean_accuracy", "robust": "robust_accuracy"}


def recipe_table(recipes: Mapping[str, CifarExperiment]) -> str:
    """The schedules of experiments side by side, {title: experiment}, as a Markdown table."""
    every = recipes.values()
    lines = {
        "training images": [f"{e.train_images:,}" for e in every],
        "width": [f"{e.width:g}" for e in every],
        "seeds": [f"{e.seeds}" for e in every],
        "first stage: epochs": [f"{e.clean_epochs}" for e in every],
        "first stage: learning rate": [f"{e.lr:g}" for e in every],
        "first stage: weight decay": [f"{e.weight_decay:g}" for e in every],
        "second stage: epochs": [f"{e.adversarial_epochs}" for e in every],
        "second stage: learning rate": [f"{e.adversarial_lr:g}" for e in every],
        "second stage: weight decay": [f"{e.adversarial_weight_decay:g}" for e in every],
    }
    return markdown_table(["", *recipes], [[label, *cells] for label, cells in lines.items()])


def accuracy_rows() -> dict[str, Pick]:
    """Clean and robust accuracy of the four trained networks, and what w' lost."""
    found = {
        f"{SYMBOLS[name]}: {text}": pick(quantity, name)
        for name in TRAINED
        for text, quantity in {
            "clean": ACCURACIES["clean"],
            "robust, PGD": ACCURACIES["robust"],
        }.items()
    }
    return found | {"clean accuracy lost, $w$ to $w'$": pick("clean_lost", "purified")}


def autoattack_rows(threat: str) -> dict[str, Pick]:
    """What w' withstands beside w under AutoAttack at a threat, and of the same images."""
    of_the_images = pick("autoattack_kept_share", "purified", threat=threat)
    return {
        "robust accuracy, $w'$ over $w$": pick("autoattack_ratio", "purified", threat=threat),
        "of the images withstood by $w$, $w'$ withstands": of_the_images,
        "the same for $w''$": pick("autoattack_kept_share", "scratch", threat=threat),
        "the same for $w_c$": pick("autoattack_kept_share", "control", threat=threat),
    }


def relation_rows() -> dict[str, Pick]:
    """Cosines, shares that dominate and nearest neurons, each beside its controls."""
    to_init, to_clean = "cos_to_init", "cos_to_clean"
    share, same = "share_dominant", "same_neuron_share"
    found = {
        r"$\cos(w^0, w)$, highest convolution": (to_init, "clean", "highest"),
        r"$\cos(w^0, w')$, highest convolution": (to_init, "purified", "highest"),
        r"$\cos(w, w')$": (to_clean, "purified"),
        r"$\cos(w, w')$, lowest convolution": (to_clean, "purified", "lowest"),
        r"$\cos(w, w_c)$: control": (to_clean, "control"),
        "**difference from the control**": ("cos_to_clean_difference", "purified"),
        r"$\cos(w, w'')$: from scratch": (to_clean, "scratch"),
        r"$\cos(w', w'')$": ("cos_to_purified", "scratch"),
        "$w$ of two seeds, paired (no shared origin)": ("cos_two_seeds", "clean"),
        "the same without its sign: chance": ("cos_two_seeds_size", "clean"),
        "hidden neurons of $w'$ in use (switched on)": ("share_switched_on", "purified"),
        LARGER: (share, "purified"),
        "the same in `conv1`, where it is smallest": (share, "purified", "conv1"),
        "the same for $w_c$": (share, "control"),
        "the same for $w''$": (share, "scratch"),
        f"{OWN_ANCESTOR}: $w'$": (same, "purified"),
        f"{OWN_ANCESTOR}: $w_c$": (same, "control"),
        f"{OWN_ANCESTOR}: $w''$": (same, "scratch"),
    }
    return {label: pick(*of) for label, of in found.items()}


def residual_rows() -> dict[str, Pick]:
    """What `relation_rows` has, the lowest layer, and accuracies: of the residual network."""
    found = {
        f"{LARGER}, lowest layer": ("share_dominant", "purified", "lowest"),
        "$w$: clean accuracy": ("clean_accuracy", "clean"),
        "$w'$: clean accuracy": ("clean_accuracy", "purified"),
        "$w_c$: clean accuracy": ("clean_accuracy", "control"),
        r"$w$: robust accuracy (PGD, $\ell_2$ 0.5)": ("robust_accuracy", "clean"),
        "$w'$: robust accuracy": ("robust_accuracy", "purified"),
        "$w_c$: robust accuracy": ("robust_accuracy", "control"),
        "robust accuracy, $w'$ less $w$": ("robust_gain", "purified"),
    }
    return relation_rows() | {label: pick(*of) for label, of in found.items()}


def dose_rows() -> dict[str, Pick]:
    """What the ledger asks of the dose-response, then turn and gain at each learning rate."""
    symbols = {name: SYMBOLS[name] for name in TURNED}
    found = {
        f"{symbol}: {label}": pick(quantity, name)
        for label, quantity in {
            "gained with the turn, points a degree": "gain_per_turn",
            "gained at an equal turn": "gain_at_turn",
            "gained at the best learning rate": "robust_gain_most",
        }.items()
        for name, symbol in symbols.items()
    }
    labels = {
        "turn, degrees": "turn",
        "robust accuracy gained": "robust_gain",
        "clean accuracy": ACCURACIES["clean"],
        LARGER: "share_dominant",
    }
    return found | {
        f"rate x {factor:g}, {symbol}: {label}": pick(quantity, name, rate_factor=factor)
        for factor in RATE_FACTORS
        for name, symbol in symbols.items()
        for label, quantity in labels.items()
    }


def attacked_rows(threat: str) -> dict[str, Pick]:
    """What AutoAttack leaves of each residual network at a threat, PGD beside it, and ratios."""
    found = {
        f"{SYMBOLS[name]}: {label}": pick(quantity, name, threat=threat)
        for name in TRAINED
        for label, quantity in {
            "AutoAttack": "autoattack_accuracy",
            "PGD on the same images": "pgd_accuracy",
        }.items()
    }
    return found | {
        f"AutoAttack, {SYMBOLS[name]} over $w$": pick("autoattack_ratio", name, threat=threat)
        for name in ("purified", "control")
    }


def removal_rows() -> dict[str, Pick]:
    """Accuracies of w without v, of its controls, and of weights and normalisation swapped."""
    networks = {
        "$w$": ("w - v, old statistics", 0),
        "$w$, statistics anew": ("w - v", 0),
        "$w - v/2$": ("w - v", 0.5),
        "$w - v$": ("w - v", 1),
        "$w - v$, old statistics": ("w - v, old statistics", 1),
        "random taken out": ("w - random", 1),
        "another neuron's $v$ taken out": ("w - dealt", 1),
        "$v_c$, at the length of $v$, taken out": ("w - v_c", 1),
        "$w - v_c$": ("w - v_c at its length", 1),
        "$w'$ in the normalisation of $w$": ("swapped", None),
        "$w$ in the normalisation of $w'$": ("swapped back", None),
        "$w'$, statistics anew": ("purified, anew", None),
        "$w'$": ("purified", None),
    }
    found = {
        f"{label}: {kind}": pick(quantity, name, alpha=alpha)
        for kind, quantity in ACCURACIES.items()
        for label, (name, alpha) in networks.items()
    }
    for label in ("$w - v$", "random taken out"):
        name, alpha = networks[label]
        found[f"{label}: AutoAttack (first seed)"] = pick(
            "autoattack_accuracy", name, alpha=alpha, threat="l2 0.5"
        )
    return found


def coding_rows(dictionaries: Mapping[str, str], atoms: Collection[int]) -> dict[str, Pick]:
    """What of a patch so many atoms leave unexplained, by dictionary, {network: label}."""
    return {
        f"{label}, {k} atoms": pick("unexplained_share", name, atoms=k)
        for k in atoms
        for name, label in dictionaries.items()
    }


def low_rank_rows(ranks: Collection[int], controls: Collection[int]) -> dict[str, Pick]:
    """What low-rank updates regain, and their controls: of sorted ranks, and those of controls."""
    learnt, cut = "adversarial update", "truncated update"
    found = {f"rank {rank}: regained": pick("regained", learnt, rank=rank) for rank in ranks}
    for kind in ("random", "clean"):
        for rank in controls:
            of = pick("regained", f"{kind} update", rank=rank)
            found[f"{kind}, rank {rank}: regained"] = of
    found |= {
        "full: regained": pick("regained", "full update"),
        "$w$: clean": pick("clean_accuracy", "clean"),
        "$w'$: clean": pick("clean_accuracy", "purified"),
    }
    for rank in (min(ranks), max(ranks)):
        found |= {
            f"rank {rank}: clean": pick("clean_accuracy", learnt, rank=rank),
            f"rank {rank}: of full": pick("regained_of_full", learnt, rank=rank),
            f"truncated, {rank}: regained": pick("regained", cut, rank=rank),
        }
    return found


def own_rows(architecture: str) -> dict[str, Pick]:
    """Accuracies and cosines of networks of an architecture that plain PyTorch trained."""
    to_clean, share = "cos_to_clean", "share_dominant"
    found = {
        "$w$: clean accuracy": ("clean_accuracy", "clean"),
        "$w'$: clean accuracy": ("clean_accuracy", "purified"),
        "$w_c$: clean accuracy": ("clean_accuracy", "control"),
        r"$w$: robust accuracy (PGD, $\ell_2$ 0.5)": ("robust_accuracy", "clean"),
        "$w'$: robust accuracy": ("robust_accuracy", "purified"),
        "$w_c$: robust accuracy": ("robust_accuracy", "control"),
        "robust accuracy, $w'$ less $w$": ("robust_gain", "purified"),
        LARGER: (share, "purified"),
        f"{LARGER}, lowest layer": (share, "purified", "lowest"),
        "the same for $w_c$": (share, "control"),
        "the same for $w_c$, lowest layer": (share, "control", "lowest"),
        r"$\cos(w, w')$": (to_clean, "purified"),
        r"$\cos(w, w')$, lowest layer": (to_clean, "purified", "lowest"),
        r"$\cos(w, w_c)$: control": (to_clean, "control"),
        r"$\cos(w, w_c)$, lowest layer": (to_clean, "control", "lowest"),
        "**difference from the control**": ("cos_to_clean_difference", "purified"),
        r"$\cos(w^0, w)$": ("cos_to_init", "clean"),
        OWN_ANCESTOR: ("same_neuron_share", "purified"),
    }
    return {label: pick(*of, architecture=architecture) for label, of in found.items()}


def threat_table(summary: pd.DataFrame) -> str:
    """What AutoAttack leaves of each network at each threat, and in brackets PGD: Markdown."""
    lines = []
    for name in TRAINED:
        cells = []
        for threat in THREATS:
            auto, pgd = (
                number(summary, quantity, name, threat=threat)
                for quantity in ("autoattack_accuracy", "pgd_accuracy")
            )
            cells.append(f"{show(auto)} ({pgd.value:.1%})" if auto and pgd else "-")
        lines.append([SYMBOLS[name], *cells])
    return markdown_table(["AutoAttack (PGD)", *THREATS], lines)
