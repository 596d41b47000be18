"""The dose-response of the principle: how far weights turn, and what robustness that gains.

python -m fpbook dose --help.
"""

import argparse
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from fpbook.cifar10.experiment import CIFAR, CifarExperiment
from fpbook.cifar10.measures import pgd_accuracy
from fpbook.cifar10.networks import (
    check_published_seeds,
    needed_cifar10,
    published_networks,
)
from fpbook.cifar10.runs import train_stage
from fpbook.results.cache import kept
from fpbook.results.columns import rows, select
from fpbook.results.publishing import publish, with_published
from fpbook.results.records import record, table
from fpcore import checks
from fpcore.decomposition.relations import layer_relations
from fpcore.images import Images
from fpcore.models.outputs import accuracy

DOSE_RESULT = "cifar10-dose"  # of the published result
RATE_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the second stage's learning rate
DOSE_SEEDS = (2, 3, 4)  # on which that rate was not chosen
TURNED = ("purified", "control")
FITS = ("gain_per_turn", "robust_gain_most", "gain_at_turn")  # what `dose_fits` makes


def run_dose(
    config: CifarExperiment,
    data: Images,
    nets: Mapping[str, nn.Module],
    seed: int,
    name: str,
    factor: float,
    progress: bool = True,
) -> nn.Module:
    """w' or w_c of a seed at another learning rate of the second stage, from the same w.

    config    sizes and schedules
    data      what it is trained on
    nets      the published networks of the seed; that of the experiment's own rate is one of them
    seed      of the run
    name      "purified" or "control"
    factor    of the learning rate
    progress  whether to show a bar
    """
    checks.choice("name", name, TURNED)
    if factor == 1:
        return nets[name]
    slower = replace(config, adversarial_lr=factor * config.adversarial_lr)
    training = slower.adversarial(data, seed, config.radius if name == "purified" else 0.0)
    net = copy.deepcopy(nets["clean"])
    train_stage(f"dose-{name}", net, data, training, seed, progress)
    return net


def measure_turned(
    clean: nn.Module, net: nn.Module, test: Images, config: CifarExperiment
) -> dict[str, float]:
    """How far a network turned from w, and its accuracies, by quantity.

    clean   w
    net     made from it; w itself has turned by 0
    test    test images
    config  the experiment

    The turn is the median angle of all neurons switched on, in degrees.
    """
    cosines = torch.cat([*layer_relations(clean, net).values()])
    turn = math.degrees(math.acos(min(1.0, cosines.median().item())))
    robust = pgd_accuracy(net, test, config.radius, config.attacked_images, config.norm)
    return {
        "turn": turn,
        "share_dominant": (cosines**2 > 0.5).float().mean().item(),
        "clean_accuracy": accuracy(net, test.x, test.y),
        "robust_accuracy": robust,
    }


def measure_dose(
    config: CifarExperiment, data: Images, test: Images, seed: int, factor: float
) -> list[dict[str, Any]]:
    """Train w' and w_c of a seed at a learning rate, and measure them beside w: records.

    config  sizes and schedules, of which there are published networks
    data    training images
    test    test images
    seed    of the run
    factor  of the learning rate

    What is finished is kept, so that a run that was stopped goes on where it was.
    """
    nets = published_networks("cpu", seed, config)
    before = kept(measure_turned, nets["clean"], nets["clean"], test, config)
    found = []
    for name in TURNED:
        net = run_dose(config, data, nets, seed, name, factor)
        one = kept(measure_turned, nets["clean"], net, test, config)
        one["robust_gain"] = one["robust_accuracy"] - before["robust_accuracy"]
        said = ", ".join(f"{quantity} {value:.3f}" for quantity, value in one.items())
        print(f"seed {seed}, {name}, rate x {factor:g}: {said}", flush=True)
        found += [record(q, v, name, seed=seed, rate_factor=factor) for q, v in one.items()]
    return found


def dose_curve(
    measured: Sequence[Mapping[str, Any]], name: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Turns in degrees and robust accuracies gained of a seed's networks, each (doses,), by turn.

    measured  records of `measure_dose`
    name      "purified" or "control"
    seed      of the run
    """
    found = table(measured)
    turns, gains = (
        {
            row["rate_factor"]: row["value"]
            for row in rows(select(found, quantity=quantity, network=name, seed=seed))
            if "rate_factor" in row
        }
        for quantity in ("turn", "robust_gain")
    )
    pairs = np.array(sorted((turns[factor], gains[factor]) for factor in turns))
    return pairs[:, 0], pairs[:, 1]


def dose_fits(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the ledger asks of the curves of seeds with all five doses, as records.

    Nothing of a single seed.

    measured  records of `measure_dose`

    The least-squares slope of the gain over the turn, in points a degree; the gain at the middle of
    the turns that w' and w_c both reach, interpolated; and the largest gain. No gain at an equal
    turn where there is none.
    """
    doses = {(row["seed"], row["network"], row["rate_factor"]) for row in measured}
    every = [(name, factor) for name in TURNED for factor in RATE_FACTORS]
    seeds = [
        s for s in sorted({seed for seed, *_ in doses}) if {(s, *one) for one in every} <= doses
    ]
    if len(seeds) < 2:  # no verdict rests on one
        return []
    found = []
    for seed in seeds:
        curves = {name: dose_curve(measured, name, seed) for name in TURNED}
        low = max(turns[0] for turns, _ in curves.values())
        high = min(turns[-1] for turns, _ in curves.values())
        for name, (turns, gains) in curves.items():
            slope = np.polyfit(turns, 100 * gains, 1)[0]
            found.append(record("gain_per_turn", float(slope), name, seed=seed))
            found.append(record("robust_gain_most", float(gains.max()), name, seed=seed))
            if low < high:
                gain = float(np.interp((low + high) / 2, turns, gains))
                found.append(record("gain_at_turn", gain, name, seed=seed))
    return found


def main(arguments: Sequence[str]) -> None:
    """The command `dose`: train and measure seeds, print each network, publish seed by seed."""
    parser = argparse.ArgumentParser(
        prog="python -m fpbook dose",
        description="Turn the published clean networks at five learning rates, with and without "
        "attacks, and measure what robustness each turn gains.",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=DOSE_SEEDS)
    parser.add_argument(
        "--publish", action="store_true", help=f"write results/{DOSE_RESULT}.json, seed by seed"
    )
    given = parser.parse_args(arguments)
    config = CIFAR["full"]
    if len({*given.seeds}) < len(given.seeds):
        raise ValueError(f"seeds = {given.seeds}: give each once")
    check_published_seeds(given.seeds, config)
    data, test = needed_cifar10(config.train_images, config.test_images)
    setting = f"{data.name}, {len(data):,} images, from the published clean networks"
    before = with_published(DOSE_RESULT, [], setting)
    profile = "full" if given.publish else "quick"
    # the widest doses first; those that are published stay as they are
    there = {(row["seed"], row.get("rate_factor")) for row in rows(before)}
    found: list[dict[str, Any]] = []
    for seed in given.seeds:
        for factor in sorted(RATE_FACTORS, key=lambda one: -abs(math.log(one))):
            if (seed, factor) in there:
                continue
            found += measure_dose(config, data, test, seed, factor)
            measured = rows(with_published(DOSE_RESULT, found, setting))
            doses = [row for row in measured if row["quantity"] not in FITS]
            every = table([*doses, *dose_fits(doses)])
            publish(DOSE_RESULT, every, profile, torch.device("cpu"), setting)
