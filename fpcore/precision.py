"""What is computed in its own type, whatever a caller's autocast would round it to."""

from collections.abc import Callable
from typing import TypeVar

import torch

_Function = TypeVar("_Function", bound=Callable[..., object])


def unrounded(function: _Function) -> _Function:
    """A function whose products no autocast around its call rounds, on the CPU or a GPU."""
    for device in ("cpu", "cuda"):
        function = torch.autocast(device, enabled=False)(function)
    return function
