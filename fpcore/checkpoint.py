"""The state of a training on disk: written atomically, read whole or not at all."""

import contextlib
import glob
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

ADVICE = "delete it to train from the start, or give another path"
CHECKSUM = "sha256"
DAY = 24 * 3600  # in seconds


@dataclass(frozen=True)
class Found:
    """What `resume` found beside the model's weights.

    step     the number of steps that were made
    history  as `train` returns it
    state    of the optimiser, by name
    """

    step: int
    history: list[dict[str, Any]]
    state: dict[str, Tensor]


def save(
    path: Path,
    model: nn.Module,
    state: Mapping[str, Tensor],
    config: str,
    step: int,
    history: list[dict[str, Any]],
) -> None:
    """Write the state of a training after `step` steps to a safetensors file, atomically.

    path     the file, overwritten if it is there; what dead runs left beside it is swept away
    model    its parameters and buffers are kept, under "model."
    state    of the optimiser, by names that do not begin so
    config   the configuration as text, which `resume` compares
    step     the number of steps that were made
    history  as `train` returns it
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()} | {**state}
    # Copies: tied weights share their memory, which safetensors refuses.
    copies = {name: v.detach().to("cpu", copy=True).contiguous() for name, v in tensors.items()}
    metadata = {"config": config, "step": str(step), "history": json.dumps(history)}
    metadata[CHECKSUM] = _checksum(copies, metadata)
    write_atomically(path, safetensors.save(copies, metadata))
    _sweep(path)


def resume(path: Path, content: bytes, model: nn.Module, config: str) -> Found:
    """Load what `save` wrote into a model, after all checks; return the rest.

    path     what errors call the file
    content  of the file, read once
    model    of the same shapes
    config   the same configuration, as text

    Raises ValueError, naming the file and the way out, if it cannot be read, or is damaged, of
    another configuration or of a model of other shapes; then nothing has changed.
    """
    metadata, tensors = read_checkpoint(path, content)
    _check_config(path, metadata.get("config", "{}"), config)
    step, history = _progress(path, metadata)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    _check_shapes(path, weights, model.state_dict())
    model.load_state_dict(weights)
    state = {name: value for name, value in tensors.items() if not name.startswith("model.")}
    return Found(step, history, state)


def _progress(path: Path, metadata: Mapping[str, str]) -> tuple[int, list[dict[str, Any]]]:
    """The step and the history in the metadata of a checkpoint, which may have no checksum."""
    try:
        step, history = int(metadata["step"]), json.loads(metadata["history"])
        steps = json.loads(metadata["config"]).get("steps", step)
        if not (isinstance(history, list) and history and 0 <= step <= steps):
            raise ValueError(
                f"it has a history of {len(history)} entries, and step {step} of {steps}"
            )
    except (LookupError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        raise ValueError(f"checkpoint {path} cannot be read ({found}): {ADVICE}") from error
    return step, history


def check_writable(model: nn.Module) -> None:
    """Raise ValueError for a weight to which `resume` could not write: one number seen as many."""
    for name, value in model.state_dict().items():
        sizes = zip(value.shape, value.stride()) if isinstance(value, Tensor) else ()
        if any(size > 1 and not stride for size, stride in sizes):
            found = f"{name} is an expanded tensor, whose entries are one number in memory"
            raise ValueError(f"{found}: give the model a .clone() of it, or no checkpoint")


def content_of(path: Path) -> bytes | None:
    """The content of a file, read once, so that it is not torn by a writer; None: there is none."""
    try:
        # Of a device or a pipe no end may come.
        if path.exists() and not path.is_file():
            raise OSError("it is no file")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"checkpoint {path} cannot be read ({error}): {ADVICE}") from error


def read_checkpoint(path: Path, content: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors in the content of a file that `save` wrote.

    path     what errors call the file
    content  all of it

    Raises ValueError if it cannot be read, or is not what was written: files of version 0.2.0 and
    before have no checksum to compare.
    """
    advice = "delete it to train from the start"
    try:
        tensors = safetensors.load(content)
        length = int.from_bytes(
            content[:8], "little"
        )  # of the header, which safetensors.load drops
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except Exception as error:
        raise ValueError(f"checkpoint {path} cannot be read ({error}): {advice}") from error
    if metadata.get(CHECKSUM, _checksum(tensors, metadata)) != _checksum(tensors, metadata):
        found = "it does not have the checksum that was written with it"
        raise ValueError(f"checkpoint {path} is damaged ({found}): {advice}")
    return metadata, tensors


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """A digest of all names, types, shapes and contents, and of the rest of the metadata."""
    found = hashlib.sha256()
    rest = {name: value for name, value in metadata.items() if name != CHECKSUM}
    found.update(json.dumps(rest, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _sweep(path: Path) -> None:
    """Delete the temporary files of this path that are older than a day: their runs are dead."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if re.fullmatch("[0-9a-f]{32}", left.suffix[1:]):
            with contextlib.suppress(FileNotFoundError):  # another run may sweep as well
                if time.time() - left.stat().st_mtime > DAY:
                    left.unlink()


def _check_config(path: Path, found: str, wanted: str) -> None:
    if found == wanted:
        return
    ours = json.loads(wanted)
    try:
        theirs = dict(json.loads(found))
    except (TypeError, ValueError) as error:
        raise ValueError(f"checkpoint {path} cannot be read ({error}): {ADVICE}") from error
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
