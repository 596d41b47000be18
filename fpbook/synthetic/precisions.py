"""One experiment in several arithmetics: what a conclusion owes to the numbers it is computed in.

python -m fpbook numerics --help.
"""

import argparse
import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from fpbook.results.arithmetics import ARITHMETICS, arithmetics_table, conclusions, threads
from fpbook.results.cache import kept
from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpbook.synthetic.measures import measure_synthetic
from fpbook.synthetic.protocol import SYNTHETIC, SyntheticExperiment, SyntheticRun
from fpcore import checks, seeding
from fpcore.attacks import robust_correct
from fpcore.ball import Ball
from fpcore.certificates.certificate import certify
from fpcore.models.two_layer import TwoLayer
from fpcore.training import train

NUMERICS = "numerics"  # of the published result
CPU = torch.device("cpu")


def run_in(experiment: SyntheticExperiment, seed: int, precision: str) -> SyntheticRun:
    """Both stages of the protocol in one arithmetic, from the same weights, on the same samples.

    experiment: sizes and constants
    seed:       of all that is random
    precision:  of the products of networks and attacks: "float32", "bfloat16", or "float64", which
                the weights are in then as well

    The networks come out in float32, so that all are measured alike. Nothing is read or kept.
    """
    checks.choice("precision", precision, ("float64", "float32", "bfloat16"))
    double = precision == "float64"
    data, init = experiment.data(seed, CPU), experiment.network(seed, CPU)
    networks, histories = {"init": init}, {}
    model: TwoLayer = copy.deepcopy(init).double() if double else copy.deepcopy(init)
    for name, training in (
        ("clean", experiment.clean(seed)),
        ("purified", experiment.adversarial(seed)),
    ):
        kind = "auto" if double else precision
        histories[name] = train(model, data, replace(training, precision=kind))
        networks[name] = copy.deepcopy(model).float()
    x, y = data.test_set(experiment.test_samples, seed)
    return SyntheticRun(experiment, seed, data, x, y, networks, histories)


def measure_in(
    experiment: SyntheticExperiment, seed: int, precision: str, count: int, restarts: int = 2
) -> list[dict[str, Any]]:
    """What the ledger takes of a run in one arithmetic, and how its certificates stood: records.

    experiment: sizes and constants
    seed:       of all that is random
    precision:  as in `run_in`
    count:      of threads
    restarts:   of APGD
    """
    with threads(count):
        run = run_in(experiment, seed, precision)
        measured = [*measure_synthetic(run, restarts), *certificates_attacked(run, restarts)]
    where = {"precision": precision, "threads": count, "seed": seed}
    return [record(**{**row, **where}) for row in measured]


def certificates_attacked(run: SyntheticRun, restarts: int = 2) -> list[dict[str, Any]]:
    """Attack all that is certified of a purified network, unsplit: records.

    run:      of `run_in` or `run_synthetic`
    restarts: of APGD
    """
    net, radius = run.purified, run.experiment.radius
    robust = certify(net, run.x, run.y, radius, branches=1).robust
    x, y = run.x[robust], run.y[robust]
    rng = seeding.generator(run.seed, "trust")
    survived = robust_correct(net, x, y, Ball("l2", radius), restarts=restarts, rng=rng)
    return [
        record("pairs", float(len(run.x)), "purified"),
        record("certified", float(len(x)), "purified"),
        record("broken", float((~survived).sum()), "purified"),
    ]


def run_all(
    experiment: SyntheticExperiment,
    seeds: Iterable[int],
    arithmetics: Sequence[tuple[str, int]],
) -> pd.DataFrame:
    """All seeds in all arithmetics, each kept in the cache once it is measured: a table.

    experiment:  sizes and constants
    seeds:       of the runs
    arithmetics: pairs of a precision and a number of threads
    """
    found: list[Mapping[str, Any]] = []
    for seed in seeds:
        for precision, count in arithmetics:
            print(f"seed {seed}, {precision}, {count} thread(s)", flush=True)
            found += kept(measure_in, experiment, seed, precision, count)
    return table(found)


def main(arguments: Sequence[str]) -> None:
    """The command `numerics`: train in several arithmetics, compare, and publish on request."""
    parser = argparse.ArgumentParser(prog="python -m fpbook numerics", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="how many (default: 2)")
    parser.add_argument("--publish", action="store_true", help="write results/numerics.json")
    given = parser.parse_args(arguments)
    experiment = replace(SYNTHETIC["quick"], test_samples=1000)
    seeds = range(checks.positive_int("seeds", given.seeds))
    measured = run_all(experiment, seeds, ARITHMETICS)
    kinds = f"{len(ARITHMETICS)} arithmetics"
    setting = f"d = {experiment.d}, k = {experiment.k}, {len(seeds)} seeds, {kinds}"
    publish(NUMERICS, measured, "full" if given.publish else "quick", CPU, setting)
    total, differing = conclusions(measured)
    print(arithmetics_table(measured))
    print(f"{total} conclusions compared, {differing} differ")
