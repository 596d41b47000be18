import numpy as np
import pytest

from fpbook.figures.laws import PREDICTED, law_panels, linear_ceilings
from fpbook.figures.style import CLEAN, PURIFIED
from fpbook.results.records import record, table
from fpbook.synthetic.sweeps import at_size

pytestmark = pytest.mark.usefixtures("closed")


def runs(*sizes):
    """Records that follow two laws exactly, with the constants 2 and 3."""
    found = []
    for d, k in sizes:
        over = {"d": d, "k": k, "seed": 0}
        found.append(record("certified_radius", 2 * k**-0.5, "purified", **over))
        found.append(record("active_share", 3 * k / d, "clean", **over))
        found.append(record("active_share", 2 * k / d, "purified", **over))
    return table(found)


def dots(axis):
    """(x, y, marker, face) of each line of dots that has any."""
    return [
        (line.get_xdata(), line.get_ydata(), line.get_marker(), line.get_markerfacecolor())
        for line in axis.lines
        if len(line.get_xdata()) and line.get_marker() not in ("None", None)
    ]


def test_runs_stand_over_what_the_law_has_them_proportional_to():
    figure = law_panels({"this run": runs((100, 4), (100, 10))}, ["certified_radius"])
    (axis,) = figure.axes
    inside, border = dots(axis)
    assert inside[2:] == ("o", PURIFIED) and border[2:] == ("X", PURIFIED)
    for x, y, *_ in (inside, border):
        np.testing.assert_allclose(y, 2 * np.asarray(x, float))
    np.testing.assert_allclose(inside[0], [0.5])


def test_published_runs_are_rings_and_networks_have_their_colours():
    shown = {"this run": runs((100, 4)), "published": runs((400, 9))}
    (axis,) = law_panels(shown, ["active_share"]).axes
    assert [face for *_, face in dots(axis)] == [CLEAN, PURIFIED, "none", "none"]


@pytest.mark.parametrize("quantity", ["certified_radius", "active_share"])
def test_a_line_of_the_predicted_slope_goes_through_the_runs(quantity):
    (axis,) = law_panels({"this run": runs((100, 4), (400, 9))}, [quantity]).axes
    x, y = np.log(axis.lines[-1].get_xydata()).T
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(PREDICTED[quantity].slope)


def test_the_bound_on_linear_classifiers_falls_with_the_dimension():
    experiment = at_size(400, 9)
    figure = linear_ceilings([0.0, 1.0], [0.2, 0.1], {1: 0.05, 4: 0.03}, experiment)
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [0.2, 0.1])
    np.testing.assert_allclose([*left.lines[2].get_xdata()], [0.1])  # cos = sqrt(4/400)
    bound = right.lines[0].get_ydata()
    assert (np.diff(bound) < 0).all() and bound[-1] < 0.01
