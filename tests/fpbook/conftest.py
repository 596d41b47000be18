"""What tests of the book share: folders, published figures, a tiny experiment, a film."""

import dataclasses
import math

import matplotlib.pyplot as plt
import pytest
import torch

from fpbook.results import rows, summarise
from fpbook.results.ledger import stated_claims
from fpbook.synthetic.film import record_training
from fpbook.synthetic.protocol import SYNTHETIC
from fpcore.images import Images
from fpcore.sparse_coding import SparseCoding

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A temporary folder for checkpoints."""
    monkeypatch.setenv("FPCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A temporary folder for published results."""
    monkeypatch.setenv("FPCORE_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture
def closed():
    """Close all figures."""
    yield
    plt.close("all")


@pytest.fixture
def no_batches(monkeypatch):
    """A function after whose call every training step is an error."""

    def batch(*_):
        raise RuntimeError("a training step is made")

    def forbid():
        monkeypatch.setattr(SparseCoding, "batch", batch)
        monkeypatch.setattr(Images, "batch", batch)

    return forbid


@pytest.fixture(scope="session")
def tiny():
    """A synthetic experiment that takes a blink."""
    return dataclasses.replace(
        SYNTHETIC["quick"],
        d=40,
        k=4,
        width=80,
        seeds=1,
        clean_steps=6,
        adversarial_steps=9,
        batch=32,
        margin=1.2,
        test_samples=60,
        first_threshold=1.0,
    )


@pytest.fixture
def check_records():
    """A function that checks a table of records: all that the ledger takes from a result, in range.

    What the ledger asks of held-out seeds is looked for in all of them.
    """

    def check(measured, result):
        summary = summarise(measured)
        taken = [e.pick for claim in stated_claims() for e in claim.evidence if e.result == result]
        assert taken
        for pick in taken:
            assert dataclasses.replace(pick, seeds="all").find(summary), pick
        for row in rows(measured):
            quantity = row["quantity"]
            low = -1 if quantity.startswith(("cos", "clean_lost", "robust_gain")) else 0
            high = math.inf if "ratio" in quantity or "margin" in quantity else 1
            assert low - 1e-6 <= row["value"] <= high + 1e-6, row

    return check


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    """The folder of the checkpoints of `film`."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def shared_cache(cache_folder):
    """A module's trainings are kept beside those of `film`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(cache_folder))
        yield cache_folder


@pytest.fixture(scope="session")
def film(tiny, cache_folder):
    """The film of one training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(cache_folder))
        return record_training(tiny, 0, CPU, progress=False)
