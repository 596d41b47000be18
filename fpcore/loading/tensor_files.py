"""Files of tensors from a stranger: no code in them is run, none takes more memory than it has."""

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from fpcore import checks

TENSOR_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
SAVE_STATE = "save tensors alone, torch.save(model.state_dict(), 'weights.pt'), or safetensors"


def read_tensor_file(path: str | Path) -> tuple[Any, dict[str, str]]:
    """What a file of tensors holds, on the CPU, and its metadata; no code in the file is run.

    path  ends in one of `TENSOR_SUFFIXES`: safetensors, or what torch.save wrote

    Raises FileNotFoundError, or ValueError that names the file and the way out: for a file that
    is damaged, wants to run code, or holds tensors that are larger than itself or have no values.
    """
    path = checks.path("path", path)
    kinds = ", ".join(TENSOR_SUFFIXES)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file in it, {kinds}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: give a file, {kinds}")
    if path.suffix.lower() not in TENSOR_SUFFIXES:
        raise ValueError(f"{path} ends in {path.suffix!r}: give a file of tensors, {kinds}")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty (0 bytes): copy or save it again")
    try:
        is_safetensors = path.suffix.lower() == ".safetensors"
        content, metadata = _safetensors(path) if is_safetensors else (_torch_file(path), {})
    except Exception as error:
        raise ValueError(f"{path} {_why(error)}") from error
    for tensor in _tensors(content):
        _check_held(path, tensor)
    return content, metadata


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The library compares the header with the file's size before anything else."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata() or {}


def _torch_file(path: Path) -> Any:
    """What torch.save wrote; its records are mapped, not read, unless it is of the old format."""
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    if zipped:
        with zipfile.ZipFile(path) as records:
            unpacked = sum(record.file_size for record in records.infolist())
            if unpacked > path.stat().st_size:
                raise ValueError(f"its records unpack to {unpacked:,} bytes, torch.save packs none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong becomes one error
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=zipped)


def _why(error: Exception) -> str:
    """What is wrong with a file that could not be read, and the fix."""
    text = str(error)
    if wanted := re.search(r"GLOBAL (\S+)", text):
        what = f"wants to run {wanted[1]} when it is read, which might be any code, so it was not"
        return f"{what}: {SAVE_STATE}"
    if "TorchScript" in text:
        return f"is a TorchScript program, not tensors: {SAVE_STATE}"
    line = (text or type(error).__name__).splitlines()[0]
    reason = "not what torch.save writes" if "weights" in line.lower() else line[:200]
    return f"cannot be read ({reason}): it is damaged or of another kind; copy or save it again"


def _tensors(content: Any) -> Iterator[Tensor]:
    """All tensors in nested dicts and lists, which may hold one another in a circle."""
    todo, seen = [content], set()
    while todo:
        one = todo.pop()
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, Mapping | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            todo += one.values() if isinstance(one, Mapping) else one


def _check_held(path: Path, tensor: Tensor) -> None:
    """Raise ValueError unless the file holds the values of a tensor, one for each entry."""
    what = f"{path} holds a tensor {tuple(tensor.shape)}"
    if tensor.is_meta:
        raise ValueError(f"{what} without values (device meta): save it from a device that has any")
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise ValueError(f"{what} that is sparse or quantised: save it dense (.to_dense())")
    if tensor.numel() * tensor.element_size() > path.stat().st_size:
        raise ValueError(f"{what} that is larger than the file: save it whole (.contiguous())")
