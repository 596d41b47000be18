import html
import re
import time

import pytest
import torch

from fpbook.synthetic.many_at_once import Grid
from fpbook.synthetic.protocol import SyntheticExperiment, run_synthetic
from fpbook.widgets import radius_and_width as module
from fpbook.widgets.radius_and_width import (
    EVALUATED,
    Explorer,
    accuracy_table,
    measure_grid,
    robust_between,
)
from fpbook.widgets.training_film import (
    FRAMES,
    Film,
    Frame,
    pack,
    positions,
    record_training,
    training_slider,
    unpack,
)
from fpcore.theory.symmetric_networks import symmetric_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One cache for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def answers(tiny, folder):
    return measure_grid(Grid(tiny, (0.0, 0.65), (1.0, 2.0), (0, 1)), CPU, progress=False)


@pytest.fixture(scope="module")
def explorer(answers):
    return Explorer(answers, CPU, delay=0.0)


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
    return explorer.answer.value


def test_lower_bounds_are_below_upper_bounds(answers):
    for accuracies in answers.measured.values():
        for network in ("clean", "purified"):
            attacked, certified = accuracies[network, "attacked"], accuracies[network, "certified"]
            assert all(0 <= low <= high <= 1 for low, high in zip(certified, attacked))
            assert attacked[0] == certified[0]  # at radius 0 both are the clean accuracy


def test_every_cell_shows_its_own_numbers_and_pictures(answers, explorer):
    numbers, pictures = (widget for widget in explorer.shown.children[0].children)
    seen, grid = set(), answers.grid
    for explorer.radius.index, r in enumerate(grid.reaches):
        for explorer.width.index, w in enumerate(grid.widths):
            drawn = shown(pictures, explorer.radius, explorer.width)
            assert drawn.count("<img alt=") == 4
            seen.add(drawn)
            for explorer.evaluation.index, at in enumerate(EVALUATED):
                text = shown(numbers, explorer.radius, explorer.width, explorer.evaluation)
                assert text == accuracy_table(at, grid.base.k, answers.numbers(r, w, at))
    assert len(seen) == len(grid.reaches) * len(grid.widths)


def test_a_live_answer_of_a_cell_is_the_one_prepared(answers, explorer):
    r, w = answers.grid.reaches[-1], answers.grid.widths[0]
    text = ask(explorer, radius=r, width=w, evaluation=EVALUATED[3])
    cell = answers.measured[r, w, answers.grid.seeds[0]]
    expected = [
        cell[network, kind][3]
        for network in ("clean", "purified")
        for kind in ("attacked", "certified")
    ]
    assert values(text) == pytest.approx(expected, abs=1e-3)
    assert explorer.shown.selected_index == 1 and explorer.picture.value.count("<img") == 4


def test_a_live_answer_between_the_cells_is_that_of_its_network(tiny, explorer, answers):
    text = ask(explorer, radius=0.4, width=1.5, evaluation=0.2)
    one = run_synthetic(answers.grid.experiment(0.4, 1.5), 0, CPU, progress=False)
    expected = robust_between(one, "clean", [0.2]) | robust_between(one, "purified", [0.2])
    # one sample in 60 may tip by rounding
    assert values(text) == pytest.approx([v for each in expected.values() for v in each], abs=0.04)
    assert "one seed" in text and f"width {round(1.5 * tiny.d)}" in explorer.status.value


def test_a_new_evaluation_radius_trains_nothing(explorer, no_batches):
    first = ask(explorer, radius=0.65, width=2.0, evaluation=0.3)
    drawn = explorer.picture.value
    no_batches()
    started = time.monotonic()
    second = ask(explorer, evaluation=0.01)
    assert time.monotonic() - started < 5
    assert second != first and "0.01/√k" in second and explorer.picture.value == drawn


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
    assert explorer.live.layout.display == "none"
    explorer.children[-1].value = True
    assert explorer.live.layout.display == ""


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


def test_a_film_is_the_run_and_is_kept(tiny, folder, no_batches):
    film = record_training(tiny, 0, CPU, progress=False)
    one = run_synthetic(tiny, 0, CPU, progress=False)
    clean = [frame for frame in film.frames if frame.stage == "clean"]
    for frame, net in (
        (clean[0], one.init),
        (clean[-1], one.clean),
        (film.frames[-1], one.purified),
    ):
        assert torch.allclose(frame.net.weight, net.weight, rtol=1e-3, atol=1e-6)
        assert frame.net.threshold == net.threshold
    steps = [frame.step for frame in film.frames]
    assert (
        steps == sorted({*steps})
        and steps[0] == 0
        and steps[-1] == tiny.clean_steps + tiny.adversarial_steps
    )
    every = max(1, tiny.clean_steps // FRAMES)
    assert [f.step for f in clean] == [*range(0, tiny.clean_steps, every), tiny.clean_steps]
    no_batches()
    again = record_training(tiny, 0, CPU, progress=False)
    assert all(torch.equal(a.net.weight, b.net.weight) for a, b in zip(film.frames, again.frames))


def test_weights_survive_packing():
    w = torch.randn(7, 5) * 0.01
    assert torch.allclose(unpack(pack(w), w), w, rtol=1e-3, atol=1e-6)


def test_positions_split_a_neuron_into_feature_and_mixture(tiny, folder):
    film = record_training(tiny, 0, CPU, progress=False)
    at = positions(film)
    assert at.feature.shape == at.dense.shape and len(at.feature) == len(film.frames)
    assert (at.feature**2 + at.dense**2).max() <= 1 + 1e-4
    frames = [
        Frame("clean", i, symmetric_network(film.data, 0.1, r)) for i, r in enumerate((0.0, 2.0))
    ]
    at, d = positions(Film(tiny, film.data, film.x, film.y, frames)), film.data.d
    long = (1 + 4 / d**0.5 + 4) ** 0.5
    feature, dense = (
        torch.tensor([[a], [b]]).expand(2, d)
        for a, b in ((1, (1 + 2 / d**0.5) / long), (0, 2 * (d - 1) / d / long))
    )
    torch.testing.assert_close(
        (at.feature, at.dense), (feature.float(), dense.float()), atol=1e-5, rtol=1e-4
    )


def test_what_does_not_fit_into_a_history_is_not_filmed(folder):
    with pytest.raises(ValueError, match="width x d = 5120 x 1024: too large to film"):
        record_training(SyntheticExperiment(1024, 16, 5120, 1, 4, 4), 0, CPU)


def test_the_projector_has_a_panel_for_each_frame(tiny, folder):
    film = record_training(tiny, 0, CPU, progress=False)
    time_slider, stack = training_slider(film).children
    texts = [child.value for child in stack.children]
    assert len(time_slider.options) == len(film.frames) == len({*texts})
    assert all(text.count("<img alt=") == 3 for text in texts)


def test_numbers_are_those_of_measured_radii_alone(answers):
    with pytest.raises(ValueError, match="evaluation = 0\\.123"):
        answers.numbers(0.65, 1.0, 0.123)
