"""Where published results lie, and how a file of them is written: atomically, one record a line."""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fpcore.checkpoint import write_atomically

ROOT = Path(__file__).resolve().parents[2]
STARTED_IN = Path.cwd()  # what a relative folder is relative to, wherever the process goes later


def folder() -> Path:
    """The results folder: $FPCORE_RESULTS, else `results/` in the repository."""
    given = os.environ.get("FPCORE_RESULTS")
    return resolved(given) if given else ROOT / "results"


def resolved(given: str) -> Path:
    """A folder named in the environment, made absolute: `~` and relative ones are the caller's."""
    return (STARTED_IN / Path(given).expanduser()).resolve()


def check_name(name: str) -> str:
    """Return the name of a result, if it is a plain file name; else an error."""
    if not name or name.startswith(".") or set(name) & set("/\\:\0"):
        raise ValueError(
            f"name = {name!r}: give the name of a result, without folders, such as 'synthetic'"
        )
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


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically, as `encode` has it."""
    write_atomically(path, encode(content))


def read_json(path: Path, way_out: str = "delete it to compute it anew") -> Any:
    """What a JSON file holds; ValueError that names the file and the way out if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}): {way_out}") from error
