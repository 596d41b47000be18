import matplotlib.pyplot as plt
import pytest
import torch

from fpbook.figures.style import CLEAN, INIT, PURIFIED
from fpbook.figures.synthetic import (
    along_dense,
    both_trainings,
    cosines,
    decisions,
    history,
    neuron,
    purification,
)

pytestmark = pytest.mark.usefixtures("closed")


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


def test_a_history_shows_accuracies_and_neurons_over_steps():
    given = entries(0, 10, 25)
    left, right = history(given).axes
    assert [line.get_label() for line in left.lines] == ["clean", "PGD (upper bound)"]
    for axis, keys in (
        (left, ("clean_accuracy", "robust_accuracy")),
        (right, ("purity", "dense_part", "cos_init")),
    ):
        for line, key in zip(axis.lines, keys, strict=True):
            assert [*line.get_xdata()] == [0, 10, 25]
            assert [*line.get_ydata()] == [entry[key] for entry in given]


def test_the_chance_level_is_drawn_where_it_is_given():
    _, right = history(entries(0, 10), chance=0.05).axes
    assert len(right.lines) == 4
    assert {*right.lines[-1].get_ydata()} == {0.05}


def test_both_trainings_follow_each_other_without_a_double_point():
    clean, later = entries(0, 5, 10), entries(0, 8, 16)
    (axis,) = both_trainings({"clean": clean, "purified": later}, chance=0.05).axes
    for line, key in zip(axis.lines, ("purity", "dense_part", "features_held", "cos_init")):
        assert [*line.get_xdata()] == [0, 5, 10, 18, 26]
        assert [*line.get_ydata()] == [e[key] for e in (*clean, *later[1:])]
    since = axis.lines[4]
    assert [*since.get_xdata()] == [10, 18, 26]
    assert [*since.get_ydata()] == [entry["cos_start"] for entry in later]


def test_both_trainings_mark_chance_and_the_start_of_the_attack():
    trainings = {"clean": entries(0, 10), "purified": entries(0, 8)}
    (axis,) = both_trainings(trainings, chance=0.05).axes
    chance, start = axis.lines[5:]
    assert {*chance.get_ydata()} == {0.05}
    assert {*start.get_xdata()} == {10}
    assert [t.get_text() for t in axis.texts] == ["FGM training starts"]


def test_a_neuron_stands_on_its_top_feature_upwards(sparse):
    _, axis = plt.subplots()
    w = -3 * sparse.features[:, 5] * sparse.w_star[5]
    neuron(axis, w, sparse, CLEAN, "", unit=2.0)
    (marker,) = [line for line in axis.lines if line.get_marker() == "o"]
    assert marker.get_xydata().ravel().tolist() == pytest.approx([5, 1.5], abs=1e-4)


def test_the_three_parts_of_a_neuron_add_up(sparse):
    w = sparse.features[:, 1] * sparse.w_star[1] - 0.4 * sparse.u_star
    pure = 0.9 * sparse.features[:, 1] * sparse.w_star[1]
    axes = purification(w, pure, w - pure, sparse).axes
    tips = [[stem[1, 1] for stem in axis.collections[0].get_segments()] for axis in axes]
    whole, part, rest = (torch.tensor(each) for each in tips)
    torch.testing.assert_close(whole, part + rest, atol=1e-5, rtol=0)
    assert [text.get_text() for axis in axes for text in axis.texts] == ["=", "+"]


def test_histograms_of_cosines_have_heights_that_are_shares():
    groups = {"a": (torch.tensor([0.9, 0.9, 0.1, -0.1]), CLEAN), "b": (torch.ones(3), INIT)}
    (axis,) = cosines(groups, chance=0.1).axes
    bars = [container.patches for container in axis.containers]
    assert [len(each) for each in bars] == [60, 60]
    heights = [sorted({round(bar.get_height(), 6) for bar in each}) for each in bars]
    assert heights == [[0, 0.25, 0.5], [0, 1]]
    assert {*axis.lines[0].get_xdata()} == {0.5**0.5}


def test_a_decision_is_relative_to_its_median_unmoved_and_falls_along_the_dense_direction(
    sparse, planted
):
    x, y = sparse.test_set(101, seed=0)
    pure, dense = planted(), planted(dense=3.0)
    _, axis = plt.subplots()
    distances = torch.tensor([0.0, 0.5, 1.0])
    nets = {"pure": (pure, PURIFIED), "dense": (dense, CLEAN)}
    medians = decisions(axis, nets, sparse, x, y, distances, unit=0.1)
    for label, (net, color) in nets.items():
        with torch.no_grad():
            unmoved = (y * net(x)).median()
            moved = (y * net(x - 0.05 * y[:, None] * sparse.u_star)).median()
        assert medians[label][0].item() == pytest.approx(1, abs=1e-5)
        expected = (moved / unmoved).item()
        assert medians[label][1].item() == pytest.approx(expected, abs=1e-5)
        (line,) = [line for line in axis.lines if line.get_label() == label]
        assert [*line.get_ydata()] == medians[label].tolist()
        assert line.get_color() == color
    assert medians["dense"][2] < medians["pure"][2]


def test_networks_along_the_dense_direction_are_in_the_legend(sparse, planted):
    x, y = sparse.test_set(20, seed=0)
    nets = {"pure": (planted(), PURIFIED), "dense": (planted(dense=3.0), CLEAN)}
    (axis,) = along_dense(nets, sparse, x, y, torch.tensor([0.0, 0.5])).axes
    assert [text.get_text() for text in axis.get_legend().texts] == ["pure", "dense"]
