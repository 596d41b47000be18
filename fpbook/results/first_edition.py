"""How the first edition named its numbers, and what record each name stands for.

There, a number was a name such as "cos_clean_adv_control/conv1".
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fpbook.results.columns import KINDS

SUFFIXES = {
    "": "clean",
    "_adv": "purified",
    "_control": "control",
    "_scratch": "scratch",
    "_init": "init",
}
REGIME = {
    256: 7,
    400: 9,
    576: 11,
    784: 13,
    1024: 14,
}  # k of each d, which the names of that result left out
TRAINING_THREAT = "l2 0.5"  # which names left out as well

# Parts of patterns. A named group fills the column of its name; "suffix" stands for a network,
# "end" for a layer.
_TRAINED = "(?P<suffix>_adv|_control|_scratch|)"
_LAYER = r"(?:/(?P<layer>[\w.]+)|_(?P<end>lowest|highest)|)"
_HELD_OUT = "(?P<seeds>_held_out|)"
_ACCURACY = "(?P<quantity>clean_accuracy|robust_accuracy)"

Rules = Sequence[
    tuple[str, Mapping[str, Any]]
]  # (pattern of a name, columns of its row beside those in the pattern)

_SYNTHETIC: Rules = [
    ("(?P<quantity>radius|cos_chance)", {}),
    (
        "(?P<quantity>(?:clean|robust|certified)_accuracy|certificate_exact)"
        + _TRAINED
        + _HELD_OUT,
        {},
    ),
    ("(?P<quantity>purity|dense_part)(?P<suffix>_init|_adv|_control|)", {}),
    ("(?P<quantity>share_live|share_dominant_live|cos_removed_dense)", {"network": "purified"}),
    ("(?P<quantity>features_(?:held|gained|lost|missed_by_chance))", {"network": "purified"}),
    ("(?P<quantity>share_dominant|same_feature)", {"network": "purified"}),
    ("(?P<quantity>share_dominant|same_feature)_control", {"network": "control"}),
    ("cos_clean_adv", {"quantity": "cos_to_clean", "network": "purified"}),
    ("cos_clean_adv_live", {"quantity": "cos_to_clean_live", "network": "purified"}),
    ("cos_init_clean", {"quantity": "cos_to_init", "network": "clean"}),
    ("cos_init_clean_live", {"quantity": "cos_to_init_live", "network": "clean"}),
    ("cos_init_adv", {"quantity": "cos_to_init", "network": "purified"}),
    ("cos_init_adv_live", {"quantity": "cos_to_init_live", "network": "purified"}),
]

_CIFAR: Rules = [
    ("(?P<quantity>radius)", {}),
    (_ACCURACY + _TRAINED, {}),
    ("(?P<quantity>robust_gain|robust_ratio|clean_lost)", {"network": "purified"}),
    ("live_share", {"quantity": "share_switched_on", "network": "purified"}),
    ("cos_init_clean" + _LAYER, {"quantity": "cos_to_init", "network": "clean"}),
    ("cos_init_adv" + _LAYER, {"quantity": "cos_to_init", "network": "purified"}),
    ("cos_clean_adv" + _LAYER + _HELD_OUT, {"quantity": "cos_to_clean", "network": "purified"}),
    ("cos_clean_adv_control" + _LAYER, {"quantity": "cos_to_clean", "network": "control"}),
    ("cos_clean_scratch" + _LAYER, {"quantity": "cos_to_clean", "network": "scratch"}),
    ("cos_adv_scratch" + _LAYER, {"quantity": "cos_to_purified", "network": "scratch"}),
    ("cos_clean_adv_difference", {"quantity": "cos_to_clean_difference", "network": "purified"}),
    ("(?P<quantity>cos_two_seeds|cos_two_seeds_size)", {"network": "clean"}),
    ("(?P<quantity>share_dominant)" + _LAYER + _HELD_OUT, {"network": "purified"}),
    ("(?P<quantity>share_dominant)(?P<suffix>_control|_scratch)" + _LAYER, {}),
    ("(?P<quantity>same_neuron_share)", {"network": "purified"}),
    ("(?P<quantity>same_neuron_share)(?P<suffix>_control|_scratch)", {}),
    (
        "explained_share(?P<suffix>_adv|_control|_scratch)" + _LAYER,
        {"quantity": "explained_by_clean"},
    ),
    ("explained_share_init" + _LAYER, {"quantity": "explained_by_init", "network": "purified"}),
]

_ROBUSTNESS: Rules = [
    ("(?P<quantity>autoattack_accuracy|pgd_accuracy)" + _TRAINED + "/(?P<threat>.+)", {}),
    (
        "(?P<quantity>autoattack_kept_share)(?P<suffix>_adv|_control|_scratch)",
        {"threat": TRAINING_THREAT},
    ),
    ("(?P<quantity>autoattack_ratio)", {"network": "purified", "threat": TRAINING_THREAT}),
]

_FEATURES: Rules = [
    ("(?P<quantity>active_share|opens) (?P<network>[a-z]+)/(?P<layer>bn[0-9])", {}),
    ("(?P<quantity>unexplained_share) (?P<network>[a-z]+)/(?P<atoms>[0-9]+)", {}),
]

_UPDATED = "(?P<quantity>clean_accuracy|robust_accuracy|regained|regained_of_full|parameter_share)"
_LOW_RANK: Rules = [
    (f"{kind}/(?P<rank>[0-9]+)/{_UPDATED}", {"network": f"{kind} update"})
    for kind in ("adversarial", "random", "clean", "truncated")
] + [
    ("full/" + _UPDATED, {"network": "full update"}),
    ("start/" + _ACCURACY, {"network": "clean"}),
    ("end/" + _ACCURACY, {"network": "purified"}),
]

_AT_A_RADIUS = "(?P<quantity>robust_accuracy|kept_share)/(?P<radius>[0-9.]+)"
_TANGENT_NETWORKS = {
    "ntk, clean": "NTK, clean",
    "ntk, adversarial": "NTK, adversarial",
    "ntk, longer": "NTK, longer",
    "ntk, PGD": "NTK, PGD",
    "informed, adversarial": "informed, adversarial",
    "network from scratch": "scratch",
    "network": "purified",
}
_SIZED_NETWORKS = {"ntk": "NTK, adversarial", "network": "scratch"}  # at other widths
_NTK: Rules = [
    rule
    for old, new in [
        *_TANGENT_NETWORKS.items(),
        *((f"width (?P<width_factor>[0-9.]+)/{old}", new) for old, new in _SIZED_NETWORKS.items()),
    ]
    for rule in (
        (old + "/(?P<quantity>clean_accuracy)", {"network": new}),
        (f"{old}/{_AT_A_RADIUS}", {"network": new}),
        (old + "/(?P<quantity>loss)/(?P<epoch>[0-9]+)", {"network": new}),
    )
] + [
    ("robust_ratio", {"quantity": "robust_ratio_to_scratch", "network": "NTK, adversarial"}),
    ("robust_ratio_pgd", {"quantity": "robust_ratio_to_scratch", "network": "NTK, PGD"}),
    ("(?P<quantity>constant_accuracy)", {}),
]

_TAKEN_OUT = ("v", "random", "dealt", "v_c", "v, old statistics")  # of the clean weights w
_REMOVAL: Rules = [
    rule
    for way in _TAKEN_OUT
    for rule in (
        (f"{way}/(?P<alpha>[0-9.]+)/{_ACCURACY}", {"network": f"w - {way}"}),
        (f"{way} in (?P<layer>[a-z0-9]+)/{_ACCURACY}", {"network": f"w - {way}", "alpha": 1.0}),
        (
            f"{way}/(?P<alpha>[0-9.]+)/(?P<quantity>autoattack_accuracy)",
            {"network": f"w - {way}", "threat": TRAINING_THREAT},
        ),
    )
] + [
    ("v_c at its length/" + _ACCURACY, {"network": "w - v_c at its length", "alpha": 1.0}),
    ("(?P<network>swapped|swapped back|purified, anew|purified)/" + _ACCURACY, {}),
]

_INTERVENTIONS: Rules = [
    ("(?P<network>clean|purified)/(?P<quantity>robust_accuracy|certified_accuracy)", {}),
    *(
        (
            f"{what}_{where}/(?P<quantity>robust_accuracy|certified_accuracy)",
            {"network": f"{what} {where}"},
        )
        for what, where in (
            ("dense", "out"),
            ("mixture", "out"),
            ("untaught", "out"),
            ("random", "out"),
            ("dense", "back"),
            ("random", "back"),
        )
    ),
]

_SET = "(?P<sweep>.+)/(?P<setting>[0-9.]+)/"
_LIMITS: Rules = [
    (_SET + "(?P<quantity>clean_accuracy)", {"network": "clean"}),
    (
        _SET + "(?P<quantity>robust_accuracy|certified_accuracy|purity)(?P<suffix>_adv|)",
        {},
    ),
    (_SET + "(?P<quantity>same_feature)", {"network": "purified"}),
]

_LOWER_BOUNDS: Rules = [
    ("(?P<quantity>radius)", {}),
    ("class_bound_linear_accuracy", {"quantity": "class_bound", "network": "linear"}),
    ("class_bound_degree2_accuracy", {"quantity": "class_bound", "network": "degree 2"}),
    ("(?P<quantity>robust_accuracy)_linear", {"network": "linear"}),
    ("(?P<quantity>robust_accuracy)_degree2", {"network": "degree 2"}),
    ("(?P<quantity>robust_accuracy)_degree3", {"network": "degree 3"}),
    ("(?P<quantity>robust_accuracy)_ntk", {"network": "NTK, network's width"}),
    ("(?P<quantity>robust_accuracy)_ntk_limit", {"network": "NTK, infinite width"}),
    ("(?P<quantity>certified_accuracy)_witness", {"network": "degree 3, witness"}),
]

_OF_A_MODEL = (
    "(?P<quantity>(?:clean|gradient|robust|certified)_accuracy|class_bound|certificate_exact)"
)
_SIDE_BY_SIDE: Rules = [
    (f"(?P<network>.+, (?:clean|adversarial|witness))/{_OF_A_MODEL}", {}),
    (f"(?P<network>clean|purified) network/{_OF_A_MODEL}", {}),
]

_SEPARATION: Rules = [
    ("(?P<d>[0-9]+)/purified_accuracy", {"quantity": "certified_accuracy", "network": "purified"}),
    (
        "(?P<d>[0-9]+)/cubic_accuracy",
        {"quantity": "certified_accuracy", "network": "degree 3, witness"},
    ),
    ("(?P<d>[0-9]+)/linear_accuracy", {"quantity": "class_bound", "network": "linear"}),
    ("(?P<d>[0-9]+)/quadratic_accuracy", {"quantity": "class_bound", "network": "degree 2"}),
]

_TANGENT_WIDTHS: Rules = [
    (f"(?P<width>[0-9]+)/trained/{_OF_A_MODEL}", {"network": "NTK, trained"}),
    (f"(?P<width>[0-9]+)/witness/{_OF_A_MODEL}", {"network": "NTK, witness"}),
]

_RUNS: Rules = [  # of single runs, which have their d, k and seed
    ("(?P<quantity>dense_coefficient|broken_radius)", {"network": "clean"}),
    ("(?P<quantity>certified_radius)", {"network": "purified"}),
    ("active_clean", {"quantity": "active_share", "network": "clean"}),
    ("active_adv", {"quantity": "active_share", "network": "purified"}),
    ("steps", {"quantity": "steps_to_robust", "network": "purified"}),
]

_LAWS = {
    "dense coefficient": {"fitted": "dense_coefficient", "network": "clean"},
    "breaking radius": {"fitted": "broken_radius", "network": "clean"},
    "certified radius": {"fitted": "certified_radius", "network": "purified"},
    "active share, clean": {"fitted": "active_share", "network": "clean"},
    "active share, purified": {"fitted": "active_share", "network": "purified"},
    "steps to 90%": {"fitted": "steps_to_robust", "network": "purified"},
}
_SCALING: Rules = [
    (f"{law} ~ (?P<factor>d|k|k/d){sizes}", {"quantity": "exponent", **columns, "sizes": named})
    for law, columns in _LAWS.items()
    for sizes, named in (("", "k < sqrt(d)"), (r" \(all sizes\)", "all"))
]

RULES: dict[str, Rules] = {
    "synthetic": _SYNTHETIC,
    "interventions": _INTERVENTIONS,
    "lower-bounds": _LOWER_BOUNDS,
    "side-by-side": _SIDE_BY_SIDE,
    "separation": _SEPARATION,
    "tangent-widths": _TANGENT_WIDTHS,
    "limits": _LIMITS,
    "scaling": _SCALING,
    "scaling-runs": _RUNS,
    "soundness": [("(?P<quantity>pairs|certified|broken)", {})],
    "cifar10": _CIFAR,
    "cifar10-resnet": _CIFAR,
    "cifar10-features": _FEATURES,
    "cifar10-low-rank": _LOW_RANK,
    "cifar10-ntk": _NTK,
    "cifar10-removal": _REMOVAL,
    "cifar10-robustness": _ROBUSTNESS,
}


def columns_of(key: str, name: str) -> dict[str, Any]:
    """The columns that stand for a number's name of the first edition.

    key:  its name there
    name: of the result that it belongs to

    ValueError unless exactly one pattern matches.
    """
    matches = [
        (found, fixed) for pattern, fixed in RULES[name] if (found := re.fullmatch(pattern, key))
    ]
    if len(matches) != 1:
        raise ValueError(f"{len(matches)} patterns match {key!r}")
    [(found, fixed)] = matches
    columns: dict[str, Any] = {k: v for k, v in found.groupdict().items() if v is not None} | dict(
        fixed
    )
    if (suffix := columns.pop("suffix", None)) is not None:
        columns["network"] = SUFFIXES[suffix]
    if (end := columns.pop("end", None)) is not None:
        columns["layer"] = end
    if "seeds" in columns:
        columns["seeds"] = "held out" if columns["seeds"] else "all"
    columns = {column: KINDS[column](value) for column, value in columns.items()}
    return columns | ({"k": REGIME[columns["d"]]} if name == "separation" else {})
