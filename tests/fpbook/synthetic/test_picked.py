import pytest

from fpbook.results import published
from fpbook.synthetic.picked import headline_picks, intervention_picks, neuron_picks


@pytest.mark.parametrize("picks", [headline_picks(), neuron_picks()])
def test_every_row_of_the_tables_of_the_headline_is_published(picks):
    summary = published("synthetic").summary
    assert [label for label, one in picks.items() if one.find(summary) is None] == []


def test_each_intervention_has_a_row_for_the_attack_and_one_for_the_certificate():
    picks = intervention_picks({"dense\nback": "dense back"})
    assert [*picks] == ["dense back: attacked", "dense back: certified"]
    summary = published("interventions").summary
    attacked, certified = (one.find(summary).value for one in picks.values())
    assert certified <= attacked
