import pytest

from fpbook.results.intervals import Interval
from fpbook.results.records import record, table
from fpbook.results.summaries import pick, summarise
from fpbook.results.tables import beside, comparison, show

PICKS = {
    "first": pick("robust_accuracy", "clean"),
    "absent": pick("robust_accuracy", "scratch"),
    "third": pick("cos_to_init", "clean"),
}


@pytest.fixture
def here():
    """This run's summary."""
    return summarise(
        table([record("robust_accuracy", 0.5, "clean"), record("robust_accuracy", 0.25, "control")])
    )


@pytest.fixture
def there(put):
    """What is published."""
    put(
        "synthetic",
        {
            "quantity": "robust_accuracy",
            "network": "clean",
            "value": 0.75,
            "low": 0.7,
            "high": 0.8,
            "n": 3,
        },
        {"quantity": "cos_to_init", "network": "clean", "value": 0.1},
        setting="tiny",
    )


def test_a_number_is_shown_with_its_interval_in_its_unit():
    found = Interval(value=0.9821, low=0.979, high=0.985, n=3, unit="%")
    assert (
        show(found) == "98.2% [97.9%, 98.5%]"
        and show(found, percent=False) == "0.982 [0.979, 0.985]"
    )
    alone, equal = (
        Interval(value=0.9821, low=None, high=None, n=1, unit="%"),
        Interval(0.9821, 0.9821, 0.9821, 3, "%"),
    )
    assert show(alone) == show(equal) == "98.2%"
    assert show(Interval(value=0.16, low=None, high=None, n=1)) == "0.160"
    assert show(Interval(value=102000.0, low=None, high=None, n=1, unit="pairs")) == "102,000"
    assert (
        show(Interval(value=132.5, low=100.0, high=165.0, n=2, unit="steps"))
        == "132.500 [100.000, 165.000]"
    )
    assert show(None) == "-"


def test_a_comparison_stands_beside_what_is_published(results, here):
    expected = ["|  | this run |", "| --- | --- |", "| first | 50.0% |"]
    assert comparison("synthetic", here, PICKS).splitlines() == expected


def test_a_comparison_shows_this_run_and_the_published_one(there, here):
    title, _, first, third = comparison("synthetic", here, PICKS).splitlines()
    assert (
        title == "|  | this run | published (tiny) |"
        and first == "| first | 50.0% | 75.0% [70.0%, 80.0%] |"
    )
    assert third == "| third | - | 0.100 |"
    assert "| first | 0.500 | 0.750 [0.700, 0.800] |" in comparison(
        "synthetic", here, PICKS, percent=False
    )


def test_a_comparison_leaves_out_a_run_that_measured_nothing(there, here):
    assert (
        comparison("synthetic", summarise(table([])), PICKS).splitlines()[0]
        == "|  | published (tiny) |"
    )
    nowhere = {"x": pick("robust_accuracy", "nowhere")}
    assert "not yet published" in comparison("synthetic", here, nowhere)


def test_a_profile_stands_for_a_setting_that_is_not_given(put, here):
    put("synthetic", {"quantity": "robust_accuracy", "network": "clean", "value": 0.75})
    assert "published (quick)" in comparison("synthetic", here, PICKS)


def test_what_is_published_stands_beside_this_run_unless_it_is_this_run(put, here):
    assert [*beside("synthetic", here)] == ["this run"]
    put("synthetic", {"quantity": "robust_accuracy", "network": "clean", "value": 0.75})
    assert [*beside("synthetic", here)] == ["this run", "published"]
    again = beside("synthetic", summarise(table([])))
    assert [*again] == ["published"] and [*beside("synthetic", again["published"])] == ["this run"]
