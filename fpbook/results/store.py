"""The results store: reading and writing what full runs publish in the results folder."""

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from safetensors.torch import load_file, save
from torch import Tensor

from fpbook.results.columns import rows
from fpbook.results.files import check_name, folder, read_json
from fpbook.results.records import table
from fpbook.results.summaries import joined, summarise, summary_table
from fpcore.checkpoint import write_atomically

FORMAT = 2  # of the files; the first edition's had none, and "measured" in place of records
NEEDED = {"profile", "device", "versions", "seeds", "date", "commit"}  # of a provenance
WAY_OUT = "restore it, or delete it and publish again with make full"


@dataclass(frozen=True)
class Published:
    """A published result.

    records:    one row for each seed, where seeds were kept
    kept:       summaries of what has no records: where seeds were not kept, or a fit
    provenance: where the numbers come from; "tuned" are the seeds on which choices were made
    """

    records: pd.DataFrame
    kept: pd.DataFrame
    provenance: Mapping[str, Any]

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """All summaries: those of the records, then those that were kept."""
        return joined(summarise(self.records, self.provenance.get("tuned", ())), self.kept)

    @property
    def content(self) -> dict[str, Any]:
        """What its file holds."""
        tables = {"records": rows(self.records), "summaries": rows(self.kept)}
        return {"format": FORMAT, "provenance": dict(self.provenance)} | {
            k: v for k, v in tables.items() if v
        }


def published(name: str) -> Published | None:
    """The published result of this name, or None if it was never published.

    FileNotFoundError if there is no results folder; ValueError, with the way out, if the file is of
    the first edition or damaged.
    """
    check_folder()
    return load(name)


def check_folder() -> None:
    """FileNotFoundError if there is no results folder."""
    if not folder().is_dir():
        raise FileNotFoundError(
            f"{folder()} is not there: published results are in the repository's folder results/; "
            "name another folder that holds them by FPCORE_RESULTS"
        )


def load(name: str) -> Published | None:
    """As `published`, but None as well if there is no results folder."""
    path = folder() / f"{check_name(name)}.json"
    return parse(read_json(path, WAY_OUT), path) if path.exists() else None


def parse(content: Any, path: Path) -> Published:
    """What a result's file holds; ValueError that names the file and the way out if it is none."""
    check_format(content, path)
    source = content.get("provenance")
    if missing := NEEDED - (source.keys() if isinstance(source, dict) else set()):
        raise ValueError(
            f"{path} is no published result (its provenance lacks {sorted(missing)}): {WAY_OUT}"
        )
    try:
        measured, kept = (
            table(content.get("records", [])),
            summary_table(content.get("summaries", [])),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no published result ({error}): {WAY_OUT}") from error
    return Published(records=measured, kept=kept, provenance=source)


def check_format(content: Any, path: Path) -> None:
    """ValueError that names the file and the way out unless it is of the present format."""
    if is_first_edition(content):
        raise ValueError(
            f"{path} is in the layout of the first edition: "
            "convert its folder by python -m fpbook convert"
        )
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no file of published results (format {FORMAT}): {WAY_OUT}")


def is_first_edition(content: Any) -> bool:
    """Whether this is a result of the first edition, or its ledger, which was a list of claims."""
    entry = content[0] if isinstance(content, list) and content else content
    return (
        isinstance(entry, dict)
        and "format" not in entry
        and {"measured", "provenance"} <= entry.keys()
    )


def pack_arrays(arrays: Mapping[str, Tensor]) -> bytes:
    """The bytes of a file of arrays."""
    return save({k: v.detach().contiguous().cpu() for k, v in arrays.items()})


def publish_arrays(name: str, arrays: Mapping[str, Tensor]) -> None:
    """Write results/<name>.safetensors, atomically; the arrays' names are "network/parameter"."""
    write_atomically(folder() / f"{check_name(name)}.safetensors", pack_arrays(arrays))


def published_arrays(name: str) -> dict[str, dict[str, Tensor]]:
    """The published arrays of an experiment, {network: {parameter: array}}."""
    check_folder()
    path = folder() / f"{check_name(name)}.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there: restore it, or publish it again with make full"
        )
    try:
        arrays = load_file(path)
    except Exception as error:
        raise ValueError(f"{path} cannot be read ({error}): {WAY_OUT}") from error
    networks: dict[str, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        network, parameter = key.split("/", 1)
        networks.setdefault(network, {})[parameter] = array
    return networks


def publish_figure(name: str, figure: Figure) -> None:
    """Write results/<name>.png, atomically."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    write_atomically(folder() / f"{check_name(name)}.png", content.getvalue())
