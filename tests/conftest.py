"""What test files share: one thread, short hypothesis runs, fake CIFAR-10 files, networks."""

import copy
import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from counting import count_examples
from hypothesis import settings
from PIL import Image

from fpcore import images as cifar
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Training, train

torch.set_num_threads(1)
EXAMPLES = int(os.environ.get("FPCORE_EXAMPLES", "25"))  # of each property
settings.register_profile(
    "fpcore", deadline=None, max_examples=EXAMPLES, derandomize=True, database=None
)
settings.register_profile("other", settings.get_profile("fpcore"), derandomize=False)
settings.load_profile("fpcore")


def pytest_configure(config):
    """The same examples each time, unless `--hypothesis-seed` asks for others."""
    if config.getoption("hypothesis_seed", None) is not None:
        settings.load_profile("other")


def pytest_collection_modifyitems(items):
    """Refuse names that differ between two processes: the lanes of `pytest -n` would not agree."""
    for item in items:
        if " at 0x" in item.name or "tensor(" in item.name:
            raise pytest.UsageError(f"{item.nodeid}: give its parameters ids that stay the same")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Count the examples of a property that passed."""
    report = yield
    if call.when == "call" and report.passed:
        count_examples(item)
    return report


@pytest.fixture
def no_data_anywhere(tmp_path, monkeypatch):
    """No FPCORE_DATA, and an empty cache folder, which is returned."""
    monkeypatch.delenv("FPCORE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    return tmp_path / "empty" / "fpcore"


def encode(pixels: np.ndarray, kind: str) -> bytes:
    """An image (32, 32, 3) as PNG or JPEG bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def fake_cifar(monkeypatch, no_data_anywhere):
    """A function that writes 20 + 10 random images as parquet files.

    It returns {split: (images as bytes, labels)}.
    """
    monkeypatch.setattr(cifar, "COUNTS", {"train": 20, "test": 10})

    def write(folder, kind="PNG", splits=("train", "test"), label=None, size=(32, 32), rows=None):
        folder.mkdir(parents=True, exist_ok=True)
        written, rng = {}, np.random.default_rng(0)
        for split in splits:
            n = rows or cifar.COUNTS[split]
            pixels = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(n)]
            images = [encode(image, kind) for image in pixels]
            labels = [i % 10 if label is None else label for i in range(n)]
            column = pa.array([{"bytes": b, "path": "x.png"} for b in images])
            table = pa.table({"img": column, "label": labels})
            pq.write_table(table, folder / cifar.PARQUET.format(split=split))
            written[split] = images, labels
        return written

    return write


@pytest.fixture(scope="session")
def sparse():
    """A small sparse coding model."""
    return SparseCoding(48, 6, margin=1.2, noise=0.2, seed=3)


@pytest.fixture(scope="session")
def planted(sparse):
    """A function that makes a network of neurons w*_j M_j + dense u* + noise.

    Pure for dense = 0, broken for a large one.
    """

    def make(dense=0.0, noise=0.0, copies=1, threshold=0.2, seed=0):
        rows = (sparse.features * sparse.w_star + dense * sparse.u_star[:, None]).T
        rows = rows.repeat(copies, 1)
        rng = torch.Generator().manual_seed(seed)
        net = TwoLayer(sparse.d, len(rows), threshold)
        with torch.no_grad():
            net.weight.copy_(rows + noise / sparse.d**0.5 * torch.randn(rows.shape, generator=rng))
        return net

    return make


@pytest.fixture(scope="session")
def every_kind(sparse, planted):
    """Networks of every kind: pure, dense, noisy, random, trained clean and adversarially."""

    def fresh(m, seed, init_norm=0.05):
        rng = torch.Generator().manual_seed(seed)
        return TwoLayer(sparse.d, m, threshold=0.15, init_norm=init_norm, rng=rng)

    clean = fresh(96, 6)
    train(clean, sparse, Training(steps=60, lr=5.0, batch=64))
    adversarial = copy.deepcopy(clean)
    train(adversarial, sparse, Training(steps=60, lr=5.0, batch=64, radius=0.1))
    return {
        "pure": planted(),
        "pure, low threshold": planted(threshold=0.05),
        "noisy": planted(noise=0.5, copies=2),
        "dense": planted(dense=1.0, noise=0.1),
        "very dense": planted(dense=3.0, threshold=0.1),
        "linear": planted(dense=0.5, threshold=0.0),
        "random": fresh(40, 5, init_norm=1.0),
        "clean": clean,
        "adversarial": adversarial,
    }
