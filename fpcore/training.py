"""One training loop, clean or adversarial: seeded, with a progress bar, history and checkpoints."""

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from fpcore import checkpoint as checkpoints
from fpcore import checks
from fpcore.attacks import one_step, pgd
from fpcore.ball import Ball, finite_rows
from fpcore.models.outputs import fitting, loss, one_output_each, samples

# What may be not finite in a step, and the fix. A step has the first of them that applies.
LOSS, DATA, GRADIENT = 1, 2, 3
FAULTS = {
    0: "give a smaller lr than {lr}",
    LOSS: "give a smaller lr than {lr}",
    DATA: "the data hold numbers that are not finite (NaN or infinity), give data without them",
    GRADIENT: "the network's gradient in x is not finite, so there is no adversarial example: "
    "give a network that is differentiable there, or radius=0",
}


class Data(Protocol):
    """What `train` asks of data: the mini-batch of a step as a pure function of (seed, step)."""

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Schedule:
    """A piecewise-linear function of training progress.

    `Schedule((0, 0.1), (0.2, 1), (1, 0))` rises, then falls. Points are (progress in [0, 1],
    value >= 0), in order; calling it with a progress gives the value there.
    """

    points: tuple[tuple[float, float], ...]

    def __init__(self, *points: tuple[float, float]):
        object.__setattr__(self, "points", tuple((float(a), float(b)) for a, b in points))
        if not self.points or sorted(self.points, key=lambda p: p[0]) != list(self.points):
            raise ValueError(f"Schedule{self.points}: give points in the order of progress")
        for at, value in self.points:
            checks.finite("progress of a schedule", at, high=1.0)
            checks.finite("value of a schedule", value)

    def __call__(self, progress: float) -> float:
        at, values = zip(*self.points)
        return float(np.interp(progress, at, values))


@dataclass(frozen=True)
class Training:
    """The configuration of one training run: SGD on fresh or shuffled mini-batches.

    steps         number of steps
    lr            step size: a number or a `Schedule`
    batch         samples a step
    momentum      Nesterov momentum, 0: none
    weight_decay  as in `torch.optim.SGD`
    norm          "l2" or "linf", of the adversary
    radius        of the adversary, a number or a `Schedule`; 0: clean training
    box           (low, high) that adversarial examples are kept in, None: no box
    attack_steps  1 trains on FGM, more on PGD
    threshold     of networks that have one (`TwoLayer`), a number or a `Schedule`; None: leave it
    clip          the largest gradient norm; None: no limit
    seed          of the mini-batches

    Networks, and attacks on them, run in the device's `checks.arithmetic`; weights and losses are
    float32.
    """

    steps: int
    lr: float | Schedule
    batch: int = 512
    momentum: float = 0.0
    weight_decay: float = 0.0
    norm: str = "l2"
    radius: float | Schedule = 0.0
    box: tuple[float, float] | None = None
    attack_steps: int = 1
    threshold: float | Schedule | None = None
    clip: float | None = None
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch", "attack_steps"):
            checks.positive_int(name, getattr(self, name))
        for name in ("lr", "radius", "threshold", "clip", "weight_decay"):
            value = getattr(self, name)
            optional = value is None and name in ("threshold", "clip")
            if not isinstance(value, Schedule) and not optional:
                checks.finite(name, value)
        checks.finite("momentum", self.momentum, high=1.0)
        checks.whole("seed", self.seed)
        Ball(self.norm, 0.0, self.box)  # its checks

    def at(self, name: str, step: int) -> float:
        """The value of "lr", "radius" or "threshold" at a step: the last one is progress 1."""
        value = getattr(self, name)
        return value(step / max(1, self.steps - 1)) if isinstance(value, Schedule) else value

    def text(self) -> str:
        """All fields as JSON: what a checkpoint is compared by."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def train(
    model: nn.Module,
    data: Data,
    config: Training,
    *,
    measure: Callable[[nn.Module], dict[str, Any]] | None = None,
    every: int = 100,
    checkpoint: str | Path | None = None,
    progress: str | None = None,
) -> list[dict[str, Any]]:
    """Train `model` in place, on the device where it is; return the history.

    model       gives one logit a sample, or class scores
    data        gives the mini-batch of each step
    config      steps, step size, adversary and seed
    measure     called with the model for each entry of the history
    every       steps between entries
    checkpoint  a file: the state is saved there at each entry, atomically, and a run that finds it
                goes on from there, repeating an unbroken run exactly on the same machine
    progress    the label of a progress bar, None: no bar

    The history holds {"step", "loss", **measure(model)} for step 0, each multiple of `every`, and
    the end; "loss" is the mean training loss (of the adversarial examples, if any) since the entry
    before. A checkpoint of another configuration, or of a model of another shape, is an error and
    stays untouched; initial weights and data are not compared, so its path must be theirs alone.
    """
    checks.positive_int("every", every)
    path = None if checkpoint is None else Path(checkpoint)
    optimizer = _optimizer(model, config)
    done = 0
    history: list[dict[str, Any]] = []
    if path is not None and path.exists():
        done, history = checkpoints.resume(path, model, optimizer, config.text())
    total = torch.zeros((), device=next(model.parameters()).device)  # there: no synchronisation
    fault = torch.zeros_like(total, dtype=torch.int64)  # the first of `FAULTS`

    def note(step: int, mean_loss: float) -> None:
        history.append({"step": step, "loss": mean_loss, **(measure(model) if measure else {})})
        if path is not None:
            checkpoints.save(path, model, optimizer, config.text(), step, history)
        model.train()

    if not history:
        note(0, math.nan)
    model.train()
    with _progress_bar(config.steps, done, progress) as bar:
        for step in range(done, config.steps):
            x, y = data.batch(config.batch, config.seed, step)
            value, found = _step(model, optimizer, x, y, config, step, first=step == done)
            total += value
            fault = torch.where(fault == 0, found, fault)
            bar.update()
            at = step + 1
            if at % every == 0 or at == config.steps:
                mean = total.item() / (at - history[-1]["step"])
                _check_finite(mean, int(fault), at, config)
                total.zero_()
                bar.set_postfix(loss=f"{mean:.3f}")
                note(at, mean)
    return history


def _check_finite(mean: float, fault: int, at: int, config: Training) -> None:
    """Raise FloatingPointError for a loss that is not finite, or one of `FAULTS` before it."""
    if fault or not math.isfinite(mean):
        why = FAULTS[fault].format(lr=config.lr)
        raise FloatingPointError(f"the loss is {mean} at step {at}: {why}")


def _progress_bar(steps: int, done: int, label: str | None) -> tqdm:
    hidden = label is None
    return tqdm(total=steps, initial=done, desc=label, disable=hidden, mininterval=0.5)


def _optimizer(model: nn.Module, config: Training) -> torch.optim.SGD:
    return torch.optim.SGD(
        model.parameters(),
        lr=1.0,  # set at each step
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    config: Training,
    step: int,
    first: bool,
) -> tuple[Tensor, Tensor]:
    """Batch -> attack -> loss -> step. The `first` one is checked.

    Returns the mean loss and which of `FAULTS` there is, both on the device.
    """
    if first:  # no later: a check waits for the device
        Ball(config.norm, 0.0, config.box).check(x)
        samples(x, y)
    optimizer.param_groups[0]["lr"] = config.at("lr", step)
    threshold = getattr(model, "threshold", None)
    if config.threshold is not None and isinstance(threshold, Tensor):
        threshold.fill_(config.at("threshold", step))
    lost = ~finite_rows(x)
    fault = lost.any() * DATA
    bfloat16 = checks.arithmetic(x.device) == torch.bfloat16
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
        if radius := config.at("radius", step):
            ball = Ball(config.norm, radius, config.box)
            lost = torch.zeros_like(lost)
            x = adversarial(model, x, y, ball, config.attack_steps, lost)
            fault = torch.where(fault == 0, lost.any() * GRADIENT, fault)
        output = model(x).float()
        one_output_each(output, x)
        value = loss(fitting(output, y) if first else output, y).mean()
    optimizer.zero_grad()
    value.backward()
    if config.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step()
    # A network that has diverged has no gradient either: there it is the loss that tells.
    diverged = (fault != DATA) & ~value.detach().isfinite()
    return value.detach(), torch.where(diverged, LOSS, fault)


def adversarial(
    model: nn.Module, x: Tensor, y: Tensor, ball: Ball, steps: int, lost: Tensor
) -> Tensor:
    """The adversary's training examples: FGM for one step, PGD for more, also of broken samples.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    ball   the threat
    steps  of the attack
    lost   (n,), bool, is set where the gradient in x is not finite
    """
    if steps == 1:
        return one_step(model, x, y, ball, lost)
    return pgd(model, x, y, ball, steps, stop=False, lost=lost)
