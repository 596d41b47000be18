import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fpbook.results.intervals import Interval, interval


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8))
def test_the_interval_is_students(values):
    found = interval(values)
    n, mean = len(values), math.fsum(values) / len(values)
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    assert found.n == n and found.value == pytest.approx(mean, abs=1e-9)
    if error > 1e-6:
        low, high = stats.t.interval(0.95, n - 1, loc=mean, scale=error)
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


def test_an_interval_computed_by_hand():
    found = interval([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.high - 2.0 == pytest.approx(
        4.3027 / math.sqrt(3), rel=1e-4
    )  # t(0.975, 2) = 4.3027
    assert 2.0 - found.low == pytest.approx(found.high - 2.0)


def test_a_single_seed_has_no_interval_but_ends():
    found = interval([0.25], unit="%")
    assert found == Interval(value=0.25, low=None, high=None, n=1, unit="%")
    assert found.ends == (0.25, 0.25)


def test_the_interval_of_a_share_is_cut_to_0_and_1():
    assert (interval([0.9, 1.0], share=True).high, interval([0.0, 0.1], share=True).low) == (
        1.0,
        0.0,
    )
    assert interval([0.9, 1.0]).high > 1 and interval([0.0, 0.1]).low < 0
    inner = [0.5, 0.52, 0.51]
    assert interval(inner, share=True) == interval(inner)
    assert interval([-0.3, -0.1], share=True) == interval([-0.3, -0.1])  # no share after all


@pytest.mark.parametrize("values", [[], [math.nan], [0.5, math.nan], [0.5, math.inf]])
def test_values_that_are_no_numbers_are_an_error(values):
    with pytest.raises(ValueError, match=r"values = .*at least one finite number"):
        interval(values)


def test_a_bound_is_met_by_both_ends_by_neither_or_by_one():
    found = Interval(value=0.5, low=0.4, high=0.6, n=3)
    assert [found.meets(">", bound) for bound in (0.3, 0.4, 0.5, 0.6)] == [True, None, None, False]
    assert [found.meets("<", bound) for bound in (0.7, 0.6, 0.5, 0.4)] == [True, None, None, False]
    assert found.unfavourable(">") == 0.4 and found.unfavourable("<") == 0.6


def test_a_range_holds_an_interval_none_of_it_or_a_part():
    found = Interval(value=0.5, low=0.4, high=0.6, n=3)
    ranges = ((0.3, 0.7), (0.4, 0.7), (0.45, 0.55), (0.0, 0.4), (0.6, 1.0))
    assert [found.meets("in", one) for one in ranges] == [True, None, None, False, False]


def test_slack_is_what_both_ends_have_left():
    found = Interval(value=0.5, low=0.4, high=0.6, n=3)
    assert found.slack(">", 0.3) == pytest.approx((0.1, 0.3))
    assert found.slack("<", 0.5) == pytest.approx((-0.1, 0.1))
    assert found.slack("in", (0.0, 0.65)) == pytest.approx((0.05, 0.25))
