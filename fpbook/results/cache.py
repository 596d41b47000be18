"""Where trainings and measurements are kept, under names made of all that decides what they are.

A name answers for one call of one function: it is made of the arguments, by value, and of the code
that the call can reach (`code.Code.reach`) from the function and from the classes of the arguments.
So there is no list of modules that somebody could forget to extend, and an edit of what the call
cannot reach renames nothing.
"""

import dataclasses
import hashlib
import inspect
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path
from torch import Tensor, nn

from fpbook.results.checksums import decode_sealed, encode_sealed
from fpbook.results.code import Code, Thing
from fpbook.results.files import ROOT, resolved
from fpcore.checkpoint import write_atomically
from fpcore.checks import arithmetic


def cache_folder() -> Path:
    """The cache, absolute: $FPCORE_CACHE, else `_build/cache` in a clone, else the user's cache.

    A process that starts others in another folder hands them this path as FPCORE_CACHE.
    """
    if named := os.environ.get("FPCORE_CACHE"):
        return resolved(named)
    if (ROOT / "_toc.yml").exists():
        return ROOT / "_build" / "cache"
    return user_cache_path("fpcore", appauthor=False)


def cache_path(label: str, *lineage: Any, code: Thing | tuple[Thing, ...]) -> Path:
    """Where what `code` makes of `lineage` is kept, named by all that decides it.

    label: what the name begins with, for readers.
    lineage: the arguments: configurations, seeds, data, the network that a training starts from.
    code: the functions that are called with them: `train`, and what it measures.

    Networks and tensors count by their contents, to the bit, other objects by what they show of
    themselves: what another machine's arithmetic made may train anew. Also in the name are torch's
    version, and whether the device trains in bfloat16: a cache may be carried to one that does
    not. ValueError for arguments that cannot be told apart, and for a folder in which nothing can
    be written, unless what is asked for lies in it.
    """
    functions = code if isinstance(code, tuple) else (code,)
    classes = {kind for part in lineage for kind in _classes(part)}
    shown = [_value(part) for part in lineage]
    device = "cuda" if "device=cuda" in json.dumps(shown) else "cpu"  # as data show it
    name = {
        "lineage": shown,
        "code": _loaded().digest_of(*functions, *classes),
        "torch": torch.__version__,
        "bfloat16": arithmetic(torch.device(device)) == torch.bfloat16,
    }
    digest = hashlib.sha256(json.dumps(name).encode()).hexdigest()[:16]
    path = cache_folder() / f"{label}-{digest}.safetensors"
    if not any(path.parent.glob(f"{path.stem}.*")):
        _check_writable(path.parent)
    return path


def kept(measure: Callable[..., Any], *arguments: Any) -> Any:
    """What `measure(*arguments)` finds, as JSON has it, or found before.

    So an interrupted sweep loses nothing that it finished. `measure` is a function of a module that
    depends on nothing but its arguments. What is not as its checksum says is measured anew, with a
    warning.
    """
    if not inspect.isfunction(measure) or not measure.__qualname__.isidentifier():
        raise ValueError(
            f"measure = {measure!r}: give a function defined at the top level of a module"
        )
    path = cache_path(measure.__name__, *arguments, code=measure).with_suffix(".json")
    try:
        return decode_sealed(path.read_bytes(), path, "it is measured anew")["measured"]
    except FileNotFoundError:
        pass
    except ValueError as error:
        warnings.warn(f"{error}", stacklevel=2)
    content = encode_sealed({"measured": measure(*arguments)})
    write_atomically(path, content)
    return decode_sealed(content, path, "report this")["measured"]


@lru_cache
def _loaded() -> Code:
    """The code of this process: as it was read first, not as it may have been edited since."""
    return Code()


def _value(part: Any) -> Any:
    """What tells an argument from all others, as JSON has it: its contents, or what it shows."""
    if isinstance(part, nn.Module):
        modes = [module.training for module in part.modules()]
        learnt = [name for name, parameter in part.named_parameters() if parameter.requires_grad]
        return [str(part), modes, learnt, _value(part.state_dict())]
    if isinstance(part, Tensor | np.ndarray):
        tensor = torch.as_tensor(part, device="cpu").detach().cpu().contiguous()
        content = hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy().data).hexdigest()
        return [str(tensor.dtype), list(tensor.shape), content]
    if isinstance(part, Mapping):
        return ["mapping", [[_value(key), _value(value)] for key, value in part.items()]]
    if isinstance(part, list | tuple):
        return [type(part).__name__, [_value(one) for one in part]]
    if isinstance(part, set | frozenset):
        return ["set", sorted(json.dumps(_value(one)) for one in part)]
    if fields := _fields(part):
        return [type(part).__qualname__, _value(fields)]
    shown = repr(part)
    if inspect.isroutine(part) or " at 0x" in shown:
        raise ValueError(
            f"{shown} does not say what it is: give what it is made of, or functions as code"
        )
    return shown


def _classes(part: Any) -> Iterator[type]:
    """The classes of an argument and of what it holds: their methods are part of the code."""
    yield from part.__mro__ if isinstance(part, type) else type(part).__mro__
    held: Iterable[Any] = ()
    if isinstance(part, nn.Module):
        held = part.children()
    elif isinstance(part, Mapping):
        held = [*part, *part.values()]
    elif isinstance(part, list | tuple | set | frozenset):
        held = part
    else:
        held = _fields(part).values()
    for one in held:
        yield from _classes(one)


def _fields(part: Any) -> dict[str, Any]:
    """The fields of a dataclass that shows itself by them; of other objects, none."""
    settings = getattr(type(part), "__dataclass_params__", None)
    if settings is None or not settings.repr:
        return {}
    return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}


def _check_writable(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise ValueError(
            f"nothing can be kept in {path} ({error}): give another folder by FPCORE_CACHE"
        ) from error
