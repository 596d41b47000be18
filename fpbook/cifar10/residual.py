"""The narrow ResNets: networks that their seeds lack, trained from published ones; AutoAttack.

python -m fpbook resnet --help.
"""

import argparse
import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fpbook.cifar10.experiment import CIFAR, THREATS, CifarExperiment, training_threat
from fpbook.cifar10.measures import kept_autoattack, measure_autoattack, measure_cifar
from fpbook.cifar10.networks import (
    TRAINED,
    check_published_seeds,
    first_images,
    needed_cifar10,
    publish_networks,
    published_networks,
)
from fpbook.cifar10.runs import run_adversarial_scratch, train_stage
from fpbook.results.cache import kept
from fpbook.results.claim import Evidence
from fpbook.results.publishing import publish, with_published
from fpbook.results.records import record, table
from fpbook.results.store import published, published_arrays
from fpbook.results.summaries import pick
from fpcore import checks
from fpcore.ball import Ball
from fpcore.images import Images
from fpcore.models.outputs import classified

RESIDUAL_RESULT = "cifar10-resnet"
ATTACKED_RESULT = "cifar10-resnet-robustness"
ADDED = ("control", "scratch")  # networks that the command trains
GROUP = 50  # images that AutoAttack takes at a time, and keeps
# E1-residual, fixed before AutoAttack ran, with PGD's accuracies known: the bounds of E1.
_HOME = {"threat": "l2 0.5"}
RESIDUAL_BOUNDS = (
    Evidence(ATTACKED_RESULT, pick("autoattack_ratio", "purified", **_HOME), ">", 3),
    Evidence(ATTACKED_RESULT, pick("autoattack_accuracy", "control", **_HOME), "<", 0.15),
    Evidence(ATTACKED_RESULT, pick("autoattack_accuracy", "purified", **_HOME), ">", 0.2),
)


def with_missing(
    config: CifarExperiment,
    data: Images,
    seed: int,
    nets: Mapping[str, nn.Module],
    names: Collection[str],
    progress: bool = True,
) -> dict[str, nn.Module]:
    """A seed's networks, and those of `names` that it lacks, trained as `run_cifar` would.

    config    sizes and schedules
    data      training images
    seed      of the run
    nets      published ones, "init" and "clean" among them
    names     "control", from the published w; "scratch", from w0
    progress  whether to show a bar

    ValueError if the published w0 is not the one that the experiment begins with.
    """
    for name in checks.several("names", names):
        checks.choice("name", name, ADDED)
    first = config.initial(seed).state_dict()
    for key, value in nets["init"].state_dict().items():
        if not torch.equal(value.half(), first[key].half()):
            raise ValueError(
                f"the published w0 of seed {seed} has another {key} than this experiment begins "
                "with: train all of the seed's networks by python -m fpbook train"
            )
    found = dict(nets)
    for name in names:
        if name in found:
            continue
        if name == "control":
            found[name] = copy.deepcopy(nets["clean"])
            training = config.adversarial(data, seed, 0.0)
            train_stage(name, found[name], data, training, seed, progress)
        else:
            found[name] = run_adversarial_scratch(config, data, seed, progress)
    return found


def attacked(
    nets: Mapping[str, nn.Module],
    test: Images,
    config: CifarExperiment,
    known: Mapping[str, Tensor],
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """A seed's networks under AutoAttack at the threat of their training: records, and outcomes.

    nets    "clean" and others
    test    test images, the first `autoattacked_images` of which are attacked
    config  the experiment
    known   outcomes of networks that were attacked before

    The outcomes are {network: (n,), bool}; ValueError for known ones of other networks or images.
    `autoattack_ratio` is there for w' and the control.
    """
    x, y = first_images(test, "autoattacked_images", config.autoattacked_images)
    threat = training_threat(config)
    norm, radius = THREATS[threat]
    ball = Ball(norm, radius, (0.0, 1.0))
    withstood = {}
    for name in (name for name in TRAINED if name in nets):
        if name in known:
            withstood[name] = known[name]
            if len(known[name]) != len(x) or (known[name] & ~classified(nets[name], x, y)).any():
                raise ValueError(
                    f"{name}: the published outcomes are of another one, move them away"
                )
            continue
        parts = [
            kept_autoattack(nets[name], *part, ball) for part in zip(x.split(GROUP), y.split(GROUP))
        ]
        withstood[name] = torch.cat(parts)
        print(f"{name}: {withstood[name].float().mean():.1%} stand AutoAttack", flush=True)
    shown = {name: {threat: alive} for name, alive in withstood.items()}
    found = measure_autoattack(shown, nets, test, config)
    if "control" in withstood:
        ratio = withstood["control"].sum().item() / max(withstood["clean"].sum().item(), 1)
        found.append(record("autoattack_ratio", ratio, "control", threat=threat))
    return found, withstood


def publish_attacked(
    test: Images, config: CifarExperiment, seeds: Sequence[int], profile: str
) -> None:
    """Attack the published networks of seeds, and publish after each of them.

    test     test images
    config   the experiment
    seeds    of the networks
    profile  "full"; nothing is written unless it is
    """
    setting = f"published networks, {config.autoattacked_images:,} images of {test.name}"
    with_published(ATTACKED_RESULT, [], setting)  # its checks, before the attacks
    for seed in seeds:
        nets = published_networks("cpu", seed, config)
        there = published(ATTACKED_RESULT) is not None
        before = published_arrays(ATTACKED_RESULT) if there else {}
        known = {
            name: before[f"seed {seed}, {name}"]["outcome"]
            for name in nets
            if f"seed {seed}, {name}" in before
        }
        some, withstood = attacked(nets, test, config, known)
        found = [{**row, "seed": seed} for row in some]
        arrays = {f"{of}/outcome": one["outcome"] for of, one in before.items()}
        arrays |= {f"seed {seed}, {name}/outcome": alive for name, alive in withstood.items()}
        measured = with_published(ATTACKED_RESULT, found, setting)
        publish(ATTACKED_RESULT, measured, profile, torch.device("cpu"), setting, arrays)


def main(arguments: Sequence[str]) -> None:
    """The command `resnet`: train what seeds lack, measure or attack them, publish on request."""
    parser = argparse.ArgumentParser(
        prog="python -m fpbook resnet",
        description="Train what the published narrow ResNets lack, from their own weights.",
    )
    config = CIFAR["narrow-resnet"]
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(config.seeds)])
    parser.add_argument(
        "--names", nargs="*", choices=ADDED, default=ADDED, help="trained if not there"
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help=f"add networks to the published ones, and write results/{RESIDUAL_RESULT}.json",
    )
    parser.add_argument(
        "--autoattack",
        action="store_true",
        help=f"attack the published networks instead, for results/{ATTACKED_RESULT}.json",
    )
    given = parser.parse_args(arguments)
    check_published_seeds(given.seeds, config)
    data, test = needed_cifar10(config.train_images, config.test_images)
    if given.autoattack:
        publish_attacked(test, config, given.seeds, "full" if given.publish else "quick")
        return
    for seed in given.seeds:
        nets = published_networks("cpu", seed, config)
        every = with_missing(config, data, seed, nets, given.names)
        if given.publish and every.keys() > nets.keys():
            publish_networks(every, seed, config)
    if given.publish:
        publish_measured(data, test, config)


def publish_measured(data: Images, test: Images, config: CifarExperiment) -> None:
    """Measure the published networks of all seeds, and publish what the ledger takes of them.

    data    what they were trained on
    test    test images
    config  the experiment
    """
    found = []
    for seed in range(config.seeds):
        nets = published_networks("cpu", seed, config)
        one = kept(measure_cifar, nets, test, config)
        found += [{**row, "seed": seed} for row in one]
        print(f"seed {seed}: {', '.join(nets)} measured", flush=True)
    setting = f"published narrow ResNet-18, {data.name}, {len(data):,} images, trained in float32"
    publish(RESIDUAL_RESULT, table(found), "full", torch.device("cpu"), setting)
