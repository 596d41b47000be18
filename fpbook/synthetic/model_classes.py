"""Side by side at one radius: what linear, polynomial and tangent models reach when trained, and what their classes can."""

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from fpbook.first import summarise
from fpbook.results.cache import kept
from fpbook.synthetic.measures import accuracy_bounds, robust_correct_with_dense
from fpbook.synthetic.protocol import SyntheticExperiment, run_synthetic
from fpbook.synthetic.sweeps import SCALING_SIZES, at_size
from fpcore import checks
from fpcore.attacks import Attack, Ball, robust_correct, transfer
from fpcore.certificates.certificate import certified_accuracy
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.class_bounds import even_part_bound, linear_bound
from fpcore.theory.cubic import Cubic, cubic_accuracy
from fpcore.theory.kernels import (
    Kernel,
    KernelMachine,
    Linear,
    Tangent,
    polynomial,
    tangent_kernel,
    tangent_witness,
    train_kernel,
)
from fpcore.training import Schedule, Training, train


@dataclass(frozen=True)
class LowComplexity:
    """How long the low-complexity models train: one protocol for all sizes; every step size follows from d, k, width.

    `widths`, in units of the network's own, are those of `run_widths`: a tangent model is trained, and its witness built, at
    each. The side-by-side has the network's own width alone.
    """

    seeds: int
    samples: int  # of the kernel machines: one pass
    widths: tuple[float, ...]
    tangent_steps: int
    attacked: int  # test samples under attack
    kernel_lr: float = 0.5
    tangent_lr: float = 0.3  # times d k^2 / width
    batch: int = 256

    def __post_init__(self):
        for name in ("seeds", "samples", "tangent_steps", "attacked", "batch"):
            checks.positive_int(name, getattr(self, name))
        for name in ("kernel_lr", "tangent_lr"):
            checks.finite(name, getattr(self, name))
        for width in self.widths:
            checks.finite("width", width, low=0.01)

    def linear(self, data: SparseCoding, radius: float, seed: int) -> Linear:
        """SGD on clean (radius 0) or FGM examples, from 0; the FGM example of a linear model is its worst case."""
        model = Linear(data.d).to(data.device)
        lr = float(data.d)
        train(
            model,
            data,
            Training(400, Schedule((0, lr), (1, 0)), self.batch, radius=radius, seed=seed),
            every=400,
        )
        return model

    def machine(
        self, kernel: Kernel, data: SparseCoding, radius: float, seed: int
    ) -> KernelMachine:
        """A kernel machine after one pass over fresh samples, clean or FGM; it is not told the features."""
        model = KernelMachine(kernel, data.d).to(data.device)
        train_kernel(model, data, self.samples, radius, self.kernel_lr, self.batch, seed)
        return model

    def tangent(self, net: TwoLayer, data: SparseCoding, radius: float, seed: int) -> Tangent:
        """The tangent model of `net` after SGD on clean or FGM examples."""
        model = Tangent(net)
        lr = self.tangent_lr * data.d * data.k**2 / len(model.weight)
        schedule = Schedule((0, lr), (1, 0))
        train(
            model,
            data,
            Training(self.tangent_steps, schedule, self.batch, radius=radius, seed=seed),
            every=self.tangent_steps,
        )
        return model


LOW_COMPLEXITY = {
    "quick": LowComplexity(seeds=1, samples=2048, widths=(1, 4), tangent_steps=50, attacked=80),
    "full": LowComplexity(
        seeds=5, samples=8192, widths=(1, 4, 12.8), tangent_steps=300, attacked=300
    ),
}


def compared_kernels(experiment: SyntheticExperiment) -> dict[str, Kernel]:
    """The kernels of the side-by-side: all polynomials of degree 2, the odd ones of degree 3, the NTK of infinite width.

    Even parts do not help a polynomial of degree 3 (`even_part_bound`), so it has none; there, degree 1 weighs 1/d, the
    typical size of <x, x'>^2.
    """
    low = 1 / experiment.d
    return {
        "degree 2": polynomial(low, 1.0, 1.0),
        "degree 3": polynomial(0.0, low, 0.0, 1.0),
        "NTK, infinite width": tangent_kernel(experiment.thresholds[0]),
    }


def model_accuracies(
    model: nn.Module, data: SparseCoding, x: Tensor, y: Tensor, radius: float
) -> dict[str, float]:
    """Clean accuracy, and robust accuracy under the worst of FGM, PGD, u* and, for a `Tangent`, PGD on smooth activity.

    A tangent model's activity jumps, which its gradient does not show: attacks that follow the gradient alone find it
    robust where it is not (`gradient_accuracy`).
    """
    right, ball = (
        robust_correct_with_dense(model, data, x, y, radius, restarts=2),
        Ball("l2", radius),
    )
    found = {
        "clean_accuracy": accuracy(model, x, y),
        "gradient_accuracy": right.float().mean().item(),
    }
    if isinstance(model, Tangent):
        survivors = right.nonzero().squeeze(1)
        for temperature in (0.03, 0.1, 0.3):
            if len(survivors):
                left = robust_correct(
                    model,
                    x[survivors],
                    y[survivors],
                    ball,
                    steps=1,
                    restarts=1,
                    extra=(smoothed_pgd(model, ball, temperature),),
                )
                survivors = survivors[left]
        found["robust_accuracy"] = len(survivors) / len(x)
    else:
        found["robust_accuracy"] = found["gradient_accuracy"]
    return found


def smoothed_pgd(model: Tangent, ball: Ball, temperature: float) -> Attack:
    """PGD on the tangent model with smoothed activity: it sees where neurons switch."""
    surrogate = copy.copy(model)  # shares all tensors
    surrogate.temperature = temperature
    return transfer(surrogate, ball)


def measure_low_complexity(
    config: LowComplexity, experiment: SyntheticExperiment, seed: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """The rows of the three classes, for one seed: {model: {clean_accuracy, robust_accuracy, ...}} at the experiment's radius.

    `class_bound` (an upper bound on the whole class) and `certified_accuracy` (a lower bound on one member) where known.
    """
    data, tau = experiment.data(seed, device), experiment.radius
    x, y = data.test_set(experiment.test_samples, seed)
    cubic = cubic_accuracy(data, x, y, tau)
    x, y = x[: config.attacked], y[: config.attacked]
    rows: dict[str, dict[str, float]] = {}
    for suffix, radius in ((", clean", 0.0), (", adversarial", tau)):
        models: dict[str, nn.Module] = {"linear": config.linear(data, radius, seed)}
        models |= {
            name: config.machine(kernel, data, radius, seed)
            for name, kernel in compared_kernels(experiment).items()
        }
        net = experiment.network(seed, device)
        models["NTK, network's width"] = config.tangent(net, data, radius, seed)
        rows |= {
            name + suffix: model_accuracies(model, data, x, y, tau)
            for name, model in models.items()
        }
    witness = Cubic(data.features, data.w_star)
    rows["degree 3, witness"] = model_accuracies(witness, data, x, y, tau) | {
        "certified_accuracy": cubic
    }
    ceiling = linear_bound(experiment, tau)
    for row, bound in (("linear", ceiling), ("degree 2", even_part_bound(ceiling))):
        for suffix in (", clean", ", adversarial"):
            rows[row + suffix]["class_bound"] = bound
    return rows


def measure_networks(
    config: LowComplexity, experiment: SyntheticExperiment, seed: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """The same rows for the two-layer network of this seed, on the same samples: after clean, and after FGM training."""
    run = run_synthetic(experiment, seed, device)
    few = replace(run, x=run.x[: config.attacked], y=run.y[: config.attacked])
    nets = {"clean network": run.clean, "purified network": run.purified}
    return {name: accuracy_bounds(few, net, restarts=2, branches=1) for name, net in nets.items()}


def run_low_complexity(
    config: LowComplexity, experiment: SyntheticExperiment, seed: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """All rows of the side-by-side for one seed, or what was found before: a finished seed is kept beside the checkpoints."""
    arguments = (config, experiment, seed, device)
    return kept(measure_low_complexity, *arguments) | kept(measure_networks, *arguments)


def measure_width(
    config: LowComplexity, experiment: SyntheticExperiment, seed: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """An FGM-trained tangent model and an untrained witness at the experiment's width: their rows."""
    data, net = experiment.data(seed, device), experiment.network(seed, device)
    x, y = data.test_set(config.attacked, seed)
    models = {
        "trained": config.tangent(net, data, experiment.radius, seed),
        "witness": tangent_witness(net, data),
    }
    return {
        name: model_accuracies(model, data, x, y, experiment.radius)
        for name, model in models.items()
    }


def run_widths(
    config: LowComplexity, experiment: SyntheticExperiment, seeds: list[int], device: torch.device
) -> dict[str, dict[str, Any]]:
    """`measure_width` over the widths of `config`: "width/model/figure" -> mean and 95% interval over seeds."""
    found: dict[int, dict[str, float]] = {s: {} for s in seeds}
    for seed, times in tqdm(
        [(s, w) for s in seeds for w in config.widths], desc="widths and seeds"
    ):
        wider = replace(experiment, width=round(times * experiment.width))
        rows = kept(measure_width, config, wider, seed, device)
        found[seed] |= {
            f"{wider.width}/{name}/{figure}": v
            for name, row in rows.items()
            for figure, v in row.items()
        }
    return summarise([*found.values()])


def measure_separation(
    experiment: SyntheticExperiment, seed: int, device: torch.device
) -> dict[str, float]:
    """Certified accuracies, of the purified network and of the cubic, at the experiment's radius."""
    run = run_synthetic(experiment, seed, device, progress=False)
    return {
        "purified_accuracy": certified_accuracy(
            run.purified, run.x, run.y, experiment.radius, branches=1
        ),
        "cubic_accuracy": cubic_accuracy(run.data, run.x, run.y, experiment.radius),
    }


def run_separation(
    profile: str, seeds: list[int], device: torch.device
) -> dict[str, dict[str, Any]]:
    """The purified network and the cubic, certified, above the class bounds at the same radius as d grows in the regime.

    "d/figure" -> mean and 95% interval over seeds.
    """
    checks.choice("profile", profile, tuple(SCALING_SIZES))
    sizes = [(d, k) for d, k in SCALING_SIZES[profile] if 0.4 <= k / math.sqrt(d) <= 0.6]
    ceilings = {
        (d, k): linear_bound(at_size(d, k), at_size(d, k).radius) for d, k in sizes
    }  # exact: the same for all seeds
    found: dict[int, dict[str, float]] = {s: {} for s in seeds}
    for seed, (d, k) in tqdm([(s, size) for s in seeds for size in sizes], desc="sizes and seeds"):
        row, ceiling = kept(measure_separation, at_size(d, k), seed, device), ceilings[d, k]
        row |= {"linear_accuracy": ceiling, "quadratic_accuracy": even_part_bound(ceiling)}
        found[seed] |= {f"{d}/{name}": value for name, value in row.items()}
    return summarise([*found.values()])


def lower_bound_figures(
    rows: list[dict[str, dict[str, float]]], radius: float
) -> list[dict[str, float]]:
    """The figures of claims L1 to L3 for each seed; robust accuracies are those of the better of the two trainings."""
    figures = []
    for row in rows:

        def best(name: str, row=row) -> float:
            return max(row[f"{name}, {how}"]["robust_accuracy"] for how in ("clean", "adversarial"))

        figures.append(
            {
                "radius": radius,
                "class_bound_linear_accuracy": row["linear, clean"]["class_bound"],
                "class_bound_degree2_accuracy": row["degree 2, clean"]["class_bound"],
                "robust_accuracy_linear": best("linear"),
                "robust_accuracy_degree2": best("degree 2"),
                "robust_accuracy_degree3": best("degree 3"),
                "robust_accuracy_ntk": best("NTK, network's width"),
                "robust_accuracy_ntk_limit": best("NTK, infinite width"),
                "certified_accuracy_witness": row["degree 3, witness"]["certified_accuracy"],
            }
        )
    return figures
