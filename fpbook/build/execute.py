"""The book's driver: execute every chapter (Papermill), validate the executed notebooks (nbval). `site` builds the HTML.

python -m fpbook execute --profile quick --device auto --seed 0
python -m fpbook validate
"""

import argparse
import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from tqdm import tqdm

from fpbook.build.pages import table_of_contents
from fpbook.figures.style import PROFILES
from fpbook.results import cache
from fpbook.results.code import chapter_digest
from fpbook.results.files import ROOT, folder
from fpbook.results.provenance import provenance
from fpcore import checks
from fpcore.checkpoint import write_atomically
from fpcore.images import DataNotFoundError, find_cifar10

CELL_TIMEOUT = (
    48 * 3600
)  # seconds: the longest cell of the full profile (AutoAttack, 15 hours on a CPU) on a slow machine
# Libraries that decide what a chapter finds and shows; a new version of one runs it anew.
LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyautoattack",
    "matplotlib",
    "ipywidgets",
)
TYPES = {"str": str, "int": int, "float": float, "bool": bool}


class BookError(Exception):
    """Something the user can mend; the message says how."""


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of the book, in the order of its table of contents."""
    files = table_of_contents(root)
    if missing := [
        file
        for file in files
        if not any((root / f"{file}.{kind}").exists() for kind in ("ipynb", "md"))
    ]:
        raise BookError(f"_toc.yml lists {missing}: there is no such .ipynb or .md in {root}")
    return [path for file in files if (path := root / f"{file}.ipynb").exists()]


def chosen(only: list[str] | None, root: Path = ROOT) -> list[Path]:
    """The chapters named in `only`, in the book's order; all of them for None. BookError for a name that is none of them."""
    found, names = chapters(root), {Path(name).stem for name in only or ()}
    if missing := names - {n.stem for n in found}:
        raise BookError(
            f"no chapter {sorted(missing)} in _toc.yml (list new ones there): it has {[n.stem for n in found]}"
        )
    return [n for n in found if not names or n.stem in names]


def executed(notebook: Path, profile: str, root: Path = ROOT) -> Path:
    """Where the executed copy of a chapter lies."""
    return root / "_build" / "executed" / profile / notebook.relative_to(root)


def check_parameters(notebook: Path, given: dict[str, Any]) -> None:
    """Raise BookError unless every given parameter is one that the notebook declares, and of its declared type."""
    declared = papermill.inspect_notebook(str(notebook))
    if not declared:
        raise BookError(
            f"{notebook} has no parameters: tag a cell `parameters` that sets {', '.join(given)}"
        )
    for name, value in given.items():
        if name not in declared:
            raise BookError(
                f"{notebook.name} has no parameter {name!r}: it has {', '.join(declared)}"
            )
        kind = TYPES.get(declared[name]["inferred_type_name"])
        number = isinstance(value, int) and kind is float and not isinstance(value, bool)
        if kind and type(value) is not kind and not number:
            raise BookError(
                f"{name} = {value!r}: {notebook.name} wants a value of type {kind.__name__}"
            )


def chapter_key(notebook: Path, parameters: dict[str, Any]) -> str:
    """Two digests of all that decides a chapter's outcome: of its cells, parameters, code and data; of the results it reads."""
    return f"{_inputs(notebook, parameters)} {_results(notebook)}"


def _inputs(notebook: Path, parameters: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    cells = [
        (c.cell_type, c.source, c.metadata.get("tags")) for c in nbformat.read(notebook, 4).cells
    ]
    digest.update(json.dumps(cells).encode())
    digest.update(chapter_digest([source for kind, source, _ in cells if kind == "code"]).encode())
    digest.update("".join(map(version, LIBRARIES)).encode())
    if any("_cifar10" in source for _, source, _ in cells):
        with contextlib.suppress(DataNotFoundError):
            for path in sorted(p for p in find_cifar10().rglob("*") if p.is_file()):
                digest.update(
                    f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode()
                )
    return digest.hexdigest()


def _results(notebook: Path) -> str:
    """A digest of the published results that a chapter reads: those that its cells name; for the ledger, all.

    Of no others: in the full profile each chapter that publishes would make those before it run again.
    """
    text, digest = "".join(c.source for c in nbformat.read(notebook, 4).cells), hashlib.sha256()
    for path in sorted(p for p in folder().glob("*") if p.suffix in (".json", ".safetensors")):
        network = path.stem.startswith("cifar10-seed") and "published_networks" in text
        if network or f'"{path.stem}"' in text or "claims()" in text:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def hand_down_folders() -> None:
    """Make the folders in the environment absolute: kernels run in the folder of their chapter."""
    os.environ["FPCORE_CACHE"] = str(cache.folder())
    os.environ["FPCORE_RESULTS"] = str(folder())
    if named := os.environ.get("FPCORE_DATA"):
        os.environ["FPCORE_DATA"] = str(Path(named).expanduser().resolve())


def execute(
    parameters: dict[str, Any], only: list[str] | None = None, root: Path = ROOT
) -> list[Path]:
    """Execute the chapters whose inputs changed; return all executed notebooks.

    Each is written under a temporary name and moved into place when it is complete, so a run killed at any moment
    leaves old notebooks or new ones, never a part of one.
    """
    notebooks = chosen(only, root)
    try:
        checks.choice("profile", parameters["profile"], PROFILES)
        checks.resolve_device(parameters["device"])
        checks.whole("seed", parameters["seed"])
    except ValueError as error:
        raise BookError(str(error)) from error
    for notebook in notebooks:
        check_parameters(notebook, parameters)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    outputs = []
    with tqdm(notebooks, desc="book", unit="chapter") as bar:
        for notebook in bar:
            output = executed(notebook, parameters["profile"], root)
            outputs.append(output)
            if recorded_key(output) == chapter_key(notebook, parameters):
                tqdm.write(f"{notebook.stem}: unchanged since it was executed")
                continue
            bar.set_postfix_str(notebook.stem)
            _execute(notebook, output, parameters)
    return outputs


def recorded_key(output: Path) -> str | None:
    """The key under which an executed notebook was made; None if there is no (readable) notebook."""
    try:
        return json.loads(output.read_text())["metadata"]["fpcore"]["key"]
    except (OSError, ValueError, KeyError):
        return None


def _execute(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    inputs = _inputs(notebook, parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".partial-{output.name}")
    started = time.monotonic()
    try:
        result = papermill.execute_notebook(
            str(notebook),
            str(partial),
            parameters,
            cwd=str(notebook.parent),
            execution_timeout=CELL_TIMEOUT,
        )
    except papermill.PapermillExecutionError as error:
        raise BookError(
            f"{notebook} failed; its cells up to the failure are in {partial}\n{error}"
        ) from error
    source = provenance(
        parameters["profile"], checks.resolve_device(parameters["device"]), [parameters["seed"]]
    )
    seconds = round(time.monotonic() - started, 1)
    digest = f"{inputs} {_results(notebook)}"  # of what it read at the end, which it may have published itself
    result.metadata["fpcore"] = {
        "key": digest,
        "seconds": seconds,
        "parameters": parameters,
        "provenance": source,
    }
    for cell in result.cells:  # the injected parameters are for the record, not for the page
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags = [*cell.metadata.tags, "remove-cell"]
    write_atomically(output, nbformat.writes(result).encode())
    partial.unlink()


def guard(notebook: Path) -> int:
    """Raise BookError unless every code cell was executed without error and nbval has something to compare.

    nbval never compares a cell without an execution count: a stripped notebook would pass while checking nothing.
    Returns the number of cells whose output is compared.
    """
    if not notebook.exists():
        raise BookError(f"{notebook} is not there: execute the book first (make book)")
    cells = [
        c for c in nbformat.read(notebook, 4).cells if c.cell_type == "code" and c.source.strip()
    ]
    for cell in cells:
        if cell.execution_count is None or any(o.output_type == "error" for o in cell.outputs):
            raise BookError(
                f"{notebook} was not executed to its end: this cell has no result\n{cell.source}"
            )
    checked = [c for c in cells if "nbval-check-output" in c.metadata.get("tags", [])]
    if not checked or not all(c.outputs for c in checked):
        raise BookError(
            f"{notebook} has no cell tagged nbval-check-output with an output: nothing would be compared"
        )
    return len(checked)


def validate(notebooks: list[Path]) -> None:
    """Replay executed notebooks with nbval and compare the cells tagged nbval-check-output with what they held."""
    compared = sum(guard(n) for n in notebooks)
    print(f"nbval replays {len(notebooks)} notebooks and compares {compared} cells", flush=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout",
        str(CELL_TIMEOUT),
    ]
    options = [
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(notebooks[0].parent),
        "-q",
    ]
    if subprocess.run([*command, *options, *map(str, notebooks)]).returncode:
        raise BookError("a replayed notebook differs from the executed one: see above")


def _parsed(name: str, value: str) -> Any:
    """The value of a parameter given on the command line, as YAML has it."""
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise BookError(
            f"-p {name} {value}: not a value ({' '.join(str(error).split())}); quote it as YAML does"
        ) from error


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fpbook", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("action", choices=("execute", "validate"))
    parser.add_argument("--profile", default="quick", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="chapters to execute or validate, by name")
    parser.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a further parameter",
    )
    options = parser.parse_args(arguments)
    parameters = {"profile": options.profile, "device": options.device, "seed": options.seed}
    try:
        hand_down_folders()
        parameters |= {name: _parsed(name, value) for name, value in options.p}
        if options.action == "execute":
            execute(parameters, options.only)
        else:
            checks.choice("profile", options.profile, PROFILES)
            validate([executed(n, options.profile) for n in chosen(options.only)])
    except (BookError, ValueError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it was", file=sys.stderr)
        sys.exit(130)
