"""What a reader sees under the pointer: glossary terms and symbols, as data for _static/book.js."""

import html
import json
import re
from pathlib import Path

# Words that mean more than the glossary's when they stand alone: where they are marked.
ONLY_AS = {"live": "live neuron", "margin": "margin", "feature": "true feature"}
_TERM = re.compile(r"^(\S.*)\n((?:  .+\n?)+)", re.M)
_ROW = re.compile(r"^\| *(\$.*?) *\| *(.*?) *\| *(.*?) *\|$", re.M)
_MATH = re.compile(r"(\$[^$]+\$)")


def cards_script(glossary: str, notation: str) -> str:
    """A script that gives the pages the glossary's terms and the symbols of the notation.

    glossary: the page of that name, in Markdown
    notation: that page, with its tables
    """
    terms = [
        {
            "words": ONLY_AS.get(term, term),
            "anchor": f"term-{re.sub(r'[^A-Za-z0-9]+', '-', term).strip('-')}",
            "html": f"<b>{html.escape(term)}</b>: {as_html(' '.join(meaning.split()))}",
        }
        for term, meaning in _TERM.findall(glossary.split(":::{glossary}")[-1].split("\n:::")[0])
    ]
    symbols = {
        without_spaces(symbol[1:-1]): f"{symbol}: {as_html(meaning)}"
        for named, _, meaning in _ROW.findall(notation)
        for symbol in _MATH.findall(named)
    }
    content = json.dumps({"terms": terms, "symbols": symbols}, ensure_ascii=False)
    return f"window.bookCards = {content};\n"


def without_spaces(formula: str) -> str:
    """A formula without what does not show: spaces, and braces around a single sign."""
    return re.sub(r"\{(\w)\}", r"\1", re.sub(r"\s+", "", formula))


def as_html(markdown: str) -> str:
    """A line of Markdown as HTML: emphasis, code and bold; formulas stay for MathJax."""
    parts = _MATH.split(markdown)
    for i in range(0, len(parts), 2):
        text = html.escape(parts[i], quote=False)
        text = re.sub(r"\{prf:ref\}`([^`]+)`", "", text)
        for pattern, tag in ((r"`([^`]+)`", "code"), (r"\*\*(.+?)\*\*", "b"), (r"\*(.+?)\*", "i")):
            text = re.sub(pattern, rf"<{tag}>\1</{tag}>", text)
        parts[i] = text
    for i in range(1, len(parts), 2):
        parts[i] = html.escape(parts[i], quote=False)
    return "".join(parts)


def write_cards(source: Path) -> None:
    """Write the script beside the pages that are built, which all load it."""
    glossary, notation = (source / "pages" / f"{name}.md" for name in ("glossary", "notation"))
    if glossary.exists() and notation.exists():
        script = cards_script(glossary.read_text(), notation.read_text())
        (source / "_static" / "cards.js").write_text(script)


def search_texts(site: Path) -> None:
    """Give the search page the texts of all pages: from disk a browser fetches none for excerpts.

    site: the folder of the built site; its search.html is changed
    """
    texts = {}
    for path in sorted(site.rglob("*.html")):
        found = re.search(r'<article class="bd-article">(.*?)</article>', path.read_text(), re.S)
        if found:
            name = str(path.relative_to(site).with_suffix(""))
            texts[name] = as_text(found[1])
    page = site / "search.html"
    if page.exists():
        content = json.dumps(texts, ensure_ascii=False).replace("</", "<\\/")
        (site / "searchtexts.js").write_text(f"window.bookTexts = {content};\n")
        script = r'\1\n<script src="searchtexts.js"></script>'  # before those that use it
        page.write_text(re.sub(r"(<head\b[^>]*>)", script, page.read_text(), count=1))


def as_text(page: str) -> str:
    """The words of a page's HTML, without code, scripts and links to headings."""
    left_out = (
        r'<(script|style|pre|details)\b.*?</\1>|<a class="headerlink".*?</a>'
        r'|<p class="book-(?:about|neighbours)">.*?</p>'
    )
    words = html.unescape(re.sub(r"<[^>]+>", " ", re.sub(left_out, " ", page, flags=re.S)))
    return re.sub(r"\s+([.,;:)])", r"\1", " ".join(words.split()))
