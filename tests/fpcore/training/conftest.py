"""Data for small trainings."""

import pytest
from trainings import D

from fpcore.sparse_coding import SparseCoding


@pytest.fixture(scope="module")
def data():
    return SparseCoding(D, 4, margin=1.0, seed=2)
