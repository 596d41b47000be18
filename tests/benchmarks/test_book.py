"""The book is timed in a clone of its own, with an empty cache, alone and beside a busy core."""

import subprocess
import time

import pytest

from fpbook.results import published, rows


@pytest.fixture
def book(module, results):
    return module("book")


def test_alone_and_beside_a_busy_core_from_an_empty_cache(book, monkeypatch):
    ran, spinning = [], []

    def seconds_of(command, clone, cache):
        assert (clone / "fpbook" / "__main__.py").exists() and not cache.exists()
        ran.append(command)
        return {"opening page": 10.0, "quick book": 20.0 * (1 + len(spinning))}

    beside = book.beside

    def counted(processes):
        spinning[:] = [0] * processes
        return beside(processes)

    monkeypatch.setattr(book, "seconds_of", seconds_of)
    monkeypatch.setattr(book, "beside", counted)
    book.main(["--publish"])
    assert ran == [book.COMMAND] * 2 and "--opening" in book.COMMAND
    found = {row["timed"]: row["value"] for row in rows(published("book-time").summary)}
    assert found["opening page, alone"] == 10 and found["quick book, alone"] == 20
    assert found["quick book, beside a busy core"] == 40
    assert found["quick book, beside over alone"] == 2


def test_the_busy_process_is_there_and_gone(book, monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        book.subprocess, "Popen", lambda *a: started.append(popen(*a)) or started[-1]
    )
    with book.beside(1):
        time.sleep(0.1)
        assert started[0].poll() is None
    assert started[0].poll() is not None


def told(clone, *lines):
    """A clone whose command says these lines, and how long after."""
    (clone / "fpbook").mkdir()
    (clone / "fpbook" / "__init__.py").touch()  # else the installed package goes first
    (clone / "fpbook" / "__main__.py").write_text("import sys, time\n" + "\n".join(lines))
    return clone


def test_the_opening_page_is_there_before_the_book_is(book, tmp_path):
    lines = (f"print({book.READY!r} + ': open it')", "time.sleep(1.5)", "print('done')")
    found = book.seconds_of(["execute"], told(tmp_path, *lines), tmp_path / "cache")
    assert 0 < found["opening page"] <= found["quick book"] - 1.4


def test_a_command_that_fails_is_an_error(book, tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        book.seconds_of(["x"], told(tmp_path, "sys.exit(3)"), tmp_path / "cache")


def test_a_book_without_an_opening_page_is_not_timed(book, tmp_path):
    with pytest.raises(RuntimeError, match="no line said that the opening page is ready"):
        book.seconds_of(["execute"], told(tmp_path, "print('done')"), tmp_path / "cache")
