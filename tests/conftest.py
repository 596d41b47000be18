"""What several test files share: one thread, short hypothesis runs, published figures, fake CIFAR-10 files, known networks."""

import dataclasses
import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import settings
from PIL import Image

from fpbook.first import CLAIMS
from fpbook.synthetic.protocol import SYNTHETIC
from fpcore import images as cifar
from fpcore.images import Images
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding

torch.set_num_threads(1)
settings.register_profile("fpcore", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("fpcore")


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
def no_data_anywhere(tmp_path, monkeypatch):
    """No FPCORE_DATA, and an empty cache folder, which is returned."""
    monkeypatch.delenv("FPCORE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    return tmp_path / "empty" / "fpcore"


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
    sizes = {
        "d": 40,
        "k": 4,
        "width": 80,
        "seeds": 1,
        "clean_steps": 6,
        "adversarial_steps": 9,
        "batch": 32,
    }
    return dataclasses.replace(
        SYNTHETIC["quick"], **sizes, margin=1.2, test_samples=60, first_threshold=1.0
    )


@pytest.fixture
def check_figures():
    """A function that checks figures: all that the ledger takes from the experiment, finite, within their ranges.

    `elsewhere` are names of figures that the ledger has from elsewhere.
    """

    def check(figures, experiment, elsewhere=()):
        needed = {
            source
            for claim in CLAIMS
            if claim.experiment == experiment
            for source in claim.figures.values()
        }
        assert figures.keys() >= needed - {*elsewhere}
        for name, value in figures.items():
            signed = name.startswith(("cos", "clean_lost", "robust_gain"))
            high = math.inf if name.endswith("ratio") else 1 + 1e-6
            assert math.isfinite(value) and (-1 if signed else 0) - 1e-6 <= value <= high, name

    return check


def encode(pixels: np.ndarray, kind: str) -> bytes:
    """An image (32, 32, 3) as PNG or JPEG bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def fake_cifar(monkeypatch, no_data_anywhere):
    """A function that writes 20 + 10 random images as parquet files; it returns {split: (images as bytes, labels)}."""
    monkeypatch.setattr(cifar, "COUNTS", {"train": 20, "test": 10})

    def write(folder, kind="PNG", splits=("train", "test"), label=None, size=(32, 32), rows=None):
        folder.mkdir(parents=True, exist_ok=True)
        written, rng = {}, np.random.default_rng(0)
        for split in splits:
            n = rows or cifar.COUNTS[split]
            images = [
                encode(rng.integers(0, 256, (*size, 3), dtype=np.uint8), kind) for _ in range(n)
            ]
            labels = [i % 10 if label is None else label for i in range(n)]
            column = pa.array([{"bytes": b, "path": "x.png"} for b in images])
            pq.write_table(
                pa.table({"img": column, "label": labels}),
                folder / cifar.PARQUET.format(split=split),
            )
            written[split] = images, labels
        return written

    return write


@pytest.fixture(scope="session")
def sparse():
    """A small sparse coding model."""
    return SparseCoding(48, 6, margin=1.2, noise=0.2, seed=3)


@pytest.fixture(scope="session")
def planted(sparse):
    """A function that makes a network of neurons w*_j M_j + dense u* + noise: pure for dense = 0, broken for a large one."""

    def make(dense=0.0, noise=0.0, copies=1, threshold=0.2, seed=0):
        rows = (sparse.features * sparse.w_star + dense * sparse.u_star[:, None]).T.repeat(
            copies, 1
        )
        rng = torch.Generator().manual_seed(seed)
        net = TwoLayer(sparse.d, len(rows), threshold)
        with torch.no_grad():
            net.weight.copy_(rows + noise / sparse.d**0.5 * torch.randn(rows.shape, generator=rng))
        return net

    return make
