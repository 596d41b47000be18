"""Pages made from what the book holds: index of theorems, status of chapters, the reference."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from nbformat import NotebookNode

from fpbook.build.around import LISTING
from fpbook.build.downloads import results_table
from fpbook.build.rooms import ROOMS, modules, room_imports
from fpbook.build.speed import speed_page
from fpbook.build.trust_tables import trust_page
from fpbook.results.files import ROOT
from fpbook.results.tables import markdown_table
from fpbook.sweep.page import sweeps_page

STATEMENTS = ("theorem", "lemma", "proposition", "corollary")
STATEMENT = re.compile(rf"^:{{3,}}\{{prf:({'|'.join(STATEMENTS)})\}} *(.*)\n:label: (\S+)", re.M)
MEASURED = re.compile(r"\{ref\}`[^`<]+<(?:measure|check)-[a-z-]+>`")
# Of a docstring: a name and what it is, in columns or after a colon; and a numbered equation.
LISTED = re.compile(r"^([\w\\]+(?:, [\w\\]+)*): +(\S.*)|^(\S+(?: \S+)*?) {2,}(\S.*)")
NUMBERED = re.compile(r"^(\(\d+\) .*)")
HERE = "on its page"  # where a statement is measured or used that no section names
TARGET = re.compile(r"^\(((?:measure|check)-[a-z-]+)\)=\n#+ (.+)", re.M)


def generate(source: Path, notebooks: dict[Path, NotebookNode], root: Path = ROOT) -> None:
    """Replace each line "% generated: name" in the pages under source by what it names.

    And list the measured statements for the pages that link each to its neighbours.
    """
    texts = {file: markdown(file, notebooks, root) for file in table_of_contents(root)}
    runs = {path.stem: notebook.metadata.fpcore for path, notebook in notebooks.items()}
    stated = statements(texts)
    (source / LISTING).write_text(json.dumps([one for one in stated if one["links"]]))
    made = {
        "theorems": lambda: theorems(texts),
        "status": lambda: status(runs),
        "rooms": rooms,
        "reference": reference,
        "downloads": results_table,
        "changes": (root / "CHANGELOG.md").read_text,
        "trust": trust_page,
        "speed": speed_page,
        "sweeps": sweeps_page,
    }
    for page in source.glob("pages/*.md"):
        lines = re.compile(r"^% generated: (\w+)$", re.M)
        page.write_text(lines.sub(lambda line: made[line[1]](), page.read_text()))


def table_of_contents(root: Path = ROOT) -> list[str]:
    """Every page of the book in order, as _toc.yml names it."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    parts = [toc, *toc.get("parts", [])]
    return [toc["root"], *(entry["file"] for part in parts for entry in part.get("chapters", []))]


def markdown(file: str, notebooks: dict[Path, NotebookNode], root: Path = ROOT) -> str:
    """The prose of a page: a Markdown file, or a notebook's Markdown cells one after the other."""
    if notebook := notebooks.get(root / f"{file}.ipynb"):
        return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return (root / f"{file}.md").read_text()


def theorems(texts: dict[str, str]) -> str:
    """A table of all statements, each with its page and links to the sections that measure it."""
    rows = [
        (
            f"{{prf:ref}}`{one['label']}`: {one['title']}",
            f"[](/{one['page']})",
            one["links"] or HERE,
        )
        for one in statements(texts)
    ]
    return markdown_table(("statement", "page", "measured or used in"), rows)


def statements(texts: dict[str, str]) -> list[dict[str, str]]:
    """All statements in the book's order: label, title, page, links to what measures each.

    texts: the prose of each page, by its name

    A statement names its measurements between itself and the next statement or heading. Sections
    elsewhere that cite it, under a target of their own, are added.
    """
    end = re.compile(rf"^#|^:{{3,}}\{{prf:(?:{'|'.join(STATEMENTS)})", re.M)
    found = []
    for file, text in texts.items():
        for match in STATEMENT.finditer(text):
            kind, title, label = match.groups()
            rest = end.split(text[match.end() :], maxsplit=1)[0]
            links = [" ".join(link.split()) for link in MEASURED.findall(rest)]
            for other, where in texts.items():
                if other != file:
                    links += uses(label, where)
            one = {"label": label, "title": title or kind, "page": file}
            found.append(one | {"links": "; ".join(dict.fromkeys(links))})
    return found


def uses(label: str, text: str) -> list[str]:
    """Links to those sections of a page that have a target of their own and cite a statement."""
    targets = [*TARGET.finditer(text)]
    ends = [target.start() for target in targets[1:]] + [len(text)]
    return [
        f"{{ref}}`{target[1]}`"
        for target, end in zip(targets, ends)
        if f"{{prf:ref}}`{label}`" in text[target.end() : end]
    ]


def status(runs: dict[str, dict[str, Any]]) -> str:
    """A table of the chapters, when each was executed and for how long; then where, once each."""
    rows = []
    places = []
    for name, run in runs.items():
        source = run["provenance"]
        minutes = f"{run['seconds'] / 60:.1f}"
        rows.append((f"[](/chapters/{name})", minutes, source["date"], source["commit"]))
        versions = ", ".join(f"{name} {number}" for name, number in source["versions"].items())
        places.append(f"- profile {source['profile']}, {source['device']}, {versions}\n")
    table = markdown_table(("chapter", "minutes", "executed", "commit"), rows)
    total = sum(run["seconds"] for run in runs.values()) / 60
    where = "".join(dict.fromkeys(places))
    return f"{table}\n\nAll chapters together: {total:.0f} minutes, on\n\n{where}"


def rooms() -> str:
    """A table of the rooms of the two packages: what each holds and imports."""
    rows = []
    for room, targets in room_imports().items():
        imported = ", ".join(to for to in ROOMS if to in targets)
        rows.append((room, ROOMS[room].holds, imported or "none"))
    return markdown_table(("room", "what it holds", "imports"), rows)


def reference() -> str:
    """Sphinx's directives for the docstrings of every module, room by room."""
    text = ""
    for room in ROOMS:
        text += f"## {room}\n\n"
        for module in modules(room):
            directive = f".. automodule:: {module}\n   :members:\n"
            text += f"### {module}\n\n```{{eval-rst}}\n{directive}```\n\n"
    return text


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point: docstrings are plain text with marked `code`; no live-code scripts."""
    app.connect("autodoc-process-docstring", lambda app, what, name, *rest: escape(name, rest[-1]))
    app.connect("html-page-context", without_thebe, priority=900)
    return {"parallel_read_safe": True}


def without_thebe(
    app: Any, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leave out the scripts of sphinx-thebe: loaded twice, they are an error on every page."""
    scripts = context.get("script_files", [])
    named = [(script, f"{script} {getattr(script, 'attributes', '')}") for script in scripts]
    context["script_files"] = [script for script, names in named if "thebe" not in names]


def escape(name: str, lines: list[str]) -> None:
    """Turn a docstring into reStructuredText in place.

    Code becomes literal; |, * and _ lose their meaning; "name  what it is", a line each, becomes a
    list. The docstring of `fpcore` is a table of contents: it stays as it is typed.
    """
    if name == "fpcore":
        lines[:] = [".. code-block:: text", "", *(f"  {line}" for line in lines)]
        return
    text = "\n".join(lines)
    text = re.sub(r"`([^`]*)`|[|*_\\]", lambda m: f"``{m[1]}``" if m[1] else f"\\{m[0]}", text)
    paragraphs = re.split(r"\n\s*\n", text.strip("\n"))
    lines[:] = "\n\n".join(map(_listed, paragraphs)).splitlines()


def _listed(paragraph: str) -> str:
    """A paragraph of lines "name  what it is" or "(1) equation", each with its rest, as a list."""
    lines = paragraph.splitlines()
    starts = [line for line in lines if not line.startswith(" ")]
    for pattern, item in ((LISTED, r"- **\1\3**: \2\4"), (NUMBERED, r"- \\\1")):
        if all(map(pattern.match, starts)):
            return "\n".join(
                f"  {line.strip()}" if line.startswith(" ") else pattern.sub(item, line)
                for line in lines
            )
    return paragraph
