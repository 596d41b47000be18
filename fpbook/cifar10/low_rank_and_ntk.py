"""Low-rank updates and linearisations of the CIFAR-10 networks, measured beside the networks."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
from torch import nn

from fpbook.cifar10.experiment import CifarExperiment
from fpbook.cifar10.measures import measure_accuracies, pgd_correct
from fpbook.cifar10.networks import Variant, first_images
from fpbook.cifar10.runs import run_low_rank
from fpbook.results import number, record, select
from fpcore.attacks import transfer
from fpcore.ball import Ball
from fpcore.decomposition.ablation import truncated
from fpcore.images import Images
from fpcore.models.low_rank_update import trained_parameters
from fpcore.models.outputs import accuracy, classified

# Networks trained as `run_low_rank` has it, by its kinds of update.
UPDATES = {
    "adversarial": "adversarial update",
    "random": "random update",
    "clean": "clean update",
    "full": "full update",
}
FULL = Variant(UPDATES["full"])


def low_rank_variants(
    config: CifarExperiment, data: Images, clean: nn.Module, purified: nn.Module, seed: int
) -> dict[Variant, nn.Module]:
    """All low-rank updates of a seed's clean network, of the experiment's ranks.

    config    ranks and schedules
    data      what they are trained on
    clean     w
    purified  w'
    seed      of the run

    Beside them "full update", and w -> w' cut off to each rank after training, "truncated update".
    """
    wanted = [("adversarial", rank) for rank in config.ranks]
    wanted += [(kind, rank) for kind in ("random", "clean") for rank in config.control_ranks]
    variants = {
        Variant(UPDATES[kind], rank=rank): run_low_rank(config, data, clean, seed, rank, kind)
        for kind, rank in wanted
    }
    variants[FULL] = run_low_rank(config, data, clean, seed, 0, "full")
    few = data.x[: len(data) // 10]
    for rank in config.ranks:
        cut = truncated(clean, purified, rank, few)
        variants[Variant("truncated update", rank=rank)] = cut
    return variants


def measure_low_rank(
    variants: Mapping[Variant, nn.Module],
    clean: nn.Module,
    purified: nn.Module,
    test: Images,
    config: CifarExperiment,
) -> list[dict[str, Any]]:
    """Of w, w' and each update its accuracies, and what of w -> w' an update has, as records.

    variants  the updates, as `low_rank_variants` gives them
    clean     w
    purified  w'
    test      test images
    config    the experiment, which names the threat and the number of attacked images

    `regained`, the share of the robust gain, is 0 for w and 1 for w'. `regained_of_full` is 1 for
    "full update" in place of w', all of w trained on the very schedule of the updates: what the
    rank costs, and not the schedule. `parameter_share` is that of the parameters trained.
    """
    ends = {Variant("clean"): clean, Variant("purified"): purified}
    nets = ends | dict(variants)
    found = measure_accuracies(nets, test, config)
    accuracies = [row["value"] for row in found if row["quantity"] == "robust_accuracy"]
    robust = dict(zip(nets, accuracies))
    low, high = (robust[end] for end in ends)
    least, total = 1 / config.attacked_images, trained_parameters(purified)
    for variant, net in variants.items():
        gain, of = robust[variant] - low, variant.columns
        found += [
            record("regained", gain / max(high - low, least), **of),
            record("regained_of_full", gain / max(robust[FULL] - low, least), **of),
            record("parameter_share", trained_parameters(net) / total, **of),
        ]
    return found


def smallest_rank(summary: pd.DataFrame, share: float = 0.8) -> int | None:
    """The smallest rank whose update regains this share of the robust gain; None if none does.

    With its whole interval, in a summary of `measure_low_rank`; of a single seed there is none.
    """
    update = {"quantity": "regained", "network": UPDATES["adversarial"]}
    tried = select(summary, **update, seeds="all")
    for rank in sorted(tried["rank"] if len(tried) else ()):
        found = number(summary, **update, rank=rank)
        if found and found.unfavourable(">") >= share:
            return int(rank)
    return None


def measure_tangent(
    models: Mapping[str, nn.Module],
    sources: Sequence[nn.Module],
    test: Images,
    radii: Collection[float],
    attacked_images: int = 1000,
) -> list[dict[str, Any]]:
    """Clean accuracy; robust accuracy over l2 radii, from 0, and what is kept of it, as records.

    models           linearisations and networks
    sources          networks: each model is also attacked by what breaks each of these
    test             test images, all of them for clean accuracy
    radii            in pixels of [0, 1]
    attacked_images  how many are attacked, the first ones

    A linearisation's score jumps where the frozen network's ReLUs switch, which its gradient does
    not show. Hence the sources.
    """
    x, y = first_images(test, "attacked_images", attacked_images)
    found = []
    unmoved = {name: accuracy(model, x, y) for name, model in models.items()}
    for name, model in models.items():
        found += [
            record("clean_accuracy", accuracy(model, test.x, test.y), name),
            record("robust_accuracy", unmoved[name], name, radius=0.0),
        ]
    for radius in radii:
        ball = Ball("l2", radius, (0.0, 1.0))
        moved = [transfer(source, ball)(source, x, y) for source in sources]
        for name, model in models.items():
            alive = pgd_correct(model, x, y, ball)
            for images in moved:
                alive &= classified(model, images, y)
            robust = alive.float().mean().item()
            kept = robust / max(unmoved[name], 1 / attacked_images)
            found += [
                record("robust_accuracy", robust, name, radius=radius),
                record("kept_share", kept, name, radius=radius),
            ]
    return found


def measure_beside_scratch(
    measured: Sequence[Mapping[str, Any]], test: Images, config: CifarExperiment
) -> list[dict[str, Any]]:
    """What the NTKs withstand over what w'' does, and what one answer to all would, as records.

    measured  what `measure_tangent` found, the radius of the training among its radii
    test      test images
    config    the experiment
    """
    robust = {
        row["network"]: row["value"]
        for row in measured
        if row["quantity"] == "robust_accuracy" and row["radius"] == config.radius
    }
    count = config.attacked_images
    most = test.y[:count].bincount().max().item()
    least = max(robust["scratch"], 1 / count)
    ratios = [
        record("robust_ratio_to_scratch", robust[name] / least, name)
        for name in ("NTK, adversarial", "NTK, PGD")
        if name in robust
    ]
    return [record("constant_accuracy", most / count), *ratios]
