"""How many images networks get right, and under attack: upper bounds on robust accuracy."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fpcore import seeding
from fpcore.attacks import robust_correct
from fpcore.ball import Ball
from fpcore.gradients import GradientWarning
from fpcore.models.outputs import classified
from fpcore.reporting.subjects import Labelled, Shares, fitted
from fpcore.reporting.variants import Trial, update_share
from fpcore.reporting.weights import Record

STEPS, RESTARTS = 10, 1
ATTACK = (
    f"FGM, and APGD of {STEPS} steps from the image itself, each image until it is misclassified"
)


def threat(ball: Ball) -> str:
    """A ball's norm and radius as records name them, "l2 0.5"."""
    return f"{ball.norm} {ball.radius:g}"


def chunk_of(x: Tensor) -> int:
    """How many images are attacked at a time, so that a deep network's gradients fit in memory."""
    return max(8, min(250, 300_000 // math.prod(x.shape[1:])))


def network_accuracies(
    net: nn.Module,
    images: Labelled,
    counts: tuple[int, int],
    ball: Ball | None,
    seed: int,
    record: Record,
    name: str,
    **over: Any,
) -> dict[str, Any]:
    """The clean and the robust accuracy of a network, as records, and what warnings said.

    net     gives one logit a sample, or class scores
    images  of which the first are taken
    counts  so many classified without an attack, and so many attacked
    ball    the threat; None: nothing is attacked
    seed    of the attack's generator, the same for every network
    record  as `recorder` makes it
    name    the network's, in the records
    over    what else it depends on: alpha, rank
    """
    attacked = counts[1]
    x = fitted(images.x[: max(counts)], net)
    y = images.y[: max(counts)].to(x.device)
    chunk = chunk_of(x)
    right = classified(net, x[: counts[0]], y[: counts[0]], 4 * chunk).double().mean().item()
    part: dict[str, Any] = {
        "records": [record("clean_accuracy", right, name, **over)],
        "notes": [],
    }
    if ball is not None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", GradientWarning)
            rng = seeding.generator(seed, "attack", device=x.device)
            options: dict[str, Any] = {"rng": rng, "chunk": chunk}
            stood = robust_correct(
                net, x[:attacked], y[:attacked], ball, STEPS, RESTARTS, **options
            )
        for warning in caught:
            if issubclass(warning.category, GradientWarning):
                part["notes"].append(f"{name}: {warning.message}")
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        robust = stood.double().mean().item()
        part["records"].append(record("robust_accuracy", robust, name, **over, threat=threat(ball)))
    return part


def of_variant(
    trial: Trial,
    networks: Mapping[str, nn.Module],
    images: Labelled,
    split: Shares,
    ball: Ball | None,
    seed: int,
    record: Record,
) -> dict[str, Any]:
    """`network_accuracies` of a variant, made here and dropped; of a low rank its share as well.

    trial     the variant
    networks  {role: network}, of which it is made
    images    of which the first are taken
    split     how many of them
    ball      the threat; None: nothing is attacked
    seed      of the attack's generator
    record    as `recorder` makes it
    """
    counts = (split.clean, split.variant)
    net = trial.make()
    part = network_accuracies(net, images, counts, ball, seed, record, trial.name, **trial.over)
    if "rank" in trial.over:
        share = update_share(networks, int(trial.over["rank"]))
        part["records"].append(record("parameter_share", share, trial.name, **trial.over))
    return part
