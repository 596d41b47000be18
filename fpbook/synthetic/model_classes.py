"""Side by side at one radius: linear, polynomial and tangent models, trained; and their classes."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fpbook.results.records import record
from fpbook.synthetic.measures import accuracy_bounds, robust_correct_with_dense
from fpbook.synthetic.protocol import SyntheticExperiment, run_synthetic
from fpcore import checks
from fpcore.attacks import Attack, robust_correct, transfer
from fpcore.ball import Ball
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

# Of the side-by-side, in its order; "degree 2" to "infinite width" are kernel machines.
MODELS = ("linear", "degree 2", "degree 3", "NTK, infinite width", "NTK, network's width")
TRAININGS = ("clean", "adversarial")  # of each model
Row = dict[str, Any]  # a record


@dataclass(frozen=True)
class LowComplexity:
    """How long the low-complexity models train: one protocol for all sizes.

    Every step size follows from d, k and width. A tangent model is trained, and its witness built,
    at each of `widths`; the side-by-side has the network's own width alone.
    """

    seeds: int
    samples: int  # of the kernel machines: one pass
    widths: tuple[float, ...]  # in units of the network's own
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
        """SGD on clean (radius 0) or FGM examples, from 0.

        The FGM example of a linear model is its worst case.
        """
        model = Linear(data.d).to(data.device)
        self._train(model, data, radius, seed, steps=400, lr=float(data.d))
        return model

    def machine(
        self, kernel: Kernel, data: SparseCoding, radius: float, seed: int
    ) -> KernelMachine:
        """A kernel machine after one pass over fresh samples, clean or FGM.

        It is not told the features.
        """
        model = KernelMachine(kernel, data.d).to(data.device)
        train_kernel(model, data, self.samples, radius, self.kernel_lr, self.batch, seed)
        return model

    def tangent(self, net: TwoLayer, data: SparseCoding, radius: float, seed: int) -> Tangent:
        """The tangent model of `net` after SGD on clean or FGM examples."""
        model = Tangent(net)
        lr = self.tangent_lr * data.d * data.k**2 / len(model.weight)
        self._train(model, data, radius, seed, steps=self.tangent_steps, lr=lr)
        return model

    def _train(
        self, model: nn.Module, data: SparseCoding, radius: float, seed: int, steps: int, lr: float
    ) -> None:
        """SGD with a step size that falls linearly from `lr` to 0."""
        falling = Schedule((0, lr), (1, 0))
        training = Training(steps=steps, lr=falling, batch=self.batch, radius=radius, seed=seed)
        train(model, data, training, every=steps)


LOW_COMPLEXITY = {
    "quick": LowComplexity(seeds=1, samples=2048, widths=(1, 4), tangent_steps=50, attacked=80),
    "full": LowComplexity(
        seeds=5, samples=8192, widths=(1, 4, 12.8), tangent_steps=300, attacked=300
    ),
}


def compared_kernels(experiment: SyntheticExperiment) -> dict[str, Kernel]:
    """The kernels of the side-by-side: of degrees 2 and 3, and the NTK of infinite width.

    Even parts do not help a polynomial of degree 3 (`even_part_bound`), so it has none; there,
    degree 1 weighs 1/d, the typical size of <x, x'>^2.
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
    """Clean and robust accuracy of any model, {quantity: value}; the latter an upper bound.

    model:  any model
    data:   where the dense direction is known from
    x, y:   samples, (n, d) and (n,)
    radius: l2, of the attacks

    Robust is what survives FGM, PGD, u* and, for a `Tangent`, PGD on smooth activity. A tangent
    model's activity jumps, which its gradient does not show: attacks that follow the gradient alone
    find it robust where it is not (`gradient_accuracy`).
    """
    right = robust_correct_with_dense(model, data, x, y, radius, restarts=2)
    robust = by_gradient = right.float().mean().item()
    if isinstance(model, Tangent):
        survivors = right.nonzero().squeeze(1)
        for temperature in (0.03, 0.1, 0.3):
            if len(survivors):
                smooth = smoothed_pgd(model, Ball("l2", radius), temperature)
                survivors = survivors[_withstood(model, x[survivors], y[survivors], radius, smooth)]
        robust = len(survivors) / len(x)
    return {
        "clean_accuracy": accuracy(model, x, y),
        "gradient_accuracy": by_gradient,
        "robust_accuracy": robust,
    }


def _withstood(model: nn.Module, x: Tensor, y: Tensor, radius: float, attack: Attack) -> Tensor:
    """Which samples survive one more attack: (n,), bool."""
    ball = Ball("l2", radius)
    return robust_correct(model, x, y, ball, steps=1, restarts=1, extra=(attack,))


def smoothed_pgd(model: Tangent, ball: Ball, temperature: float) -> Attack:
    """PGD on the tangent model with smoothed activity: it sees where neurons switch."""
    surrogate = copy.copy(model)  # shares all tensors
    surrogate.temperature = temperature
    return transfer(surrogate, ball)


def measure_model(
    config: LowComplexity,
    experiment: SyntheticExperiment,
    seed: int,
    device: torch.device,
    name: str,
    training: str,
) -> list[Row]:
    """One of MODELS, trained in one way of TRAININGS, at the experiment's radius: records.

    config:     how the models train
    experiment: the protocol of the network beside them
    seed:       of data, initialization and samples
    device:     to train on
    name:       of the model
    training:   on clean or on FGM examples

    Of "linear, clean", say. `class_bound` is an upper bound on the whole class, where one is known.
    """
    checks.choice("name", name, MODELS)
    checks.choice("training", training, TRAININGS)
    data, tau = experiment.data(seed, device), experiment.radius
    x, y = _attacked(config, experiment, data, seed)
    radius = tau if training == "adversarial" else 0.0
    if name == "linear":
        model: nn.Module = config.linear(data, radius, seed)
    elif name == "NTK, network's width":
        model = config.tangent(experiment.network(seed, device), data, radius, seed)
    else:
        model = config.machine(compared_kernels(experiment)[name], data, radius, seed)
    found = _records(f"{name}, {training}", model_accuracies(model, data, x, y, tau))
    if name in ("linear", "degree 2"):
        # No linear model exceeds the bound, and no quadratic one by more than chance (lem-even).
        ceiling = linear_bound(experiment, tau)
        bound = ceiling if name == "linear" else even_part_bound(ceiling)
        found.append(record("class_bound", bound, f"{name}, {training}"))
    return found


def measure_witness(
    config: LowComplexity, experiment: SyntheticExperiment, seed: int, device: torch.device
) -> list[Row]:
    """The cubic that knows the features, "degree 3, witness": records.

    The arguments are those of `measure_model`. `certified_accuracy` is a lower bound on this one
    member of its class, on all test samples.
    """
    data, tau = experiment.data(seed, device), experiment.radius
    certified = cubic_accuracy(data, *data.test_set(experiment.test_samples, seed), tau)
    x, y = _attacked(config, experiment, data, seed)
    reached = model_accuracies(Cubic(data.features, data.w_star), data, x, y, tau)
    return _records("degree 3, witness", reached | {"certified_accuracy": certified})


def _attacked(
    config: LowComplexity, experiment: SyntheticExperiment, data: SparseCoding, seed: int
) -> tuple[Tensor, Tensor]:
    """The test samples that are attacked, the first ones."""
    x, y = data.test_set(experiment.test_samples, seed)
    return x[: config.attacked], y[: config.attacked]


def _records(network: str, numbers: Mapping[str, float]) -> list[Row]:
    """A record of each of a model's {quantity: value}."""
    return [record(quantity, value, network) for quantity, value in numbers.items()]


def measure_networks(
    config: LowComplexity, experiment: SyntheticExperiment, seed: int, device: torch.device
) -> list[Row]:
    """The two-layer network of the same seed on the same samples, "clean" and "purified": records.

    The arguments are those of `measure_model`.
    """
    run = run_synthetic(experiment, seed, device)
    few = replace(run, x=run.x[: config.attacked], y=run.y[: config.attacked])
    return [
        row
        for name in ("clean", "purified")
        for row in accuracy_bounds(few, name, restarts=2, branches=1)
    ]


def lower_bounds(measured: Sequence[Row], radius: float) -> list[Row]:
    """What claims L1 to L3 rest on, of one seed: records.

    Of each model, what the better of its two trainings reaches under attack; the class bounds; the
    cubic's certificate. `measured` are records of all MODELS and of the witness, at `radius`.
    """
    numbers = {(row["quantity"], row["network"]): row["value"] for row in measured}
    models = ("linear", "degree 2", "degree 3", "NTK, network's width", "NTK, infinite width")
    best = {
        name: max(numbers["robust_accuracy", f"{name}, {how}"] for how in TRAININGS)
        for name in models  # in the order of what is published
    }
    witness = "degree 3, witness"
    return [
        record("radius", radius),
        *(
            record("class_bound", numbers["class_bound", f"{name}, clean"], name)
            for name in ("linear", "degree 2")
        ),
        *(record("robust_accuracy", value, name) for name, value in best.items()),
        record("certified_accuracy", numbers["certified_accuracy", witness], witness),
    ]


def measure_width(
    config: LowComplexity, experiment: SyntheticExperiment, seed: int, device: torch.device
) -> list[Row]:
    """An FGM-trained tangent model and an untrained witness at the experiment's width: records.

    The arguments are those of `measure_model`.
    """
    data, net = experiment.data(seed, device), experiment.network(seed, device)
    x, y = data.test_set(config.attacked, seed)
    models = {
        "NTK, trained": config.tangent(net, data, experiment.radius, seed),
        "NTK, witness": tangent_witness(net, data),
    }
    return [
        row
        for name, model in models.items()
        for row in _records(name, model_accuracies(model, data, x, y, experiment.radius))
    ]
