"""The claims ledger: what the paper claims, what would confirm each claim, and what the published results say of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fpcore.results import encode, ends, folder, publish_arrays, published, show, write_json
from fpcore.training import write_atomically


@dataclass(frozen=True)
class Claim:
    """A claim of the seed documents, and what would confirm it: `threshold` maps a measured name to (">" | "<", bound).

    `experiment` names the published result that measures it, `figures` maps the ledger's names to that result's; what that
    does not hold is taken from the published result `also`.
    """

    id: str
    statement: str
    chapter: str
    experiment: str | None = None
    figures: dict[str, str] | None = None
    threshold: dict[str, tuple[str, float]] | None = None
    also: str | None = None

    def entry(self) -> dict[str, Any]:
        """The ledger's row, with its `verdict`.

        A claim "holds" if the unfavourable end of each interval meets its bound, and "fails" if even the favourable end of one
        misses it; otherwise it is "undecided", and "not yet measured" while a number that the threshold names is missing.
        """
        result = published(self.experiment) if self.experiment else None
        more = published(self.also) if result and self.also else None
        measured: dict[str, Any] = {}
        if result:
            known = (more["measured"] if more else {}) | result["measured"]
            found = {name: known.get(source) for name, source in (self.figures or {}).items()}
            measured = {name: {k: f[k] for k in ("value", "low", "high")} for name, f in found.items() if f}
        threshold = self.threshold or {}
        verdict = "not yet measured"
        if threshold and threshold.keys() <= measured.keys():
            met = [_meets(measured[name], sign, bound) for name, (sign, bound) in threshold.items()]
            verdict = "fails" if False in met else "undecided" if None in met else "holds"
        return {
            "id": self.id,
            "statement": self.statement,
            "chapter": self.chapter,
            "measured": measured,
            "threshold": {name: f"{sign} {bound:g}" for name, (sign, bound) in threshold.items()},
            "verdict": verdict,
            "provenance": [run["provenance"] for run in (result, more) if run],
        }


def _meets(number: dict[str, Any], sign: str, bound: float) -> bool | None:
    """Whether both ends of an interval meet a bound, or neither does; None if one does."""
    met = {end > bound if sign == ">" else end < bound for end in ends(number)}
    return met.pop() if len(met) == 1 else None


def _same(*names: str) -> dict[str, str]:
    """Figures that the ledger calls as the result does."""
    return {name: name for name in names}


SYNTHETIC, LOWER_BOUNDS = "synthetic", "lower-bounds"
CIFAR, ROBUSTNESS, TANGENTS, LOW_RANK = "cifar10", "cifar10-robustness", "cifar10-ntk", "cifar10-low-rank"
RESIDUAL = "cifar10-resnet"
CLAIMS = (
    Claim(
        "P1",
        "The principle: for most neurons there are a scalar β and a vector v with w = βw' + v and ‖βw'‖ > ‖v‖.",
        "chapters/adversarial-training",
        SYNTHETIC,
        _same("share_dominant", "share_dominant_live", "share_dominant_control", "cos_clean_adv"),
        {"share_dominant": (">", 0.5), "share_dominant_live": (">", 0.5)},
    ),
    Claim(
        "P2",
        "Both w and w' have nearly zero correlation with the initial weights w⁰.",
        "chapters/adversarial-training",
        SYNTHETIC,
        _same("cos_init_clean", "cos_init_adv", "cos_chance"),
        {"cos_init_clean": ("<", 0.2), "cos_init_adv": ("<", 0.2)},
    ),
    Claim(
        "P3",
        "Clean training already discovers a big portion of the robust features; adversarial training neither learns new "
        "ones nor removes old ones: it purifies.",
        "chapters/adversarial-training",
        SYNTHETIC,
        _same("same_feature", "features_held", "features_gained", "features_lost", "features_missed_by_chance"),
        {"same_feature": (">", 0.9), "features_gained": ("<", 0.05), "features_lost": ("<", 0.05)},
    ),
    Claim(
        "P4",
        "Small dense mixtures accumulate in the hidden weights during clean training and are one of the causes of "
        "adversarial examples; adversarial training removes them.",
        "chapters/adversarial-training",
        SYNTHETIC,
        {
            **_same("dense_part", "dense_part_adv", "dense_part_control", "dense_part_init"),
            "robust_accuracy_dense_back": "dense_back/robust_accuracy",
            "robust_accuracy_random_back": "random_back/robust_accuracy",
        },
        {
            "dense_part": (">", 0.3),
            "dense_part_adv": ("<", 0.15),
            "robust_accuracy_dense_back": ("<", 0.2),
            "robust_accuracy_random_back": (">", 0.8),
        },
        also="interventions",
    ),
    Claim(
        "T1",
        "Clean training reaches > 99% clean accuracy but < 1% robust accuracy against small perturbations of some radius.",
        "chapters/clean-training",
        SYNTHETIC,
        _same("clean_accuracy", "robust_accuracy_held_out", "robust_accuracy", "robust_accuracy_control", "radius"),
        {"clean_accuracy": (">", 0.99), "robust_accuracy_held_out": ("<", 0.01)},
    ),
    Claim(
        "T2",
        "Adversarial training with FGM makes the network provably robust (> 99%) against any perturbation of that radius.",
        "chapters/adversarial-training",
        SYNTHETIC,
        {
            "certified_accuracy_held_out": "certified_accuracy_adv_held_out",
            "certified_accuracy": "certified_accuracy_adv",
            "robust_accuracy": "robust_accuracy_adv",
            "certified_accuracy_control": "certified_accuracy_control",
            "radius": "radius",
        },
        {"certified_accuracy_held_out": (">", 0.99)},
    ),
    Claim(
        "L1",
        "Linear classifiers cannot defend against perturbations of that radius.",
        "chapters/linear-and-polynomial",
        LOWER_BOUNDS,
        {"class_bound": "class_bound_linear_accuracy", "robust_accuracy": "robust_accuracy_linear", "radius": "radius"},
        {"class_bound": ("<", 0.1), "robust_accuracy": ("<", 0.01)},
    ),
    Claim(
        "L2",
        "Low-degree polynomials cannot defend against perturbations of that radius.",
        "chapters/linear-and-polynomial",
        LOWER_BOUNDS,
        {
            "class_bound_degree2": "class_bound_degree2_accuracy",
            "robust_accuracy_degree2": "robust_accuracy_degree2",
            "robust_accuracy_degree3": "robust_accuracy_degree3",
            "certified_degree3": "certified_accuracy_witness",
            "radius": "radius",
        },
        {"class_bound_degree2": ("<", 0.55), "certified_degree3": ("<", 0.55)},
    ),
    Claim(
        "L3",
        "The NTK of this network, at any width, cannot defend against perturbations of that radius.",
        "chapters/ntk",
        LOWER_BOUNDS,
        {
            "robust_accuracy": "robust_accuracy_ntk",
            "robust_accuracy_infinite_width": "robust_accuracy_ntk_limit",
            "certified_infinite_width": "certified_accuracy_witness",
            "radius": "radius",
        },
        {"robust_accuracy": ("<", 0.55), "certified_infinite_width": ("<", 0.55)},
    ),
    Claim(
        "P1-layers",
        "The principle (P1) in every layer of a ConvNet on CIFAR-10.",
        "chapters/cifar10-layers",
        CIFAR,
        _same(
            "share_dominant_held_out",
            "share_dominant_lowest",
            "share_dominant_control",
            "share_dominant_scratch",
            "cos_clean_adv_lowest_held_out",
            "robust_gain",
            "cos_clean_adv",
            "cos_clean_adv_control",
            "cos_clean_adv_difference",
            "cos_two_seeds",
        ),
        {
            "share_dominant_held_out": (">", 0.9),
            "share_dominant_lowest": (">", 0.9),
            "cos_clean_adv_lowest_held_out": (">", 0.85),
            "robust_gain": (">", 0.2),
        },
    ),
    Claim(
        "P2-layers",
        "Nearly zero correlation with the initial weights (P2) in every convolution of that ConvNet, for w and w'.",
        "chapters/cifar10-layers",
        CIFAR,
        _same("cos_init_clean_highest", "cos_init_adv_highest"),
        {"cos_init_clean_highest": ("<", 0.2), "cos_init_adv_highest": ("<", 0.2)},
    ),
    Claim(
        "P3-layers",
        "Neurons keep their identity in that ConvNet (necessary for P3, not sufficient): those of w' are nearest to their own "
        "ancestors in w.",
        "chapters/cifar10-layers",
        CIFAR,
        _same(
            "same_neuron_share",
            "same_neuron_share_control",
            "same_neuron_share_scratch",
            "explained_share_adv_lowest",
            "explained_share_control_lowest",
            "explained_share_scratch_lowest",
            "explained_share_init_lowest",
        ),
        {"same_neuron_share": (">", 0.9), "same_neuron_share_scratch": ("<", 0.5)},
    ),
    Claim(
        "P1-residual",
        "The principle (P1), for nine neurons in ten of every layer, in a narrow ResNet-18 on CIFAR-10, trained by the recipe "
        "of the ConvNet.",
        "chapters/cifar10-layers",
        RESIDUAL,
        _same(
            "share_dominant",
            "share_dominant_lowest",
            "share_dominant_control",
            "cos_clean_adv_lowest",
            "robust_gain",
            "robust_accuracy",
            "robust_accuracy_control",
            "cos_clean_adv",
            "cos_clean_adv_control",
            "cos_clean_adv_difference",
            "cos_init_clean",
        ),
        {  # those of P1-layers
            "share_dominant": (">", 0.9),
            "share_dominant_lowest": (">", 0.9),
            "cos_clean_adv_lowest": (">", 0.85),
            "robust_gain": (">", 0.2),
        },
    ),
    Claim(
        "E1",
        "Experiments on CIFAR-10 illustrate the principle in multi-layer networks.",
        "chapters/cifar10-robustness",
        ROBUSTNESS,
        {
            "autoattack_accuracy": "autoattack_accuracy/l2 0.5",
            "autoattack_accuracy_adv": "autoattack_accuracy_adv/l2 0.5",
            "autoattack_accuracy_control": "autoattack_accuracy_control/l2 0.5",
            **_same(
                "autoattack_ratio",
                "clean_accuracy",
                "clean_lost",
                "radius",
                "cos_init_clean_highest",
                "cos_clean_adv_lowest_held_out",
                "share_dominant_held_out",
            ),
        },
        {
            "clean_accuracy": (">", 0.76),
            "clean_lost": ("<", 0.08),
            "autoattack_ratio": (">", 3),
            "autoattack_accuracy_control": ("<", 0.15),
            "cos_init_clean_highest": ("<", 0.2),
            "cos_clean_adv_lowest_held_out": (">", 0.85),
            "share_dominant_held_out": (">", 0.9),
        },
        also=CIFAR,
    ),
    Claim(
        "E2",
        "NTK models, as trained here, stay non-robust on CIFAR-10, even when adversarially trained.",
        "chapters/cifar10-ntk",
        TANGENTS,
        {
            "robust_accuracy_ntk": "ntk, adversarial/robust_accuracy/0.5",
            "robust_accuracy_network": "network from scratch/robust_accuracy/0.5",
            "robust_accuracy_ntk_longer": "ntk, longer/robust_accuracy/0.5",
            "robust_accuracy_ntk_pgd": "ntk, PGD/robust_accuracy/0.5",
            "robust_accuracy_constant": "constant_accuracy",
            "clean_accuracy_ntk": "ntk, adversarial/clean_accuracy",
            "kept_ntk": "ntk, adversarial/kept_share/0.5",
            "kept_network": "network from scratch/kept_share/0.5",
            "robust_ratio": "robust_ratio",
            "robust_ratio_pgd": "robust_ratio_pgd",
            "clean_accuracy_narrow_network": "width 0.0625/network/clean_accuracy",
            "robust_accuracy_narrow_network": "width 0.0625/network/robust_accuracy/0.5",
        },
        {"robust_ratio": ("<", 0.5), "robust_ratio_pgd": ("<", 0.5)},
    ),
    Claim(
        "E3",
        "Low-rank updates of the clean weights suffice for adversarial training (version 4).",
        "chapters/cifar10-low-rank",
        LOW_RANK,
        {
            "regained_rank16": "adversarial/16/regained",
            "parameters_rank16": "adversarial/16/parameter_share",
            "regained_rank0": "adversarial/0/regained",
            "regained_random_rank16": "random/16/regained",
            "regained_clean_rank16": "clean/16/regained",
            "regained_full": "full/regained",
            "regained_of_full_rank16": "adversarial/16/regained_of_full",
        },
        {
            "regained_rank16": (">", 0.8),
            "regained_of_full_rank16": (">", 0.8),
            "parameters_rank16": ("<", 0.5),
            "regained_clean_rank16": ("<", 0.2),
        },
    ),
)


def publish(name: str, measured: dict[str, Any], source: dict[str, Any], arrays: dict[str, Tensor] | None = None) -> None:
    """Write results/<name>.json, and results/<name>.safetensors for arrays, each atomically; then refresh the ledger.

    The same figures as are published already are left as they are, with the provenance of the run that found them first,
    unless that was of code that was not committed.
    """
    before = published(name)
    text = encode({"measured": measured, "provenance": source})  # a NaN is an error before anything is written
    if arrays:
        publish_arrays(name, arrays)
    if not before or before["measured"] != measured or str(before["provenance"].get("commit")).endswith("-dirty"):
        write_atomically(folder() / f"{name}.json", text)
    write_json(folder() / "claims.json", claims())


def claims() -> list[dict[str, Any]]:
    """The ledger: one entry a claim, from published measurements only."""
    return [claim.entry() for claim in CLAIMS]


def ledger_table(entries: list[dict[str, Any]]) -> str:
    """The ledger as a Markdown table: verdict, claim, measured figures (mean, 95% interval) with their thresholds."""
    rows = ["| id | verdict | claim | measured, **required** |", "|---|---|---|---|"]
    for entry in entries:
        measured, threshold = entry["measured"], entry["threshold"]
        figures = []
        for name in dict.fromkeys((*threshold, *measured)):
            value = show(measured[name], percent=False) if name in measured else "-"
            figures.append(f"`{name}` {value}" + (f", **{threshold[name]}**" if name in threshold else ""))
        link = f"[{entry['statement']}]({Path(entry['chapter']).name})"
        verdict = entry["verdict"] if entry["verdict"] == "not yet measured" else f"**{entry['verdict']}**"
        rows.append(f"| {entry['id']} | {verdict} | {link} | {'<br>'.join(figures) or '-'} |")
    return "\n".join(rows)


def ledger_sources(entries: list[dict[str, Any]]) -> str:
    """Where the ledger's figures come from: one Markdown row for each run, with the claims that were measured by it."""
    runs: dict[str, dict[str, None]] = {}
    for entry in entries:
        for source in entry["provenance"] if entry["measured"] else ():
            versions = ", ".join(f"{name} {number}" for name, number in source["versions"].items())
            setting = source.get("setting", source["profile"])
            if "amended" in source:  # figures measured again by themselves, after the rest
                setting += f"; amended {source['amended']}"
            seeds = ", ".join(map(str, source["seeds"]))
            run = " | ".join((setting, source["device"], seeds, versions, source["date"], f"`{source['commit']}`"))
            runs.setdefault(run, {})[entry["id"]] = None  # once, in the ledger's order
    rows = ["| claims | setting | device | seeds | versions | date | commit |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*rows, *(f"| {', '.join(ids)} | {run} |" for run, ids in runs.items())])
