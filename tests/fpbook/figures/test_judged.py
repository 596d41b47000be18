import pytest

from fpbook.cifar10.judgements import Judgement
from fpbook.figures.judged import judged_panels

pytestmark = pytest.mark.usefixtures("closed")


def case(architecture, ours, theirs, ratios=()):
    together = sum(ratios) / len(ratios) if ratios else None
    gap = 100 * (ours - theirs)
    of = (architecture, "clean", 0, "l2 0.5", "judge", 200)
    return Judgement(*of, ours, theirs, gap, abs(ours - theirs), 2.0, ratios, together)


def test_a_case_is_a_point_in_each_panel_and_its_spread_a_bar():
    cases = [case("convnet", 0.51, 0.50), case("resnet18", 0.25, 0.25, (8.0, 16.0))]
    figure = judged_panels(cases, 0.5, 3.0)
    left, middle, right = figure.axes
    points = {
        axis: [tuple(line.get_xydata()[0]) for line in axis.lines if len(line.get_xydata()) == 1]
        for axis in figure.axes
    }
    assert points[left] == [(50, 51), (25, 25)]
    assert points[middle] == [(50, pytest.approx(1)), (25, 0)]
    assert points[right] == [(25, 12)]
    (bar,) = right.collections
    assert bar.get_segments()[0][:, 1].tolist() == [8, 16]
    (band,) = middle.patches
    assert (band.get_y(), band.get_height()) == (-0.5, 1.0)
    assert right.get_yscale() == "log" and right.get_ylim()[0] == 1
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["clean", "ConvNet", "ResNet"]
