import pytest
import torch

from fpbook.figures.cifar10 import against, bars, low_rank_updates, over_radius, series, threats
from fpbook.figures.style import NETWORK_COLORS, PURIFIED

pytestmark = pytest.mark.usefixtures("closed")
BLUE = PURIFIED


def number(value, reach=None):
    return {
        "value": value,
        "low": None if reach is None else value - reach,
        "high": None if reach is None else value + reach,
    }


def test_a_series_has_a_panel_a_run_and_skips_what_was_not_measured():
    shown = {
        "this run": {"a/0.5": number(0.3)},
        "published": {f"a/{x:g}": number(x / 2, 0.1) for x in (0.0, 0.5, 1.0)},
    }
    figure = series(
        shown, [0.0, 0.5, 1.0], {"line": ("a/{}", BLUE, "-"), "none": ("b/{}", BLUE, "-")}, "x"
    )
    here, there = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["this run", "published"]
    assert here.lines[0].get_xydata().tolist() == [[0.5, 0.3]]
    assert (
        there.lines[0].get_xydata().tolist() == [[0.0, 0.0], [0.5, 0.25], [1.0, 0.5]]
        and len(there.lines) == 1
    )
    (sticks,) = [part.get_segments() for part in there.collections]
    assert sticks[1][:, 1].tolist() == pytest.approx([0.15, 0.35])


def test_bars_stand_in_groups_at_their_heights_beside_a_level():
    measured = {
        f"{name}/{layer}": number(height)
        for name, layer, height in (("v", "a", 0.2), ("v", "b", 0.4), ("r", "a", 0.1))
    }
    measured |= {"r/b": number(-0.3), "w": number(0.15)}
    groups, rows = {"first": "a", "second": "b"}, {"v": ("v/{}", BLUE), "random": ("r/{}", "black")}
    (axis,) = bars({"this run": measured}, groups, rows, "robust", level="w").axes
    assert [bar.get_height() for bar in axis.patches] == [0.2, 0.4, 0.1, -0.3]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in axis.patches]
    assert middles == pytest.approx([-0.2, 0.8, 0.2, 1.2])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["first", "second"]
    assert axis.lines[-1].get_ydata() == [0.15, 0.15]
    (axis,) = bars({"this run": measured}, groups, rows, "robust").axes
    assert all(line.get_linestyle() != "--" for line in axis.lines)


def test_without_limits_a_series_shows_all_of_every_run():
    shown = {
        "this run": {"a/1": number(2.1)},
        "published": {"a/1": number(1.8), "a/2": number(0.4)},
    }
    figure = series(shown, [1, 2], {"line": ("a/{}", BLUE, "-")}, "x", ylim=None)
    low, high = figure.axes[0].get_ylim()
    assert low < 0.4 and high > 2.1


def test_low_rank_updates_stand_over_their_rank_and_over_their_share_of_the_parameters():
    def one(kind, rank, value):
        figures = {"regained": value, "clean_accuracy": 0.7, "parameter_share": 0.01 * (rank + 1)}
        return {f"{kind}/{rank}/{name}": number(v, 0.05) for name, v in figures.items()}

    measured = (
        one("adversarial", 0, 0.5)
        | one("adversarial", 4, 0.8)
        | one("clean", 4, -0.1)
        | one("truncated", 4, 0.6)
    )
    measured |= {"full/regained": number(0.9), "full/clean_accuracy": number(0.75)}
    colors = dict.fromkeys(("adversarial", "random", "clean", "truncated"), BLUE)
    over_rank, over_share, clean = low_rank_updates({"this run": measured}, [0, 1, 4], colors).axes
    drawn = [line.get_xydata().tolist() for line in over_rank.lines if line.get_marker() == "o"]
    assert [points for points in drawn if points] == [[[0, 0.5], [2, 0.8]], [[2, -0.1]], [[2, 0.6]]]
    drawn = [line.get_xydata().tolist() for line in over_share.lines if line.get_marker() == "o"]
    assert [points for points in drawn if points] == [[[0.01, 0.5], [0.05, 0.8]], [[0.05, -0.1]]]
    (star,) = [line for line in over_share.lines if line.get_marker() == "*"]
    assert star.get_xydata().tolist() == [[1, 0.9]]
    assert [line.get_ydata()[0] for line in (over_rank.lines[-1], clean.lines[-1])] == [0.9, 0.75]


def test_autoattack_is_marked_at_its_radius_in_the_panel_of_its_norm():
    radii = {"l2": [0, 0.5], "linf": [0, 8 / 255]}
    rows = {norm: {"clean": [0.8, 0.1], "purified": [0.7, 0.5]} for norm in radii}
    withstood = {
        "clean": {"l2 0.5": torch.tensor([True, False, False, False])},
        "purified": {"linf 8/255": torch.tensor([False, False])},
    }
    two, infinity = over_radius(radii, rows, withstood).axes
    (cross,) = [line for line in two.lines if line.get_marker() == "x"]
    assert (
        cross.get_xydata().tolist() == [[0.5, 0.25]]
        and cross.get_color() == NETWORK_COLORS["clean"]
    )
    (cross,) = [line for line in infinity.lines if line.get_marker() == "x"]
    assert (
        cross.get_xydata().tolist() == [[8, 0]] and cross.get_color() == NETWORK_COLORS["purified"]
    )
    assert infinity.lines[0].get_xdata().tolist() == [0, 8]
    none = over_radius(radii, rows, {})
    assert "AutoAttack" not in [text.get_text() for text in none.legends[0].texts]


def test_autoattack_stands_before_pgd_at_each_threat_and_what_is_not_measured_has_no_bar():
    measured = {
        "pgd_accuracy/l2 0.5": number(0.2),
        "autoattack_accuracy/l2 0.5": number(0.1, 0.02),
        "autoattack_accuracy_adv/l2 0.25": number(0.6),  # without PGD
    }
    (axis,) = threats(measured).axes
    behind, before = axis.patches
    assert (behind.get_height(), before.get_height()) == (
        0.2,
        0.1,
    ) and behind.get_x() == before.get_x()
    assert round(before.get_x() + before.get_width()) == 1  # the second threat
    assert before.get_facecolor()[3] == 1 > behind.get_facecolor()[3]


def test_one_share_stands_over_another_with_its_width_beside_it():
    measured = {
        "a/0.0625": number(0.4, 0.1),
        "b/0.0625": number(0.3, 0.2),
        "a/1": number(0.7),
        "b/1": number(0.5),
    }
    figure = against(
        {"published": measured}, [0.0625, 0.5, 1.0], {"line": ("a/{}", "b/{}", BLUE)}, ("x", "y")
    )
    (axis,) = figure.axes
    assert axis.lines[0].get_xydata().tolist() == [[0.4, 0.3], [0.7, 0.5]]
    assert [text.get_text() for text in axis.texts] == ["\u00d71/16", "\u00d71"]
    across, up = (part.get_segments()[0].flatten().tolist() for part in axis.collections)
    assert across == pytest.approx([0.3, 0.3, 0.5, 0.3]) and up == pytest.approx(
        [0.4, 0.1, 0.4, 0.5]
    )
