"""The state of a training on disk: written atomically, read whole or not at all."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors import torch as safetensors
from torch import Tensor, nn

ADVICE = "delete it to train from the start, or give another path"


def save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: str,
    step: int,
    history: list[dict[str, Any]],
) -> None:
    """Write the state of a training after `step` steps to a safetensors file, atomically.

    path       the file, overwritten if it is there
    model      its parameters and buffers are kept, under "model."
    optimizer  of SGD the momentum is kept, under "momentum."
    config     the configuration as text, which `resume` compares
    step       the number of steps that were made
    history    as `train` returns it
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for i, parameter in enumerate(model.parameters()):
        momentum = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{i}"] = momentum
    # Copies: tied weights share their memory, which safetensors refuses.
    copies = {name: v.detach().to("cpu", copy=True).contiguous() for name, v in tensors.items()}
    metadata = {"config": config, "step": str(step), "history": json.dumps(history)}
    write_atomically(path, safetensors.save(copies, metadata))


def resume(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, config: str
) -> tuple[int, list[dict[str, Any]]]:
    """Load what `save` wrote into model and optimizer, after all checks; the step and the history.

    Raises ValueError, naming the file and the way out, if it cannot be read, or is of another
    configuration or of a model of other shapes; then nothing has changed.
    """
    metadata, tensors = _read(path)
    _check_config(path, metadata.get("config", "{}"), config)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    _check_shapes(path, weights, model.state_dict())
    model.load_state_dict(weights)
    for i, parameter in enumerate(model.parameters()):
        if f"momentum.{i}" in tensors:
            momentum = tensors[f"momentum.{i}"].to(parameter.device).clone()
            optimizer.state[parameter]["momentum_buffer"] = momentum
    return int(metadata["step"]), json.loads(metadata["history"])


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except Exception as error:
        advice = "delete it to train from the start"
        raise ValueError(f"checkpoint {path} cannot be read ({error}): {advice}") from error


def _check_config(path: Path, found: str, wanted: str) -> None:
    if found == wanted:
        return
    theirs, ours = json.loads(found), json.loads(wanted)
    differing = [name for name in theirs | ours if theirs.get(name) != ours.get(name)]
    other = ", ".join(f"{name} = {theirs.get(name)}, not {ours.get(name)}" for name in differing)
    raise ValueError(f"checkpoint {path} is of another configuration ({other}): {ADVICE}")


def _check_shapes(path: Path, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    shapes, expected = ({k: tuple(v.shape) for k, v in state.items()} for state in (found, wanted))
    for name in [*expected, *shapes]:
        if shapes.get(name) != expected.get(name):
            what = f"{name} is {shapes.get(name)}, the model's is {expected.get(name)}"
            raise ValueError(f"checkpoint {path} is of another model ({what}): {ADVICE}")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a run killed half-way, sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the process number, which repeats from container to container.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
