"""What the explorers show, published in results/explorer: sealed JSON files that are no results.

They hold curves and pictures for sliders; no claim is decided by them.
"""

from pathlib import Path
from typing import Any

from fpbook.results.checksums import decode_sealed, encode_sealed
from fpbook.results.files import check_name, folder
from fpcore.checkpoint import write_atomically

WAY_BACK = "bring it back by git checkout, or make it anew by python -m fpbook explorer"


def explorer_path(name: str) -> Path:
    """Where an explorer's file lies."""
    return folder() / "explorer" / f"{check_name(name)}.json"


def write_explorer(name: str, content: dict[str, Any]) -> Path:
    """Publish an explorer's file, which holds its own digest; returns its path.

    name     of the explorer
    content  what JSON can hold, with its provenance
    """
    path = explorer_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, encode_sealed({"format": 1, **content}))
    return path


def read_explorer(name: str) -> dict[str, Any] | None:
    """What is published under this name; None if nothing is.

    DamagedError if the file is not what its checksum says.
    """
    path = explorer_path(name)
    if not path.exists():
        return None
    return decode_sealed(path.read_bytes(), path, WAY_BACK)


def published_explorers() -> list[str]:
    """The names of what is published."""
    return sorted(path.stem for path in (folder() / "explorer").glob("*.json"))
