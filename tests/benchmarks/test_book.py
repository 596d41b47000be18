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

    def seconds_of(commands, clone, cache):
        assert (clone / "fpbook" / "__main__.py").exists() and not cache.exists()
        ran.append(commands)
        return 10.0 * (1 + len(spinning))

    beside = book.beside

    def counted(processes):
        spinning[:] = [0] * processes
        return beside(processes)

    monkeypatch.setattr(book, "seconds_of", seconds_of)
    monkeypatch.setattr(book, "beside", counted)
    book.main(["--publish"])
    assert ran == [book.OPENING, book.REST] * 2
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


def test_a_command_that_fails_is_an_error(book, tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        book.seconds_of([["no-such-command"]], book.ROOT, tmp_path / "cache")
