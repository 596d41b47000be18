import pytest

from fpbook.cifar10.experiment import CIFAR
from fpbook.cifar10.quotes import quotes_of
from fpbook.cifar10.table_rows import (
    accuracy_rows,
    autoattack_rows,
    coding_rows,
    low_rank_rows,
    own_rows,
    recipe_table,
    relation_rows,
    removal_rows,
    residual_rows,
    threat_table,
)
from fpbook.results import published, summary_table

TABLES = {
    "accuracies": ("cifar10", accuracy_rows()),
    "autoattack": ("cifar10-robustness", autoattack_rows("l2 0.5")),
    "relations": ("cifar10", relation_rows()),
    "removal": ("cifar10-removal", removal_rows()),
    "coding": ("cifar10-features", coding_rows({"clean": "$w$", "scrambled": "s"}, (2, 8))),
    "low rank": ("cifar10-low-rank", low_rank_rows((0, 1, 2, 4, 8, 16), (16,))),
    "transformer": ("own-networks", own_rows("transformer")),
    "perceptron": ("own-networks", own_rows("perceptron")),
}


@pytest.mark.parametrize("table", TABLES)
def test_every_row_of_a_table_is_published(table):
    name, rows = TABLES[table]
    summary = published(name).summary
    assert [label for label, of in rows.items() if of.find(summary) is None] == []


def test_of_the_residual_network_all_is_published_but_what_has_no_network_from_scratch():
    summary = published("cifar10-resnet").summary
    missing = [label for label, of in residual_rows().items() if of.find(summary) is None]
    assert all(
        "w''" in label or "two seeds" in label or "its sign" in label or "conv1" in label
        for label in missing
    )


@pytest.mark.parametrize(
    "chapter",
    [
        "cifar10",
        "cifar10-robustness",
        "cifar10-layers",
        "cifar10-removal",
        "cifar10-features",
        "cifar10-low-rank",
        "your-own-networks",
    ],
)
def test_every_number_that_a_chapter_quotes_is_published(chapter):
    found = quotes_of(chapter)
    assert found
    assert "-" not in found.values()


def test_shares_are_quoted_in_percent_and_cosines_are_not():
    found = quotes_of("cifar10-layers")
    assert found["share"].startswith("99.5%")
    assert found["purified"].startswith("0.909")


def test_a_chapter_that_quotes_nothing_is_named():
    with pytest.raises(ValueError, match="chapter = 'intro'"):
        quotes_of("intro")


def test_recipes_stand_side_by_side_by_stage():
    found = recipe_table({"published": CIFAR["full"], "this run": CIFAR["quick"]})
    head, _, *lines = found.splitlines()
    assert head == "|  | published | this run |"
    assert "| second stage: learning rate | 0.004 | 0.02 |" in lines
    assert all(line.count("|") == head.count("|") for line in lines)
    assert len({*lines}) == len(lines)


def test_a_threat_has_what_autoattack_leaves_and_a_dash_where_it_was_not_run():
    found = threat_table(published("cifar10-robustness").summary)
    assert "10.8% [9.7%, 11.9%] (13.3%)" in found
    assert threat_table(summary_table([])).count("| - |") == 2 * 4
