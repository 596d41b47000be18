"""What taking v out of a CIFAR-10 network does, beside controls: networks made without training."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fpbook.cifar10.experiment import CifarExperiment, training_threat
from fpbook.cifar10.measures import kept_autoattack, measure_accuracies
from fpbook.cifar10.networks import Variant, first_images
from fpbook.results import record
from fpcore import seeding
from fpcore.ball import Ball
from fpcore.decomposition.ablation import removed, swapped
from fpcore.decomposition.layers import neurons
from fpcore.decomposition.lazily import Lazily
from fpcore.images import Images
from fpcore.models.batch_norm import recalibrated

TAKEN_OUT = ("w - v", "w - random", "w - dealt", "w - v_c")
OLD_STATISTICS = "w - v, old statistics"


def removal_variants(
    nets: Mapping[str, nn.Module], calibration: Tensor, seed: int, alphas: Sequence[float]
) -> Mapping[Variant, nn.Module]:
    """A seed's clean network w without what adversarial training removed, and its controls.

    nets         "clean" w, "purified" w' and, if there is one, "control" w_c, as `run_cifar` gives
                 them
    calibration  images (n, 3, 32, 32) on which statistics of batch normalisation are estimated anew
    seed         of the run
    alphas       shares of v that are taken out of all layers

    Each network is made when it is asked for, so that one at a time is in memory. "w - v" at an
    alpha is w - alpha v, and that in a layer alone, at alpha = 1. Its controls are as long as v:
    "w - random", "w - dealt", and "w - v_c" with the residual of w along w_c, which stands there
    "at its length" too. Beside them are "swapped" both ways, and w' itself. Statistics are
    estimated anew in all but "w - v, old statistics" and "purified".
    """
    w, w_adv = nets["clean"], nets["purified"]
    ways = [way for way in TAKEN_OUT if way != "w - v_c" or "control" in nets]
    variants = [
        *(Variant(way, alpha=float(a)) for way in (*ways, OLD_STATISTICS) for a in alphas),
        *(Variant(way, layer, alpha=1.0) for way in ways for layer in neurons(w)),
    ]
    makers: dict[Variant, Callable[[], nn.Module]] = {
        variant: partial(_without, nets, variant, calibration, seed) for variant in variants
    }
    if "control" in nets:
        at_its_length = Variant("w - v_c at its length", alpha=1.0)
        taken_out = partial(removed, w, nets["control"], 1.0, calibration=calibration)
        makers[at_its_length] = taken_out
    return Lazily(
        makers
        | {
            Variant("swapped"): partial(swapped, w, w_adv, calibration),
            Variant("swapped back"): partial(swapped, w_adv, w, calibration),
            Variant("purified, anew"): partial(recalibrated, w_adv, calibration),
            Variant("purified"): lambda: w_adv,
        }
    )


def _without(
    nets: Mapping[str, nn.Module], variant: Variant, calibration: Tensor, seed: int
) -> nn.Module:
    """The network that a variant of `TAKEN_OUT`, or with old statistics, names."""
    assert variant.alpha is not None
    control: nn.Module | torch.Generator | None = None
    if variant.network == "w - v_c":
        control = nets["control"]
    elif variant.network in ("w - random", "w - dealt"):
        control = seeding.generator(seed, "control")
    return removed(
        nets["clean"],
        nets["purified"],
        variant.alpha,
        layers=None if variant.layer is None else [variant.layer],
        control=control,
        calibration=None if variant.network == OLD_STATISTICS else calibration,
        dealt=variant.network == "w - dealt",
    )


def measure_removal(
    variants: Mapping[Variant, nn.Module],
    test: Images,
    config: CifarExperiment,
    autoattacked: Collection[Variant] = (),
) -> list[dict[str, Any]]:
    """Clean and robust accuracy of networks, and of some accuracy under AutoAttack, as records.

    variants      the networks
    test          test images
    config        the experiment, which names the threat and the numbers of images
    autoattacked  those to attack with AutoAttack: minutes each
    """
    found = measure_accuracies(variants, test, config)
    ball = Ball(config.norm, config.radius, (0.0, 1.0))
    for variant in autoattacked:
        x, y = first_images(test, "autoattacked_images", config.autoattacked_images)
        share = kept_autoattack(variants[variant], x, y, ball).float().mean().item()
        threat = training_threat(config)
        found.append(record("autoattack_accuracy", share, **variant.columns, threat=threat))
    return found
