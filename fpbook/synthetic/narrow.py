"""A narrow margin of the data: one protocol for it at all sizes, its runs, and what they measured.

python -m fpbook narrow --help.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from fpbook.results.cache import kept
from fpbook.results.claim import Evidence
from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpbook.results.summaries import pick, summarise
from fpbook.results.words import number_words
from fpbook.synthetic.measures import measure_synthetic
from fpbook.synthetic.protocol import SyntheticExperiment, run_synthetic
from fpcore import checks
from fpcore.theory.scores import score_law
from fpcore.theory.separation import share_kept

NAME = "narrow-margin"  # of the published result
WIDTH = 8  # neurons a feature: how unequal features are held falls like 1/sqrt(WIDTH)
STABLE = 0.22  # share of the largest stable step; at 0.45 half of the neurons die
# The headline, fixed before its runs: T1, T2 and P1, of all neurons, in the same networks. Both
# ends of each interval over the held-out seeds must meet the bound.
HEADLINE = (
    Evidence(NAME, pick("clean_accuracy", "clean"), ">", 0.99),
    Evidence(NAME, pick("robust_accuracy", "clean"), "<", 0.01),
    Evidence(NAME, pick("certified_accuracy", "purified"), ">", 0.99),
    Evidence(NAME, pick("share_dominant", "purified"), ">", 2 / 3),
    Evidence(NAME, pick("least_score"), "<", 1.9),  # of a margin of at most 1.7
)
HELD_OUT = (201, 202, 203, 204, 205)  # none of which was used for a choice


def largest_step(d: int, k: int, width: int, training_reach: float) -> float:
    """The step of FGM training, over d, above which f overshoots along u* at every step.

    d, k:           of the data
    width:          neurons
    training_reach: radius, in units of 1/sqrt(k)

    Two adversarial samples share m (k/d)^2 active neurons and the perturbation, of length
    tau^2 = t^2/k along the common direction. So the loss, whose second derivative in f is at most
    1/4, has there the curvature m (k/d)^2 tau^2/4, and a step above 2 over that overshoots.
    """
    return 8 * d / (width * k * training_reach**2)


def narrow_experiment(d: int, margin: float = 1.7, seeds: int = 5) -> SyntheticExperiment:
    """The protocol for a narrow margin at any size: every constant is a formula in d.

    d:      inputs
    margin: the least score of a sample, in standard deviations
    seeds:  runs
    """
    checks.positive_int("d", d)
    k, width, training_reach = round(0.587 * math.sqrt(d)), WIDTH * d, 0.61
    return SyntheticExperiment(
        d=d,
        k=k,
        width=width,
        seeds=seeds,
        clean_steps=300,
        adversarial_steps=600,
        margin=margin,
        reach=0.56,
        training_reach=training_reach,
        first_threshold=2.1,
        last_threshold=0.6,
        adversarial_lr=STABLE * largest_step(d, k, width, training_reach),
        warm_up=0.4,
        tuned_seeds=0,
    )


def measure_narrow(
    experiment: SyntheticExperiment, seed: int, device: torch.device, progress: bool = True
) -> list[dict[str, Any]]:
    """Train one seed, and measure what the ledger takes of it, beside what is kept of the data.

    experiment: sizes and constants
    seed:       of all that is random
    device:     to train on
    progress:   whether to show it
    """
    run = run_synthetic(experiment, seed, device, progress)
    law = score_law(run.data)
    return [
        record("least_score", float(law.score.min())),
        record("codes_kept", share_kept(run.data)),
        *measure_synthetic(run),
    ]


def main(arguments: Sequence[str]) -> None:
    """The command `narrow`: train seeds at one size, print what came out, publish on request."""
    parser = argparse.ArgumentParser(prog="python -m fpbook narrow", description=__doc__)
    parser.add_argument("--d", type=int, default=1536, help="inputs (default: 1536)")
    parser.add_argument("--margin", type=float, default=1.7, help="of the data (default: 1.7)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=HELD_OUT, help=f"default: {HELD_OUT}"
    )
    parser.add_argument("--device", default="cpu", help='"cpu" (default), "cuda", ...')
    parser.add_argument("--publish", action="store_true", help=f"write results/{NAME}.json")
    given = parser.parse_args(arguments)
    device = checks.resolve_device(given.device)
    experiment = narrow_experiment(given.d, given.margin, len(given.seeds))
    for seed in given.seeds:
        checks.whole("seed", seed)
    found: list[Mapping[str, Any]] = []
    for seed in given.seeds:
        one = kept(measure_narrow, experiment, seed, device)
        found += [record(**row, seed=seed) for row in one]
        print(f"seed {seed}: {_verdicts(table(one))}", flush=True)
    setting = f"d = {experiment.d}, k = {experiment.k}, margin {given.margin}, {WIDTH} d neurons"
    publish(NAME, table(found), "full" if given.publish else "quick", device, setting)
    print(f"all seeds: {_verdicts(table(found))}")


def _verdicts(measured: pd.DataFrame) -> str:
    """What was measured beside the bounds of the headline, in one line."""
    summary, said = summarise(measured), []
    for one in HEADLINE:
        if (number := one.pick.find(summary)) is None:
            raise ValueError(f"no {one.pick} was measured: report this")
        met = {True: "holds", False: "fails", None: "open"}[number.meets(one.sign, one.bound)]
        of = one.pick.network or "data"
        named = f"{one.pick.quantity} of {of}"
        said.append(f"{named} {number_words(number, one)}, {one.required} {met}")
    return "; ".join(said)
