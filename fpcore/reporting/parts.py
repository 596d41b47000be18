"""Finished measurements on disk, so that a report that was stopped goes on where it was."""

import json
import re
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from fpcore.checkpoint import write_atomically

BEGIN_ANEW = "give another folder, or delete it to begin anew"


class Parts:
    """The finished parts of one report: on disk if a folder is given.

    out      the folder of the report; None: nothing is kept
    subject  what the report is of, text and numbers: a folder of another is an error
    scores   {role: what the network says of probe images}, which may differ by rounding
    """

    def __init__(
        self,
        out: Path | None,
        subject: Mapping[str, Any],
        scores: Mapping[str, list],
    ):
        self.folder = None if out is None else out / "parts"
        self.seconds = 0.0
        if self.folder:
            path = self.folder / "subject.json"
            content = {"subject": dict(subject), "scores": dict(scores)}
            if path.exists():
                _check_same(path, content)
            else:
                _check_free(path.parent.parent)
                write_atomically(path, json.dumps(content).encode())

    def measured(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `measure` returns, or what it returned before, if the part of this name is kept."""
        path = self.folder / _file(name) if self.folder else None
        if path and path.exists():
            kept = _read(path)
        else:
            start = time.monotonic()
            found = measure()
            kept = {"part": name, "found": found, "seconds": time.monotonic() - start}
            text = json.dumps(kept, allow_nan=False)
            if path:
                write_atomically(path, text.encode())
            kept = json.loads(text)  # a report made anew is that of kept parts, to the last digit
        self.seconds += kept["seconds"]
        return kept["found"]


def _file(name: str) -> str:
    """A file's name that holds the part's, and is no other part's."""
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)}-{zlib.crc32(name.encode()):08x}.json"


def _read(path: Path) -> dict[str, Any]:
    """A kept file, or ValueError that names it."""
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__}")
        return found
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): delete it to begin anew") from error


def _check_same(path: Path, ours: Mapping[str, Any]) -> None:
    """Raise ValueError that names what differs between a kept subject and ours."""
    theirs = _read(path)
    old, new = theirs.get("subject", {}), ours["subject"]
    differing = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    said, says = theirs.get("scores", {}), ours["scores"]
    differing += [f"outputs of {role}" for role in {**said, **says} if not _close(said, says, role)]
    if differing:
        found = f"{path.parent.parent} is of another report"
        raise ValueError(f"{found} ({', '.join(differing)}): {BEGIN_ANEW}")


def _check_free(out: Path) -> None:
    """Raise ValueError if a folder holds a report whose parts are not kept: it would be lost."""
    for name in ("report.json", "report.html"):
        if (out / name).exists():
            found = f"out = '{out}' holds a {name} that did not begin here"
            raise ValueError(f"{found}: give another folder, or move it away")


def _close(said: Mapping[str, list], says: Mapping[str, list], role: str) -> bool:
    """Whether a network says of the probe images what it said, up to rounding."""
    if role not in said or role not in says:
        return False
    theirs, ours = (
        torch.tensor(one[role], dtype=torch.float64, device="cpu") for one in (said, says)
    )
    if theirs.shape != ours.shape:
        return False
    slack = 1e-4 * (ours.std().item() if ours.numel() > 1 else 0) + 1e-12
    return bool((theirs - ours).abs().max() <= slack)
