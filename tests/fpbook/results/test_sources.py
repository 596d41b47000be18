from fpbook.results import pick
from fpbook.results.sources import quoted, source_of


def test_a_source_says_seeds_and_commit(put):
    put("range", {"quantity": "radius", "value": 1.0}, seeds=[0, 1, 2], commit="abc")
    put("pair", {"quantity": "radius", "value": 1.0}, seeds=[0, 3], commit="def")
    put("one", {"quantity": "radius", "value": 1.0}, seeds=[4], commit="012")
    assert source_of("range") == "published: seeds 0 to 2, commit abc"
    assert source_of("pair") == "published: seeds 0, 3, commit def"
    assert source_of("one") == "published: seed 4, commit 012"
    assert source_of("none") == "not yet published"


def test_a_number_is_quoted_with_its_interval_and_a_missing_one_is_a_dash(put):
    put("some", {"quantity": "clean_accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "n": 2})
    assert quoted("some", pick("clean_accuracy")) == "50.0% [40.0%, 60.0%]"
    assert quoted("some", pick("clean_accuracy"), False) == "0.500 [0.400, 0.600]"
    assert quoted("some", pick("robust_accuracy")) == quoted("none", pick("radius")) == "-"
