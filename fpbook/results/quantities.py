"""What is measured: every quantity of the book, its unit and its range, defined once."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass

PERCENT = "%"


@dataclass(frozen=True)
class Quantity:
    """A quantity that experiments measure.

    label: what it is, in words
    unit:  "" for a plain number; "%" for a fraction, read in percent; else what is counted
    share: whether it lies in [0, 1], so that its interval is cut to that range
    bound: "upper" or "lower" if the measured value is such a bound on the true one, else ""
    """

    label: str
    unit: str = ""
    share: bool = False
    bound: str = ""


def _share(label: str, bound: str = "") -> Quantity:
    return Quantity(label, unit=PERCENT, share=True, bound=bound)


# A quantity is named after what it is of the network of its record. What that network is compared
# with belongs to the quantity: `cos_to_clean` of the purified network is cos(w, w'). The networks
# of a pipeline are init w0, clean w, purified w', control w_c and scratch w''.
QUANTITIES: dict[str, Quantity] = {
    # the setting
    "radius": Quantity("radius of attacks and certificates"),
    "cos_chance": Quantity("|cos| of two random vectors"),
    "least_score": Quantity("least score of a sample that is kept", unit="standard deviations"),
    "codes_kept": _share("codes that the margin keeps"),
    # accuracies
    "clean_accuracy": _share("clean accuracy"),
    "accuracy_without": _share("clean accuracy without a block"),
    "robust_accuracy": _share("robust accuracy", bound="upper"),
    "gradient_accuracy": _share("robust accuracy, by the gradient alone", bound="upper"),
    "pgd_accuracy": _share("robust accuracy under PGD", bound="upper"),
    "autoattack_accuracy": _share("robust accuracy under AutoAttack", bound="upper"),
    "certified_accuracy": _share("certified accuracy", bound="lower"),
    "certificate_exact": _share("samples whose certificate is exact"),
    "class_bound": _share("the most that any model of the class reaches", bound="upper"),
    "constant_accuracy": _share("accuracy of one answer to all images"),
    "kept_share": _share("robust accuracy over that at radius 0"),
    "autoattack_kept_share": _share("of the images that w withstands, those withstood as well"),
    # accuracies of two networks compared
    "robust_gain": Quantity("robust accuracy, less that of w", unit=PERCENT),
    "robust_ratio": Quantity("robust accuracy, over that of w"),
    "robust_ratio_to_scratch": Quantity(
        "robust accuracy, over that of the network from scratch", unit=PERCENT
    ),
    "autoattack_ratio": Quantity("robust accuracy under AutoAttack, over that of w"),
    "robust_gain_most": Quantity(
        "robust accuracy, less that of w, at the learning rate that gains most", unit=PERCENT
    ),
    "gain_per_turn": Quantity(
        "robust accuracy gained with the turn, over learning rates", unit="points a degree"
    ),
    "gain_at_turn": Quantity(
        "robust accuracy, less that of w, at a turn that w' and the control reach", unit=PERCENT
    ),
    "clean_lost": Quantity("clean accuracy that w has more", unit=PERCENT),
    "regained": Quantity("share of the robust gain of w' that is regained", unit=PERCENT),
    "regained_of_full": Quantity(
        "share of the robust gain of the full update that is regained", unit=PERCENT
    ),
    "parameter_share": _share("share of the parameters that is trained"),
    # neurons of one network
    "share_live": _share("neurons with a norm above a tenth of the largest"),
    "share_switched_on": _share("hidden neurons that weight decay has not switched off"),
    "active_share": _share("neurons active on a sample"),
    "active_ratio": Quantity("neurons active on a sample, over those of w"),
    "opens": Quantity("where the ReLU opens", unit="standard deviations"),
    "purity": _share("purity of the live neurons, median"),
    "dense_part": _share("dense part of the live neurons, median"),
    "unexplained_share": _share("energy of patches that few atoms leave unexplained"),
    # neurons of two networks compared; a network dominates w if |beta w'| > |v| in w = beta w' + v
    "cos_to_init": Quantity("cosine with the initial weights, median"),
    "cos_to_init_live": Quantity("cosine with the initial weights, median over live neurons"),
    "cos_to_clean": Quantity("cosine with the clean weights, median"),
    "cos_to_clean_live": Quantity("cosine with the clean weights, median over live neurons"),
    "cos_to_clean_difference": Quantity(
        "cosine with the clean weights: the control's, less its own"
    ),
    "turn": Quantity("angle with the clean weights, median", unit="degrees"),
    "cos_to_purified": Quantity("cosine with the purified weights, median"),
    "cos_two_seeds": Quantity("cosine with the same network of another seed, median"),
    "cos_two_seeds_size": Quantity("|cosine| with the same network of another seed, median"),
    "cos_removed_dense": Quantity("|cos(v, u*)|, median over live neurons", share=True),
    "share_dominant": _share("neurons of w in which it outweighs the rest"),
    "share_dominant_live": _share("of its live neurons, those in which it outweighs the rest of w"),
    "same_neuron_share": _share("hidden neurons nearest to their own ancestor in w"),
    "effective_rank_removed": Quantity("effective rank of v", unit="directions"),
    "effective_rank_update": Quantity("effective rank of w' - w", unit="directions"),
    "roughness": _share("energy of filters outside the lowest spatial frequencies, median"),
    "explained_by_init": _share("variance that a linear map of w0 explains"),
    "explained_by_clean": _share("variance that a linear map of w explains"),
    # features at the top of live neurons
    "same_feature": _share("live neurons that keep their top feature of w"),
    "features_held": _share("features at the top of a live neuron"),
    "features_gained": _share("features at the top of a live neuron only after training on"),
    "features_lost": _share("features at the top of a live neuron only before"),
    "features_missed_by_chance": _share("features that random top features would miss"),
    # training, and how things scale with d and k
    "loss": Quantity("training loss"),
    "loss_over_zero": Quantity("adversarial loss, over that of the constant 0"),
    # of squared losses, over that of a constant
    "clean_loss": Quantity("squared loss on training images, over that of a constant"),
    "attacked_loss": Quantity(
        "squared loss on attacked training images with penalty, over that of a constant",
        bound="upper",
    ),
    "least_attacked_loss": Quantity(
        "attacked loss that no member of the class falls below", bound="lower"
    ),
    "train_accuracy": _share("accuracy on the training images"),
    "train_robust_accuracy": _share("robust accuracy on the training images", bound="upper"),
    "steps_to_robust": Quantity("steps to 90% robust accuracy", unit="steps"),
    "dense_coefficient": Quantity("dense coefficient over the top feature's"),
    "broken_radius": Quantity("distance along -y u* to the decision boundary, median"),
    "certified_radius": Quantity("radius certified for nine samples in ten", bound="lower"),
    "exponent": Quantity("fitted exponent of a power law"),
    # tasks of a sweep
    "task_time": Quantity("time of a task, on one thread", unit="s"),
    "task_flops": Quantity("floating-point operations of its products in training", unit="FLOP"),
    "task_bytes": Quantity("bytes of its file", unit="bytes"),
    # the soundness of certificates
    "pairs": Quantity("samples times radii", unit="pairs"),
    "certified": Quantity("certified of these", unit="pairs"),
    "broken": Quantity("certified, and yet broken by an attack", unit="pairs"),
    # how far all this can be trusted
    "tried": Quantity("how many were tried", unit="cases"),
    "wrong": Quantity("of these, how many went wrong", unit="cases"),
    "interval_coverage": _share("95% intervals that contain the true mean"),
    "adjusted_chance": Quantity("chance of such figures were the claim false, Holm-adjusted"),
    "expected_wrong": Quantity("verdicts that chance may make wrong, at most", unit="verdicts"),
    "smallest_margin": Quantity("smallest certified margin"),
    "margin_over_rounding": Quantity("smallest certified margin, over what float64 may miss"),
    # how fast it is
    "wall_time": Quantity("time", unit="s"),
    "core_time": Quantity("time of one core", unit="s"),
    "autoattack_time": Quantity("time of one core, of AutoAttack", unit="s"),
    "throughput": Quantity("how many in a second", unit="1/s"),
    "product_rate": Quantity("rate of matrix products", unit="GFLOP/s"),
    "bandwidth": Quantity("bytes moved in a second", unit="GB/s"),
    "memory_used": Quantity("memory", unit="GB"),
    "speed_ratio": Quantity("how many times as fast", unit="x"),
    "rate_share": Quantity("share of the rate that the hardware reaches", unit="share"),
    "accuracy_gap": Quantity("difference of two accuracies", unit="points"),
    "outcomes_differ": _share("images on which our evaluation and AutoAttack's differ"),
    "unmeasured": Quantity("timings that could not be made", unit="timings"),
}


def known(kind: str, name: str, names: Collection[str]) -> str:
    """Return `name` if it is one of `names`; else an error that names the closest of them.

    kind:  what the name is of, for the error
    name:  what was given
    names: what there is
    """
    if isinstance(name, str) and name in names:
        return name
    close = difflib.get_close_matches(str(name), names, n=3)
    hint = (
        f"did you mean {', '.join(map(repr, close))}?"
        if close
        else f"known are {', '.join(sorted(names))}"
    )
    raise ValueError(f"{kind} = {name!r} is unknown: {hint}")


def quantity_of(name: str) -> Quantity:
    """The quantity of this name; an error that names the closest ones if there is none."""
    return QUANTITIES[known("quantity", name, QUANTITIES)]
