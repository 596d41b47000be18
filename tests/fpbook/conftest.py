"""What tests of the grid, the film and their widgets share: one cache, one grid, one film."""

import pytest
import torch

from fpbook.synthetic.film import record_training
from fpbook.synthetic.many_at_once import Grid
from fpbook.synthetic.measured_grid import measure_grid

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    """The folder of the checkpoints of `measured_grid` and `film`."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def shared_cache(cache_folder):
    """A module's trainings are kept beside those of `measured_grid` and `film`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(cache_folder))
        yield cache_folder


@pytest.fixture(scope="session")
def measured_grid(tiny, cache_folder):
    """A grid of two training radii, widths and seeds, trained and measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(cache_folder))
        return measure_grid(Grid(tiny, (0.0, 0.65), (1.0, 2.0), (0, 1)), CPU, progress=False)


@pytest.fixture(scope="session")
def film(tiny, cache_folder):
    """The film of one training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(cache_folder))
        return record_training(tiny, 0, CPU, progress=False)
