"""Checks of what the user passes in: an error that names the value and the fix, before any work."""

import math
from collections.abc import Collection
from typing import Any

import torch


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
    number = float(value) if is_number else math.nan
    if not (math.isfinite(number) and low <= number <= high):
        span = f"between {low:g} and {high:g}" if high < math.inf else f"of at least {low:g}"
        raise ValueError(f"{_shown(name, value)} finite number {span}")
    return number


def _shown(name: str, value: Any) -> str:
    """The opening of an error: a number of torch or numpy looks right, so its type is named."""
    if value is None or isinstance(value, (int, float, str)):
        return f"{name} = {value!r}: give a"
    return f"{name} = {value!r} ({type(value).__name__}): give a Python int or float, a"


def several(name: str, values: Collection[str]) -> Collection[str]:
    """Return `values`, or raise ValueError if they are one str: its letters would be the names."""
    if isinstance(values, str):
        raise ValueError(f"{name} = {values!r}: give a list, [{values!r}]")
    return values


def choice(name: str, value: str, options: Collection[str]) -> str:
    """Return `value` if it is one of `options`, else raise ValueError that lists them."""
    if value not in options:
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
