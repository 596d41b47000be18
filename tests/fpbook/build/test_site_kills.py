"""A build of the site that is killed leaves the site before it, or none; the next one is whole.

FPCORE_FAULTS=200 kills 200 builds at random moments, rather than 5.
"""

import os
import random
import time

import nbformat
import pytest
from counting import count
from forked import CONTEXT, start
from site_builds import NOTE, PAGES, build_site, write_program

from fpbook.results.checksums import CONTENT, sealed

KILLS = int(os.environ.get("FPCORE_FAULTS", "5"))
pytestmark = [
    pytest.mark.counted,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are started by forking"),
]


@pytest.fixture
def book(root, executed_one):
    """A book of one executed chapter, and a program that makes pages of its note."""
    output, notebook = executed_one
    notebook.metadata["fpcore"] = {CONTENT: ""}
    output.write_bytes(sealed(nbformat.writes(notebook).encode()))
    write_program(root / "bin")
    return root


def built(root):
    """Build the site in a process of its own; what its pages hold."""
    process = start(build_site, root)
    process.join(60)
    assert process.exitcode == 0
    return pages(root)


def pages(root):
    return {path.name: path.read_text() for path in (root / "_build" / "html").glob("*.html")}


def whole(note):
    """The pages of a site that was built while the note was this."""
    return dict.fromkeys([*(f"{i + 1}.html" for i in range(PAGES)), "index.html"], note)


def test_a_build_killed_at_any_change_of_a_file_leaves_an_old_site_or_none(book):
    seen, event, note = set(), 0, "new 0"
    (book / NOTE).write_text("old")
    old = built(book)
    assert old == whole("old")
    while True:
        (book / NOTE).write_text(note := f"new {event}")
        process = start(build_site, book, None, event)
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -9
        found = pages(book)
        assert found in ({}, old, whole(note))
        seen.add((not found, found == old))
        (book / NOTE).write_text(note := f"newer {event}")  # what lives on makes pages of the last
        old = built(book)
        assert old == whole(note)
        event += 1
    assert pages(book) == whole(note) and event > 10
    assert len(seen) == 3  # no site, the one before, the next one
    (book / NOTE).write_text("last")
    assert built(book) == whole("last") and not [*(book / "_build").glob(".site-*")]
    count("site builds killed", event)


def test_a_build_killed_at_random_is_made_good_by_the_next(book):
    (book / NOTE).write_text("first")
    built(book)
    (book / NOTE).write_text("second")
    ready = CONTEXT.Event()
    process = start(build_site, book, ready)
    assert ready.wait(60)
    began = time.monotonic()
    process.join(60)
    assert process.exitcode == 0 and pages(book) == whole("second")
    seconds, rng, kills = time.monotonic() - began, random.Random(0), 0
    while kills < KILLS:
        ready = CONTEXT.Event()
        (book / NOTE).write_text(f"killed {kills}")
        process = start(build_site, book, ready)
        assert ready.wait(60)
        process.join(rng.uniform(0, seconds))
        kills += process.exitcode is None
        process.kill()
        process.join()
        (book / NOTE).write_text(note := f"after {kills}")
        assert built(book) == whole(note)
    count("site builds killed", kills)
