"""The protocol at other sizes and outside its regime: what scales with d and k, what breaks it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from fpbook.results.cache import kept
from fpbook.results.records import record, table
from fpbook.results.summaries import joined
from fpbook.synthetic.measures import accuracy_bounds, medians
from fpbook.synthetic.protocol import SyntheticExperiment, SyntheticRun, run_synthetic
from fpcore import checks
from fpcore.certificates.certificate import certified_accuracy
from fpcore.decomposition.purification import active_share, features, live
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.class_bounds import even_part_bound, linear_bound
from fpcore.theory.cubic import cubic_accuracy

# (d, k): along k = 0.45 sqrt(d), the regime of the published run, and across k at one d
SCALING_SIZES = {
    "quick": ((196, 7), (256, 8), (324, 8), (324, 12), (324, 18)),
    "full": ((256, 7), (400, 9), (576, 11), (784, 13), (1024, 14), (576, 7), (576, 16), (576, 24)),
}
SWEEP_SEEDS = {"quick": 1, "full": 3}


def at_size(d: int, k: int, steps: int = 400, width: float = 4) -> SyntheticExperiment:
    """The protocol at another size, with width * d neurons and `steps` steps of FGM training."""
    checks.positive_int("d", d)
    return SyntheticExperiment(
        d=d,
        k=k,
        width=round(width * d),
        seeds=1,
        clean_steps=250,
        adversarial_steps=steps,
        test_samples=300,
    )


def base_experiment(profile: str) -> SyntheticExperiment:
    """The experiment that all sweeps of `limits` start from."""
    checks.choice("profile", profile, tuple(SCALING_SIZES))
    return at_size(196, 7, 300) if profile == "quick" else at_size(400, 9)


def limits(profile: str) -> dict[str, dict[float, SyntheticExperiment]]:
    """One sweep for each assumption, value -> experiment, around the one home that all share.

    In the quick profile a sweep is home and one value more.
    """
    base = base_experiment(profile)
    d, k = base.d, base.k
    rates = {
        c: replace(base, clean_lr=c * base.clean_lr, adversarial_lr=c * base.adversarial_lr)
        for c in (0.01, 0.1, 1.0)
    }
    ks = (k, round(math.sqrt(d)), round(2 * math.sqrt(d)), d // 4)  # a margin of 2.5 needs k >= 7
    radii = {
        t: replace(base, reach=t, training_reach=round(t + 0.06, 2)) for t in (0.3, 0.59, 0.8, 1.0)
    }
    sweeps = {
        # without weight decay, which would forget any initialization
        "initial norm |w0|, no decay": {
            s: replace(base, init_norm=s, decay=0.0) for s in (0.05, 1.0, 10.0)
        },
        "learning rate / ours": rates,
        "active features k": {float(n): replace(base, k=n) for n in ks},
        "width m / d": {w: replace(base, width=round(w * d)) for w in (0.25, 0.5, 1.0, 4.0)},
        "noise": {s: replace(base, noise=s) for s in (0.2, 0.5, 1.0)},
        "PGD steps in training (1: FGM)": {float(n): replace(base, attack_steps=n) for n in (1, 5)},
        "radius * sqrt(k)": radii,
        "margin": {g: replace(base, margin=g) for g in (0.5, 1.5, 2.0, 2.5)},
    }
    if profile == "full":
        return sweeps
    far = {
        "initial norm |w0|, no decay": (0.05, 10.0),
        "learning rate / ours": (0.1,),
        "active features k": (round(2 * d**0.5),),
        "width m / d": (0.5,),
        "noise": (1.0,),
        "PGD steps in training (1: FGM)": (5.0,),
        "radius * sqrt(k)": (0.8,),
        "margin": (1.5,),
    }
    return {
        name: {v: e for v, e in sweep.items() if e == base or v in far[name]}
        for name, sweep in sweeps.items()
    }


def run_limits(profile: str, seeds: list[int], device: torch.device) -> pd.DataFrame:
    """`measure_limit` in all sweeps of `limits`: records over sweep, setting and seed.

    With one progress bar.
    """
    todo = [
        (name, value, experiment)
        for name, sweep in limits(profile).items()
        for value, experiment in sweep.items()
    ]
    return joined(
        *(
            table(kept(limit, experiment, s, device), sweep=name, setting=value, seed=s)
            for name, value, experiment in tqdm(todo, desc="what breaks it")
            for s in seeds
        )
    )


def run_scaling(profile: str, seeds: list[int], device: torch.device) -> pd.DataFrame:
    """`measure_scaling` at each size of the profile's grid: records over d, k and seed.

    With a progress bar.
    """
    checks.choice("profile", profile, tuple(SCALING_SIZES))
    todo = [(d, k, s) for d, k in SCALING_SIZES[profile] for s in seeds]
    return joined(
        *(
            table(kept(scaling, at_size(d, k), s, device), d=d, k=k, seed=s)
            for d, k, s in tqdm(todo, desc="sizes and seeds")
        )
    )


def run_separation(profile: str, seeds: list[int], device: torch.device) -> pd.DataFrame:
    """The purified network and the cubic above the class bounds at the same radius, as d grows.

    Along the regime: records over d, k and seed.
    """
    checks.choice("profile", profile, tuple(SCALING_SIZES))
    sizes = [(d, k) for d, k in SCALING_SIZES[profile] if 0.4 <= k / math.sqrt(d) <= 0.6]
    # exact: the same for all seeds
    ceilings = {(d, k): linear_bound(at_size(d, k), at_size(d, k).radius) for d, k in sizes}
    found = []
    for seed, (d, k) in tqdm([(s, size) for s in seeds for size in sizes], desc="sizes and seeds"):
        bounds = [
            record("class_bound", ceilings[d, k], "linear"),
            record("class_bound", even_part_bound(ceilings[d, k]), "degree 2"),
        ]
        measured = kept(separation, at_size(d, k), seed, device)
        found.append(table([*measured, *bounds], d=d, k=k, seed=seed))
    return joined(*found)


def limit(experiment: SyntheticExperiment, seed: int, device: torch.device) -> list[dict[str, Any]]:
    """`measure_limit` of the experiment's run."""
    return measure_limit(run_synthetic(experiment, seed, device, progress=False))


def scaling(
    experiment: SyntheticExperiment, seed: int, device: torch.device
) -> list[dict[str, Any]]:
    """`measure_scaling` of the experiment's run."""
    return measure_scaling(run_synthetic(experiment, seed, device, progress=False))


def measure_limit(run: SyntheticRun) -> list[dict[str, Any]]:
    """Accuracies at the run's own radius, and what the neurons live after FGM training hold.

    The latter before it and after it; the clean network is not certified: records.
    """
    alive = live(run.purified)
    was, held = (
        features(n.weight.detach()[alive], run.data.features, run.data.u_star)
        for n in (run.clean, run.purified)
    )
    bounds = [
        *accuracy_bounds(run, "clean", restarts=1, branches=0),
        *accuracy_bounds(run, "purified", restarts=1, branches=1),
    ]
    wanted = (
        ("clean_accuracy", "clean"),
        ("robust_accuracy", "clean"),
        ("robust_accuracy", "purified"),
        ("certified_accuracy", "purified"),
    )
    return [
        *(row for row in bounds if (row["quantity"], row["network"]) in wanted),
        *medians("clean", purity=was.purity),
        *medians("purified", purity=held.purity),
        record("same_feature", (was.top == held.top).float().mean().item(), "purified"),
    ]


def measure_scaling(run: SyntheticRun) -> list[dict[str, Any]]:
    """The quantities whose scaling the theory predicts, for one trained run: records.

    None of the steps to 90% robust accuracy, if the run never gets there.
    """
    data = run.data
    alive = live(run.clean)
    held = features(run.clean.weight.detach()[alive], data.features, data.u_star)
    # the dense part is a sum of d coefficients of one sign, so each is its 1/sqrt(d)
    dense = (held.dense_part / held.purity).median().item() / math.sqrt(data.d)
    x, y = run.x[:150], run.y[:150]
    # the certificate is costly, and ends near the threshold
    few, beyond = slice(60), 0.75 / math.sqrt(data.k)
    certified = largest_radius(
        lambda r: certified_accuracy(run.purified, x[few], y[few], r, 1), 0.9, beyond
    )
    robust = [e["step"] for e in run.histories["purified"] if e["robust_accuracy"] >= 0.9]
    return [
        record("dense_coefficient", dense, "clean"),
        record("broken_radius", boundary_along(run.clean, data, x, y).median().item(), "clean"),
        record("certified_radius", certified, "purified"),
        record("active_share", active_share(run.clean, x), "clean"),
        record("active_share", active_share(run.purified, x), "purified"),
        *(record("steps_to_robust", float(step), "purified") for step in robust[:1]),
    ]


def separation(
    experiment: SyntheticExperiment, seed: int, device: torch.device
) -> list[dict[str, Any]]:
    """The purified network and the cubic, certified at the experiment's radius: records."""
    run = run_synthetic(experiment, seed, device, progress=False)
    radius = experiment.radius
    reached = certified_accuracy(run.purified, run.x, run.y, radius, branches=1)
    cubic = cubic_accuracy(run.data, run.x, run.y, radius)
    return [
        record("certified_accuracy", reached, "purified"),
        record("certified_accuracy", cubic, "degree 3, witness"),
    ]


@torch.no_grad()
def boundary_along(
    net: TwoLayer, data: SparseCoding, x: Tensor, y: Tensor, points: int = 100
) -> Tensor:
    """Distance that each sample has to move along -y u* until its label flips: (n,).

    net:    the network
    data:   where u* is known from
    x, y:   samples, (n, d) and (n,)
    points: of the grid of distances, whose end, 2/sqrt(k), stands for all beyond
    """
    grid = torch.linspace(0, 2 / math.sqrt(data.k), points, device=x.device)
    moved = [y * net(x - r * y[:, None] * data.u_star) <= 0 for r in grid]
    wrong = torch.stack(moved)  # (points, n)
    first = torch.where(wrong.any(0), wrong.float().argmax(0), points - 1)
    return grid[first]


def largest_radius(
    accuracy_at: Callable[[float], float], share: float, high: float, steps: int = 7
) -> float:
    """The largest radius at which an accuracy is at least `share`, from below.

    accuracy_at: a falling function of the radius
    share:       the accuracy that is wanted
    high:        the end of the range, [0, high]
    steps:       of bisection
    """
    low = 0.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if accuracy_at(middle) >= share else (low, middle)
    return low
