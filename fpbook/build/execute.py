"""Execute the chapters whose inputs changed, with Papermill: python -m fpbook execute --help."""

import argparse
import contextlib
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from jupyter_client.kernelspec import NoSuchKernel
from nbformat import NotebookNode
from tqdm import tqdm

from fpbook.build.chapters import (
    BookError,
    chapters,
    check_parameters,
    chosen,
    executed,
    hand_down_folders,
    hand_down_fonts,
    read_chapter,
)
from fpbook.build.kernels import KERNEL, OwnKernel
from fpbook.build.lanes import lanes_of, share_threads, work_in_lanes
from fpbook.build.validate import CELL_TIMEOUT
from fpbook.figures.style import PROFILES
from fpbook.results.checksums import CONTENT, is_sealed, sealed
from fpbook.results.code import chapter_digest
from fpbook.results.files import ROOT, folder
from fpbook.results.provenance import provenance
from fpbook.results.transaction import held
from fpcore import checks
from fpcore.checkpoint import write_atomically
from fpcore.images import DataNotFoundError, find_cifar10

READY = "The opening page is ready"  # how the line begins that says so
# Libraries that decide what a chapter finds and shows; a new version of one runs it anew.
LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "pyautoattack",
    "matplotlib",
    "ipywidgets",
)


def chapter_key(notebook: Path, parameters: dict[str, Any]) -> str:
    """Two digests: of a chapter's cells, parameters, code and data; of the results it reads."""
    return f"{_inputs(notebook, parameters)} {_results(notebook)}"


def _inputs(notebook: Path, parameters: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    cells = [
        (c.cell_type, c.source, c.metadata.get("tags")) for c in nbformat.read(notebook, 4).cells
    ]
    digest.update(json.dumps(cells).encode())
    code = [source for kind, source, _ in cells if kind == "code"]
    digest.update(chapter_digest(code, ROOT).encode())
    digest.update("".join(map(version, LIBRARIES)).encode())
    if any("_cifar10" in source for _, source, _ in cells):
        with contextlib.suppress(DataNotFoundError):
            for path in sorted(p for p in find_cifar10().rglob("*") if p.is_file()):
                digest.update(
                    f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode()
                )
    return digest.hexdigest()


def _results(notebook: Path) -> str:
    """A digest of the published results that a chapter reads: those it names; for the ledger, all.

    Of no others: else each chapter that publishes would make those before it run again.
    """
    text, digest = "".join(c.source for c in nbformat.read(notebook, 4).cells), hashlib.sha256()
    for path in sorted(p for p in folder().glob("*") if p.suffix in (".json", ".safetensors")):
        network = path.stem.startswith("cifar10-seed") and "published_networks" in text
        if network or f'"{path.stem}"' in text or "claims()" in text:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def execute(
    parameters: dict[str, Any],
    only: list[str] | None = None,
    root: Path = ROOT,
    opening: bool = False,
) -> list[Path]:
    """Execute the chapters whose inputs changed; return all executed notebooks.

    parameters: of the chapters, by name
    only:       names of chapters; None: all
    root:       of the book
    opening:    whether the first chapter, once it is executed, is shown before the others are

    Each is written under a temporary name and moved into place when it is complete, so a run killed
    at any moment leaves old notebooks or new ones, never a part of one. Of two runs at once, one
    waits while the other executes a chapter, and then finds it unchanged.
    """
    notebooks = chosen(only, root)
    _check_run(notebooks, parameters)
    work = partial(execute_chapter, parameters=parameters, root=root, opening=opening)
    work_in_lanes(lanes_of(notebooks), work)
    return [executed(notebook, parameters["profile"], root) for notebook in notebooks]


def execute_chapter(
    notebook: Path, parameters: dict[str, Any], root: Path = ROOT, opening: bool = False
) -> str | None:
    """Execute a chapter if its inputs changed; a line that says so if not.

    notebook:   the chapter
    parameters: by name
    root:       of the book
    opening:    whether the book's first chapter is made a page as well, and the line says where

    Raises BookError if it fails.
    """
    logging.getLogger("papermill").setLevel(logging.ERROR)
    output = executed(notebook, parameters["profile"], root)
    waiting = f"waiting: another process executes {notebook.stem} ({parameters['profile']})"
    shown = opening and notebook == chapters(root)[0]
    with held(output.with_name(f".{output.name}.lock"), waiting), ThreadPoolExecutor(1) as beside:
        # What the page needs of npm comes over the network while the chapter is executed.
        packages = beside.submit(_packages, root) if shown else None
        unchanged = recorded_key(output) == chapter_key(notebook, parameters)
        if not unchanged:
            _execute(notebook, output, parameters)
        if packages:
            return _show_opening(parameters["profile"], packages.result, root)
    return f"{notebook.stem}: unchanged since it was executed" if unchanged else None


def _packages(root: Path) -> Path | None:
    from fpbook.build.opening import fetch  # here: it imports what builds the site

    return fetch(root)


def _show_opening(profile: str, packages: Callable[[], Path | None], root: Path) -> str:
    """Build the opening page; a line that says where it is, or why there is none."""
    from fpbook.build.opening import opening_page

    try:
        return f"{READY}: open {opening_page(profile, packages, root)}"
    except BookError as error:  # the whole book needs none: it says the same when it is built
        return f"There is no opening page before the book: {error}"


def _check_run(notebooks: list[Path], parameters: dict[str, Any]) -> None:
    """Raise BookError for parameters with which no chapter can run."""
    try:
        checks.choice("profile", parameters["profile"], PROFILES)
        checks.resolve_device(parameters["device"])
        checks.whole("seed", parameters["seed"])
    except ValueError as error:
        raise BookError(str(error)) from error
    for notebook in notebooks:
        check_parameters(notebook, parameters)


def recorded_key(output: Path) -> str | None:
    """The key under which an executed notebook was made; None, with a line, if it is damaged."""
    try:
        content = output.read_bytes()
    except FileNotFoundError:
        return None
    if not is_sealed(content):
        tqdm.write(f"{output} is damaged, as its checksum says, or has none: it is executed again")
        return None
    return json.loads(content)["metadata"]["fpcore"]["key"]


def _execute(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    inputs = _inputs(notebook, parameters)
    unfinished = output.with_name(f".partial-{output.name}")
    started = time.monotonic()
    result = _run(notebook, unfinished, parameters)
    _check_letters(notebook, result)
    seconds = round(time.monotonic() - started, 1)
    device = checks.resolve_device(parameters["device"])
    result.metadata["fpcore"] = {
        CONTENT: "",  # of this notebook, as it is written
        # Of the results that it read at the end, which it may have published itself.
        "key": f"{inputs} {_results(notebook)}",
        "seconds": seconds,
        "parameters": parameters,
        "provenance": provenance(parameters["profile"], device, [parameters["seed"]]),
    }
    for cell in result.cells:  # the injected parameters are for the record, not for the page
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags = [*cell.metadata.tags, "remove-cell"]
    write_atomically(output, sealed(nbformat.writes(result).encode()))
    unfinished.unlink()


def _check_letters(notebook: Path, result: NotebookNode) -> None:
    """Raise BookError if a figure lacks letters: matplotlib puts others in their place."""
    for cell in result.cells:
        for output in cell.get("outputs", []):
            told = "".join(output.get("text", "")) if output.output_type == "stream" else ""
            if found := re.search(r"findfont: .*|.*missing from font.*", told):
                advice = "install matplotlib anew, with its fonts: pip install --force-reinstall"
                raise BookError(f"{notebook}: {found.group().strip()}; {advice} matplotlib")


def _run(notebook: Path, unfinished: Path, parameters: dict[str, Any]) -> NotebookNode:
    """Run one chapter; each failure is a BookError that names the chapter and the way out."""
    so_far = f"its cells up to there are in {unfinished}"
    try:
        return papermill.execute_notebook(
            read_chapter(notebook),
            str(unfinished),
            parameters,
            kernel_name=KERNEL["name"],
            kernel_manager_class=OwnKernel,
            cwd=str(notebook.parent),
            progress_bar=False,  # the book's own bar names the chapter
            execution_timeout=CELL_TIMEOUT,
        )
    except papermill.PapermillExecutionError as error:
        raise BookError(f"{notebook} failed; {so_far}\n{error}") from error
    except NoSuchKernel as error:
        raise BookError(
            f"{notebook} needs the Jupyter kernel {error.name!r}, which is not installed: "
            "pip install ipykernel, into the environment that runs this"
        ) from error
    except TimeoutError as error:
        hours = CELL_TIMEOUT // 3600
        raise BookError(f"{notebook}: a cell took over {hours} hours; {so_far}") from error
    except RuntimeError as error:  # nbclient's, for a kernel that dies or never answers
        if "before replying" in str(error):
            raise BookError(
                f"{notebook}: its kernel ended as it started, as said above: mend what it names, "
                "or pip install --force-reinstall ipykernel, and run the same command again"
            ) from error
        raise BookError(
            f"{notebook} lost its kernel ({error}), mostly for want of memory: close other "
            f"programs, or give smaller sizes, and run the same command again; {so_far}"
        ) from error


def _parsed(name: str, value: str) -> Any:
    """The value of a parameter given on the command line, as YAML has it."""
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise BookError(f"-p {name} {value}: not a value ({why}); quote it as YAML does") from error


def main(arguments: list[str]) -> None:
    """The command `execute`."""
    parser = argparse.ArgumentParser(prog="python -m fpbook execute", description=__doc__)
    parser.add_argument("--profile", default="quick", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="chapters to execute, by name")
    shown = "show the first chapter before the others, where no book is there yet"
    parser.add_argument("--opening", action="store_true", help=shown)
    parser.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a further parameter of the chapters",
    )
    options = parser.parse_args(arguments)
    parameters = {"profile": options.profile, "device": options.device, "seed": options.seed}
    parameters |= {name: _parsed(name, value) for name, value in options.p}
    _check_run(chosen(options.only), parameters)
    hand_down_folders()
    hand_down_fonts()
    share_threads()
    book = ROOT / "_build" / "html" / "index.html"
    execute(parameters, options.only, opening=options.opening and not book.exists())
