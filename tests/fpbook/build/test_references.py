"""What a reader expects to find linked: every reference, and the paper on the first page."""

import re

import nbformat
import pytest

from fpbook.build import around, rooms

ENTRIES = re.split(r"\n(?=@)", (rooms.ROOT / "chapters" / "references.bib").read_text())
LINKED = re.compile(r"^\s*(doi|eprint|url)\s*= \{\S+\}", re.M)
PAPER = ("https://doi.org/10.1109/FOCS52979.2021.00098", "https://arxiv.org/abs/2005.10190")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: re.search(r"\{(\w+),", entry)[1])
def test_a_reference_says_where_it_is_to_be_found(entry):
    assert LINKED.search(entry)


def test_an_arxiv_number_is_where_the_bibliography_makes_a_link_of_it():
    assert "arXiv:" not in "".join(ENTRIES)


def test_the_paper_itself_is_linked_on_the_first_page_and_in_the_readme():
    cells = nbformat.read(rooms.ROOT / "chapters" / "intro.ipynb", 4).cells
    for text in ("".join(cell.source for cell in cells), (rooms.ROOT / "README.md").read_text()):
        assert all(link in text for link in PAPER)
    assert PAPER[0] == around.PAPER
