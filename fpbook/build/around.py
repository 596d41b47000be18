"""What stands around the text of a page: reading time, edition, neighbours, how to cite it."""

import html
import json
import re
from pathlib import Path
from typing import Any

from fpbook.results.files import ROOT

WORDS_A_MINUTE = 200  # of a text with formulas
LISTING = "measured.json"  # of the statements that are measured, in the book's order
PAPER = "https://doi.org/10.1109/FOCS52979.2021.00098"
_NOT_READ = re.compile(r"<(pre|script|style|details|svg)\b.*?</\1>|<[^>]+>", re.S)
_STATEMENT = re.compile(
    r'(<div class="proof (?:theorem|lemma|proposition|corollary) admonition" id="([^"]+)">\s*'
    r'<p class="admonition-title">.*?</p>)',
    re.S,
)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("html-page-context", surround, priority=800)
    return {"parallel_read_safe": True}


def surround(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Put a line below the title of each page of the book, and how to cite it at its end."""
    if doctree is None or not context.get("body"):  # a page of Sphinx's own, such as the search
        return
    body = context["body"]
    up = "../" * page.count("/")
    about = f'<p class="book-about">{reading_time(body)} to read · {edition_link(up)}</p>'
    body = body.replace("</h1>", f"</h1>\n{about}", 1)
    listing = Path(app.srcdir) / LISTING
    if listing.exists():
        body = with_neighbours(body, page, json.loads(listing.read_text()))
    url = f"{app.config.ogp_site_url}{page}.html"
    title = re.sub(r"<[^>]+>", "", context.get("title", ""))
    context["body"] = body + citation(title, page, url, app.config.copyright)


def reading_time(body: str) -> str:
    """How long a page takes, such as "7 minutes": its words, without code and what is folded."""
    words = len(_NOT_READ.sub(" ", body).split())
    minutes = max(1, round(words / WORDS_A_MINUTE))
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def edition() -> str:
    """The number of this edition: the newest in the list of changes."""
    newest = re.search(r"^## (\S+):", (ROOT / "CHANGELOG.md").read_text(), re.M)
    return newest[1] if newest else "unnumbered"


def edition_link(up: str) -> str:
    """The edition of the book, a link to the list of changes; `up` leads to the site's root."""
    return f'<a href="{up}pages/changes.html">edition {edition()}</a>'


def citation(title: str, page: str, url: str, year: str) -> str:
    """A fold with the BibTeX entry of a page.

    title: of the page, in HTML
    page:  its name in the contents
    url:   where it is published
    year:  of the edition
    """
    key = f"fpcore-{Path(page).name}"
    lines = {
        "author": "{The fpcore authors}",
        "title": f"{title}. In: Feature Purification, an executable book",
        "edition": edition(),
        "year": year,
        "url": html.escape(url),
    }
    entry = "".join(f"  {name:<8}= {{{value}}},\n" for name, value in lines.items())
    return (
        '<details class="book-cite"><summary>Cite this page</summary>'
        f'<pre tabindex="0">@misc{{{key},\n{entry}}}</pre>'
        f'<p>Please cite <a href="{PAPER}">the paper</a> as well.</p></details>'
    )


def with_neighbours(body: str, page: str, measured: list[dict[str, str]]) -> str:
    """Links to the measured statements before and after, under the title of each measured one.

    body:     of a page
    page:     its name
    measured: statements in the book's order, each with its label, title and page
    """
    places = {one["label"]: i for i, one in enumerate(measured)}

    def link(one: dict[str, str], words: str) -> str:
        up = "../" * page.count("/")
        where = "" if one["page"] == page else f"{up}{one['page']}.html"
        title = html.escape(one["title"])
        return f'<a href="{where}#{one["label"]}" title="{title}">{words}</a>'

    def line(match: re.Match[str]) -> str:
        place = places.get(match[2])
        if place is None:
            return match[0]
        links = []
        if place:
            links.append(link(measured[place - 1], "‹ previous"))
        if place + 1 < len(measured):
            links.append(link(measured[place + 1], "next ›"))
        joined = " · ".join(links)
        return f'{match[1]}<p class="book-neighbours">measured statements: {joined}</p>'

    return _STATEMENT.sub(line, body)
