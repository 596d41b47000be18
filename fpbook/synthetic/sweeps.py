"""The protocol at other sizes and outside its regime: what scales how with d and k, and what breaks it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from fpbook.first import summarise
from fpbook.results.cache import kept
from fpbook.synthetic.measures import accuracy_bounds
from fpbook.synthetic.protocol import SyntheticExperiment, SyntheticRun, run_synthetic
from fpcore import checks
from fpcore.certificates.certificate import certified_accuracy
from fpcore.decomposition.purification import active_share, features, live
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding

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
        d, k, round(width * d), 1, clean_steps=250, adversarial_steps=steps, test_samples=300
    )


def base_experiment(profile: str) -> SyntheticExperiment:
    """The experiment that all sweeps of `limits` start from."""
    checks.choice("profile", profile, tuple(SCALING_SIZES))
    return at_size(196, 7, 300) if profile == "quick" else at_size(400, 9)


def limits(profile: str) -> dict[str, dict[float, SyntheticExperiment]]:
    """One sweep for each assumption, value -> experiment, around the one home that all share; quick: home and one more."""
    base = base_experiment(profile)
    d, k = base.d, base.k
    rates = {
        c: replace(base, clean_lr=c * base.clean_lr, adversarial_lr=c * base.adversarial_lr)
        for c in (0.01, 0.1, 1.0)
    }
    ks = (k, round(math.sqrt(d)), round(2 * math.sqrt(d)), d // 4)  # a margin of 2.5 needs k >= 7
    # without weight decay, which would forget any initialisation
    sweeps = {
        "initial norm |w0|, no decay": {
            s: replace(base, init_norm=s, decay=0.0) for s in (0.05, 1.0, 10.0)
        },
        "learning rate / ours": rates,
        "active features k": {float(n): replace(base, k=n) for n in ks},
        "width m / d": {w: replace(base, width=round(w * d)) for w in (0.25, 0.5, 1.0, 4.0)},
        "noise": {s: replace(base, noise=s) for s in (0.2, 0.5, 1.0)},
        "PGD steps in training (1: FGM)": {float(n): replace(base, attack_steps=n) for n in (1, 5)},
        "radius * sqrt(k)": {
            t: replace(base, reach=t, training_reach=round(t + 0.06, 2))
            for t in (0.3, 0.59, 0.8, 1.0)
        },
        "margin": {g: replace(base, margin=g) for g in (0.5, 1.5, 2.0, 2.5)},
    }
    if profile == "full":
        return sweeps
    far = {
        "initial norm |w0|, no decay": (0.05, 10.0),
        "learning rate / ours": (0.1,),
        "active features k": (round(2 * d**0.5),),
    }
    far |= {"width m / d": (0.5,), "noise": (1.0,), "PGD steps in training (1: FGM)": (5.0,)}
    far |= {"radius * sqrt(k)": (0.8,), "margin": (1.5,)}
    return {
        name: {v: e for v, e in sweep.items() if e == base or v in far[name]}
        for name, sweep in sweeps.items()
    }


def run_limits(profile: str, seeds: list[int], device: torch.device) -> dict[str, dict[str, Any]]:
    """All sweeps of `limits`: "sweep/value/figure" -> mean and 95% interval over seeds, with one progress bar."""
    sweeps = limits(profile)
    todo = [
        (f"{name}/{value:g}", experiment)
        for name, sweep in sweeps.items()
        for value, experiment in sweep.items()
    ]
    out: dict[str, dict[str, Any]] = {}
    for key, experiment in tqdm(todo, desc="what breaks it"):
        summary = summarise([kept(limit, experiment, s, device) for s in seeds])
        out |= {f"{key}/{figure}": number for figure, number in summary.items()}
    return out


def run_scaling(profile: str, seeds: list[int], device: torch.device) -> list[dict[str, Any]]:
    """One row {d, k, seed, **measure_scaling} for each size of the profile's grid and each seed, with a progress bar."""
    checks.choice("profile", profile, tuple(SCALING_SIZES))
    todo = [(d, k, s) for d, k in SCALING_SIZES[profile] for s in seeds]
    rows = []
    for d, k, s in tqdm(todo, desc="sizes and seeds"):
        rows.append({"d": d, "k": k, "seed": s, **kept(scaling, at_size(d, k), s, device)})
    return rows


def limit(experiment: SyntheticExperiment, seed: int, device: torch.device) -> dict[str, float]:
    """`measure_limit` of the experiment's run."""
    return measure_limit(run_synthetic(experiment, seed, device, progress=False))


def scaling(
    experiment: SyntheticExperiment, seed: int, device: torch.device
) -> dict[str, float | None]:
    """`measure_scaling` of the experiment's run."""
    return measure_scaling(run_synthetic(experiment, seed, device, progress=False))


def measure_limit(run: SyntheticRun) -> dict[str, float]:
    """Accuracies at the run's own radius, and what the neurons live after FGM training hold, before and after it."""
    alive = live(run.purified)
    was, held = (
        features(n.weight.detach()[alive], run.data.features, run.data.u_star)
        for n in (run.clean, run.purified)
    )
    before, after = (
        accuracy_bounds(run, run.clean, restarts=1, branches=0),
        accuracy_bounds(run, run.purified, restarts=1, branches=1),
    )
    return {
        "clean_accuracy": before["clean_accuracy"],
        "robust_accuracy": before["robust_accuracy"],
        "robust_accuracy_adv": after["robust_accuracy"],
        "certified_accuracy_adv": after["certified_accuracy"],
        "purity": was.purity.median().item(),
        "purity_adv": held.purity.median().item(),
        "same_feature": (was.top == held.top).float().mean().item(),
    }


def measure_scaling(run: SyntheticRun) -> dict[str, float | None]:
    """The quantities whose scaling the theory predicts, for one trained run."""
    data = run.data
    alive = live(run.clean)
    held = features(run.clean.weight.detach()[alive], data.features, data.u_star)
    x, y = run.x[:150], run.y[:150]
    few, beyond = (
        slice(60),
        0.75 / math.sqrt(data.k),
    )  # the certificate is costly, and ends near the threshold
    robust = [e["step"] for e in run.histories["adversarial"] if e["robust_accuracy"] >= 0.9]
    return {
        # the dense part is a sum of d coefficients of one sign, so each is its 1/sqrt(d)
        "dense_coefficient": (held.dense_part / held.purity).median().item() / math.sqrt(data.d),
        "broken_radius": boundary_along(run.clean, data, x, y).median().item(),
        "certified_radius": largest_radius(
            lambda r: certified_accuracy(run.purified, x[few], y[few], r, 1), 0.9, beyond
        ),
        "active_clean": active_share(run.clean, x),
        "active_adv": active_share(run.purified, x),
        "steps": float(robust[0]) if robust else None,
    }


@torch.no_grad()
def boundary_along(
    net: TwoLayer, data: SparseCoding, x: Tensor, y: Tensor, points: int = 100
) -> Tensor:
    """Distance (n,) that each sample has to move along -y u* until its label flips; at most 2/sqrt(k), the grid's end."""
    grid = torch.linspace(0, 2 / math.sqrt(data.k), points, device=x.device)
    wrong = torch.stack(
        [y * net(x - r * y[:, None] * data.u_star) <= 0 for r in grid]
    )  # (points, n)
    first = torch.where(wrong.any(0), wrong.float().argmax(0), points - 1)
    return grid[first]


def largest_radius(
    accuracy_at: Callable[[float], float], share: float, high: float, steps: int = 7
) -> float:
    """The largest radius at which the falling function `accuracy_at` is at least `share`, by bisection on [0, high]."""
    low = 0.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if accuracy_at(middle) >= share else (low, middle)
    return low
