import pytest

from fpbook.figures.architectures import turned
from fpbook.figures.style import CONTROL, EVEN_COSINE, PURIFIED
from fpbook.results import summary_table

pytestmark = pytest.mark.usefixtures("closed")
PANELS = {"a network": ("transformer", ["blocks.0.linear1", "head"]), "another": ("mlp", ["head"])}


def cosine(architecture, network, layer, value, reach=0.01):
    of = {"quantity": "cos_to_clean", "architecture": architecture, "network": network}
    return {**of, "layer": layer, "value": value, "low": value - reach, "high": value + reach} | {
        "n": 3
    }


def drawn(axis):
    """{colour: points} of what is drawn over the layers."""
    return {
        bars.lines[0].get_color(): bars.lines[0].get_xydata().tolist() for bars in axis.containers
    }


def test_each_panel_shows_its_architecture_alone_in_the_order_of_its_layers():
    summary = summary_table(
        [
            cosine("transformer", "purified", "head", 0.8),
            cosine("transformer", "purified", "blocks.0.linear1", 0.9),
            cosine("transformer", "control", "head", 0.95),
            cosine("mlp", "purified", "head", 0.5),
            cosine("transformer", "purified", "lowest", 0.1),
        ]
    )
    one, other = turned(summary, PANELS).axes
    assert [axis.get_title() for axis in (one, other)] == [*PANELS]
    assert drawn(one) == {PURIFIED: [[0.0, 0.9], [1.0, 0.8]], CONTROL: [[1.0, 0.95]]}
    assert drawn(other) == {PURIFIED: [[0.0, 0.5]]}
    assert [tick.get_text() for tick in one.get_xticklabels()] == ["0.linear1", "head"]


def test_the_line_of_equal_parts_stands_in_every_panel_even_an_empty_one():
    summary = summary_table([cosine("mlp", "purified", "head", 0.5)])
    for axis in turned(summary, PANELS).axes:
        heights = {line.get_ydata()[0] for line in axis.lines if line.get_linestyle() == "--"}
        assert heights == {EVEN_COSINE}


def test_bars_reach_as_far_as_the_interval():
    summary = summary_table([cosine("mlp", "purified", "head", 0.5, reach=0.2)])
    _, axis = turned(summary, PANELS).axes
    (sticks,) = [part.get_segments() for part in axis.collections]
    assert sticks[0][:, 1].tolist() == pytest.approx([0.3, 0.7])
