"""Low-rank updates and linearisations of the CIFAR-10 networks, measured beside what they are compared with."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from fpbook.cifar10.measures import first_images, measure_accuracies, pgd_correct
from fpbook.cifar10.protocol import CifarExperiment, run_linearised, run_low_rank
from fpbook.first import unfavourable
from fpcore.attacks import Ball, transfer
from fpcore.decomposition.ablation import truncated
from fpcore.images import Images
from fpcore.models.low_rank_update import trained_parameters
from fpcore.models.outputs import accuracy, classified


def low_rank_rows(
    config: CifarExperiment, data: Images, clean: nn.Module, purified: nn.Module, seed: int
) -> dict[str, nn.Module]:
    """All low-rank updates of a seed's clean network: {"adversarial/4": network}, kinds as in `run_low_rank`.

    Beside them "full", and w -> w' cut off to each rank after training, "truncated".
    """
    wanted = [("adversarial", r) for r in config.ranks]
    wanted += [(kind, r) for kind in ("random", "clean") for r in config.control_ranks]
    rows = {
        f"{kind}/{rank}": run_low_rank(config, data, clean, seed, rank, kind)
        for kind, rank in wanted
    }
    rows["full"] = run_low_rank(config, data, clean, seed, 0, "full")
    few = data.x[: len(data) // 10]
    return rows | {
        f"truncated/{rank}": truncated(clean, purified, rank, few) for rank in config.ranks
    }


def measure_low_rank(
    rows: Mapping[str, nn.Module],
    clean: nn.Module,
    purified: nn.Module,
    test: Images,
    config: CifarExperiment,
) -> dict[str, float]:
    """Of each update: clean and robust accuracy, share of w -> w' 's robust gain that it regains, share of its parameters.

    `regained` is 0 for w and 1 for w'. `regained_of_full` is 1 for "full" in place of w', all of w trained on the very
    schedule of the updates: what the rank costs, and not the schedule.
    """
    out = measure_accuracies({"start": clean, "end": purified, **rows}, test, config)
    attacked = config.attacked
    robust = {name: out[f"{name}/robust_accuracy"] for name in ("start", "end", *rows)}
    low, high, total = robust["start"], robust["end"], trained_parameters(purified)
    for name, net in rows.items():
        out[f"{name}/regained"] = (robust[name] - low) / max(high - low, 1 / attacked)
        out[f"{name}/regained_of_full"] = (robust[name] - low) / max(
            robust["full"] - low, 1 / attacked
        )
        out[f"{name}/parameter_share"] = trained_parameters(net) / total
    return out


def smallest_rank(measured: Mapping[str, Mapping[str, Any]], share: float = 0.8) -> int | None:
    """The smallest rank that regains this share of the robust gain with its whole interval; None if none of those tried does.

    `measured` are the summarised figures of `measure_low_rank`; of a single seed there is no interval.
    """
    ranks = sorted(
        int(key.split("/")[1])
        for key in measured
        if key.startswith("adversarial/") and key.endswith("/regained")
    )
    return next(
        (r for r in ranks if unfavourable(measured[f"adversarial/{r}/regained"], ">") >= share),
        None,
    )


def tangent_rows(
    config: CifarExperiment, data: Images, clean: nn.Module, seed: int, more: bool = False
) -> tuple[dict[str, nn.Module], dict[str, float]]:
    """A seed's linearisations at w0, and around its clean network w: {"ntk, adversarial": model}; and their losses.

    With `more`, two that take longer: "ntk, longer" in four times as many steps, each a quarter as long, and "ntk, PGD" on
    three steps of PGD. The losses are those of the epochs, {"ntk, adversarial/loss/1": value}.
    """
    fitted = {
        "ntk, clean": run_linearised(config, data, seed, attack=False),
        "ntk, adversarial": run_linearised(config, data, seed),
        "informed, adversarial": run_linearised(config, data, seed, clean),
    }
    if more:
        epochs, lr = 4 * config.tangent_epochs, config.tangent_adversarial_lr / 4
        longer = replace(config, tangent_epochs=epochs, tangent_adversarial_lr=lr)
        fitted["ntk, longer"] = run_linearised(longer, data, seed)
        fitted["ntk, PGD"] = run_linearised(replace(config, attack_steps=3), data, seed)
    losses = {
        f"{name}/loss/{epoch}": v
        for name, (_, each) in fitted.items()
        for epoch, v in enumerate(each, 1)
    }
    return {name: model for name, (model, _) in fitted.items()}, losses


def measure_tangent(
    models: Mapping[str, nn.Module],
    sources: list[nn.Module],
    test: Images,
    radii: tuple[float, ...],
    attacked: int = 1000,
) -> dict[str, float]:
    """Clean accuracy, on all images; robust accuracy over l2 radii, from 0, and the share kept, on those attacked.

    A linearisation's score jumps where the frozen network's ReLUs switch, which its gradient does not show. Each model is
    therefore also attacked by what breaks each network of `sources`.
    """
    out: dict[str, float] = {}
    x, y = first_images(test, "attacked", attacked)
    for name, model in models.items():
        out[f"{name}/clean_accuracy"] = accuracy(model, test.x, test.y)
        out[f"{name}/robust_accuracy/0"] = accuracy(model, x, y)
    for radius in radii:
        ball = Ball("l2", radius, (0.0, 1.0))
        moved = [transfer(source, ball)(source, x, y) for source in sources]
        for name, model in models.items():
            alive = pgd_correct(model, x, y, ball)
            for found in moved:
                alive &= classified(model, found, y)
            robust = out[f"{name}/robust_accuracy/{radius:g}"] = alive.float().mean().item()
            out[f"{name}/kept_share/{radius:g}"] = robust / max(
                out[f"{name}/robust_accuracy/0"], 1 / attacked
            )
    return out
