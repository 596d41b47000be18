"""The published CIFAR-10 networks in several arithmetics: what a conclusion owes to the numbers.

python -m fpbook numerics-cifar10 --help.

Nothing is trained. Weights, images, answers and attacks are of one type; cosines of bfloat16
weights are computed in float32.
"""

import argparse
import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from fpbook.cifar10.experiment import CIFAR, CifarExperiment
from fpbook.cifar10.layers import measure_relations
from fpbook.cifar10.measures import measure_accuracies, measure_pipeline
from fpbook.cifar10.networks import SYMBOLS, Variant, published_networks
from fpbook.cifar10.null_tests import LAYERS, measure_sparsity
from fpbook.results import record, table
from fpbook.results.arithmetics import ARITHMETICS, arithmetics_table, conclusions, threads
from fpbook.results.cache import kept
from fpbook.results.publishing import publish
from fpcore import checks
from fpcore.decomposition.ablation import removed
from fpcore.images import COUNTS, Images, load_cifar10

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
EXPERIMENTS = {"cifar10": "full", "cifar10-resnet": "narrow-resnet"}  # their profiles, by result
RECALIBRATED_ON = 5000  # training images, a tenth, as in the published removal
CIFAR_NUMERICS = "numerics-cifar10"  # of the published result


def converted(nets: Mapping[str, nn.Module], precision: str) -> dict[str, nn.Module]:
    """Copies of networks whose weights and statistics are rounded to a type, {name: network}.

    nets:      {name: network}
    precision: the type, a name in DTYPES
    """
    kind = DTYPES[checks.choice("precision", precision, DTYPES)]
    return {name: copy.deepcopy(net).to(kind) for name, net in nets.items()}


def measure_converted(
    nets: Mapping[str, nn.Module],
    calibration: Tensor,
    test: Images,
    config: CifarExperiment,
    experiment: str,
    precision: str,
    count: int,
) -> list[dict[str, Any]]:
    """What the ledger bounds of a seed's networks, measured in one arithmetic: records.

    nets:        w0, w, w' and w_c, and w'' if there is one
    calibration: training images (n, 3, 32, 32), for w - v
    test:        test images
    config:      the threat, and how many images are attacked
    experiment:  the result that the figures would be of, a name in EXPERIMENTS; with "cifar10" come
                 those of "cifar10-removal" and "cifar10-activity"
    precision:   the type of weights, images and attacks, a name in DTYPES
    count:       of threads
    """
    checks.choice("experiment", experiment, EXPERIMENTS)
    nets, kind = converted(nets, precision), DTYPES[precision]
    test = Images(test.x.to(kind), test.y, test.name)
    with threads(count):
        found = {experiment: _pipeline(nets, test, config)}
        if experiment == "cifar10":
            ends = nets["clean"], nets["purified"]
            without = removed(*ends, 1.0, calibration=calibration.to(kind))
            variants = {Variant("w - v", alpha=1.0): without}
            found["cifar10-removal"] = measure_accuracies(variants, test, config)
            trained = {name: net for name, net in nets.items() if name != "init"}
            found["cifar10-activity"] = measure_sparsity(trained, test)
    return [
        record(**{**row, "experiment": name, "precision": precision, "threads": count})
        for name, some in found.items()
        for row in some
        if row.get("layer") in LAYERS
    ]


def _pipeline(
    nets: Mapping[str, nn.Module], test: Images, config: CifarExperiment
) -> list[dict[str, Any]]:
    """`measure_pipeline`, but of w_c and w'' the weights alone: no claim bounds their accuracy."""
    few = {name: net for name, net in nets.items() if name not in ("control", "scratch")}
    found = measure_pipeline(few, test, config)
    return [*found, *(row for row in measure_relations(nets) if row not in found)]


def measure_all(
    calibration: Tensor,
    test: Images,
    attacked: int,
    arithmetics: Sequence[tuple[str, int]] = ARITHMETICS,
) -> pd.DataFrame:
    """All published seeds in all arithmetics, each kept in the cache once measured: a table.

    calibration: training images (n, 3, 32, 32), for w - v
    test:        test images
    attacked:    how many of them are attacked, the first ones
    arithmetics: pairs of a precision and a number of threads

    FileNotFoundError, before any work, if networks are not published.
    """
    cases = []
    for experiment, profile in EXPERIMENTS.items():
        config = CIFAR[profile]
        smaller = replace(
            config, test_images=len(test), attacked_images=attacked, autoattacked_images=0
        )
        for seed in range(config.seeds):
            found = published_networks("cpu", seed, config)
            # In one order: the cache tells others.
            nets = {name: found[name] for name in SYMBOLS if name in found}
            cases += [(seed, nets, smaller, experiment, *how) for how in arithmetics]
    measured = []
    for seed, nets, config, *how in (bar := tqdm(cases, desc="networks in arithmetics")):
        bar.set_postfix_str(f"{how[0]}, seed {seed}, {how[1]}")
        rows = kept(measure_converted, nets, calibration, test, config, *how)
        measured += [row | {"seed": seed} for row in rows]
    return table(measured)


def main(arguments: Sequence[str]) -> None:
    """The command `numerics-cifar10`: measure in several arithmetics, compare, and publish."""
    parser = argparse.ArgumentParser(prog=f"python -m fpbook {CIFAR_NUMERICS}", description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="test images (1000)")
    parser.add_argument("--attacked", type=int, default=100, help="how many of them (100)")
    parser.add_argument(
        "--publish", action="store_true", help=f"write results/{CIFAR_NUMERICS}.json"
    )
    given = parser.parse_args(arguments)
    for name in ("images", "attacked"):
        checks.positive_int(name, getattr(given, name))
    if given.images > COUNTS["test"]:
        raise ValueError(f"images = {given.images}: CIFAR-10 has {COUNTS['test']}, give fewer")
    if given.attacked > given.images:
        raise ValueError(f"attacked = {given.attacked}: give at most images = {given.images}")
    train, test = load_cifar10(None, RECALIBRATED_ON, given.images)
    measured = measure_all(train.x, test, given.attacked)
    setting = (
        f"published ConvNets of {CIFAR['full'].seeds} seeds, narrow ResNets of "
        f"{CIFAR['narrow-resnet'].seeds}; {given.images} test images, the first "
        f"{given.attacked} of them attacked; nothing trained"
    )
    profile = "full" if given.publish else "quick"
    publish(CIFAR_NUMERICS, measured, profile, torch.device("cpu"), setting)
    total, differing = conclusions(measured)
    print(arithmetics_table(measured))
    print(f"{total} conclusions compared, {differing} differ")
