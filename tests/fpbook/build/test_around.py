"""What stands around a page: reading time, edition, neighbours, how to cite it."""

import re

import fpcore
from fpbook.build import around, rooms

STATED = (
    '<div class="proof theorem admonition" id="thm-{0}">\n'
    '<p class="admonition-title"><span>Theorem</span> ({0})</p><section>...</section></div>'
)
MEASURED = [
    {"label": f"thm-{name}", "title": name, "page": page}
    for name, page in (("one", "chapters/first"), ("two", "chapters/first"), ("three", "pages/x"))
]


def test_reading_takes_a_minute_for_two_hundred_words_without_code_and_folds():
    words = "<p>" + "word " * 1000 + "</p>"
    assert around.reading_time(words) == "5 minutes"
    code = "<pre>" + "code " * 900 + "</pre><details><p>" + "word " * 900 + "</p></details>"
    assert around.reading_time(words + code) == "5 minutes"
    assert around.reading_time("<p>one</p>") == "1 minute"


def test_the_edition_is_that_of_the_package_and_leads_to_the_changes():
    assert around.edition() == fpcore.__version__
    link = '<a href="../pages/changes.html">'
    assert around.edition_link("../").startswith(link)
    assert (rooms.ROOT / "pages" / "changes.md").exists()


def test_a_page_can_be_cited_with_its_address_and_edition():
    text = around.citation("Data", "chapters/sparse-coding", "https://x.org/a.html", "2026")
    assert "@misc{fpcore-sparse-coding," in text and "{https://x.org/a.html}" in text
    assert f"edition = {{{fpcore.__version__}}}" in text and around.PAPER in text


def test_a_measured_statement_links_to_the_measured_ones_before_and_after():
    body = "".join(STATED.format(name) for name in ("one", "other", "two"))
    shown = around.with_neighbours(body, "chapters/first", MEASURED)
    first, other, second = re.split(r'(?=<div class="proof)', shown)[1:]
    assert 'href="#thm-two"' in first and "previous" not in first
    assert "book-neighbours" not in other
    assert 'href="#thm-one"' in second and 'href="../pages/x.html#thm-three"' in second
