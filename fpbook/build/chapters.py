"""The chapters of the book: which there are, where their executed copies lie, what they declare."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbformat import NotebookNode

from fpbook.build.kernels import KERNEL
from fpbook.build.pages import table_of_contents
from fpbook.results.cache import cache_folder
from fpbook.results.checksums import sha256
from fpbook.results.convert import convert_folder
from fpbook.results.files import ROOT, folder, resolved
from fpbook.results.store import is_first_edition

TYPES = {"str": str, "int": int, "float": float, "bool": bool}


class BookError(Exception):
    """Something the user can mend; the message says how."""


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of the book, in the order of its table of contents."""
    files = table_of_contents(root)
    missing = [
        file
        for file in files
        if not any((root / f"{file}.{kind}").exists() for kind in ("ipynb", "md"))
    ]
    if missing:
        raise BookError(f"_toc.yml lists {missing}: there is no such .ipynb or .md in {root}")
    return [path for file in files if (path := root / f"{file}.ipynb").exists()]


def chosen(only: list[str] | None, root: Path = ROOT) -> list[Path]:
    """The chapters named in `only`, in the book's order; all of them for None.

    Raises BookError for a name that is none of them.
    """
    found = chapters(root)
    names = {Path(name).stem for name in only or ()}
    if missing := names - {path.stem for path in found}:
        known = [path.stem for path in found]
        raise BookError(
            f"no chapter {sorted(missing)} in _toc.yml (list new ones there): it has {known}"
        )
    return [path for path in found if not names or path.stem in names]


def executed(notebook: Path, profile: str, root: Path = ROOT) -> Path:
    """Where the executed copy of a chapter lies."""
    return root / "_build" / "executed" / profile / notebook.relative_to(root)


def read_chapter(notebook: Path) -> NotebookNode:
    """A chapter as it is executed: with the kernel of this environment."""
    content = nbformat.read(notebook, 4)
    content.metadata["kernelspec"] = nbformat.from_dict(KERNEL)
    return content


def check_parameters(notebook: Path, given: dict[str, Any]) -> None:
    """Raise BookError unless a chapter declares each given parameter, of the type that is given."""
    declared = papermill.inspect_notebook(read_chapter(notebook))
    if not declared:
        names = ", ".join(given)
        raise BookError(f"{notebook} has no parameters: tag a cell `parameters` that sets {names}")
    for name, value in given.items():
        if name not in declared:
            known = ", ".join(declared)
            raise BookError(f"{notebook.name} has no parameter {name!r}: it has {known}")
        kind = TYPES.get(declared[name]["inferred_type_name"])
        number = isinstance(value, int) and kind is float and not isinstance(value, bool)
        if kind and type(value) is not kind and not number:
            wanted = f"{notebook.name} wants a value of type {kind.__name__}"
            raise BookError(f"{name} = {value!r}: {wanted}")


def hand_down_folders() -> None:
    """Make the folders in the environment absolute: kernels run in the folder of their chapter.

    Raises BookError for data that are not there: chapters would show published results alone.
    """
    os.environ["FPCORE_CACHE"] = str(cache_folder())
    os.environ["FPCORE_RESULTS"] = str(in_todays_layout(folder(), ROOT / "_build"))
    if named := os.environ.get("FPCORE_DATA"):
        data = resolved(named)
        if not data.is_dir():
            advice = "name the folder that holds CIFAR-10, or unset it"
            raise BookError(f"FPCORE_DATA = {named!r}: there is no folder {data}, {advice}")
        os.environ["FPCORE_DATA"] = str(data)


def in_todays_layout(results: Path, where: Path) -> Path:
    """A folder of results; for one of the first edition a converted copy, which a line names.

    results: the folder, which stays as it is
    where:   the copy is made in it, once for the same contents: what is published goes into it
    """
    contents = {path.name: path.read_bytes() for path in sorted(results.glob("*.json"))}
    try:
        if not any(map(is_first_edition, map(json.loads, contents.values()))):
            return results
    except ValueError:  # damaged: whoever reads it says so
        return results
    copied = where / f"results-of-the-first-edition-{sha256(b''.join(contents.values()))[:16]}"
    if not copied.exists():
        partial = copied.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(results, partial)
        convert_folder(partial)
        partial.rename(copied)
    print(f"{results} is of the first edition: a converted copy is read, {copied}", file=sys.stderr)
    return copied


def hand_down_fonts(root: Path = ROOT) -> None:
    """Let kernels use a list of fonts made here, now: a list that lacks some changes formulas.

    matplotlib keeps one list for all environments of a user; a prime of another font is a zero.
    """
    os.environ["MPLCONFIGDIR"] = str(root / "_build" / "matplotlib")
    listing = "import matplotlib.font_manager"  # which waits for nobody's first figure
    subprocess.run([sys.executable, "-c", listing], check=True, stderr=subprocess.DEVNULL)
