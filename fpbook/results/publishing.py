"""Publishing a result: the one call by which a chapter keeps what it measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from fpbook.results import ledger
from fpbook.results.columns import rows
from fpbook.results.files import check_name, encode, folder
from fpbook.results.provenance import provenance
from fpbook.results.records import table
from fpbook.results.store import Published, load, pack_arrays
from fpbook.results.summaries import is_summary, summary_table
from fpcore.checkpoint import write_atomically


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

    All is checked before anything is written, and so is the ledger, which is refreshed. The same
    numbers as are published already are left as they are, with the provenance of the run that
    found them first, unless that was of code that was not committed.
    """
    check_name(name)
    new = _result(measured, tuned, seeds)
    if profile == "full" and len(measured):
        _write(
            name, new, provenance(profile, device, new.provenance["seeds"], setting=setting), arrays
        )
    return new.summary


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


def _write(name: str, new: Published, source: dict, arrays: Mapping[str, Tensor] | None) -> None:
    """Write a result, its arrays and the ledger, each atomically, once all are sound."""
    old, new = load(name), replace(new, provenance=source | dict(new.provenance))
    shown = old if old and _same_numbers(old, new) and not _uncommitted(old) else new
    contents = {}
    if arrays:
        contents[f"{name}.safetensors"] = pack_arrays(arrays)
    if shown is new:
        contents[f"{name}.json"] = encode(new.content)
    entries = ledger.claims(lambda other: shown if other == name else load(other))
    contents["claims.json"] = encode(ledger.ledger_content(entries))
    for file, content in contents.items():
        write_atomically(folder() / file, content)


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
