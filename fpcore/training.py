"""One training loop, clean or adversarial: seeded, with a progress bar, a history, and checkpoints to resume from."""

import dataclasses
import json
import math
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm

from fpcore import attacks, checks
from fpcore.models import TwoLayer, fitting, loss


class Data(Protocol):
    """What `train` asks of data: the mini-batch of a step as a pure function of (seed, step)."""

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Schedule:
    """A piecewise-linear function of training progress: `Schedule((0, 0.1), (0.2, 1), (1, 0))` rises, then falls.

    Points are (progress in [0, 1], value >= 0), in order; calling it with a progress gives the value there.
    """

    points: tuple[tuple[float, float], ...]

    def __init__(self, *points: tuple[float, float]):
        object.__setattr__(self, "points", tuple((float(a), float(b)) for a, b in points))
        if not self.points or sorted(self.points, key=lambda p: p[0]) != list(self.points):
            raise ValueError(f"Schedule{self.points}: give points in the order of progress")
        for at, value in self.points:
            checks.finite("progress of a schedule", at, high=1.0), checks.finite("value of a schedule", value)

    def __call__(self, progress: float) -> float:
        at, values = zip(*self.points)
        return float(np.interp(progress, at, values))


@dataclass(frozen=True)
class Training:
    """The configuration of one training run: SGD, with Nesterov momentum if any, on fresh or shuffled mini-batches.

    `lr`, `radius` (of the l2 or linf FGM adversary; 0: clean training) and `threshold` (None: leave it; networks other
    than `TwoLayer` have none) are numbers or Schedules. `weight_decay` is that of `torch.optim.SGD`. `attack_steps` > 1
    trains on PGD. Networks, and attacks on them, run in the device's `arithmetic`; weights and losses are float32.
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
            if not isinstance(value, Schedule) and (value is not None or name not in ("threshold", "clip")):
                checks.finite(name, value)
        checks.finite("momentum", self.momentum, high=1.0), checks.whole("seed", self.seed)
        attacks.Ball(self.norm, 0.0, self.box)  # its checks

    def at(self, name: str, step: int) -> float:
        """The value of "lr", "radius" or "threshold" at a step: step 0 is progress 0, the last step progress 1."""
        value = getattr(self, name)
        return value(step / max(1, self.steps - 1)) if isinstance(value, Schedule) else value


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

    The history holds {"step", "loss", **measure(model)} for step 0, each multiple of `every`, and the end; "loss" is the
    mean training loss (of the adversarial examples, if any) since the entry before. With `checkpoint`, the state is saved
    there at each of these steps, atomically, as safetensors; a run that finds it goes on from there, and repeats an
    unbroken run exactly on the same machine. A checkpoint of another configuration, or of a model of another shape, is
    an error and stays untouched; initial weights and data are not compared, so its path must be theirs alone (as
    `cache_path` makes them). `progress` is the label of a progress bar (None: no bar).
    """
    checks.positive_int("every", every)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=config.momentum, weight_decay=config.weight_decay)
    optimizer.defaults["nesterov"] = optimizer.param_groups[0]["nesterov"] = config.momentum > 0
    done = 0
    history: list[dict[str, Any]] = []
    if checkpoint is not None and Path(checkpoint).exists():
        done, history = _resume(Path(checkpoint), model, optimizer, config)
    device = next(model.parameters()).device
    total = torch.zeros((), device=device)  # a loss sum that stays on the device: no synchronisation per step

    def note(step: int, losses: float) -> None:
        history.append({"step": step, "loss": losses, **(measure(model) if measure else {})})
        if checkpoint is not None:
            _save(Path(checkpoint), model, optimizer, config, step, history)

    if not history:
        note(0, math.nan)
    model.train()
    with tqdm(total=config.steps, initial=done, desc=progress, disable=progress is None, mininterval=0.5) as bar:
        for step in range(done, config.steps):
            x, y = data.batch(config.batch, config.seed, step)
            if step == done:  # no later: it waits for the device
                attacks.Ball(config.norm, 0.0, config.box).check(x)
            optimizer.param_groups[0]["lr"] = config.at("lr", step)
            if config.threshold is not None and isinstance(model, TwoLayer):
                model.threshold.fill_(config.at("threshold", step))
            with torch.autocast(device.type, torch.bfloat16, enabled=arithmetic(device) == torch.bfloat16):
                if radius := config.at("radius", step):
                    x = adversarial(model, x, y, attacks.Ball(config.norm, radius, config.box), config.attack_steps)
                output = model(x).float()
                value = loss(fitting(output, y) if step == done else output, y).mean()
            optimizer.zero_grad()
            value.backward()
            if config.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            total += value.detach()
            bar.update()
            at = step + 1
            if at % every == 0 or at == config.steps:
                mean = total.item() / (at - history[-1]["step"])
                if not math.isfinite(mean):
                    raise FloatingPointError(f"the loss is {mean} at step {at}: give a smaller lr than {config.lr}")
                total.zero_()
                bar.set_postfix(loss=f"{mean:.3f}")
                note(at, mean)
                model.train()
    return history


def arithmetic(device: torch.device) -> torch.dtype:
    """What networks are trained in: bfloat16 where the hardware multiplies in it, else float32; emulated, it would be slow."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32  # not measured on Arm


def adversarial(model: nn.Module, x: Tensor, y: Tensor, ball: attacks.Ball, steps: int) -> Tensor:
    """The training examples of the adversary: FGM for one step, PGD for more, on samples already broken as well."""
    return attacks.one_step(model, x, y, ball) if steps == 1 else attacks.pgd(model, x, y, ball, steps, stop=False)


def _fingerprint(config: Training) -> str:
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for i, p in enumerate(model.parameters()):
        if (buffer := optimizer.state.get(p, {}).get("momentum_buffer")) is not None:
            tensors[f"momentum.{i}"] = buffer
    return tensors


def _save(path: Path, model, optimizer, config: Training, step: int, history: list) -> None:
    tensors = {k: v.detach().contiguous().cpu() for k, v in _state(model, optimizer).items()}
    metadata = {"config": _fingerprint(config), "step": str(step), "history": json.dumps(history)}
    write_atomically(path, save(tensors, metadata))


def _resume(path: Path, model, optimizer, config: Training) -> tuple[int, list]:
    """Load the checkpoint into model and optimizer, after all checks have passed."""
    try:
        with safe_open(path, "pt") as file:
            metadata, tensors = file.metadata() or {}, {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(f"checkpoint {path} cannot be read ({error}): delete it to train from the start") from error
    advice = "delete it to train from the start, or give another path"
    if metadata.get("config") != _fingerprint(config):
        theirs, ours = (json.loads(text) for text in (metadata.get("config", "{}"), _fingerprint(config)))
        other = ", ".join(f"{k} = {theirs.get(k)}, not {ours.get(k)}" for k in theirs | ours if theirs.get(k) != ours.get(k))
        raise ValueError(f"checkpoint {path} is of another configuration ({other}): {advice}")
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    shapes = {k: tuple(v.shape) for k, v in weights.items()}
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    if shapes != expected:
        wrong = next(k for k in shapes.keys() | expected if shapes.get(k) != expected.get(k))
        found = f"{wrong} is {shapes.get(wrong)}, the model's is {expected.get(wrong)}"
        raise ValueError(f"checkpoint {path} is of another model ({found}): {advice}")
    model.load_state_dict(weights)
    for i, p in enumerate(model.parameters()):
        if f"momentum.{i}" in tensors:
            optimizer.state[p]["momentum_buffer"] = tensors[f"momentum.{i}"].to(p.device).clone()
    return int(metadata["step"]), json.loads(metadata["history"])


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a run killed half-way, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # process numbers repeat from container to container
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
