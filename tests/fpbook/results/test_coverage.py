"""The intervals contain the truth as often as is said; many verdicts at once are allowed for."""

import math

import pytest
from counting import count
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fpbook.results import claims
from fpbook.results.coverage import (
    LEVEL,
    SYNTHETIC_DATA,
    Comparisons,
    comparisons,
    coverage,
    holm,
    p_value,
)
from fpbook.results.intervals import Interval, interval
from fpbook.results.ledger import Claim, Entry, Evidence
from fpbook.results.summaries import pick

pytestmark = pytest.mark.counted
TRIALS = 1500


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_of_normal_data_contain_the_mean_as_often_as_they_say(n):
    found = coverage("normal", n, TRIALS)
    assert abs(found - 0.95) < 4 * math.sqrt(0.95 * 0.05 / TRIALS)
    count("intervals of synthetic data", TRIALS)


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("data", [*SYNTHETIC_DATA][1:])
def test_intervals_of_skewed_data_contain_it_less_often_but_not_far_less(data, n):
    """What is known of Student's interval: at 3 to 10 exponential values, 0.87 to 0.91."""
    found = coverage(data, n, TRIALS)
    assert 0.84 < found < 0.97
    count("intervals of synthetic data", TRIALS)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8), st.floats(-10, 10))
def test_a_whole_interval_meets_a_bound_where_chance_is_below_the_level(values, bound):
    number = interval(values)
    gap = min(abs(end - bound) for end in number.ends)
    if gap < 1e-6 * (1 + abs(bound)):
        return
    for sign in "<>":
        assert (p_value(number, sign, bound) < LEVEL) == (number.meets(sign, bound) is True)


def test_the_p_value_is_that_of_students_test():
    values = [0.9, 0.95, 0.97, 0.91]
    expected = stats.ttest_1samp(values, 0.9, alternative="greater").pvalue
    assert p_value(interval(values), ">", 0.9) == pytest.approx(expected)
    assert p_value(interval(values), "<", 0.9) == pytest.approx(1 - expected)
    cut = interval([0.97, 1.0, 0.99], share=True)  # its upper end is cut
    expected = stats.ttest_1samp([0.97, 1.0, 0.99], 0.9, alternative="greater").pvalue
    assert cut.high == 1 and p_value(cut, ">", 0.9) == pytest.approx(expected)


def test_a_single_value_knows_no_chance_and_equal_ones_leave_none():
    assert p_value(interval([0.3]), ">", 0.1) is None
    same = Interval(0.3, 0.3, 0.3, 3)
    assert (p_value(same, ">", 0.1), p_value(same, ">", 0.5)) == (0.0, 1.0)


def test_holms_adjustment_computed_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_chances_are_larger_in_the_same_order_and_at_most_bonferronis(chances):
    found = holm(chances)
    for p, adjusted in zip(chances, found):
        assert p <= adjusted <= min(1.0, len(chances) * p) + 1e-12
    order = sorted(range(len(chances)), key=lambda i: chances[i])
    assert [found[i] for i in order] == sorted(found)


def ledger_of(*figures):
    """A ledger of claims A, B, ... of one figure each, which must be above 0.5."""
    chosen = pick("robust_accuracy", "clean")
    entries = []
    for name, values in zip("ABCDEF", figures):
        claim = Claim(name, "says", "chapters/x", (Evidence("synthetic", chosen, ">", 0.5),))
        entries.append(Entry(claim, (interval(values),), {}))
    return entries


def test_comparisons_are_counted_and_adjusted():
    barely = [0.54, 0.56, 0.58]  # p = 0.018: below the level, and not after it is made 3 times
    assert 0.01 < p_value(interval(barely), ">", 0.5) < LEVEL
    found = comparisons(ledger_of(barely, [0.8, 0.81, 0.82], [0.2, 0.21, 0.22], [0.9]))
    assert (found.figures, found.alone, found.decided) == (3, 1, 4)
    assert found.expected == pytest.approx(3 * LEVEL)
    assert found.kept == ["B"] and "A" in found.lost


def test_the_ledger_of_the_book_says_how_many_comparisons_it_makes(monkeypatch):
    monkeypatch.delenv("FPCORE_RESULTS", raising=False)
    entries = claims()
    found = comparisons(entries)
    assert isinstance(found, Comparisons) and found.figures > 20
    assert 0 < found.expected < 2  # fewer than two verdicts are expected to be wrong by chance
    held = {entry.claim.id for entry in entries if entry.verdict == "holds"}
    assert {*found.kept, *found.lost} == held
