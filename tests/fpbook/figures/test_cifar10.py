import pytest
import torch

from fpbook.figures.cifar10 import against, bars, low_rank_updates, over_radius, series, threats
from fpbook.figures.style import NETWORK_COLORS, PURIFIED
from fpbook.results import pick, summary_table

pytestmark = pytest.mark.usefixtures("closed")
BLUE = PURIFIED


def number(quantity, network, value, reach=None, **columns):
    """A row of a summary, of one seed or with its interval."""
    ends = {} if reach is None else {"low": value - reach, "high": value + reach}
    n = 1 if reach is None else 3
    of = {"quantity": quantity, "network": network, **columns}
    return {**of, "value": value, **ends, "n": n}


def robust(network, value, reach=None, **columns):
    return number("robust_accuracy", network, value, reach, **columns)


def points(line):
    return line.get_xydata().tolist()


def test_a_series_has_a_panel_a_run_and_skips_what_was_not_measured():
    shown = {
        "this run": summary_table([robust("a", 0.3, radius=0.5)]),
        "published": summary_table(robust("a", r / 2, 0.1, radius=r) for r in (0.5, 0.0, 1.0)),
    }
    lines = {
        "line": (pick("robust_accuracy", "a"), BLUE, "-"),
        "none": (pick("robust_accuracy", "b"), BLUE, "-"),
    }
    figure = series(shown, "radius", lines, "x")
    here, there = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["this run", "published"]
    assert points(here.lines[0]) == [[0.5, 0.3]]
    assert points(there.lines[0]) == [[0.0, 0.0], [0.5, 0.25], [1.0, 0.5]]
    assert len(there.lines) == 1
    (sticks,) = [part.get_segments() for part in there.collections]
    assert sticks[1][:, 1].tolist() == pytest.approx([0.15, 0.35])


def test_a_series_draws_what_differs_in_its_abscissa_alone():
    summary = summary_table(
        [
            robust("a", 0.3, alpha=0.5),
            robust("a", 0.4, alpha=1.0),
            robust("a", 0.9),
            robust("a", 0.8, alpha=1.0, layer="conv1"),
            robust("a", 0.7, alpha=1.0, threat="l2 0.5"),
            robust("a", 0.6, alpha=1.0, seeds="held out"),
        ]
    )
    lines = {"line": (pick("robust_accuracy", "a"), BLUE, "-")}
    (axis,) = series({"this run": summary}, "alpha", lines, "x").axes
    assert points(axis.lines[0]) == [[0.5, 0.3], [1.0, 0.4]]


def test_without_limits_a_series_shows_all_of_every_run():
    shown = {
        "this run": summary_table([number("loss", "a", 2.1, epoch=1)]),
        "published": summary_table(
            [number("loss", "a", 1.8, epoch=1), number("loss", "a", 0.4, epoch=2)]
        ),
    }
    figure = series(shown, "epoch", {"line": (pick("loss", "a"), BLUE, "-")}, "x", ylim=None)
    low, high = figure.axes[0].get_ylim()
    assert low < 0.4
    assert high > 2.1


def in_layers(*heights):
    """A summary of numbers in layers, (network, layer, height)."""
    return [number("cos_to_clean", name, height, layer=layer) for name, layer, height in heights]


def test_bars_stand_in_groups_at_their_heights_beside_a_level():
    summary = summary_table(
        [
            *in_layers(("v", "a", 0.2), ("v", "b", 0.4), ("r", "a", 0.1), ("r", "b", -0.3)),
            number("cos_to_clean", "w", 0.15),
        ]
    )
    kinds = {
        "v": (pick("cos_to_clean", "v"), BLUE),
        "random": (pick("cos_to_clean", "r"), "black"),
    }
    groups, shown = {"first": "a", "second": "b"}, {"this run": summary}
    level = pick("cos_to_clean", "w")
    (axis,) = bars(shown, "layer", groups, kinds, "robust", level=level).axes
    assert [bar.get_height() for bar in axis.patches] == [0.2, 0.4, 0.1, -0.3]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in axis.patches]
    assert middles == pytest.approx([-0.2, 0.8, 0.2, 1.2])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["first", "second"]
    assert axis.lines[-1].get_ydata() == [0.15, 0.15]
    (axis,) = bars(shown, "layer", groups, kinds, "robust").axes
    assert all(line.get_linestyle() != "--" for line in axis.lines)


def test_bars_of_networks_stand_in_the_order_of_the_groups_and_what_is_missing_leaves_a_gap():
    summary = summary_table([robust("clean", 0.1), robust("purified", 0.5)])
    groups = {"w": "clean", "w_c": "control", "w'": "purified"}
    kinds = {"robust": (pick("robust_accuracy"), BLUE), "clean": (pick("clean_accuracy"), "grey")}
    (axis,) = bars({"this run": summary}, "network", groups, kinds, "accuracy").axes
    assert [bar.get_height() for bar in axis.patches] == [0.1, 0.5]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in axis.patches]
    assert middles == pytest.approx([-0.2, 1.8])


def test_low_rank_updates_stand_over_their_rank_and_over_their_share_of_the_parameters():
    def one(kind, rank, regained):
        of = {"network": f"{kind} update", "rank": rank, "reach": 0.05}
        return [
            number("regained", value=regained, **of),
            number("clean_accuracy", value=0.7, **of),
            number("parameter_share", value=0.01 * (rank + 1), **of),
        ]

    summary = summary_table(
        [
            *one("adversarial", 0, 0.5),
            *one("adversarial", 4, 0.8),
            *one("clean", 4, -0.1),
            *one("truncated", 4, 0.6),
            number("regained", "full update", 0.9),
            number("clean_accuracy", "full update", 0.75),
        ]
    )
    names = ("adversarial", "random", "clean", "truncated")
    kinds = {kind: (f"{kind} update", BLUE) for kind in names}
    over_rank, over_share, clean = low_rank_updates({"this run": summary}, [0, 1, 4], kinds).axes
    drawn = [points(line) for line in over_rank.lines if line.get_marker() == "o"]
    assert [line for line in drawn if line] == [[[0, 0.5], [2, 0.8]], [[2, -0.1]], [[2, 0.6]]]
    drawn = [points(line) for line in over_share.lines if line.get_marker() == "o"]
    assert [line for line in drawn if line] == [[[0.01, 0.5], [0.05, 0.8]], [[0.05, -0.1]]]
    (star,) = [line for line in over_share.lines if line.get_marker() == "*"]
    assert points(star) == [[1, 0.9]]
    assert [line.get_ydata()[0] for line in (over_rank.lines[-1], clean.lines[-1])] == [0.9, 0.75]


def test_autoattack_is_marked_at_its_radius_in_the_panel_of_its_norm():
    def pgd(name, value, **over):
        return number("pgd_accuracy", name, value, **over)

    last = summary_table(
        [
            pgd("clean", 0.8, norm="l2", radius=0.0),
            pgd("clean", 0.1, norm="l2", radius=0.5),
            pgd("purified", 0.7, norm="linf", radius=0.0),
            pgd("purified", 0.5, norm="linf", radius=8 / 255),
        ]
    )
    here = summary_table([pgd("clean", 0.2, norm="l2", radius=0.5)])
    withstood = {
        "clean": {"l2 0.5": torch.tensor([True, False, False, False])},
        "purified": {"linf 8/255": torch.tensor([False, False])},
    }
    shown = {"this run": here, "published": last}
    two, infinity = over_radius(shown, withstood).axes
    (cross,) = [line for line in two.lines if line.get_marker() == "x"]
    assert points(cross) == [[0.5, 0.25]]
    assert cross.get_color() == NETWORK_COLORS["clean"]
    (cross,) = [line for line in infinity.lines if line.get_marker() == "x"]
    assert points(cross) == [[8, 0]]
    assert cross.get_color() == NETWORK_COLORS["purified"]
    drawn = [points(line) for line in two.lines if line.get_marker() == "o"]
    assert [[0, 0.8], [0.5, 0.1]] in drawn
    (pale,) = [line for line in two.lines if points(line) == [[0.5, 0.2]]]
    assert pale.get_linestyle() == "None"
    none = over_radius(shown, {})
    assert "AutoAttack" not in [text.get_text() for text in none.legends[0].texts]


def test_autoattack_stands_before_pgd_at_each_threat_and_what_is_not_measured_has_no_bar():
    summary = summary_table(
        [
            number("pgd_accuracy", "clean", 0.2, threat="l2 0.5"),
            number("autoattack_accuracy", "clean", 0.1, 0.02, threat="l2 0.5"),
            number("autoattack_accuracy", "purified", 0.6, threat="l2 0.25"),  # without PGD
        ]
    )
    (axis,) = threats(summary).axes
    behind, before = axis.patches
    assert (behind.get_height(), before.get_height()) == (0.2, 0.1)
    assert behind.get_x() == before.get_x()
    assert round(before.get_x() + before.get_width()) == 1  # the second threat
    assert before.get_facecolor()[3] == 1 > behind.get_facecolor()[3]


def test_before_autoattack_was_ever_run_its_figure_is_empty():
    (axis,) = threats(summary_table([])).axes
    assert not axis.patches


def test_one_share_stands_over_another_with_its_width_beside_it():
    summary = summary_table(
        [
            number("clean_accuracy", "a", 0.4, 0.1, width_factor=0.0625),
            robust("a", 0.3, 0.2, width_factor=0.0625),
            number("clean_accuracy", "a", 0.7, width_factor=1.0),
            robust("a", 0.5, width_factor=1.0),
            number("clean_accuracy", "a", 0.9),
            robust("a", 0.9),
        ]
    )
    lines = {"line": (pick("clean_accuracy", "a"), pick("robust_accuracy", "a"), BLUE)}
    figure = against({"published": summary}, "width_factor", lines, ("x", "y"))
    (axis,) = figure.axes
    assert points(axis.lines[0]) == [[0.4, 0.3], [0.7, 0.5]]
    assert [text.get_text() for text in axis.texts] == ["\u00d71/16", "\u00d71"]
    across, up = (part.get_segments()[0].flatten().tolist() for part in axis.collections)
    assert across == pytest.approx([0.3, 0.3, 0.5, 0.3])
    assert up == pytest.approx([0.4, 0.1, 0.4, 0.5])
