import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from fpbook.figures.accuracies import over, side_by_side, sweeps
from fpbook.figures.style import CLEAN, INIT, decades, guide
from fpbook.figures.synthetic import both_trainings, history

pytestmark = pytest.mark.usefixtures("closed")
MEASURED = ("robust_accuracy", "robust_accuracy_adv", "certified_accuracy_adv", "purity_adv")


def entries(*steps, **more):
    """A history with a different value in each entry."""
    keys = (
        "clean_accuracy",
        "robust_accuracy",
        "purity",
        "dense_part",
        "features_held",
        "cos_init",
        "cos_start",
    )
    return [{"step": s, **{key: i + s / 1000 for i, key in enumerate(keys)}, **more} for s in steps]


def measured(**sweeps):
    return {
        f"{sweep}/{value:g}/{name}": {
            "value": (at := value / 100 + i / 10),
            "low": at - 0.01,
            "high": at + 0.02,
        }
        for sweep, values in sweeps.items()
        for value in values
        for i, name in enumerate(MEASURED)
    }


def marks(axis):
    """Where the wide grey lines of homes stand."""
    return [line.get_xdata()[0] for line in axis.lines if line.get_linewidth() == 4]


def test_a_history_shows_accuracies_and_neurons_over_steps():
    history = entries(0, 10, 25)
    left, right = history(history).axes
    assert [line.get_label() for line in left.lines] == ["clean", "PGD (upper bound)"]
    for axis, keys in (
        (left, ("clean_accuracy", "robust_accuracy")),
        (right, ("purity", "dense_part", "cos_init")),
    ):
        for line, key in zip(axis.lines, keys, strict=True):
            assert [*line.get_xdata()] == [0, 10, 25] and [*line.get_ydata()] == [
                e[key] for e in history
            ]


def test_the_chance_level_is_drawn_where_it_is_given():
    _, right = history(entries(0, 10), chance=0.05).axes
    assert len(right.lines) == 4 and set(right.lines[-1].get_ydata()) == {0.05}


def test_both_trainings_follow_each_other_without_a_double_point():
    clean, later = entries(0, 5, 10), entries(0, 8, 16)
    (axis,) = both_trainings({"clean": clean, "adversarial": later}, chance=0.05).axes
    for line, key in zip(axis.lines, ("purity", "dense_part", "features_held", "cos_init")):
        assert [*line.get_xdata()] == [0, 5, 10, 18, 26]
        assert [*line.get_ydata()] == [e[key] for e in (*clean, *later[1:])]
    since = axis.lines[4]
    assert [*since.get_xdata()] == [10, 18, 26] and [*since.get_ydata()] == [
        e["cos_start"] for e in later
    ]


def test_both_trainings_mark_chance_and_the_start_of_the_attack():
    (axis,) = both_trainings(
        {"clean": entries(0, 10), "adversarial": entries(0, 8)}, chance=0.05
    ).axes
    assert set(axis.lines[5].get_ydata()) == {0.05} and set(axis.lines[6].get_xdata()) == {10}
    assert [t.get_text() for t in axis.texts] == ["FGM training starts"]


@pytest.mark.parametrize("slope", [1.0, -0.5, 0.0])
def test_a_guide_has_its_slope_and_goes_through_the_middle_of_all_points(slope):
    _, axis = plt.subplots()
    axis.loglog([1, 10, 100], [3, 4, 50], "o")
    axis.loglog([2, 1000], [1, 2], "o")
    axis.plot([], [], "o", label="empty")
    guide(axis, slope)
    x, y = axis.lines[-1].get_xdata(), axis.lines[-1].get_ydata()
    assert [*x] == pytest.approx([1, 1000])
    assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(slope)
    assert np.interp(np.log(10), np.log(x), np.log(y)) == pytest.approx(np.log(3))


@pytest.mark.parametrize("missing", [float("nan"), 0.0])
def test_a_guide_passes_by_points_that_have_no_logarithm(missing):
    _, axis = plt.subplots()
    axis.loglog([1, 10, 100, 10_000], [3, 4, 50, missing], "o")
    guide(axis, 1.0)
    x, y = axis.lines[-1].get_xdata(), axis.lines[-1].get_ydata()
    assert [*x] == pytest.approx([1, 100]) and [*y] == pytest.approx([0.4, 40])


def test_each_sweep_has_a_panel_with_its_four_figures():
    axes = sweeps(measured(a=(1, 5), b=(2, 30, 4)), {}, columns=2).axes
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
    (axis,) = sweeps(measured(a=(1, 5)), {}, columns=1).axes
    assert len({to_hex(line.get_color()) for line in axis.lines}) == 4


def test_homes_are_marked_at_their_place_in_any_order():
    found = measured(a=(0.65, 1, 25), b=(30, 4, 2), c=(1, 2))
    one, two, three, _ = sweeps(found, {"a": [25.0, 0.65], "b": [4.0], "other": [1.0]}).axes
    assert marks(one) == [2, 0] and marks(two) == [1] and marks(three) == []


def test_a_sweep_without_homes_is_marked_nowhere():
    assert all(
        marks(axis) == []
        for axis in sweeps(measured(a=(1, 2), b=(1, 2)), {"a": []}, columns=2).axes
    )


def test_panels_beyond_the_sweeps_are_empty_and_names_may_hold_slashes():
    found = measured(**{f"m / d {i}": (1, 2) for i in range(5)})
    axes = sweeps(found, {"m / d 4": [2.0]}).axes
    assert [axis.axison for axis in axes] == [True] * 5 + [False] * 3
    assert axes[4].get_xlabel() == "m / d 4" and marks(axes[4]) == [1]


def test_figures_over_x_have_a_panel_a_run_in_order_of_x_with_intervals_and_levels():
    here = {
        f"{x}/kept": {"value": x / 100, "low": x / 100 - 0.05, "high": x / 100 + 0.02}
        for x in (40, 9, 20)
    }
    there = {f"{x}/kept": {"value": 0.5, "low": None, "high": None} for x in (9, 80)}
    lines = {"kept": ("kept, attacked", CLEAN, "o-")}
    figure = over({"this run": here, "published": there}, lines, "$d$", {"limit": (0.9, INIT)})
    left, right = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["this run", "published"]
    line, level = left.lines
    assert (
        line.get_xydata().tolist() == [[9, 0.09], [20, 0.2], [40, 0.4]]
        and to_hex(line.get_color()) == CLEAN.lower()
    )
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
    here = {
        "a/clean_accuracy": {"value": 1.0},
        "b/clean_accuracy": {"value": 0.9},
        "b/class_bound": {"value": 0.5},
    }
    there = {"b/clean_accuracy": {"value": 0.8}, "c/certified_accuracy": {"value": 0.7}}
    left, right = side_by_side({"this run": here, "published": there}).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b", "c"]
    assert left.yaxis_inverted() and right.yaxis_inverted()
    drawn = [
        [mark.get_offsets().tolist() for mark in axis.collections if len(mark.get_offsets())]
        for axis in (left, right)
    ]
    assert drawn == [[[[1.0, 0], [0.9, 1]], [[0.5, 1]]], [[[0.8, 1]], [[0.7, 2]]]]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.02, 0.3], "0.02 0.05 0.1 0.2"),
        ([3, 4000], "10 100 1000"),
        ([66, 165], "70 100 150"),
        ([256, 1024], "300 500 700 1000"),
    ],
)
def test_a_log_log_plot_has_a_few_plain_numbers(values, ticks):
    _, axis = plt.subplots()
    axis.plot(values, [1, 1000], "o")
    decades(axis)
    axis.figure.canvas.draw()
    assert " ".join(label.get_text() for label in axis.get_xticklabels()) == ticks
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
