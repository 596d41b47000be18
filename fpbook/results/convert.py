"""Conversion of the results of the first edition into records.

There, a number was a name such as "cos_clean_adv_control/conv1", and of most numbers the mean and
the interval over seeds was all that was kept: they become summaries, to the last bit.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fpbook.results import ledger
from fpbook.results.files import encode, folder, read_json
from fpbook.results.first_edition import RULES, columns_of
from fpbook.results.store import FORMAT, WAY_OUT, check_format, is_first_edition, parse
from fpcore.checkpoint import write_atomically

LEDGER = "claims"  # its file is not converted, but made anew from the results


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

    Nothing is written unless all of them can be converted.
    """
    if not where.is_dir():
        raise FileNotFoundError(f"{where} is not there: give the folder of published results")
    paths = sorted(path for path in where.glob("*.json") if path.stem != LEDGER)
    contents = {path: convert(read_json(path, WAY_OUT), path.stem, path) for path in paths}
    found = {path.stem: parse(content, path) for path, content in contents.items()}
    contents[where / f"{LEDGER}.json"] = ledger.ledger_content(ledger.claims(found.get))
    encoded = {path: encode(content) for path, content in contents.items()}
    changed = [
        path for path, new in encoded.items() if not path.exists() or path.read_bytes() != new
    ]
    for path in changed:
        write_atomically(path, encoded[path])
    return changed


def main(arguments: Sequence[str]) -> int:
    """The command `convert`; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m fpbook convert", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="of results; without it, results/")
    options = parser.parse_args(arguments)
    try:
        changed = convert_folder(options.folder or folder())
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(f"converted {path}" for path in changed) or "nothing to convert")
    return 0
