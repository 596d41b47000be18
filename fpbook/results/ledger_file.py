"""The ledger's file, results/claims.json: made of the published results, and read."""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fpbook.results import ledger
from fpbook.results.checksums import encode_sealed, sha256
from fpbook.results.files import LEDGER, DamagedError, folder
from fpbook.results.intervals import Interval
from fpbook.results.ledger import Entry, Evidence, claims, stated_claims
from fpbook.results.store import (
    FORMAT,
    Published,
    check_folder,
    load,
    published,
    read_content,
)
from fpbook.results.transaction import settled

RENEWED = "python -m fpbook convert writes it anew"


def ledger_file(read: Callable[[str], Published | None] = load) -> bytes:
    """The bytes of results/claims.json: each claim, and the digests of what it is made from.

    read  how a result is read by its name
    """
    found: dict[str, Published | None] = {}

    def noted(name: str) -> Published | None:
        found[name] = read(name)
        return found[name]

    content = {"claims": ledger_content(claims(noted))}
    digests = {f"{name}.json": result.digest for name, result in found.items() if result}
    stated = {ledger.CLAIMS.name: sha256(ledger.CLAIMS.read_bytes())}
    sources = {**stated, **dict(sorted(digests.items()))}
    return encode_sealed({"format": FORMAT, "sources": sources, **content})


def ledger_content(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """The claims of results/claims.json, each with its verdict, figures, bounds and runs."""
    found = []
    for entry in entries:
        claim = entry.claim
        head = {
            "id": claim.id,
            "statement": claim.statement,
            "chapter": claim.chapter,
            "verdict": entry.verdict,
        }
        figures = [
            _figure(evidence, number) for evidence, number in zip(claim.evidence, entry.numbers)
        ]
        runs = {name: dict(source) for name, source in entry.provenance.items()}
        found.append({**head, "figures": figures, "provenance": runs})
    return found


def _figure(evidence: Evidence, number: Interval | None) -> dict[str, Any]:
    interval = {"value": number.value, "low": number.low, "high": number.high} if number else {}
    row = {
        "result": evidence.result,
        **evidence.pick.columns(),
        **interval,
        "bound": evidence.required,
    }
    return {name: value for name, value in row.items() if value not in (None, "")}


def published_claims() -> list[dict[str, Any]]:
    """The claims of results/claims.json.

    If it is not there, damaged, or not made from the results beside it, then they are made anew
    from those, and a warning says so. ValueError, with the way out, if it is of the first edition.
    """
    check_folder()
    path = folder() / f"{LEDGER}.json"
    try:
        return settled(folder(), lambda: _read(path))
    except (DamagedError, FileNotFoundError) as error:
        warnings.warn(f"{error}; what is shown is made anew from the results", stacklevel=2)
        return ledger_content(claims(published))


def _read(path: Path) -> list[dict[str, Any]]:
    content = read_content(path.read_bytes(), path, RENEWED)
    now, then = _sources(path.parent), content.get("sources", {})
    for file in sorted(now.keys() | then.keys()):
        if now.get(file) != then.get(file):
            raise DamagedError(f"{path} is not made from {file} as it is now: {RENEWED}")
    return content["claims"]


def _sources(where: Path) -> dict[str, str]:
    """The digests of the files that a ledger is made from, as they are now."""
    names = {evidence.result for claim in stated_claims() for evidence in claim.evidence}
    paths = [ledger.CLAIMS, *(path for name in names if (path := where / f"{name}.json").exists())]
    return {path.name: sha256(path.read_bytes()) for path in paths}
