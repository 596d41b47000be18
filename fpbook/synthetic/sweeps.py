"""The protocol at other sizes and outside its regime: what is measured of its runs there.

The chapters hold the settings, and the loops over them.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fpbook.results.records import record
from fpbook.synthetic.measures import accuracy_bounds, medians
from fpbook.synthetic.protocol import SyntheticExperiment, SyntheticRun
from fpcore import checks
from fpcore.certificates.certificate import certified_accuracy
from fpcore.decomposition.purification import active_share, features, live
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
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
        patience=None,  # outside its regime a collapse is what there is to measure
    )


def base_experiment(profile: str) -> SyntheticExperiment:
    """The experiment that all sweeps of the chapter on limits start from."""
    checks.choice("profile", profile, tuple(SCALING_SIZES))
    return at_size(196, 7, 300) if profile == "quick" else at_size(400, 9)


def home_settings(home: SyntheticExperiment) -> dict[str, float]:
    """Where the protocol itself stands in the sweeps that it is in, {sweep: setting}."""
    return {
        "learning rate / ours": 1.0,
        "active features k": float(home.k),
        "width m / d": home.width / home.d,
        "noise": home.noise,
        "PGD steps in training (1: FGM)": float(home.attack_steps),
        "radius * sqrt(k)": home.reach,
        "margin": home.margin,
    }


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


def measure_separation(run: SyntheticRun) -> list[dict[str, Any]]:
    """The purified network and the cubic, certified at the run's radius: records."""
    radius = run.experiment.radius
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
    grid = torch.linspace(0, 2 / math.sqrt(data.k), points, dtype=x.dtype, device=x.device)
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
