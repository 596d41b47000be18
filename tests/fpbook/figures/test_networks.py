import pytest

from fpbook.cifar10.networks import SYMBOLS, TRAINED
from fpbook.figures.networks import (
    TAKEN,
    blocks_left_out,
    by_convolution,
    cosines_of_pairs,
    explained_by_others,
    over_atoms,
    over_attack_steps,
    over_share_taken,
    taken_of_one_layer,
    trained_accuracies,
)
from fpbook.figures.style import NETWORK_COLORS
from fpbook.results import published, summary_table

pytestmark = pytest.mark.usefixtures("closed")


def shown(*numbers):
    """A run's summary of numbers, (quantity, network, value, more columns)."""
    found = [
        {"quantity": quantity, "network": network, "value": value, "n": 1, **columns}
        for quantity, network, value, columns in numbers
    ]
    return {"this run": summary_table(found)}


def heights(figure):
    return [bar.get_height() for bar in figure.axes[0].patches]


def labels(figure):
    return [text.get_text() for text in figure.legends[0].texts]


def published_one(name):
    return {"published": published(name).summary}


def test_each_network_has_its_clean_and_its_robust_accuracy():
    figure = trained_accuracies(
        shown(("clean_accuracy", "clean", 0.8, {}), ("robust_accuracy", "clean", 0.1, {}))
    )
    assert heights(figure) == [0.8, 0.1]
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == [SYMBOLS[name] for name in TRAINED]


def test_all_pairs_of_networks_that_were_published_have_bars_in_every_layer():
    layers = ["conv1", "linear"]
    figure = cosines_of_pairs(published_one("cifar10"), layers)
    assert len(heights(figure)) == 6 * len(layers)
    assert "$w'$, $w''$" in labels(figure)


def test_a_network_without_one_from_scratch_has_no_bar_for_it():
    deep = explained_by_others(published_one("cifar10-resnet"), ["blocks.0.conv1"], scratch=False)
    assert "$w''$ by $w$" not in labels(deep)
    assert [label.get_text() for label in deep.axes[0].get_xticklabels()] == ["0.conv1"]
    assert "$w''$ by $w$" in labels(explained_by_others(published_one("cifar10"), ["conv1"]))


def test_what_is_taken_out_is_drawn_over_its_share_and_by_layer_beside_none():
    removal = published_one("cifar10-removal")
    for quantity in ("clean_accuracy", "robust_accuracy"):
        (axis,) = over_share_taken(removal, quantity).axes
        assert len(labels(axis.figure)) == len(TAKEN) + 1
        assert axis.get_ylabel() == quantity.replace("_", " ")
    figure = taken_of_one_layer(removal, ["conv1", "linear"])
    assert len(heights(figure)) == 2 * len(TAKEN)
    (level,) = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert level.get_ydata()[0] == pytest.approx(0.134, abs=1e-3)


def test_a_block_that_is_left_out_goes_by_its_number():
    of = {"layer": "blocks.3"}
    figure = blocks_left_out(shown(("accuracy_without", "purified", 0.6, of)), ["blocks.3"])
    assert heights(figure) == [0.6]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["3"]


def test_a_convolution_stands_for_the_normalisation_behind_it():
    numbers = shown(("opens", "clean", 0.5, {"layer": "bn2"}))
    figure = by_convolution(numbers, "opens", ("clean",), "threshold")
    (bar,) = figure.axes[0].patches
    assert round(bar.get_x() + bar.get_width() / 2) == 1  # the second
    assert figure.axes[0].get_ylabel() == "threshold"


def test_lines_over_atoms_and_steps_have_the_colours_of_their_networks():
    atoms = over_atoms(
        shown(*(("unexplained_share", "clean", 1 / k, {"atoms": k}) for k in (1, 2))),
        {"clean": "$w$"},
    )
    steps = over_attack_steps(
        shown(*(("pgd_accuracy", "clean", 1 / k, {"steps": k}) for k in (1, 2)))
    )
    for figure in (atoms, steps):
        line = figure.axes[0].lines[0]
        assert line.get_xydata().tolist() == [[1, 1], [2, 0.5]]
        assert line.get_color() == NETWORK_COLORS["clean"]
