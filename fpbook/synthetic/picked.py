"""Which numbers the tables of the chapters show: labels, and the rows of a summary behind them."""

from collections.abc import Mapping

from fpbook.results.summaries import Pick, pick


def headline_picks() -> dict[str, Pick]:
    """The accuracies of a run before and after FGM training, and of its control."""
    return {
        "clean training: clean accuracy": pick("clean_accuracy", "clean"),
        "clean training: robust accuracy, worst attack": pick("robust_accuracy", "clean"),
        "trained on, clean (control): robust accuracy, worst attack": pick(
            "robust_accuracy", "control"
        ),
        "trained on, clean (control): certified accuracy, no branching": pick(
            "certified_accuracy", "control"
        ),
        "FGM training: clean accuracy": pick("clean_accuracy", "purified"),
        "FGM training: robust accuracy, worst attack": pick("robust_accuracy", "purified"),
        "FGM training: **certified accuracy**": pick("certified_accuracy", "purified"),
        "the same without seed 0, on which constants were settled": pick(
            "certified_accuracy", "purified", seeds="held out"
        ),
    }


def neuron_picks() -> dict[str, Pick]:
    """What the neurons of a run hold: cosines, purity, dense part, and which features are kept."""
    return {
        r"$\cos(w^0, w)$, median over live neurons": pick("cos_to_init_live", "clean"),
        r"$\cos(w^0, w')$": pick("cos_to_init_live", "purified"),
        r"$\cos(w, w')$": pick("cos_to_clean_live", "purified"),
        "purity after clean training": pick("purity", "clean"),
        "purity of the control": pick("purity", "control"),
        "purity after FGM training": pick("purity", "purified"),
        "dense part after clean training": pick("dense_part", "clean"),
        "dense part of the control": pick("dense_part", "control"),
        "dense part after FGM training": pick("dense_part", "purified"),
        r"$\lvert\cos(v, u^\star)\rvert$: is what was removed dense?": pick(
            "cos_removed_dense", "purified"
        ),
        r"share with $\lVert\beta w'\rVert > \lVert v\rVert$, all neurons": pick(
            "share_dominant", "purified"
        ),
        "the same, live neurons": pick("share_dominant_live", "purified"),
        r"the same for the control, all neurons: $w_c$ for $w'$": pick("share_dominant", "control"),
        "share of neurons that are live after FGM training": pick("share_live", "purified"),
        "share of live neurons that keep their top feature": pick("same_feature", "purified"),
        "the same for the control": pick("same_feature", "control"),
        "features at the top of a neuron only after FGM training": pick(
            "features_gained", "purified"
        ),
        "features at the top of a neuron only before": pick("features_lost", "purified"),
        "features at the top of none, if they were dealt at random": pick(
            "features_missed_by_chance", "purified"
        ),
    }


def intervention_picks(names: Mapping[str, str]) -> dict[str, Pick]:
    """Attacked and certified accuracy of each network, {label: network}; labels may be broken."""
    return {
        f"{' '.join(label.split())}: {kind}": pick(quantity, name)
        for label, name in names.items()
        for quantity, kind in (
            ("robust_accuracy", "attacked"),
            ("certified_accuracy", "certified"),
        )
    }
