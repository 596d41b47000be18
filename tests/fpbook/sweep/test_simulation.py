"""List scheduling by hand, within Graham's bounds, and with what goes wrong."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpbook.sweep.simulation import Machines, makespan

TIMES = st.lists(st.floats(0.01, 100), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("seconds", "workers", "expected"),
    [([3, 1, 1, 1], 1, 6), ([3, 1, 1, 1], 2, 3), ([1, 1, 1, 3], 2, 4), ([2, 2], 9, 2), ([], 3, 0)],
)
def test_each_free_worker_takes_the_next_task(seconds, workers, expected):
    assert makespan(seconds, workers) == expected


@given(TIMES, st.integers(1, 50))
def test_no_sweep_is_shorter_than_its_work_allows_nor_longer_than_graham_proved(seconds, workers):
    span, total, longest = makespan(seconds, workers), sum(seconds), max(seconds)
    least = max(total / workers, longest)
    assert least * (1 - 1e-9) <= span <= (total / workers + longest) * (1 + 1e-9)


@given(TIMES, st.integers(1, 20), st.integers(0, 5))
def test_trouble_never_makes_a_sweep_of_one_worker_shorter(seconds, workers, seed):
    clean = makespan(seconds, 1)
    for machines in (
        Machines(slow=1.0, slower=2.0),
        Machines(starting=1.0),
        Machines(dispatch=0.1),
        Machines(lifetime=200.0, starting=1.0),
    ):
        assert makespan(seconds, 1, machines, seed) >= clean
    assert makespan(seconds, 1, Machines(slow=1.0, slower=2.0)) == pytest.approx(2 * clean)
    assert makespan(seconds, workers, Machines(starting=3.0)) == pytest.approx(
        3 + makespan(seconds, workers)
    )


def test_deaths_cost_what_the_exponential_distribution_says():
    """A task of T that dies at rate 1/L and starts anew takes (L + r) (e^(T/L) - 1) on average."""
    task, life, start = 100.0, 150.0, 20.0
    machines = Machines(lifetime=life, starting=start)
    found = np.array([makespan([task], 1, machines, seed) - start for seed in range(4000)])
    expected = (life + start) * math.expm1(task / life)
    assert abs(found.mean() - expected) < 4 * found.std() / len(found) ** 0.5


def test_whoever_hands_out_tasks_is_the_limit_of_short_ones():
    assert makespan([0.01] * 1000, 1000, Machines(dispatch=0.1)) == pytest.approx(100.01)


def test_a_task_that_no_worker_lives_to_end_never_ends():
    assert makespan([1e6], 2, Machines(lifetime=1.0)) == math.inf


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"slow": 2.0}, "slow = 2.0"),
        ({"slower": 0.5}, "slower = 0.5"),
        ({"lifetime": 0.0}, "lifetime = 0.0: give seconds above 0"),
        ({"lifetime": math.nan}, "lifetime = nan"),
        ({"starting": -1.0}, "starting = -1.0"),
    ],
)
def test_machines_that_cannot_be_are_an_error(wrong, says):
    with pytest.raises(ValueError, match=says):
        Machines(**wrong)
    with pytest.raises(ValueError, match="workers = 0"):
        makespan([1.0], 0)
