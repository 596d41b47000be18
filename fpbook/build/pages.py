"""Pages made from what the book already holds: the index of theorems, the status of each chapter, the reference."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from nbformat import NotebookNode

from fpbook.results.files import ROOT

STATEMENTS = ("theorem", "lemma", "proposition", "corollary")
STATEMENT = re.compile(rf"^:{{3,}}\{{prf:({'|'.join(STATEMENTS)})\}} *(.*)\n:label: (\S+)", re.M)
MEASURED = re.compile(r"\{ref\}`[^`<]+<(?:measure|check)-[a-z-]+>`")
TARGET = re.compile(r"^\(((?:measure|check)-[a-z-]+)\)=\n#+ (.+)", re.M)


def generate(source: Path, notebooks: dict[Path, NotebookNode], root: Path = ROOT) -> None:
    """Replace each line "% generated: name" in the pages under source by what it names."""
    texts = {
        file: text for file in table_of_contents(root) if (text := markdown(file, notebooks, root))
    }
    made = {
        "theorems": lambda: theorems(texts),
        "status": lambda: status(
            {path.stem: notebook.metadata.fpcore for path, notebook in notebooks.items()}
        ),
        "reference": reference,
    }
    for page in source.glob("pages/*.md"):
        page.write_text(
            re.sub(
                r"^% generated: (\w+)$", lambda line: made[line[1]](), page.read_text(), flags=re.M
            )
        )


def table_of_contents(root: Path = ROOT) -> list[str]:
    """Every page of the book in order, as _toc.yml names it."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    return [
        toc["root"],
        *(
            entry["file"]
            for part in [toc, *toc.get("parts", [])]
            for entry in part.get("chapters", [])
        ),
    ]


def markdown(file: str, notebooks: dict[Path, NotebookNode], root: Path = ROOT) -> str:
    """The prose of a page: a Markdown file as it is, a notebook's Markdown cells one after the other."""
    if notebook := notebooks.get(root / f"{file}.ipynb"):
        return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return (root / f"{file}.md").read_text()


def theorems(texts: dict[str, str]) -> str:
    """A table of all statements, each with its page and links to the sections that measure or use it.

    A statement names its measurements between itself and the next statement or heading; sections elsewhere that cite
    it, under a target of their own, are added.
    """
    rows = []
    for file, text in texts.items():
        for match in STATEMENT.finditer(text):
            kind, title, label = match.groups()
            rest = re.split(
                rf"^#|^:{{3,}}\{{prf:(?:{'|'.join(STATEMENTS)})",
                text[match.end() :],
                maxsplit=1,
                flags=re.M,
            )[0]
            links = dict.fromkeys(" ".join(link.split()) for link in MEASURED.findall(rest))
            links |= dict.fromkeys(
                use for other, where in texts.items() if other != file for use in uses(label, where)
            )
            rows.append(
                (
                    f"{{prf:ref}}`{label}`: {title or kind}",
                    f"[](/{file})",
                    "; ".join(links) or "on its page",
                )
            )
    return markdown_table(("statement", "page", "measured or used in"), rows)


def uses(label: str, text: str) -> list[str]:
    """Links to those sections of a page that have a target of their own and cite a statement."""
    targets = [*TARGET.finditer(text)]
    ends = [t.start() for t in targets[1:]] + [len(text)]
    return [
        f"{{ref}}`{t[1]}`"
        for t, end in zip(targets, ends)
        if f"{{prf:ref}}`{label}`" in text[t.end() : end]
    ]


def status(runs: dict[str, dict[str, Any]]) -> str:
    """A table of all chapters, when each was executed and for how long; then hardware and versions, once if they agree."""
    rows, places = [], []
    for name, run in runs.items():
        source = run["provenance"]
        rows.append(
            (
                f"[](/chapters/{name})",
                f"{run['seconds'] / 60:.1f}",
                source["date"],
                source["commit"],
            )
        )
        versions = ", ".join(
            f"{package} {number}" for package, number in source["versions"].items()
        )
        places.append(f"- profile {source['profile']}, {source['device']}, {versions}\n")
    total = sum(run["seconds"] for run in runs.values()) / 60
    heading = markdown_table(("chapter", "minutes", "executed", "commit"), rows)
    return f"{heading}\nAll chapters together: {total:.0f} minutes, on\n\n{''.join(dict.fromkeys(places))}"


def markdown_table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [heading, tuple("---" for _ in heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def reference() -> str:
    """Sphinx's directives for the docstrings of every module."""
    names = sorted(
        path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"
    )
    return "".join(
        f"## {n}\n\n```{{eval-rst}}\n.. automodule:: fpcore.{n}\n   :members:\n```\n\n"
        for n in names
    )


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point: docstrings are plain text, in which only `code` is marked; and no live-code scripts."""
    app.connect(
        "autodoc-process-docstring",
        lambda app, what, name, thing, options, lines: escape(name, lines),
    )
    app.connect("html-page-context", without_thebe, priority=900)
    return {"parallel_read_safe": True}


def without_thebe(
    app: Any, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leave out the scripts of sphinx-thebe: Jupyter Book loads them, twice, and two copies are an error on every page."""
    scripts = context.get("script_files", [])
    context["script_files"] = [
        s for s in scripts if "thebe" not in f"{s} {getattr(s, 'attributes', '')}"
    ]


def escape(name: str, lines: list[str]) -> None:
    """Turn a docstring into reStructuredText in place: code becomes literal, |, * and _ lose their meaning."""
    if name == "fpcore":  # a table, by columns
        lines[:] = [".. code-block:: text", "", *(f"  {line}" for line in lines)]
    for i, line in enumerate(lines if name != "fpcore" else []):
        parts = line.split("`")
        parts[::2] = [re.sub(r"([|*_\\])", r"\\\1", part) for part in parts[::2]]
        lines[i] = "``".join(parts)
