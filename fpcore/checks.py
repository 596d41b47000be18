"""Checks of what the user passes in: an error that names the value and the fix, before any work."""

import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

MOST = 2**36  # numbers in one tensor: no machine that this is for holds more


def whole(name: str, value: int, low: int = 0) -> int:
    """Return `value` if it is an integer >= low, else raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{_shown(name, value)} whole number of at least {low}")
    return value


def positive_int(name: str, value: int) -> int:
    """Return `value` if it is an integer >= 1, else raise ValueError."""
    return whole(name, value, low=1)


def finite(name: str, value: float, low: float = 0.0, high: float = math.inf) -> float:
    """Return `value` as a float if it is finite and in a range, else raise ValueError.

    name   what the error calls it
    value  a Python int or float
    low    the least value that is accepted
    high   the largest one
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:  # an int of more than 308 digits
        number = math.inf
    if not (math.isfinite(number) and low <= number <= high):
        span = f"between {low:g} and {high:g}" if high < math.inf else f"of at least {low:g}"
        raise ValueError(f"{_shown(name, value)} finite number {span}")
    return number


def _shown(name: str, value: Any) -> str:
    """The opening of an error: a number of torch or numpy looks right, so its type is named."""
    if value is None or isinstance(value, (int, float, str)):
        return f"{name} = {value!r}: give a"
    return f"{name} = {value!r} ({type(value).__name__}): give a Python int or float, a"


def briefly(value: Any) -> str:
    """A value in a few words: large ones by their type alone."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    small = value is None or isinstance(value, (bool, int, float, str))
    return repr(value)[:60] if small else type(value).__name__


def tensor(name: str, value: Any, form: str = "(n, ...)") -> Tensor:
    """Return `value` if it is a tensor of real numbers that has values, else raise ValueError.

    name   what the error calls it
    value  anything
    form   its shape, in words
    """
    if not isinstance(value, Tensor):
        advice = f"give a tensor {form}, torch.as_tensor({name}) makes one of numbers"
        raise ValueError(f"{name} = {briefly(value)}: {advice}")
    if value.is_meta:
        raise ValueError(f"{name} has no values (device meta): give a tensor that has")
    if value.layout != torch.strided:
        raise ValueError(f"{name} is {value.layout}: give {name}.to_dense()")
    if value.is_complex() or value.is_quantized:
        raise ValueError(f"{name} is {value.dtype}: give real numbers, {name}.real say")
    if _in_bytes(value):
        raise ValueError(f"{name} is {value.dtype}, with which torch cannot count: {name}.float()")
    return value


def _in_bytes(value: Tensor) -> bool:
    """Whether a tensor holds floats of 8 bits or fewer, a form in which weights are stored."""
    return value.is_floating_point() and value.element_size() < 2


def row_vectors(name: str, value: Any, form: str = "(n, d)") -> Tensor:
    """Return `value` if it is a matrix of floats that has values, else raise ValueError.

    name   what the error calls it
    value  anything
    form   its shape, in words
    """
    found = tensor(name, value, form)
    if found.ndim != 2:
        raise ValueError(f"{name} is {tuple(found.shape)}: give a matrix {form}")
    if not found.is_floating_point():
        raise ValueError(f"{name} is {found.dtype}: give floats, {name}.float()")
    return found


def is_finite(value: Tensor) -> bool:
    """Whether all numbers of a tensor of floats are finite.

    Their sum is finite only if they are. It is a hundred times quicker than looking at each, which
    is done where the sum is too large for the type as well.
    """
    return bool(value.detach().sum().isfinite()) or bool(value.isfinite().all())


def all_finite(name: str, value: Tensor) -> Tensor:
    """Return `value` if all its numbers are finite, else raise ValueError."""
    if not is_finite(value):
        bad = value.numel() - int(value.isfinite().sum())
        found = f"{name} is not finite (NaN or infinity) in {bad} of {value.numel()} entries"
        raise ValueError(f"{found}: give numbers")
    return value


def module(name: str, value: Any) -> nn.Module:
    """Return `value` if it is a network, else raise ValueError."""
    if not isinstance(value, nn.Module):
        raise ValueError(f"{name} = {briefly(value)}: give a torch.nn.Module, a network")
    return value


def network(name: str, value: Any) -> nn.Module:
    """Return `value` if it is a network whose weights have values, else raise ValueError."""
    module(name, value)
    for own, weight in [*value.named_parameters(), *value.named_buffers()]:
        if is_lazy(weight):
            found = f"{name}: {own} has no values yet, it is of a lazy layer"
            raise ValueError(f"{found}: run the network once on a batch, which gives it its shape")
        if weight.is_meta:
            found = f"{name}: {own} has no values (device meta)"
            raise ValueError(f"{found}: give it its weights first, load them")
        if _in_bytes(weight):
            found = f"{name}: {own} is {weight.dtype}, with which torch cannot count"
            raise ValueError(f"{found}: give {name}.float()")
    return value


def instance(name: str, value: Any, kind: type, example: str) -> Any:
    """Return `value` if it is of a type, else raise ValueError with an example of one."""
    if not isinstance(value, kind):
        found = briefly(value)
        raise ValueError(f"{name} = {found}: give a {kind.__name__}, such as {example}")
    return value


def random_numbers(name: str, value: Any) -> torch.Generator | None:
    """Return `value` if it is a torch.Generator or None, else raise ValueError."""
    if value is not None and not isinstance(value, torch.Generator):
        found = f"{name} = {briefly(value)}"
        raise ValueError(f'{found}: give a torch.Generator, such as fpcore.generator(0, "a word")')
    return value


def fits_in_memory(name: str, count: int) -> int:
    """Return `count` if so many numbers may fit into memory, else raise ValueError."""
    if count > MOST:
        raise ValueError(f"{name} makes {count:g} numbers, more than memory holds: give less")
    return count


def path(name: str, value: Any) -> Path:
    """Return `value` as a path, ~ made the user's folder, if it is one, else raise ValueError."""
    if not isinstance(value, str | Path) or value == "":
        raise ValueError(f"{name} = {briefly(value)}: give a path, a str or pathlib.Path")
    found = f"{name} = {str(value)[:60]!r}"
    if "\0" in str(value) or any(len(os.fsencode(part)) > 255 for part in Path(value).parts):
        raise ValueError(
            f"{found}: give a path of names that no system refuses, shorter, without \\0"
        )
    try:
        return Path(value).expanduser()
    except RuntimeError as error:  # ~name of nobody, or no home
        raise ValueError(f"{found}: {error}, give a path without ~") from error


def several(name: str, values: Collection[str]) -> Collection[str]:
    """Return `values`, or raise ValueError if they are one str: its letters would be the names."""
    if isinstance(values, str) or not isinstance(values, Collection):
        raise ValueError(f"{name} = {values!r}: give a list, [{values!r}]")
    return values


def choice(name: str, value: str, options: Collection[str]) -> str:
    """Return `value` if it is one of `options`, else raise ValueError that lists them."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} = {value!r}: choose one of {', '.join(map(repr, options))}")
    return value


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:1" into a device of this machine, else raise ValueError.

    "auto" and "cuda" take the first CUDA device; without one, "auto" takes the CPU.
    """
    cuda = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda:0" if cuda else "cpu")
    have = ["auto", "cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count() if cuda else 0))]
    name = "cuda:0" if str(device) == "cuda" else str(device)
    choice("device", name, have)
    return torch.device(name)


def arithmetic(device: torch.device) -> torch.dtype:
    """What networks are trained in: bfloat16 where the hardware multiplies in it, else float32.

    Emulated, bfloat16 would be slow. Not measured on Arm.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
        native = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if native else torch.float32
