"""Publishing a result: the one call by which a chapter keeps what it measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from fpbook.results.checksums import sha256, with_checksum
from fpbook.results.columns import identity, rows
from fpbook.results.files import LEDGER, check_name, folder
from fpbook.results.ledger_file import ledger_file
from fpbook.results.provenance import provenance
from fpbook.results.records import table
from fpbook.results.store import Published, load, pack_arrays, read_result, write_result
from fpbook.results.summaries import is_summary, summary_table
from fpbook.results.transaction import publishing, write_together


def publish(
    name: str,
    measured: pd.DataFrame,
    profile: str,
    device: torch.device,
    setting: str,
    arrays: Mapping[str, Tensor] | None = None,
    tuned: int = 0,
    seeds: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Summarise what a chapter measured, and in the full profile publish it; returns the summary.

    name:     of the result: results/<name>.json, and results/<name>.safetensors for arrays
    measured: a table of records; or of summaries, of what is no mean over records, such as a fit
    profile:  nothing is written unless it is "full", nor if nothing was measured
    device:   what it was measured on
    setting:  sizes and data, in a few words
    arrays:   published beside the records, as {"network/parameter": array}
    tuned:    on how many of the first seeds choices were made; the others are summarised as well
    seeds:    of the runs, if `measured` does not name them

    All is checked before anything is written, and so is the ledger, which is refreshed. Result,
    arrays and ledger are published at once: a reader, or a run killed at any moment, leaves all of
    them old or all of them new. The same numbers as are published already are left as they are,
    with the provenance of the run that found them first, unless that was of code that was not
    committed. ValueError if anything is unsound, or if nothing can be written.
    """
    check_name(name)
    if not isinstance(measured, pd.DataFrame):
        raise ValueError(f"measured = {measured!r}: give a table of records, or of summaries")
    new = _result(measured, tuned, seeds)
    if profile == "full" and len(measured):
        source = provenance(profile, device, new.provenance["seeds"], setting=setting)
        _write(name, replace(new, provenance=source | dict(new.provenance)), arrays)
    return new.summary


def with_published(name: str, found: Sequence[Mapping[str, Any]], setting: str) -> pd.DataFrame:
    """Records, and those that are published already and not among them: a table.

    name:    of the published result
    found:   records, which replace published ones of the same
    setting: in which they were measured

    ValueError, before anything is written, if the published ones are of another setting.
    """
    before = load(name)
    if before is None:
        return table(found)
    if (said := before.provenance.get("setting")) != setting:
        raise ValueError(f"results/{name}.json is of {said}, not of {setting}: move it away")
    new = [(identity(row), row.get("seed")) for row in found]
    old = [row for row in rows(before.records) if (identity(row), row.get("seed")) not in new]
    return table([*old, *found])


def _result(measured: pd.DataFrame, tuned: int, seeds: Sequence[int] | None) -> Published:
    """What was measured as a result, whose provenance is but the seeds, those tuned on apart."""
    found = (
        []
        if is_summary(measured)
        else sorted({row["seed"] for row in rows(measured) if "seed" in row})
    )
    source = {"seeds": [*(found if seeds is None else seeds)]}
    if tuned:
        source["tuned"] = source["seeds"][:tuned]
    if is_summary(measured):
        kept = summary_table(rows(measured))
        return Published(records=table([]), kept=kept, provenance=source)
    return Published(records=table(rows(measured)), kept=summary_table([]), provenance=source)


def _write(name: str, new: Published, arrays: Mapping[str, Tensor] | None) -> None:
    """Write a result, its arrays and the ledger together, once all are sound."""
    where, contents = folder(), {}
    if arrays:
        contents = with_checksum(f"{name}.safetensors", pack_arrays(arrays))
        new = replace(new, arrays=sha256(contents[f"{name}.safetensors"]))
    with publishing(where):
        shown = _shown(load(name), new, where / f"{name}.json")
        if not shown.digest:
            contents[f"{name}.json"] = write_result(shown)
            shown = read_result(contents[f"{name}.json"], where / f"{name}.json")
        ledger = ledger_file(lambda other: shown if other == name else load(other))
        write_together(where, contents | {f"{LEDGER}.json": ledger})


def _shown(old: Published | None, new: Published, path: Path) -> Published:
    """Of the published result and the new one that which shall be published."""
    same = old is not None and _same_numbers(old, new)
    arrays = path.with_suffix(".safetensors")
    if not new.arrays and not same and arrays.exists():
        raise ValueError(f"arrays = None: {arrays} is of other numbers, give the new arrays")
    if old is None or not same:
        return new
    new = replace(new, arrays=new.arrays or old.arrays)
    return old if old.arrays == new.arrays and not _uncommitted(old) else new


def _same_numbers(one: Published, other: Published) -> bool:
    """Whether two results hold the same numbers, of the same seeds, tuned on the same."""
    parts = [
        (result.content.get("records"), result.content.get("summaries")) for result in (one, other)
    ]
    keys = ("seeds", "tuned")
    sources = [[result.provenance.get(key) for key in keys] for result in (one, other)]
    return parts[0] == parts[1] and sources[0] == sources[1]


def _uncommitted(result: Published) -> bool:
    return str(result.provenance.get("commit")).endswith("-dirty")
