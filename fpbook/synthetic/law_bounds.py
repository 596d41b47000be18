"""Lower bounds where they bite, computed from the law of the data alone, at any size.

python -m fpbook law --help.
"""

import argparse
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import softplus

from fpbook.results.cache import kept
from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpbook.results.summaries import joined
from fpbook.synthetic.protocol import SYNTHETIC
from fpcore import checks
from fpcore.theory.scores import Sizes
from fpcore.theory.sharp_linear_bound import few_features_accuracy, sharp_linear_bound
from fpcore.theory.symmetric_polynomials import (
    SymmetricPolynomials,
    draw_histograms,
    thresholded_margin,
)

LAW_RESULT = "lower-bounds-law"  # of the published result
DENSE_NOISES = (0.3, 0.45)  # bounds on the noise of a coordinate, in units of a feature
THRESHOLD = 0.5  # of the pure network under dense noise: between silent and active features
LINEAR_SIZES = (768, 1536, 3072, 6144, 12288, 24576)
NOISY_SIZES = tuple(round(10 ** (e / 2)) for e in range(6, 21))  # 1000 to 10^10


def regime(d: int) -> Sizes:
    """The size d along k = 0.45 sqrt(d), with margin and noise of the protocol."""
    full = SYNTHETIC["full"]
    return Sizes(d, round(0.45 * math.sqrt(d)), full.margin, full.noise)


def measure_linear(d: int) -> list[dict[str, Any]]:
    """The best linear classifier at the protocol's radius, from above and from below: records.

    `class_bound` holds for all of them; `clean_accuracy`'s counterpart under attack is the exact
    one of the best classifier of a few features and a dense part.
    """
    size = regime(d)
    radius = SYNTHETIC["full"].reach / math.sqrt(size.k)
    cosines = np.linspace(0, 0.7, 36).tolist()
    few = max(few_features_accuracy(size, radius, n, a) for n in (1, 2, 3, 4) for a in cosines)
    return [
        record("class_bound", sharp_linear_bound(size, radius), "linear", d=d, k=size.k),
        record("robust_accuracy", few, "linear, few features", d=d, k=size.k),
    ]


def measure_noisy(d: int, dense: float, seed: int, samples: int = 400) -> list[dict[str, Any]]:
    """What each class keeps under bounded dense noise at the protocol's radius: records.

    d:       the size, along the regime
    dense:   bound on the noise of a coordinate, in units of a feature
    seed:    of the samples
    samples: to fit the polynomials to; as many others test them

    Of the best polynomial in the logistic loss against FGM, robust accuracy and loss: the former an
    upper bound. Of the pure network a certificate.
    """
    size, radius = regime(d), SYNTHETIC["full"].reach
    rng = np.random.default_rng([seed, d])
    known, fresh = (draw_histograms(size, dense, samples, rng) for _ in range(2))
    at: dict[str, Any] = {"d": d, "k": size.k, "setting": dense, "seed": seed}
    found = []
    for degree, name in ((1, "linear"), (3, "degree 3"), (5, "degree 5")):
        family = SymmetricPolynomials(degree)
        weights = family.fit(known, radius)
        margin = family.attacked(fresh, weights, radius, steps=8) @ weights
        loss = softplus(-margin).mean().item() / math.log(2)
        right = (margin > 0).double().mean().item()
        found += [
            record("robust_accuracy", right, name, **at),
            record("loss_over_zero", loss, name, **at),
        ]
    certified = thresholded_margin(fresh, dense, THRESHOLD, radius) > 0
    found.append(record("certified_accuracy", certified.double().mean().item(), "pure", **at))
    return found


def main(arguments: Sequence[str]) -> None:
    """The command `law`: compute the bounds, and publish them on request."""
    parser = argparse.ArgumentParser(prog="python -m fpbook law", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many (default: 5)")
    parser.add_argument(
        "--publish", action="store_true", help="write results/lower-bounds-law.json"
    )
    given = parser.parse_args(arguments)
    seeds = range(checks.positive_int("seeds", given.seeds))
    tables = []
    for d in LINEAR_SIZES:
        print(f"linear classifiers, d = {d}", flush=True)
        rows = kept(measure_linear, d)
        # Exact: the same for every seed.
        tables += [table(rows, seed=seed) for seed in seeds]
    for d in NOISY_SIZES:
        print(f"dense noise, d = {d}", flush=True)
        tables += [table(kept(measure_noisy, d, dense, s)) for dense in DENSE_NOISES for s in seeds]
    setting = f"k = 0.45 sqrt(d), {len(seeds)} seeds, from the law alone"
    found = publish(
        LAW_RESULT,
        joined(*tables),
        "full" if given.publish else "quick",
        torch.device("cpu"),
        setting,
    )
    print(found.to_string(index=False))
