import numpy as np
import pytest
from matplotlib.colors import to_hex

from fpbook.figures.accuracies import accuracy_bars, brackets, over, side_by_side, sweep_panels
from fpbook.figures.style import CLEAN, INIT
from fpbook.results import joined, summarise, summary_table, table
from fpbook.results.records import record

pytestmark = pytest.mark.usefixtures("closed")
LINES = (
    ("robust_accuracy", "clean"),
    ("robust_accuracy", "purified"),
    ("certified_accuracy", "purified"),
    ("purity", "purified"),
)


def summary(quantity, network, value, low=None, high=None, n=3, **over):
    """One row of a summary."""
    number = {"value": value, "low": low, "high": high, "n": n}
    return {"quantity": quantity, "network": network, **over, **number}


def swept(**sweeps):
    """A summary of `measure_limit`, each line with other values."""
    return summary_table(
        summary(*of, (at := value / 100 + i / 10), at - 0.01, at + 0.02, sweep=sweep, setting=value)
        for sweep, values in sweeps.items()
        for value in map(float, values)
        for i, of in enumerate(LINES)
    )


def marks(axis):
    """Where the wide grey lines of homes stand."""
    return [line.get_xdata()[0] for line in axis.lines if line.get_linewidth() == 4]


def test_each_sweep_has_a_panel_with_its_four_figures():
    axes = sweep_panels(swept(a=(1, 5), b=(2, 30, 4)), {}, columns=2).axes
    assert [axis.get_xlabel() for axis in axes] == ["a", "b"]
    for axis, values in zip(axes, ((1, 5), (2, 30, 4))):
        assert [label.get_text() for label in axis.get_xticklabels()] == [f"{v}" for v in values]
        for i, line in enumerate(axis.lines):
            assert [*line.get_ydata()] == pytest.approx([v / 100 + i / 10 for v in values])
        assert len(axis.lines) == len(axis.collections) == 4
        for line, bars in zip(axis.lines, axis.collections):
            reach = (
                np.array([segment[:, 1] for segment in bars.get_segments()])
                - line.get_ydata()[:, None]
            )
            np.testing.assert_allclose(reach, [[-0.01, 0.02]] * len(values))


def test_robust_before_and_after_training_differ_in_colour():
    (axis,) = sweep_panels(swept(a=(1, 5)), {}, columns=1).axes
    assert len({to_hex(line.get_color()) for line in axis.lines}) == 4


def test_homes_are_marked_at_their_place_in_any_order():
    found = swept(a=(0.65, 1, 25), b=(30, 4, 2), c=(1, 2))
    one, two, three, _ = sweep_panels(found, {"a": 25.0, "b": 4.0, "other": 1.0}).axes
    assert marks(one) == [2] and marks(two) == [1] and marks(three) == []


def test_a_sweep_without_its_home_is_marked_nowhere():
    assert all(
        marks(axis) == []
        for axis in sweep_panels(swept(a=(1, 2), b=(1, 2)), {"a": 3.0}, columns=2).axes
    )


def test_panels_beyond_the_sweeps_are_empty_and_names_may_hold_slashes():
    found = swept(**{f"m / d {i}": (1, 2) for i in range(5)})
    axes = sweep_panels(found, {"m / d 4": 2.0}).axes
    assert [axis.axison for axis in axes] == [True] * 5 + [False] * 3
    assert axes[4].get_xlabel() == "m / d 4" and marks(axes[4]) == [1]


def test_figures_over_x_have_a_panel_a_run_in_order_of_x_with_intervals_and_levels():
    here = summary_table(
        summary("robust_accuracy", "kept", x / 100, x / 100 - 0.05, x / 100 + 0.02, d=x)
        for x in (40, 9, 20)
    )
    other = summary_table([summary("robust_accuracy", "other", 0.9, d=9)])
    there = summary_table(summary("robust_accuracy", "kept", 0.5, n=1, d=x) for x in (9, 80))
    lines = {"kept, attacked": ("robust_accuracy", "kept", CLEAN, "o-")}
    shown = {"this run": joined(here, other), "published": there}
    figure = over(shown, "d", lines, "$d$", {"limit": (0.9, INIT)})
    left, right = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["this run", "published"]
    line, level = left.lines
    assert line.get_xydata().tolist() == [[9, 0.09], [20, 0.2], [40, 0.4]]
    assert to_hex(line.get_color()) == CLEAN.lower()
    (bars,) = left.collections
    np.testing.assert_allclose(
        [segment[:, 1] for segment in bars.get_segments()],
        [[0.04, 0.11], [0.15, 0.22], [0.35, 0.42]],
    )
    np.testing.assert_allclose(
        [np.ptp(segment[:, 1]) for segment in right.collections[0].get_segments()], 0
    )
    assert [*level.get_ydata()] == [0.9, 0.9]
    assert {text.get_text() for text in figure.legends[0].texts} == {"kept, attacked", "limit"}


def test_models_stand_side_by_side_in_the_same_order_in_each_panel():
    here = summary_table(
        [
            summary("clean_accuracy", "a", 1.0),
            summary("clean_accuracy", "b", 0.9),
            summary("class_bound", "b", 0.5),
        ]
    )
    there = summary_table(
        [summary("clean_accuracy", "b", 0.8), summary("certified_accuracy", "c", 0.7)]
    )
    shown = {"this run": here, "published": there}
    left, right = side_by_side(shown, {"c": "the last"}).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b", "the last"]
    assert left.yaxis_inverted() and right.yaxis_inverted()
    drawn = [
        [mark.get_offsets().tolist() for mark in axis.collections if len(mark.get_offsets())]
        for axis in (left, right)
    ]
    assert drawn == [[[[1.0, 0], [0.9, 1]], [[0.5, 1]]], [[[0.8, 1]], [[0.7, 2]]]]


def test_bars_are_the_accuracies_of_all_seeds_and_none_is_zero():
    measured = [
        record("clean_accuracy", 1.0, "w", seed=0),
        record("clean_accuracy", 0.5, "w", seed=1),
        record("robust_accuracy", 0.25, "w'", seed=0),
    ]
    found = summarise(table(measured), tuned_on=[0])
    (axis,) = accuracy_bars(found, {"one": "w", "other": "w'"}, 0.125).axes
    heights = [[bar.get_height() for bar in bars] for bars in axis.containers]
    assert heights == [[0.75, 0.0], [0.0, 0.25], [0.0, 0.0]]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["one", "other"]
    assert "0.125" in axis.get_title()


def test_robust_accuracy_stands_between_its_bounds_and_the_radius_is_marked():
    radii, certified, attacked = [0.0, 0.5, 1.0], [1.0, 0.4, 0.1], [1.0, 0.7, 0.3]
    (axis,) = brackets(radii, {"clean": (certified, attacked, CLEAN)}, 0.6).axes
    above, below, radius = axis.lines
    assert [*above.get_ydata()] == attacked
    assert [*below.get_ydata()] == certified
    assert (above.get_linestyle(), below.get_linestyle()) == ("-", "--")
    assert [above.get_label(), below.get_label()] == ["clean: attacked", "clean: certified"]
    assert {*radius.get_xdata()} == {0.6}
    (band,) = axis.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(6).tolist()}
    assert corners == {*zip(radii, certified), *zip(radii, attacked)}
