"""The opening page alone, before the rest of the book is there: python -m fpbook opening."""

import argparse
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import yaml

from fpbook.build.cards import write_cards
from fpbook.build.chapters import chosen, executed
from fpbook.build.pages import table_of_contents
from fpbook.build.site import describe_figures, fetch, jupyter_book, scripts
from fpbook.build.validate import guard
from fpbook.figures.style import PROFILES
from fpbook.results.files import ROOT
from fpcore import checks

NOTE = (
    '<p class="book-early">This is the opening page alone. The other chapters are still being '
    "executed; links to them work in the whole book, <code>_build/html/index.html</code>.</p>"
)
_LINK = re.compile(r'<a\b[^>]*?href="([^"#:]*)(?:#([^"]*))?"[^>]*>(.*?)</a>', re.S)


def opening_page(
    profile: str, packages: Callable[[], Path | None] = fetch, root: Path = ROOT
) -> Path:
    """Build the opening page from its executed notebook, in a few seconds; return it.

    profile:  that it was executed with
    packages: gives those of `fetch`
    root:     of the book

    It holds no link to a page that is not there yet, and says so.
    """
    name = table_of_contents(root)[0]
    (notebook,) = chosen([name], root)
    guard(executed(notebook, profile, root))
    work = root / "_build" / "opening"
    shutil.rmtree(work, ignore_errors=True)
    source = work / "source"
    for folder in ("chapters", "_static", "pages"):
        ignored = shutil.ignore_patterns("*.ipynb", ".*")
        shutil.copytree(root / folder, source / folder, ignore=ignored)
    content = nbformat.read(executed(notebook, profile, root), 4)
    describe_figures(content)
    nbformat.write(content, source / f"{name}.ipynb")
    write_cards(source)
    for page in source.rglob("*.md"):
        page.unlink()
    (source / "_toc.yml").write_text(f"format: jb-book\nroot: {name}\n")
    config = yaml.safe_load((root / "_config.yml").read_text())
    config["sphinx"]["config"] |= scripts(source / "extra", packages(), root)
    (source / "_config.yml").write_text(yaml.safe_dump(config))
    html = jupyter_book(source, work, work / "build.log", strict=False)
    page = html / f"{name}.html"
    page.write_text(without_dead_links(page.read_text(), page.parent))
    return page


def without_dead_links(page: str, folder: Path) -> str:
    """A page's HTML with links to files that are not there as plain words, and a note about it."""

    def shown(link: re.Match[str]) -> str:
        file, place, words = link.groups()
        there = (folder / file).exists() if file else not place or f'id="{place}"' in page
        return link[0] if there else f"<span>{words}</span>"

    article = '<article class="bd-article">'
    return _LINK.sub(shown, page).replace(article, f"{article}{NOTE}", 1)


def main(arguments: list[str]) -> None:
    """The command `opening`."""
    parser = argparse.ArgumentParser(prog="python -m fpbook opening", description=__doc__)
    parser.add_argument("--profile", default="quick", help=f"one of {', '.join(PROFILES)}")
    options = parser.parse_args(arguments)
    checks.choice("profile", options.profile, PROFILES)
    print(f"The opening page is ready: open {opening_page(options.profile)}", flush=True)
