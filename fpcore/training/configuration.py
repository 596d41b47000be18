"""What a training run is, in numbers: checked when it is made, and compared when it is resumed."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpcore import checks
from fpcore.ball import Ball

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Schedule:
    """A piecewise-linear function of training progress.

    `Schedule((0, 0.1), (0.2, 1), (1, 0))` rises, then falls. Points are (progress in [0, 1],
    value >= 0), in order; calling it with a progress gives the value there.
    """

    points: tuple[tuple[float, float], ...]

    def __init__(self, *points: tuple[float, float]):
        for point in points:
            if not isinstance(point, tuple | list) or len(point) != 2:
                raise ValueError(f"point {point!r} of a schedule: give (progress, value), numbers")
            checks.finite(f"progress of point {point!r} of a schedule", point[0], high=1.0)
            checks.finite(f"value of point {point!r} of a schedule", point[1])
        object.__setattr__(self, "points", tuple((float(a), float(b)) for a, b in points))
        if not self.points or sorted(self.points, key=lambda p: p[0]) != list(self.points):
            raise ValueError(f"Schedule{self.points}: give points in the order of progress")

    def __call__(self, progress: float) -> float:
        at, values = zip(*self.points)
        return float(np.interp(progress, at, values))


@dataclass(frozen=True)
class Training:
    """The configuration of one training run on mini-batches: by SGD, or by what `train` is given.

    steps             number of steps
    lr                step size: a number or a `Schedule`. With an optimiser of yours a `Schedule`
                      is a factor on the rate of each of its parameter groups, None leaves them;
                      with a scheduler of yours it is where SGD starts
    batch             samples a step; an iterable has its own
    momentum          Nesterov momentum of SGD, 0: none
    weight_decay      as in `torch.optim.SGD`
    norm              "l2" or "linf", of the adversary
    radius            of the adversary, a number or a `Schedule`; 0: clean training
    box               (low, high) that adversarial examples are kept in, None: no box
    attack_steps      1 trains on FGM, more on PGD
    attack_step_size  of PGD, in radii; None: 2.5 / attack_steps
    random_start      whether PGD starts at random in the ball, anew in each step
    threshold         of networks that have one (`TwoLayer`), a number or a `Schedule`; None: leave
                      it
    clip              the largest gradient norm; None: no limit
    precision         what networks, and attacks on them, compute in: "float32" (with torch's own
                      settings, such as TF32), "bfloat16" (autocast; emulated, it is slow), or
                      "auto": the device's `checks.arithmetic`. Weights and losses are float32; a
                      float64 network computes in float64
    seed              of the mini-batches, and of all random numbers of torch in a step
    patience          for how many steps on end the loss of one logit may be log 2, that of f = 0,
                      after it was below: then the training stops, collapsed; None: for ever
    """

    steps: int
    lr: float | Schedule | None = None
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
    attack_step_size: float | None = None
    random_start: bool = False
    precision: str = "auto"
    patience: int | None = None

    def __post_init__(self):
        for name in ("steps", "batch", "attack_steps"):
            checks.positive_int(name, getattr(self, name))
        for name in ("lr", "radius", "threshold", "clip", "weight_decay", "attack_step_size"):
            value = getattr(self, name)
            optional = value is None and name not in ("radius", "weight_decay")
            if not isinstance(value, Schedule) and not optional:
                checks.finite(name, value)
        if self.attack_step_size == 0:
            raise ValueError(
                "attack_step_size = 0: give a number above 0, or radius=0 for no attack"
            )
        if not isinstance(self.random_start, bool):
            raise ValueError(f"random_start = {self.random_start!r}: give True or False")
        checks.choice("precision", self.precision, PRECISIONS)
        checks.finite("momentum", self.momentum, high=1.0)
        checks.whole("seed", self.seed)
        if self.patience is not None:
            checks.positive_int("patience", self.patience)
        Ball(self.norm, 0.0, self.box)  # its checks

    def at(self, name: str, step: int) -> float:
        """The value of "lr", "radius" or "threshold" at a step: the last one is progress 1."""
        value = getattr(self, name)
        return value(step / max(1, self.steps - 1)) if isinstance(value, Schedule) else value

    def ball(self, step: int) -> Ball:
        """The threat of a step."""
        return Ball(self.norm, self.at("radius", step), self.box)

    @property
    def uses_pgd(self) -> bool:
        """Whether the adversary is PGD: more than FGM's one full step from the sample."""
        return self.attack_steps > 1 or self.random_start or self.attack_step_size is not None

    def text(self, made_with: Mapping[str, Any] | None = None) -> str:
        """All fields as JSON: what a checkpoint is compared by.

        made_with  what `train` was given beside them, by name, as JSON has it

        A field that came later is left out where it has its default: earlier checkpoints go on.
        """
        later = ("attack_step_size", "random_start", "precision", "patience")
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        fields = {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in later or value != defaults[name]
        }
        return json.dumps(fields | dict(made_with or {}), sort_keys=True)
