"""Whether all published files are what their checksums say: python -m fpbook verify --help."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fpbook.results.checksums import sha256
from fpbook.results.explorers import published_explorers, read_explorer
from fpbook.results.files import LEDGER, DamagedError, folder
from fpbook.results.ledger_file import RENEWED, ledger_file
from fpbook.results.store import BINARY, WAY_OUT, check_folder, load, read_checked
from fpbook.results.transaction import settled
from fpcore.data_checksums import check_data_file
from fpcore.images import DataNotFoundError, find_cifar10


def check_results() -> int:
    """Check all published files, and count them.

    DamagedError, a line for each, unless each is what its checksum says, results and arrays were
    published together, and the ledger is made from the results.
    """
    check_folder()
    return settled(folder(), _check)


def _check() -> int:
    where = folder()
    wrong: list[str] = []
    files = {path.name for path in where.iterdir() if path.suffix in BINARY}
    files |= {path.stem for path in where.glob("*.sha256")}  # of a file that may be lost
    digests = _each(files, lambda file: sha256(read_checked(where / file)), wrong)
    names = {path.stem for path in where.glob("*.json")} - {LEDGER}
    results = _each(names, load, wrong)
    explorers = published_explorers()
    _each(explorers, read_explorer, wrong)
    for name, result in results.items():
        arrays = f"{name}.safetensors"
        if result and result.arrays != digests.get(arrays, ""):
            wrong.append(f"{where / arrays} was not published with {name}.json: {WAY_OUT}")
    ledger = where / f"{LEDGER}.json"
    if not wrong and (not ledger.exists() or ledger.read_bytes() != ledger_file()):
        wrong.append(f"{ledger} is not what the results say: {RENEWED}")
    if wrong:
        raise DamagedError("\n".join(wrong))
    return len(files) + len(names) + len(explorers) + 1


def _each(names: Iterable[str], read: Callable[[str], Any], wrong: list[str]) -> dict[str, Any]:
    """What is read under each name; what cannot be goes to `wrong`."""
    found = {}
    for name in sorted(names):
        try:
            found[name] = read(name)
        except (ValueError, OSError) as error:
            wrong.append(f"{error}")
    return found


def main(arguments: Sequence[str]) -> None:
    """The command `verify`; what is wrong is a DamagedError."""
    argparse.ArgumentParser(prog="python -m fpbook verify", description=__doc__).parse_args(
        arguments
    )
    print(f"{check_results()} published files are sound")
    for line in data_files():
        print(line)


def data_files() -> list[str]:
    """What is known of the parquet files of CIFAR-10 here, a line each; none where there are none.

    A file that is not what its checksum says is a DamagedError.
    """
    try:
        where = find_cifar10()
    except DataNotFoundError:
        return []
    said = []
    for path in sorted(where.rglob("*.parquet")):
        try:
            what = check_data_file(path)
        except ValueError as error:
            raise DamagedError(f"{path} is damaged ({error}): fetch it again") from error
        unknown = f"no checksum is known; `sha256sum` it into {path.name}.sha256, and it is checked"
        said.append(f"{path}: {what or unknown}")
    return said
