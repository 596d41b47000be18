"""A sweep killed at random moments ends with what an undisturbed one finds, to the last bit.

FPCORE_FAULTS=200 kills 200 of its processes, rather than 5.
"""

import os
import random
import time

import pytest
import torch
from counting import count
from forked import CONTEXT, start
from killed import sweep

KILLS = int(os.environ.get("FPCORE_FAULTS", "5"))
pytestmark = [
    pytest.mark.counted,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are started by forking"),
]


def equal(one, other):
    """Whether two sweeps found the same, bit by bit."""
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        for name, value in one.items()
    )


def test_a_sweep_killed_at_random_moments_ends_as_an_undisturbed_one(tmp_path, monkeypatch):
    monkeypatch.setenv("FPCORE_CACHE", str(tmp_path))  # put back after the test
    sweep(tmp_path / "first")  # slower, as all firsts
    began = time.monotonic()
    expected = sweep(tmp_path / "undisturbed")
    seconds = time.monotonic() - began
    rng, kills, rounds = random.Random(0), 0, 0
    while kills < KILLS:
        where, finished = tmp_path / f"round-{rounds}", False
        while not finished and kills < KILLS:
            ready = CONTEXT.Event()
            process = start(sweep, where, ready)
            assert ready.wait(120)
            process.join(rng.uniform(0, seconds / 2))
            finished = process.exitcode is not None
            process.kill()
            process.join()
            assert process.exitcode == (0 if finished else -9)
            kills += not finished
        assert equal(sweep(where), expected)
        names = {path.name for path in (tmp_path / "undisturbed").iterdir()}
        assert {path.name for path in where.iterdir()} == names  # nothing half-written is left
        rounds += 1
    print(f"{kills} kills in {rounds} sweeps of {seconds:.2f} s")
    count("trainings killed", kills)
