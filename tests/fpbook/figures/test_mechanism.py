import pytest
import torch
from matplotlib.colors import to_hex

from fpbook.figures.mechanism import (
    certified_radii,
    corners_in_reach,
    lottery,
    mixture_spectrum,
    mixtures_attacked,
    pulled_to,
    purity_and_removed,
    removal,
    robustness_bars,
    three_neurons,
    two_bases,
    window,
)
from fpbook.figures.style import CLEAN, DENSE, PURIFIED
from fpbook.results import record, summarise, table
from fpcore.decomposition import features

pytestmark = pytest.mark.usefixtures("closed")


def drawn(axis):
    """{label: the values of a line}, of those with a label."""
    labelled = [line for line in axis.lines if not line.get_label().startswith("_")]
    return {line.get_label(): [float(y) for y in line.get_ydata()] for line in labelled}


def test_a_sample_has_a_stem_for_each_coordinate_and_each_feature(sparse):
    x = 2 * sparse.features[:, 3]
    left, right = two_bases(x, sparse).axes
    seen, coded = (axis.collections[0].get_segments() for axis in (left, right))
    assert len(seen) == len(coded) == sparse.d
    assert [stem[1, 1] for stem in seen] == pytest.approx(x.tolist())
    tips = torch.tensor([stem[1, 1] for stem in coded])
    assert tips.argmax() == 3 and tips.max() == pytest.approx(2, abs=1e-4)


def test_the_window_holds_both_curves_and_the_radii_that_bound_it(sparse):
    figure = window([0.0, 0.1], [1.0, 0.2], [1.0, 0.9], sparse, 0.05)
    (axis,) = figure.axes
    assert [*drawn(axis).values()] == [[1.0, 0.2], [1.0, 0.9]]
    at = sorted(line.get_xdata()[0] for line in axis.lines[2:])
    assert at == pytest.approx(sorted([0.05, sparse.d**-0.5, sparse.k**-0.5]))


def test_ranks_of_the_lottery_are_shares_and_later_ones_are_left_out():
    (axis,) = lottery(torch.tensor([0, 0, 2, 9]), d=20, shown=5).axes
    heights = [bar.get_height() for bar in axis.containers[0].patches]
    assert heights == pytest.approx([0.5, 0, 0.25, 0, 0])
    assert drawn(axis)["chance, $1/d$"] == [1 / 20] * 2


def test_three_neurons_stand_in_the_order_given_with_what_they_hold(sparse):
    w = torch.stack([a * sparse.features[:, 0] + 0.3 * sparse.u_star for a in (1.0, 2.0, 4.0)])
    held = features(w, sparse.features, sparse.u_star)
    axes = three_neurons(w, held, torch.tensor([2, 0, 1]), sparse).axes
    titles = [axis.get_title() for axis in axes]
    wanted = [f"purity {held.purity[i]:.2f}, dense {held.dense_part[i]:.2f}" for i in (2, 0, 1)]
    assert titles == wanted


def test_a_spectrum_is_shown_beside_the_random_one():
    (axis,) = mixture_spectrum(torch.tensor([3.0, 1.0]), torch.tensor([1.5, 1.4])).axes
    mixtures, random = drawn(axis).values()
    assert mixtures == [3.0, 1.0] and random == pytest.approx([1.5, 1.4])


def test_neurons_before_and_after_and_what_was_removed(sparse):
    before, after = (
        features(sparse.features.T + r * sparse.u_star, sparse.features, sparse.u_star)
        for r in (0.5, 0.0)
    )
    left, right = purity_and_removed(before, after, torch.linspace(0, 1, 10)).axes
    for dots, held, color in zip(left.collections, (before, after), (CLEAN, PURIFIED)):
        at = torch.stack([held.purity, held.dense_part], 1)
        torch.testing.assert_close(torch.tensor(dots.get_offsets().data).to(at), at)
        assert to_hex(dots.get_facecolor()[0]) == color.lower()
    assert sum(bar.get_height() for bar in right.containers[0].patches) == 10


def test_a_row_shows_what_a_network_is_and_what_is_open_between_its_bounds():
    kinds = {"clean_accuracy": 1.0, "robust_accuracy": 0.5, "certified_accuracy": 0.25}
    rows = [
        record(kind, value * f, n)
        for n, f in (("a", 1), ("b", 0.5))
        for kind, value in kinds.items()
    ]
    (axis,) = robustness_bars(summarise(table(rows)), {"A": "a", "B": "b"}, 0.2).axes
    span, *dots = axis.collections
    assert [line[:, 0].tolist() for line in span.get_segments()] == [[0.25, 0.5], [0.125, 0.25]]
    found = [one.get_offsets().tolist() for one in dots]
    assert found == [[[value, 0], [value / 2, 1]] for value in kinds.values()]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["A", "B"]


def test_each_part_that_is_removed_has_its_line():
    rows = [
        record("robust_accuracy", value, name, alpha=alpha)
        for name, values in {"a": (0.0, 0.5), "b": (0.1, 0.2)}.items()
        for alpha, value in zip((0.0, 1.0), values)
    ]
    (axis,) = removal(table(rows), {"a": (DENSE, "o-"), "b": (CLEAN, "s--")}).axes
    assert drawn(axis) == {"a": [0.0, 0.5], "b": [0.1, 0.2]}


def test_corners_in_reach_are_counted_for_both_networks():
    counts = {"clean": torch.tensor([1, 1, 5]), "purified": torch.tensor([2, 3, 4])}
    left, right = corners_in_reach(counts, counts).axes
    for axis in (left, right):
        assert [sum(bar.get_height() for bar in c.patches) for c in axis.containers] == [3, 3]
    (legend,) = right.figure.legends
    assert [text.get_text() for text in legend.texts] == ["clean", "purified"]


def test_certified_radii_stand_beside_the_two_marks():
    radii = {"clean": torch.tensor([0.1, 0.2]), "purified": torch.tensor([0.6])}
    (axis,) = certified_radii(radii, {"one": 0.55, "two": 0.65}).axes
    assert [line.get_xdata()[0] for line in axis.lines] == [0.55, 0.65]
    assert [text.get_text() for text in axis.texts] == ["one", "two"]


def test_mixtures_are_shown_by_formula_attack_direction_and_certificate(sparse):
    kinds = ("attacked", "formula", "dense", "certified")
    lines = {kind: [1.0, i / 10] for i, kind in enumerate(kinds)}
    (axis,) = mixtures_attacked([0.0, 1.0], lines, sparse).axes
    assert [*drawn(axis).values()] == [*lines.values()]


def test_pulls_are_shown_by_gradient_and_formula_beside_the_diagonal(sparse):
    pulls = {"clean": ([0.4, 0.5], [0.41, 0.51]), "FGM": ([0.3, 0.1], [0.31, 0.11])}
    (axis,) = pulled_to([0.0, 0.5], pulls, sparse).axes
    found = drawn(axis)
    assert found["clean, gradient"] == [0.4, 0.5] and found["FGM, formula"] == [0.31, 0.11]
    assert found["at rest"] == [0.0, 0.5]
