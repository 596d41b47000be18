"""The accuracies of CIFAR-10 networks, clean and under attack, and what else is told of a seed."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fpbook.cifar10.experiment import THREATS, CifarExperiment, training_threat
from fpbook.cifar10.layers import measure_explained, measure_relations
from fpbook.cifar10.networks import TRAINED, Variant, absent, first_images
from fpbook.results import record
from fpbook.results.cache import cache_path
from fpcore import checks, seeding
from fpcore.attacks import fgm, pgd
from fpcore.auto_attack import autoattack
from fpcore.ball import Ball
from fpcore.gradients import warn_of_flat
from fpcore.images import Images
from fpcore.models.outputs import accuracy, classified


class Threatened(Protocol):
    """What an experiment says of how its networks are attacked."""

    @property
    def norm(self) -> str: ...
    @property
    def radius(self) -> float: ...
    @property
    def attacked_images(self) -> int: ...


def pgd_accuracy(
    net: nn.Module, test: Images, radius: float, attacked_images: int = 1000, norm: str = "l2"
) -> float:
    """Robust accuracy, an upper bound: the worst of FGM, and PGD-20 with a random restart.

    net              the network
    test             test images
    radius           of the attack, in pixels of [0, 1]
    attacked_images  how many are attacked, the first ones
    norm             of the attack, "l2" or "linf"

    The generator of the random starts is the same for every network.
    """
    x, y = first_images(test, "attacked_images", attacked_images)
    if radius == 0:
        return accuracy(net, x, y)
    return pgd_correct(net, x, y, Ball(norm, radius, (0.0, 1.0))).float().mean().item()


def pgd_correct(net: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> Tensor:
    """Which images withstand the attacks of `pgd_accuracy`, (n,), bool.

    `fpcore.robust_correct` finds more, as AutoAttack does, which is measured beside it.
    """
    rng = seeding.generator(0, "attack", device=x.device)
    moved = [x, fgm(net, x, y, ball), pgd(net, x, y, ball, restarts=2, rng=rng)]
    right = torch.stack([classified(net, each, y) for each in moved]).all(0)
    warn_of_flat(net, x[right], y[right], ball)
    return right


def measure_accuracies(
    nets: Mapping[str, nn.Module] | Mapping[Variant, nn.Module],
    test: Images,
    config: Threatened,
) -> list[dict[str, Any]]:
    """Of each network its clean and its robust accuracy, as records.

    The robust one is that of `pgd_accuracy`, at the threat of the experiment's training.
    """
    found = []
    for name, net in nets.items():
        of = name.columns if isinstance(name, Variant) else {"network": name}
        robust = pgd_accuracy(net, test, config.radius, config.attacked_images, config.norm)
        found += [
            record("clean_accuracy", accuracy(net, test.x, test.y), **of),
            record("robust_accuracy", robust, **of),
        ]
    return found


def measure_cifar(
    nets: Mapping[str, nn.Module], test: Images, config: CifarExperiment
) -> list[dict[str, Any]]:
    """What the ledger names of a seed, as records: accuracies; cosines as medians over neurons.

    Of w and w', and of w0, the control and w'' if they are given.
    """
    explained = measure_explained(nets, test, min(250, len(test) // 2))
    return [*measure_pipeline(nets, test, config), *explained]


def measure_pipeline(
    nets: Mapping[str, nn.Module], test: Images, config: Threatened
) -> list[dict[str, Any]]:
    """What `measure_cifar` finds, but for what a linear map explains: of any architecture."""
    missing = absent(nets)
    given = {name: nets[name] for name in TRAINED if name not in missing}
    found = measure_accuracies(given, test, config)
    clean, purified = (
        {row["quantity"]: row["value"] for row in found if row["network"] == name}
        for name in ("clean", "purified")
    )
    before, after = clean["robust_accuracy"], purified["robust_accuracy"]
    ratio = after / max(before, 1 / config.attacked_images)
    lost = clean["clean_accuracy"] - purified["clean_accuracy"]
    return [
        record("radius", config.radius),
        *found,
        record("robust_gain", after - before, "purified"),
        record("robust_ratio", ratio, "purified"),
        record("clean_lost", lost, "purified"),
        *measure_relations(nets),
    ]


def autoattack_correct(
    nets: Mapping[str, nn.Module], test: Images, config: CifarExperiment
) -> dict[str, dict[str, Tensor]]:
    """Which images each network withstands under AutoAttack: {network: {threat: (n,), bool}}.

    Of the first `autoattacked_images`. Networks are those in TRAINED, threats those in THREATS; the
    threat of the experiment's training must be one of these.
    """
    training_threat(config)
    for name in nets:
        checks.choice("network", name, TRAINED)
    x, y = first_images(test, "autoattacked_images", config.autoattacked_images)
    found: dict[str, dict[str, Tensor]] = {}
    for name, net in nets.items():
        found[name] = {}
        for threat, (norm, radius) in THREATS.items():
            ball = Ball(norm, radius, (0.0, 1.0))
            found[name][threat] = kept_autoattack(net, x, y, ball)
    return found


def kept_autoattack(net: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> Tensor:
    """`autoattack`, each finished chunk of it kept in the cache: (n,), bool."""
    keep = cache_path("autoattack", net, x, y, ball, code=autoattack).with_suffix(".json")
    return autoattack(net, x, y, ball, keep=keep)


def measure_autoattack(
    withstood: Mapping[str, Mapping[str, Tensor]],
    nets: Mapping[str, nn.Module],
    test: Images,
    config: CifarExperiment,
) -> list[dict[str, Any]]:
    """Accuracy under AutoAttack, and under PGD on the same images, as records.

    withstood  what `autoattack_correct` found
    nets       the networks
    test       the images
    config     the experiment

    At the threat of the experiment's training, `autoattack_ratio` is the accuracy of w' over that
    of w, and `autoattack_kept_share` the share of the images withstood by w that another network
    withstands as well.
    """
    found = []
    for name, outcomes in withstood.items():
        for threat, alive in outcomes.items():
            norm, radius = THREATS[threat]
            pgd = pgd_accuracy(nets[name], test, radius, len(alive), norm)
            found += [
                record("autoattack_accuracy", alive.float().mean().item(), name, threat=threat),
                record("pgd_accuracy", pgd, name, threat=threat),
            ]
    home = training_threat(config)
    at_home = {name: withstood[name][home] for name in TRAINED if home in withstood.get(name, {})}
    return found + (_beside_clean(at_home, home) if "clean" in at_home else [])


def _beside_clean(withstood: Mapping[str, Tensor], threat: str) -> list[dict[str, Any]]:
    """What networks withstand of a threat, {network: (n,), bool}, beside what w does."""
    before = withstood["clean"]
    count = max(before.sum().item(), 1)
    found = []
    if "purified" in withstood:
        ratio = withstood["purified"].sum().item() / count
        found.append(record("autoattack_ratio", ratio, "purified", threat=threat))
    for name, after in withstood.items():
        if name != "clean":
            kept = (before & after).sum().item() / count
            found.append(record("autoattack_kept_share", kept, name, threat=threat))
    return found
