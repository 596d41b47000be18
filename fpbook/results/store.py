"""The results store: reading and writing what full runs publish in the results folder."""

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from safetensors.torch import load as unpack
from safetensors.torch import save
from torch import Tensor

from fpbook.results.checksums import (
    checksum_path,
    decode_sealed,
    encode_sealed,
    sha256,
    with_checksum,
)
from fpbook.results.columns import rows
from fpbook.results.files import DamagedError, check_name, decode, folder
from fpbook.results.records import table
from fpbook.results.summaries import joined, summarise, summary_table
from fpbook.results.transaction import publishing, settled, write_together

FORMAT = 2  # of the files; the first edition's had none, and "measured" in place of records
BINARY = (".safetensors", ".png")  # kinds of published files that are no JSON
NEEDED = {"profile", "device", "versions", "seeds", "date", "commit"}  # of a provenance
WAY_OUT = (
    "restore it (git checkout), or delete it and publish again with make full; "
    "python -m fpbook convert adds checksums to files that never had any"
)


@dataclass(frozen=True)
class Published:
    """A published result.

    records:    one row for each seed, where seeds were kept
    kept:       summaries of what has no records: where seeds were not kept, or a fit
    provenance: where the numbers come from; "tuned" are the seeds on which choices were made
    arrays:     the digest of the file of arrays published beside it; "" without one
    digest:     that of its own file; "" of what is not published
    """

    records: pd.DataFrame
    kept: pd.DataFrame
    provenance: Mapping[str, Any]
    arrays: str = ""
    digest: str = ""

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """All summaries: those of the records, then those that were kept."""
        return joined(summarise(self.records, self.provenance.get("tuned", ())), self.kept)

    @property
    def content(self) -> dict[str, Any]:
        """What its file holds, but for its own digest."""
        parts = {
            "arrays_sha256": self.arrays,
            "records": rows(self.records),
            "summaries": rows(self.kept),
        }
        return {"format": FORMAT, "provenance": dict(self.provenance)} | {
            k: v for k, v in parts.items() if v
        }


def published(name: str) -> Published | None:
    """The published result of this name, or None if it was never published.

    FileNotFoundError if there is no results folder; ValueError, with the way out, if the file is of
    the first edition or damaged.
    """
    check_folder()
    return settled(folder(), lambda: load(name))


def check_folder() -> None:
    """FileNotFoundError if there is no results folder."""
    if not folder().is_dir():
        raise FileNotFoundError(
            f"{folder()} is not there: published results are in the repository's folder results/; "
            "name another folder that holds them by FPCORE_RESULTS"
        )


def load(name: str) -> Published | None:
    """As `published`, but None as well if there is no folder, and as it is at this moment."""
    path = folder() / f"{check_name(name)}.json"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return read_result(content, path)


def write_result(result: Published) -> bytes:
    """The bytes of a result's file, which hold their own digest."""
    return encode_sealed(result.content)


def read_result(content: bytes, path: Path) -> Published:
    """What a result's file holds; ValueError that names the file and the way out if it is none.

    content: the bytes of the file
    path:    of the file
    """
    found = parse(read_content(content, path, WAY_OUT), path)
    return replace(found, digest=sha256(content))


def read_content(content: bytes, path: Path, way_out: str) -> dict[str, Any]:
    """What a file of the present format holds, but for its own digest, which is checked first."""
    if is_first_edition(decode(content, path, way_out)):
        raise _of_the_first_edition(path)
    found = decode_sealed(content, path, way_out)
    check_format(found, path)
    return found


def parse(content: Any, path: Path) -> Published:
    """A result from what its file holds; ValueError that names the file if that is no result."""
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
    arrays = content.get("arrays_sha256", "")
    return Published(records=measured, kept=kept, provenance=source, arrays=arrays)


def check_format(content: Any, path: Path) -> None:
    """ValueError that names the file and the way out unless it is of the present format."""
    if is_first_edition(content):
        raise _of_the_first_edition(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no file of published results (format {FORMAT}): {WAY_OUT}")


def _of_the_first_edition(path: Path) -> ValueError:
    return ValueError(
        f"{path} is in the layout of the first edition: "
        "convert its folder by python -m fpbook convert"
    )


def is_first_edition(content: Any) -> bool:
    """Whether this is a result of the first edition, or its ledger, which was a list of claims."""
    entry = content[0] if isinstance(content, list) and content else content
    return (
        isinstance(entry, dict)
        and "format" not in entry
        and {"measured", "provenance"} <= entry.keys()
    )


def pack_arrays(arrays: Mapping[str, Tensor]) -> bytes:
    """The bytes of a file of arrays; ValueError unless they are tensors, "network/parameter"."""
    for name, array in arrays.items():
        if not isinstance(array, Tensor):
            raise ValueError(f"arrays[{name!r}] = {array!r}: give a tensor")
        if not all(name.partition("/")):
            raise ValueError(f"arrays[{name!r}]: give it a name network/parameter")
    return save({k: v.detach().contiguous().cpu() for k, v in arrays.items()})


def publish_arrays(name: str, arrays: Mapping[str, Tensor]) -> None:
    """Write results/<name>.safetensors and its digest; the arrays' names are "network/parameter".

    ValueError if there is a result of this name: its arrays are published with it.
    """
    where = folder()
    if (where / f"{check_name(name)}.json").exists():
        raise ValueError(f"name = {name!r}: a result is called so; publish its arrays with it")
    content = with_checksum(f"{name}.safetensors", pack_arrays(arrays))
    with publishing(where):
        write_together(where, content)


def published_arrays(name: str) -> dict[str, dict[str, Tensor]]:
    """The published arrays of an experiment, {network: {parameter: array}}."""
    return published_with_arrays(name)[1]


def published_with_arrays(
    name: str,
) -> tuple[Published | None, dict[str, dict[str, Tensor]]]:
    """A result, if there is one of this name, and the arrays that were published with it.

    FileNotFoundError without arrays; ValueError, with the way out, if either is damaged, or they
    were not published together.
    """
    check_folder()
    return settled(folder(), lambda: _load_both(name))


def _load_both(name: str) -> tuple[Published | None, dict[str, dict[str, Tensor]]]:
    result, path = load(name), folder() / f"{name}.safetensors"
    content = read_checked(path)
    if result and result.arrays != sha256(content):
        raise DamagedError(f"{path} was not published with {name}.json: {WAY_OUT}")
    networks: dict[str, dict[str, Tensor]] = {}
    for key, array in unpack(content).items():  # of which `publish` made sure
        network, parameter = key.split("/", 1)
        networks.setdefault(network, {})[parameter] = array
    return result, networks


def read_checked(path: Path) -> bytes:
    """The bytes of a file with its digest beside it; DamagedError if they disagree."""
    digest = checksum_path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} is not there: restore it, or publish it again with make full"
        ) from error
    try:
        expected = digest.read_bytes()
    except FileNotFoundError as error:
        raise DamagedError(f"{path} has no checksum, {digest.name}: {WAY_OUT}") from error
    if expected != with_checksum(path.name, content)[digest.name]:
        raise DamagedError(f"{path} is damaged, as {digest.name} says, or that is: {WAY_OUT}")
    return content


def publish_figure(name: str, figure: Figure) -> None:
    """Write results/<name>.png and its digest."""
    where, file, content = folder(), f"{check_name(name)}.png", io.BytesIO()
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    with publishing(where):
        write_together(where, with_checksum(file, content.getvalue()))
