"""The ledger's file, results/claims.json: made of the published results, and read."""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fpbook.results import ledger
from fpbook.results.checksums import encode_sealed, sha256
from fpbook.results.claim import Evidence, Recipe
from fpbook.results.files import LEDGER, DamagedError, folder
from fpbook.results.intervals import Interval
from fpbook.results.ledger import Entry, NullTest, claims, results_of, stated_claims
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
    """The claims of results/claims.json, with verdict, figures, bounds, null tests and runs."""
    found = []
    for entry in entries:
        claim = entry.claim
        texts = ("id", "statement", "plain", "source", "chapter", "fixed")
        head = {name: getattr(claim, name) for name in texts if getattr(claim, name)}
        if claim.planned > 1:
            head["planned"] = claim.planned
        figures = [
            _figure(evidence, number) for evidence, number in zip(claim.evidence, entry.numbers)
        ]
        rest = {
            "nulls": [_null_test(test) for test in entry.nulls],
            "notes": [*claim.notes],
            "recipe": _recipe(claim.recipe) if claim.recipe else {},
        }
        verdict = {"verdict": entry.verdict, "mild": entry.mild}
        runs = {name: dict(source) for name, source in entry.provenance.items()}
        kept = {name: value for name, value in rest.items() if value}
        found.append({**head, **verdict, "figures": figures, **kept, "provenance": runs})
    return found


def _figure(evidence: Evidence, number: Interval | None) -> dict[str, Any]:
    row = {
        "result": evidence.result,
        **evidence.pick.columns(),
        **_interval(number),
        "bound": evidence.required,
        "condition": evidence.condition or None,
    }
    return {name: value for name, value in row.items() if value not in (None, "")}


def _interval(number: Interval | None) -> dict[str, Any]:
    if number is None:
        return {}
    return {"value": number.value, "low": number.low, "high": number.high, "n": number.n}


def _null_test(test: NullTest) -> dict[str, Any]:
    """What a stand-in scores, and whether it misses no bound; None while that is not measured."""
    scores = [
        {"in the place of": evidence.pick.columns(), "bound": evidence.required, **_interval(score)}
        for evidence, score in test.scores()
    ]
    null = test.null
    return {"name": null.name, "words": null.words, "passes": test.passes, "scores": scores}


def _recipe(recipe: Recipe) -> dict[str, Any]:
    return {"command": recipe.command, **dict(recipe.facts)}


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
    names = results_of(stated_claims())
    paths = [ledger.CLAIMS, *(path for name in names if (path := where / f"{name}.json").exists())]
    return {path.name: sha256(path.read_bytes()) for path in paths}
