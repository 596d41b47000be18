import html
import re
import time

import pytest
import torch

from fpbook.synthetic.measured_grid import EVALUATED, compare_networks
from fpbook.synthetic.protocol import run_synthetic
from fpbook.widgets import radius_and_width as module
from fpbook.widgets.radius_and_width import Explorer, accuracy_table

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def explorer(measured_grid, shared_cache):
    return Explorer(measured_grid, CPU, delay=0.0)


def values(text):
    """The four accuracies of a table."""
    return [float(v) / 100 for v in re.findall(r"<td>([\d.]+)%", text)]


def shown(stack, *sliders):
    for one in sliders:
        stack = stack.children[one.index]
    return stack.value


def ask(explorer, **change):
    """Set free inputs and wait for the answer."""
    for name, value in change.items():
        explorer.free[name].value = value
    explorer.ask()
    explorer.jobs.wait()
    return explorer.table.value


def test_every_cell_shows_its_own_numbers_and_pictures(measured_grid, explorer):
    numbers, pictures = (widget for widget in explorer.shown.children[0].children)
    seen, grid = set(), measured_grid.grid
    for explorer.radius.index, r in enumerate(grid.reaches):
        for explorer.width.index, w in enumerate(grid.widths):
            drawn = shown(pictures, explorer.radius, explorer.width)
            assert drawn.count("<img alt=") == 4
            seen.add(drawn)
            for explorer.evaluation.index, at in enumerate(EVALUATED):
                text = shown(numbers, explorer.radius, explorer.width, explorer.evaluation)
                assert text == accuracy_table(at, grid.base.k, measured_grid.numbers(r, w, at))
    assert len(seen) == len(grid.reaches) * len(grid.widths)


def test_a_live_answer_of_a_cell_is_the_one_prepared(measured_grid, explorer):
    r, w = measured_grid.grid.reaches[-1], measured_grid.grid.widths[0]
    text = ask(explorer, radius=r, width=w, evaluation=EVALUATED[3])
    cell = measured_grid.accuracies[r, w, measured_grid.grid.seeds[0]]
    expected = [
        cell[network, kind][3]
        for network in ("clean", "purified")
        for kind in ("attacked", "certified")
    ]
    assert values(text) == pytest.approx(expected, abs=1e-3)
    assert explorer.shown.selected_index == 1 and explorer.pictures.value.count("<img") == 4


def test_a_live_answer_between_the_cells_is_that_of_its_network(tiny, explorer, measured_grid):
    text = ask(explorer, radius=0.4, width=1.5, evaluation=0.2)
    one = run_synthetic(measured_grid.grid.experiment(0.4, 1.5), 0, CPU, progress=False)
    expected = compare_networks(one, [0.2])
    # one sample in 60 may tip by rounding
    assert values(text) == pytest.approx([v for each in expected.values() for v in each], abs=0.04)
    assert "one seed" in text and f"width {round(1.5 * tiny.d)}" in explorer.status.value


def test_a_new_evaluation_radius_trains_nothing(explorer, no_batches):
    first = ask(explorer, radius=0.65, width=2.0, evaluation=0.3)
    drawn = explorer.pictures.value
    no_batches()
    started = time.monotonic()
    second = ask(explorer, evaluation=0.01)
    assert time.monotonic() - started < 5
    assert second != first and "0.01/√k" in second and explorer.pictures.value == drawn


def test_training_is_given_up_for_a_newer_request(explorer, monkeypatch):
    real = module.run_grid

    def hang(grid, device, tick, progress):
        if grid.reaches == (0.11,):
            while True:
                tick(0.5)
                time.sleep(0.001)
        return real(grid, device, tick, progress)

    monkeypatch.setattr(module, "run_grid", hang)
    explorer.free["radius"].value = 0.11
    while explorer.progress.layout.visibility != "visible":
        time.sleep(0.001)
    text = ask(explorer, radius=0.12, evaluation=0.5)
    assert "0.50/√k" in text and "radius 0.12" in explorer.status.value
    assert explorer.progress.layout.visibility == "hidden"


def test_progress_is_told_while_training(explorer):
    told = []
    explorer.progress.observe(lambda change: told.append(change.new), "value")
    ask(explorer, radius=0.21, width=1.0)
    assert told == sorted(told) and told[0] >= 0 and told[-1] <= 1


def test_moving_a_slider_goes_back_to_the_prepared_panels(explorer):
    ask(explorer, radius=0.65, width=1.0)
    assert explorer.shown.selected_index == 1
    explorer.width.index = 1 - explorer.width.index
    assert explorer.shown.selected_index == 0


def test_inputs_appear_with_a_kernel_alone(explorer):
    assert explorer.inputs.layout.display == "none"
    explorer.children[-1].value = True
    assert explorer.inputs.layout.display == ""


def test_inputs_are_clipped_and_errors_are_told(explorer, monkeypatch):
    explorer.free["radius"].value = -5
    explorer.free["width"].value = 1e9
    assert explorer.free["radius"].value == 0.0 and explorer.free["width"].value == 6.0

    def broken(*_, **__):
        raise FloatingPointError("the loss is <nan>")

    monkeypatch.setattr(module, "run_grid", broken)
    ask(explorer, radius=0.33, width=1.0)
    assert "the loss is <nan>" in html.unescape(explorer.status.value)
    assert explorer.progress.layout.visibility == "hidden"
