"""Two builds of one site at once: one waits for the other; a damaged notebook is no page."""

import threading
import time

import nbformat
import pytest

from fpbook.build import site
from fpbook.build.chapters import BookError
from fpbook.results import transaction


def test_of_two_builds_at_once_one_waits_with_a_line(root, monkeypatch, capsys):
    inside, most = [], []

    def build(profile, where):
        inside.append(profile)
        most.append(len(inside))
        time.sleep(0.2)
        inside.pop()
        return where / "index.html"

    monkeypatch.setattr(site, "_build", build)
    monkeypatch.setattr(transaction, "PATIENCE", 0.02)
    builds = [threading.Thread(target=site.build, args=("quick", root)) for _ in range(3)]
    for one in builds:
        one.start()
    for one in builds:
        one.join()
    assert most == [1, 1, 1]
    assert "waiting: another process builds the site" in capsys.readouterr().err


def test_a_damaged_executed_notebook_is_no_page(root, executed_one):
    output, notebook = executed_one
    nbformat.write(notebook, output)  # never sealed
    with pytest.raises(BookError, match=r"one\.ipynb is damaged.*make book"):
        site.build("quick", root)
