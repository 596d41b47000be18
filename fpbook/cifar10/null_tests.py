"""What knows nothing of purification scores where the ledger's claims on CIFAR-10 have bounds."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fpbook.cifar10.experiment import CIFAR, CifarExperiment, training_threat
from fpbook.cifar10.layers import measure_relations
from fpbook.cifar10.networks import published_networks
from fpbook.results import number, published, published_arrays, record, rows, select
from fpcore.decomposition.feature_images import activity
from fpcore.images import Images

KEPT = ("share_dominant", "same_neuron_share", "cos_to_clean", "cos_to_init")
LAYERS = (None, "lowest", "highest")  # that claims speak of
OTHER = 1000  # seeds away, the random weights of another network


def cifar_nulls() -> list[dict[str, Any]]:
    """What stand-ins score, as records with their seeds, from published networks and results.

    Nothing is trained, and no image is needed. "clean" is w in the place of w'; "random", a network
    of another seed's initial weights; "control", trained on without attacks; "constant", one answer
    to every image, beside the network from scratch. The column `experiment` names the published
    result that each is held against.
    """
    found = []
    for experiment, config, seeds in (
        ("cifar10", CIFAR["full"], CIFAR["full"].seeds),
        ("cifar10-resnet", CIFAR["narrow-resnet"], CIFAR["narrow-resnet"].seeds),
    ):
        for seed in range(seeds):
            nets = published_networks("cpu", seed, config)
            some = relations_of_nulls(nets, config, seed)
            found += [row | {"experiment": experiment, "seed": seed} for row in some]
    return [*found, *_autoattacked(), *_own_networks(), *_constant()]


def relations_of_nulls(
    nets: Mapping[str, nn.Module], config: CifarExperiment, seed: int
) -> list[dict[str, Any]]:
    """How stand-ins for w' relate to w and w0, measured as w' is: records.

    nets:   a seed's networks, "clean" among them
    config: the experiment, which makes networks with initial weights
    seed:   of the networks
    """
    stand_ins = {"clean": nets["clean"], "random": config.initial(seed + OTHER)}
    found = []
    for name, net in stand_ins.items():
        init = config.initial(seed)
        measured = measure_relations({"init": init, "clean": nets["clean"], "purified": net})
        found += [
            row | {"network": name}
            for row in measured
            if row["network"] == "purified"
            and row["quantity"] in KEPT
            and row.get("layer") in LAYERS
        ]
    return found


def _autoattacked() -> list[dict[str, Any]]:
    """The robust accuracy of the control under AutoAttack, over that of w, and of w over itself."""
    threat = training_threat(CIFAR["full"])
    outcomes = published_arrays("cifar10-robustness")
    found = []
    for seed in range(CIFAR["full"].seeds):
        share = {
            name: outcomes[f"seed {seed}, {name}"][threat].float().mean().item()
            for name in ("clean", "control")
        }
        of: dict[str, Any] = {"threat": threat, "seed": seed, "experiment": "cifar10-robustness"}
        ratios = {name: one / share["clean"] for name, one in share.items()}
        found += [record("autoattack_ratio", one, name, **of) for name, one in ratios.items()]
    return found


def _own_networks() -> list[dict[str, Any]]:
    """Of the networks that plain PyTorch trained: w has cosine 1 with itself, the control its own.

    Hence by how much each turned further than the control did: less than not at all, and not.
    """
    result = published("own-networks")
    if result is None:
        return []
    chosen = {"quantity": "cos_to_clean", "network": "control", "layer": None}
    found = []
    for row in rows(select(result.records, **chosen)):
        of = {name: row[name] for name in ("architecture", "seed")}
        of |= {"experiment": "own-networks"}
        for layer in (None, "lowest"):
            found += [
                record("share_dominant", 1.0, "clean", layer, **of),
                record("cos_to_clean", 1.0, "clean", layer, **of),
            ]
        further = {"clean": row["value"] - 1, "control": 0.0}
        found += [record("cos_to_clean_difference", v, name, **of) for name, v in further.items()]
    return found


def _constant() -> list[dict[str, Any]]:
    """A constant answer's accuracy, which no attack changes, over that of the network from scratch.

    Of the published means: what each seed had was not kept.
    """
    result = published("cifar10-ntk")
    if result is None:
        return []
    constant = number(result.summary, "constant_accuracy")
    scratch = number(result.summary, "robust_accuracy", "scratch", radius=CIFAR["full"].radius)
    if constant is None or scratch is None:
        return []
    ratio = constant.value / scratch.value
    return [record("robust_ratio_to_scratch", ratio, "constant", experiment="cifar10-ntk")]


def measure_sparsity(nets: Mapping[str, nn.Module], test: Images) -> list[dict[str, Any]]:
    """How active networks are on test images, the mean over layers, beside w: records.

    nets: a seed's networks, convolutional, trained; "clean" among them
    test: test images, the first 1,000 of which are taken
    """
    with torch.no_grad():
        shares = {name: [*activity(net, test.x[:1000]).values()] for name, net in nets.items()}
    mean = {name: sum(some) / len(some) for name, some in shares.items()}
    return [
        row
        for name, share in mean.items()
        for row in (
            record("active_share", share, name),
            record("active_ratio", share / mean["clean"], name),
        )
    ]
