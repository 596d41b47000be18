"""Schedules and configurations."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpcore.training import Schedule, Training

points = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 100)), min_size=1, max_size=5, unique_by=lambda p: p[0]
).map(sorted)


@given(points, st.floats(0, 1))
def test_a_schedule_is_piecewise_linear_through_its_points(points, progress):
    schedule = Schedule(*points)
    values = [value for _, value in points]
    assert all(schedule(at) == pytest.approx(value) for at, value in points)
    assert min(values) - 1e-9 <= schedule(progress) <= max(values) + 1e-9
    assert schedule(0.0) == values[0] and schedule(1.0) == values[-1]
    for (a, low), (b, high) in itertools.pairwise(points):
        halfway = pytest.approx((low + high) / 2, rel=1e-3, abs=1e-6)
        assert schedule((a + b) / 2) == halfway or b - a < 1e-12


@pytest.mark.parametrize(
    "points",
    [
        (),
        ((0.5, 1), (0.2, 1)),
        ((0, math.nan),),
        ((0, -1),),
        ((-0.1, 1),),
        ((0, 1), (1.1, 1)),
        ((math.nan, 1),),
    ],
)
def test_a_bad_schedule_is_an_error(points):
    with pytest.raises(ValueError, match=r"schedule|Schedule"):
        Schedule(*points)


def test_schedules_run_from_the_first_step_to_the_last():
    config = Training(steps=5, lr=Schedule((0, 1), (1, 3)), radius=0.5)
    assert [config.at("lr", step) for step in range(5)] == [1, 1.5, 2, 2.5, 3]
    assert config.at("radius", 3) == 0.5
    assert Training(steps=1, lr=Schedule((0, 1), (1, 3))).at("lr", 0) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 1.5),
        ("batch", 0),
        ("attack_steps", 0),
        ("lr", math.nan),
        ("lr", -1.0),
        ("radius", -0.1),
        ("radius", math.nan),
        ("threshold", math.nan),
        ("momentum", -0.5),
        ("weight_decay", math.inf),
        ("clip", math.nan),
        ("norm", "l1"),
        ("attack_step_size", 0),
        ("attack_step_size", math.nan),
        ("random_start", 1),
        ("precision", "float16"),
        ("precision", "float64"),
    ],
)
def test_a_bad_configuration_is_named(name, value):
    with pytest.raises(ValueError) as error:
        Training(**{"steps": 1, "lr": 0.1, name: value})
    assert f"{name} = {value!r}" in str(error.value)
