import pytest

from fpbook.figures.margins import margin_curve
from fpbook.figures.style import CLEAN, PURIFIED
from fpbook.results.records import record, table
from fpcore.theory import narrowest_margin

pytestmark = pytest.mark.usefixtures("closed")


def runs(d, margin, attacked, certified):
    over = {"d": d, "k": 9, "setting": margin, "seed": 0}
    return [
        record("least_score", margin + 0.1, **over),
        record("robust_accuracy", attacked, "clean", **over),
        record("certified_accuracy", certified, "purified", **over),
    ]


def test_margins_that_separate_are_filled_at_their_least_score():
    predicted = [narrowest_margin(d) for d in (400, 500)]
    measured = table([*runs(400, 2.0, 0.05, 0.98), *runs(400, 2.6, 0.001, 0.999)])
    left, right = margin_curve(predicted, measured).axes
    line, *rings = left.lines
    assert [*line.get_xdata()] == [400, 500]
    assert [*line.get_ydata()] == [one.margin for one in predicted]
    assert [ring.get_ydata()[0] for ring in rings] == pytest.approx([2.1, 2.7])
    assert [ring.get_markerfacecolor() for ring in rings] == ["none", PURIFIED]
    assert rings[0].get_color() == CLEAN
    assert [*right.lines[0].get_ydata()] == [one.kept for one in predicted]


def test_without_runs_there_is_the_formula_alone():
    left, _ = margin_curve([narrowest_margin(400)]).axes
    assert len(left.lines) == 1
