import pytest

from fpbook.figures.doses import gain_over_turn
from fpbook.figures.style import CONTROL, PURIFIED
from fpbook.results.records import record, table

pytestmark = pytest.mark.usefixtures("closed")


def doses(name, seed, turns, gains):
    return [
        record(quantity, value, name, rate_factor=factor, seed=seed)
        for factor, *pair in zip((0.25, 1.0, 4.0), turns, gains)
        for quantity, value in zip(("turn", "robust_gain"), pair)
    ]


def test_each_seed_has_a_line_in_points_in_the_order_of_its_turns():
    measured = [
        *doses("purified", 2, (30, 10, 20), (0.3, 0.1, 0.2)),
        *doses("purified", 3, (10, 20, 30), (0.2, 0.3, 0.4)),
        *doses("control", 2, (5, 10, 15), (0.0, -0.01, 0.02)),
    ]
    (axis,) = gain_over_turn(table(measured)).axes
    first, second, control, clean, _ = axis.lines
    assert [*first.get_xdata()] == [10, 20, 30]
    assert [*first.get_ydata()] == pytest.approx([10, 20, 30])
    assert [*second.get_ydata()] == pytest.approx([20, 30, 40])
    assert first.get_color() == second.get_color() == PURIFIED
    assert control.get_color() == CONTROL and [*control.get_xdata()] == [5, 10, 15]
    assert [*clean.get_xdata()] == [0] and [*clean.get_ydata()] == [0]
    labels = axis.get_legend_handles_labels()[1]
    assert labels == ["$w'$", "$w_c$", "$w$"]


def test_without_doses_there_is_w_alone():
    (axis,) = gain_over_turn(table([])).axes
    assert len(axis.lines) == 2
