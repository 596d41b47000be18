"""Conversion of results of earlier versions: those of the first edition into records, all sealed.

In the first edition, a number was a name such as "cos_clean_adv_control/conv1", and of most numbers
the mean and the interval over seeds was all that was kept: they become summaries, to the last bit.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fpbook.results.checksums import CONTENT, checksum_path, encode_sealed, sha256, with_checksum
from fpbook.results.files import LEDGER, decode, folder
from fpbook.results.first_edition import RULES, columns_of
from fpbook.results.ledger_file import ledger_file
from fpbook.results.store import (
    BINARY,
    FORMAT,
    WAY_OUT,
    check_format,
    is_first_edition,
    parse,
    read_checked,
    read_result,
)
from fpbook.results.transaction import publishing, write_together
from fpcore import checks

OF_A_RESULT = {"format", "provenance", "records", "summaries"}  # before there were checksums


def convert(old: Mapping[str, Any], name: str, path: Path | None = None) -> dict[str, Any]:
    """The content of a result's file in the present layout; as it is, if it has that already.

    old:  the file's content
    name: of the result
    path: of the file, for errors

    ValueError that names the file if it is damaged, or if a number's name is none of that result's.
    """
    path = path or folder() / f"{name}.json"
    if not is_first_edition(old):
        check_format(old, path)
        return dict(old)
    if name not in RULES:
        raise ValueError(f"{path}: the first edition had no result of this name; move it elsewhere")
    try:
        measured, source = old["measured"], dict(old["provenance"])
        if name == "scaling-runs":
            new = {"records": _runs(measured["rows"])}
        else:
            new = {
                "summaries": [
                    _summary(columns_of(key, name), number) for key, number in measured.items()
                ]
            }
            source |= _tuned(new["summaries"], source["seeds"])
        return parse({"format": FORMAT, "provenance": source, **new}, path).content
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be converted ({error}): {WAY_OUT}") from error


def _summary(columns: Mapping[str, Any], number: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seeds": "all",
        **columns,
        **{name: number[name] for name in ("value", "low", "high", "n")},
    }


def _tuned(summaries: Sequence[Mapping[str, Any]], seeds: list[int]) -> dict[str, list[int]]:
    """The seeds on which choices were made: the first, as many as held-out figures do without."""
    counts = {row["n"] for row in summaries if row["seeds"] == "held out"}
    return {"tuned": seeds[: len(seeds) - max(counts)]} if counts else {}


def _runs(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One record for each number of each run; what a run did not reach has none."""
    found = []
    for run in measured:
        at = {name: run[name] for name in ("d", "k", "seed")}
        numbers = {key: value for key, value in run.items() if key not in at and value is not None}
        found += [
            {**columns_of(key, "scaling-runs"), **at, "value": value}
            for key, value in numbers.items()
        ]
    return found


def convert_folder(where: Path) -> list[Path]:
    """Convert all results of a folder, and write its ledger anew; returns the files that changed.

    What has no checksum, and never had one, gets it. Nothing is written unless all files are
    sound, the others as their checksums say.
    """
    if not where.is_dir():
        raise FileNotFoundError(f"{where} is not there: give the folder of published results")
    with publishing(where):
        contents = _checksums(where)
        paths = sorted(path for path in where.glob("*.json") if path.stem != LEDGER)
        contents |= {path.name: _sealed(path) for path in paths}
        found = {path.stem: read_result(contents[path.name], path) for path in paths}
        contents[f"{LEDGER}.json"] = ledger_file(found.get)
        changed = {
            name: new
            for name, new in contents.items()
            if not (where / name).exists() or (where / name).read_bytes() != new
        }
        write_together(where, changed)
    return [where / name for name in changed]


def _sealed(path: Path) -> bytes:
    """The bytes of a result's file in the present layout; unchanged if they have a checksum."""
    content = path.read_bytes()
    old = decode(content, path, WAY_OUT)
    if isinstance(old, dict) and CONTENT in old:
        return content
    new = convert(old, path.stem, path)
    if unknown := new.keys() - OF_A_RESULT:
        raise ValueError(f"{path} is no published result (it has {sorted(unknown)}): {WAY_OUT}")
    arrays = path.with_suffix(".safetensors")
    digest = {"arrays_sha256": sha256(arrays.read_bytes())} if arrays.exists() else {}
    head = {name: new.pop(name) for name in ("format", "provenance")}
    return encode_sealed(head | digest | new)


def _checksums(where: Path) -> dict[str, bytes]:
    """The files with the checksums of those that are no JSON, {name: content}."""
    found = {}
    for path in sorted(p for p in where.iterdir() if p.suffix in BINARY):
        content = read_checked(path) if checksum_path(path).exists() else path.read_bytes()
        name = checksum_path(path).name
        found[name] = with_checksum(path.name, content)[name]
    return found


def main(arguments: Sequence[str]) -> int:
    """The command `convert`; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m fpbook convert", description=__doc__)
    parser.add_argument("folder", nargs="?", help="of results; without it, results/")
    options = parser.parse_args(arguments)
    try:
        named = options.folder is not None
        changed = convert_folder(checks.path("folder", options.folder) if named else folder())
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(f"converted {path}" for path in changed) or "nothing to convert")
    return 0
