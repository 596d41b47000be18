"""Where published results lie, what they may be called, and their JSON: one record a line."""

import functools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STARTED_IN = Path.cwd()  # what a relative folder is relative to, wherever the process goes later
LEDGER = "claims"  # its file is made of the results
_NAME = re.compile(r"[A-Za-z0-9]+((-|(?<=[0-9])\.(?=[0-9]))[A-Za-z0-9]+)*", re.ASCII)


def folder() -> Path:
    """The results folder: $FPCORE_RESULTS, else `results/` in the repository."""
    given = os.environ.get("FPCORE_RESULTS")
    return resolved(given) if given else ROOT / "results"


def resolved(given: str) -> Path:
    """A folder named in the environment, made absolute: `~` and relative ones are the caller's."""
    return (STARTED_IN / Path(given).expanduser()).resolve()


def check_name(name: str) -> str:
    """Return the name of a result, if it can be a file's; else an error.

    It has letters, digits, dashes between them, and dots between digits, as "cifar10-width0.125".
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"name = {name!r}: give the name of a result, letters, digits and dashes alone, "
            "without folders, such as 'synthetic'"
        )
    if name == LEDGER:
        raise ValueError(f"name = {name!r}: give another one, this is the ledger's")
    return name


def encode(content: Any) -> bytes:
    """The bytes of a JSON file: what holds only plain values on one line. A NaN is an error."""
    return (_lines(content, "") + "\n").encode()


def _lines(content: Any, margin: str) -> str:
    parts = (
        content.values()
        if isinstance(content, dict)
        else content
        if isinstance(content, list)
        else ()
    )
    if not any(isinstance(part, dict | list) for part in parts):
        return _json(content)
    inner = margin + " "
    if isinstance(content, dict):
        items = [f"{_json(key)}: {_lines(value, inner)}" for key, value in content.items()]
    else:
        items = [_lines(value, inner) for value in content]
    first, last = "{}" if isinstance(content, dict) else "[]"
    return f"{first}\n{inner}" + f",\n{inner}".join(items) + f"\n{margin}{last}"


_json: Callable[[Any], str] = functools.partial(json.dumps, allow_nan=False, ensure_ascii=False)


class DamagedError(ValueError):
    """A file is not what its checksum says; the message names the file and the way out."""


def decode(content: bytes, path: Path, way_out: str) -> Any:
    """What a JSON file holds; DamagedError that names the file and the way out if it is no JSON.

    content  the bytes of the file
    path     of the file
    way_out  what to do about a damaged one
    """
    try:
        return json.loads(content.decode())
    except ValueError as error:
        raise DamagedError(f"{path} cannot be read ({error}): {way_out}") from error
