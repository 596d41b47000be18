import pytest

from fpbook.figures.family import FAMILY_PANELS, family_panels
from fpbook.results import summary_table

pytestmark = pytest.mark.usefixtures("closed")


def summary(quantity, network, member, d, value):
    number = {"value": value, "low": value - 0.1, "high": value + 0.2, "n": 3}
    return {"quantity": quantity, "network": network, "member": member, "d": d, "k": 7, **number}


def test_each_claim_has_a_panel_with_a_mark_for_each_member_and_size():
    values = {("b", 100): 0.3, ("b", 200): 0.4, ("a", 100): 0.5, ("a", 200): 0.6}
    quantities = [wanted[0] for _, wanted in FAMILY_PANELS.values()]
    found = summary_table(
        summary(*of, *at, value) for at, value in values.items() for of in quantities
    )
    axes = family_panels(found, ["b", "unused", "a"]).axes
    assert [axis.get_title() for axis in axes] == [*FAMILY_PANELS]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["b", "a"]
    for axis in axes:
        marks = [line for line in axis.lines if line.get_marker() in "os^"]
        points = {(line.get_xdata()[0], round(line.get_ydata()[0])) for line in marks}
        assert points == {(0.3, 0), (0.4, 0), (0.5, 1), (0.6, 1)}
        reach = sorted(bars.get_segments()[0][:, 0].tolist() for bars in axis.collections)
        assert reach[0] == pytest.approx([0.2, 0.5])


def test_a_cubic_without_a_certificate_is_drawn_as_attacked():
    found = summary_table([summary("robust_accuracy", "degree 3, witness", "a", 100, 0.7)])
    cubic = family_panels(found, ["a"]).axes[-1]
    assert cubic.lines[0].get_xdata()[0] == 0.7
