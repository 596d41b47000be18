import numpy as np
import pytest

from fpbook.figures.speed import growth_panels
from fpbook.results.timings import timings_table

pytestmark = pytest.mark.usefixtures("closed")


def test_a_curve_stands_with_its_spread_its_limit_and_its_exponent():
    def row(name, value, unit, size=None):
        ends = {"low": value / 2, "high": value * 2}
        named = {"name": name, "unit": unit, "repeats": 3, "settings": "toy", "size": size}
        return named | ends | {"value": value}

    sizes = (10.0, 20.0, 40.0)
    measured = [row("a step", size**2, "s", size) for size in sizes]
    measured += [row("a step, products alone", size, "s", size) for size in sizes]
    measured += [row("a step", 2.0, ""), row("another step", 5.0, "s", 1.0)]
    figure = growth_panels(timings_table(measured), {"a step": ("$d$", "seconds")}, columns=1)
    (axis,) = figure.axes
    curve, limit = (one.lines[0] for one in axis.containers)
    np.testing.assert_allclose(curve.get_xydata(), [[s, s**2] for s in sizes])
    np.testing.assert_allclose(limit.get_xydata(), [[s, s] for s in sizes])
    assert axis.get_title() == "grows as size$^{2.00}$"
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("$d$", "seconds")
    assert axis.get_xscale() == axis.get_yscale() == "log"
    low, high = axis.containers[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == (50.0, 200.0)
