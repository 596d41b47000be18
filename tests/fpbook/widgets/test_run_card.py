import pytest
import torch

from fpbook.figures.style import CLEAN, PURIFIED
from fpbook.synthetic.measured_grid import EVALUATED
from fpbook.synthetic.neurons import live_cosines
from fpbook.widgets.run_card import accuracy_panel, cosine_panel, decision_panel, run_card


@pytest.fixture
def cells(measured_grid):
    """The cells of one training radius and width."""
    return [(0.65, 2.0, seed) for seed in measured_grid.grid.seeds]


def test_a_card_has_four_pictures_each_with_its_words(measured_grid, cells):
    runs = [measured_grid.runs[cell] for cell in cells]
    text = run_card(runs, [measured_grid.accuracies[cell] for cell in cells])
    assert text.count("<img alt=") == 4
    for words in (
        "Neuron ",
        "the dense direction",
        "the evaluation radius",
        "Histogram of cosines",
    ):
        assert text.count(words) == 1


def test_accuracies_are_means_over_seeds_with_a_band_where_there_are_several(measured_grid, cells):
    measured = [measured_grid.accuracies[cell] for cell in cells]
    figure, _ = accuracy_panel(measured)
    (axis,) = figure.axes
    found = {(line.get_color(), line.get_linestyle()): line for line in axis.lines}
    looks = {
        ("clean", "attacked"): (CLEAN, "-"),
        ("clean", "certified"): (CLEAN, "--"),
        ("purified", "attacked"): (PURIFIED, "-"),
        ("purified", "certified"): (PURIFIED, "--"),
    }
    for key, look in looks.items():
        means = [sum(one[key][at] for one in measured) / 2 for at in range(len(EVALUATED))]
        assert [*found[look].get_ydata()] == pytest.approx(means)
    assert len(axis.collections) == 4
    figure, _ = accuracy_panel(measured[:1])
    assert len(figure.axes[0].collections) == 0


def test_cosines_are_those_of_all_seeds(measured_grid, cells):
    runs = [measured_grid.runs[cell] for cell in cells]
    figure, words = cosine_panel(runs)
    cosines = torch.cat([live_cosines(run) for run in runs])
    inside = ((cosines >= -0.2) & (cosines <= 1)).float().mean().item()
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert len(heights) == 40
    assert sum(heights) == pytest.approx(inside, abs=0.02)  # a cosine of 1 may round beyond it
    assert f"median {cosines.median():.2f}" in words


def test_decisions_start_at_one_and_their_words_say_where_the_median_flips(measured_grid, cells):
    figure, words = decision_panel(measured_grid.runs[cells[0]])
    axis = figure.axes[0]
    flips = []
    for line in axis.lines[:2]:
        below = [x for x, y in line.get_xydata() if y <= 0]
        flips.append(f"at {below[0]:.2f}" if below else "nowhere up to 1.20")
    assert f"{flips[0]} for the clean network, {flips[1]} for the FGM-trained one" in words
    assert [line.get_ydata()[0] for line in axis.lines[:2]] == pytest.approx([1, 1], abs=0.1)
