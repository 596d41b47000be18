"""What the tests of the benchmarks share: their folder, as a script in it sees it."""

import importlib

import pytest

from fpbook.results.files import ROOT


@pytest.fixture
def module(monkeypatch):
    """A function that imports a module of the folder of benchmarks."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A temporary folder for published results."""
    monkeypatch.setenv("FPCORE_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"
