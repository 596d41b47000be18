import pytest

from fpbook.results.claim import Evidence
from fpbook.results.intervals import Interval
from fpbook.results.summaries import pick
from fpbook.results.words import bound_kind, bound_words, figure_words, number_words

ROBUST = pick("robust_accuracy", "clean", seeds="held out")


def evidence(sign="", bound=0.0, of=ROBUST):
    return Evidence("synthetic", of, sign, bound)


def test_an_end_that_meets_its_bound_by_little_is_shown_with_the_digits_that_tell():
    found = Interval(0.0065, 0.0031876, 0.0098124, 4, "%")
    assert number_words(found) == "0.7% [0.3%, 1.0%]"
    assert number_words(found, evidence("<", 0.01)) == "0.65% [0.32%, 0.98%]"
    close = Interval(0.9, 0.85002, 0.95, 3)
    assert number_words(close, evidence(">", 0.85)) == "0.90000 [0.85002, 0.95000]"
    assert number_words(close, evidence("in", (0.85, 0.9500004))) == (
        "0.9000000 [0.8500200, 0.9500000]"
    )


def test_an_end_that_is_its_bound_needs_no_digits():
    assert number_words(Interval(0.0, 0.0, 0.0, 3), evidence(">", 0.0)) == "0.000"


def test_numbers_are_shown_in_their_unit_without_a_negative_nothing():
    assert number_words(Interval(-0.00001, None, None, 1)) == "0.000"
    assert number_words(Interval(-0.417, -0.479, -0.356, 7)) == "−0.417 [−0.479, −0.356]"
    assert number_words(Interval(1234.0, None, None, 1, "pairs")) == "1,234"


@pytest.mark.parametrize(
    ("sign", "bound", "words"),
    [
        ("", 0.0, ""),
        ("<", 0.01, "less than 1%"),
        (">", 0.995, "more than 99.5%"),
        ("in", (0.25, 0.5), "between 25% and 50%"),
    ],
)
def test_a_bound_in_words(sign, bound, words):
    assert bound_words(evidence(sign, bound)) == words


def test_a_figure_in_words_says_what_it_is_and_which_bound_on_the_truth():
    assert figure_words(evidence()) == "robust accuracy: clean network w, held-out seeds"
    assert bound_kind(evidence()) == "upper bound, by attacks"
    assert "lower" in bound_kind(evidence(of=pick("certified_accuracy", "purified")))
    assert "proved" in bound_kind(evidence(of=pick("class_bound", "linear")))
    assert bound_kind(evidence(of=pick("purity", "clean"))) == ""
    law = pick("exponent", "clean", fitted="broken_radius", factor="k", sizes="k < sqrt(d)")
    assert figure_words(evidence(of=law)) == (
        "fitted exponent of a power law: clean network w, broken radius, in k, k < sqrt(d)"
    )
    swept = pick("purity", "purified", sweep="active features k", setting=20.0)
    assert figure_words(evidence(of=swept)).endswith("active features k, set to 20")
    assert figure_words(evidence(of=pick("cos_to_clean", "purified", layer="lowest"))).endswith(
        "purified network w', lowest layer"
    )
    assert figure_words(evidence(of=pick("radius"))) == "radius of attacks and certificates"
