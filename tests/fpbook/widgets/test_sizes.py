import json
import re

import pytest
import torch

from fpbook.synthetic.explorer_data import Sliders, published_sliders
from fpbook.widgets import sizes as module
from fpbook.widgets.sizes import CONTROL_VALUE, START, LiveExplorer, sizes_page

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("closed")


def content(page):
    found = re.search(r'<script type="application/json">(.*?)</script>', page.markup, re.S)
    return json.loads(found[1].replace("<\\/", "</"))


def test_a_page_holds_every_network_and_what_is_seen_without_a_script():
    sliders, groups, _ = published_sliders()
    page = sizes_page(groups, sliders)
    data = content(page)
    assert data["groups"] == groups
    assert [one["name"] for one in data["sliders"]] == [*START]
    (reach,) = (one for one in data["sliders"] if one["name"] == "reach")
    assert reach["shown"][0] == reach["spoken"][0] == CONTROL_VALUE
    assert all(one["keys"][one["start"]] == f"{START[one['name']]:g}" for one in data["sliders"])
    assert "fp-figure" in page.markup and "<img" in page.markup
    assert "inputs d = 300" in repr(page) and "P1" in repr(page)
    assert len(page.markup) < 600_000


def test_a_page_without_one_of_its_networks_is_refused():
    sliders, groups, _ = published_sliders()
    with pytest.raises(ValueError, match="no network"):
        sizes_page(groups, Sliders(d=(*sliders.d, 999)))


@pytest.fixture
def live(monkeypatch, tiny, cache):
    monkeypatch.setattr(module, "slider_experiment", lambda d, k, margin, threshold: tiny)
    return LiveExplorer(CPU, delay=0.0)


def test_inputs_appear_with_a_kernel_alone(live):
    assert live.shown.layout.display == "none"
    live.children[-1].value = True
    assert live.shown.layout.display == ""


def test_a_live_answer_is_drawn_as_the_page_is(live):
    live.inputs["reach"].value = 0.4
    live.ask()
    live.jobs.wait()
    assert "trained and measured" in live.status.value
    assert "fp-figure" in live.answer.value and "seed 0" in live.answer.value


def test_what_goes_wrong_is_told(live, monkeypatch):
    def broken(*_):
        raise FloatingPointError("the loss is <nan>")

    monkeypatch.setattr(module, "measure_group", broken)
    live.ask()
    live.jobs.wait()
    assert "the loss is &lt;nan&gt;" in live.status.value
