"""Checksums: of a JSON file in the file itself, of any other file in a small one beside it."""

import hashlib
import re
from pathlib import Path
from typing import Any

from fpbook.results.files import DamagedError, decode, encode

CONTENT = "content_sha256"  # the key of a JSON file's own digest
_EMPTY = f'"{CONTENT}": ""'.encode()
_FULL = re.compile(f'"{CONTENT}": "([0-9a-f]{{64}})"'.encode())


def sha256(content: bytes) -> str:
    """The SHA-256 digest of a file's content, as `sha256sum` prints it."""
    return hashlib.sha256(content).hexdigest()


def sealed(content: bytes) -> bytes:
    """A JSON text with its own digest, for which it has a place: "content_sha256": "".

    The digest is that of the text as it is given: sed -E '3s/[0-9a-f]{64}//' FILE | sha256sum

    Raises ValueError without such a place.
    """
    if _EMPTY not in content:
        raise ValueError(f"content = {content[:40]!r}...: give a JSON text with {_EMPTY.decode()}")
    return content.replace(_EMPTY, _EMPTY[:-1] + sha256(content).encode() + b'"', 1)


def is_sealed(content: bytes) -> bool:
    """Whether a JSON text holds its own digest, and it is right: to the last bit."""
    found = _FULL.search(content)
    return found is not None and sealed(_FULL.sub(_EMPTY, content, count=1)) == content


def encode_sealed(content: dict[str, Any]) -> bytes:
    """The bytes of a JSON file, as `encode` has it, that holds its own digest."""
    first = {name: content[name] for name in ("format",) if name in content}
    return sealed(encode({**first, CONTENT: "", **content}))


def decode_sealed(content: bytes, path: Path, way_out: str) -> dict[str, Any]:
    """What a JSON file that holds its own digest has besides.

    content  the bytes of the file
    path     of the file, for errors
    way_out  what to do about a damaged one, for errors

    Raises DamagedError if it is no JSON, or not what its digest says.
    """
    found = decode(content, path, way_out)
    if not is_sealed(content):
        raise DamagedError(f"{path} is damaged, as its checksum says, or has none: {way_out}")
    return {name: value for name, value in found.items() if name != CONTENT}


def checksum_path(path: Path) -> Path:
    """Where the digest of a file that is no JSON is kept: in the file's folder."""
    return path.with_name(f"{path.name}.sha256")


def with_checksum(file: str, content: bytes) -> dict[str, bytes]:
    """A file and the one with its digest, {name: content}: `sha256sum -c` reads the latter."""
    return {file: content, f"{file}.sha256": f"{sha256(content)}  {file}\n".encode()}
