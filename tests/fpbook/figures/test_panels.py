import re

import pytest

from fpbook.figures.panels import FACTS, PANELS, draw_panels, facts, numbers, numbers_at
from fpbook.figures.style import NETWORK_COLORS
from fpbook.results.files import ROOT
from fpbook.synthetic.explorer_data import published_sliders

pytestmark = pytest.mark.usefixtures("closed")
PLACE = {"d": 300, "k": 7, "margin": 2.5, "threshold": 0.62, "width": 2.0, "reach": 0.3}


@pytest.fixture(scope="module")
def groups():
    return published_sliders()[1]


def test_every_panel_finds_its_numbers_and_they_fit_its_abscissae(groups):
    found = numbers_at(groups, PLACE)
    for panel in PANELS:
        for curve in panel.curves:
            for path in curve.of.split():
                bins = 1 if curve.kind == "bars" else 0
                assert len(numbers(found, path)) == len(panel.x) - bins
        assert panel.words.endswith(".")
    assert facts(found).keys() == FACTS.keys()


def test_panels_are_drawn_with_the_control_named_at_radius_zero(groups):
    trained, control = (
        draw_panels(numbers_at(groups, PLACE | {"reach": reach}), reach) for reach in (0.3, 0.0)
    )
    titles = [{axis.get_title() for axis in figure.axes} for figure in (trained, control)]
    assert "the same neuron after FGM training" in titles[0]
    assert "the same neuron, trained on clean" in titles[1]
    assert len(trained.axes) == len(PANELS) + 1


def test_a_position_without_a_network_is_refused(groups):
    with pytest.raises(ValueError, match="no network"):
        numbers_at(groups, PLACE | {"reach": 0.31})
    with pytest.raises(ValueError, match="no network"):
        numbers_at(groups, PLACE | {"d": 301})


def test_shares_of_cosines_add_up_to_all_live_neurons(groups):
    assert sum(numbers_at(groups, PLACE)["second"]["cosines"]) == pytest.approx(100)


def test_the_page_has_the_colours_of_the_networks():
    style = (ROOT / "_static" / "explorer.css").read_text()
    colors = dict(re.findall(r"--fp-(\w+): (#\w+);", style.partition("html[data-theme")[0]))
    names = {"clean": "clean", "trained": "purified", "control": "control"}
    assert {name: colors[name] for name in names} == {
        name: NETWORK_COLORS[network] for name, network in names.items()
    }
