"""What the tests of fpbook.results share: an empty folder, a provenance, results by hand."""

import pytest

from fpbook.results.checksums import encode_sealed

SOURCE = {
    "profile": "quick",
    "device": "cpu",
    "versions": {"torch": "2"},
    "seeds": [0, 1],
    "date": "2025-01-01",
    "commit": "abc",
}


@pytest.fixture
def source():
    """A provenance."""
    return dict(SOURCE)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty folder of published results."""
    monkeypatch.setenv("FPCORE_RESULTS", str(tmp_path / "results"))
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


@pytest.fixture
def put(results):
    """A function that writes a result of summaries, put(name, {"quantity": ..., "value": ...})."""

    def write(name, *summaries, **source):
        content = {
            "format": 2,
            "provenance": SOURCE | source,
            "summaries": [{"n": 1, **row} for row in summaries],
        }
        (results / f"{name}.json").write_bytes(encode_sealed(content))

    return write
