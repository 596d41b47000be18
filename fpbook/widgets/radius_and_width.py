"""The explorer of training radius and width: prepared panels, and anything between them live."""

import html
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from ipywidgets import HTML, FloatProgress, Layout, SelectionSlider, Stack, VBox

from fpbook.results import show
from fpbook.synthetic.many_at_once import Cell, run_grid
from fpbook.synthetic.measured_grid import (
    BOUNDS,
    EVALUATED,
    Accuracies,
    MeasuredGrid,
    Numbers,
    compare_networks,
    over_seeds,
)
from fpbook.synthetic.protocol import SyntheticRun
from fpbook.widgets.controls import (
    LABEL,
    Latest,
    heartbeat,
    number_input,
    panels,
    slider,
)
from fpbook.widgets.run_card import run_card

ROWS = {"clean": "clean network <i>w</i>", "purified": "after FGM training, <i>w</i>′"}
BOUND_TITLES = {"attacked": "worst attack (upper bound)", "certified": "certified (lower bound)"}
MIDDLE = len(EVALUATED) // 2  # the evaluation radius to start with
PREPARED, LIVE = 0, 1  # what the explorer shows: positions of its Stack


def accuracy_table(reach: float, k: int, numbers: Numbers) -> str:
    """Robust accuracies between their bounds at the evaluation radius reach / sqrt(k), as HTML."""
    seeds = next(iter(numbers.values())).n
    over = "one seed" if seeds == 1 else f"mean and 95% interval over {seeds} seeds"
    caption = f"Robust accuracy at evaluation radius {reach:.2f}/√k = {reach / k**0.5:.3f}; {over}"
    head = "".join(f'<th scope="col">{BOUND_TITLES[bound]}</th>' for bound in BOUNDS)
    rows = ""
    for network, label in ROWS.items():
        cells = "".join(f"<td>{show(numbers[network, bound])}</td>" for bound in BOUNDS)
        rows += f'<tr><th scope="row">{label}</th>{cells}</tr>'
    return (
        f'<table class="table"><caption style="caption-side:top">{caption}</caption>'
        f"<tr><td></td>{head}</tr>{rows}</table>"
    )


def prepared_panels(measured: MeasuredGrid, sliders: Sequence[SelectionSlider]) -> VBox:
    """A table for each position of the sliders, and a card for each of the first two.

    measured  the networks and their accuracies
    sliders   for the training radius, the width and the evaluation radius
    """
    grid = measured.grid

    def table(i: int, j: int, at: int) -> str:
        numbers = measured.numbers(grid.reaches[i], grid.widths[j], EVALUATED[at])
        return accuracy_table(EVALUATED[at], grid.base.k, numbers)

    def pictures(i: int, j: int) -> str:
        cells = [(grid.reaches[i], grid.widths[j], seed) for seed in grid.seeds]
        runs = [measured.runs[cell] for cell in cells]
        return run_card(runs, [measured.accuracies[cell] for cell in cells])

    children = [panels(sliders, table), panels(sliders[:2], pictures)]
    return VBox(children, layout=Layout(width="auto"))


class Explorer(VBox):
    """Sliders for training radius, width and evaluation radius; with a kernel, inputs for any.

    `radius`, `width` and `evaluation` are the sliders, and `free` holds the inputs of the same
    three, which appear with a kernel. A new evaluation radius is answered at once; for a new
    training radius or width a network is trained, with the first seed of the grid, beside the
    kernel: the newest request wins.
    """

    def __init__(self, measured: MeasuredGrid, device: torch.device, delay: float = 0.3):
        """`delay`: seconds that a request waits for a newer one."""
        self._measured, self._device = measured, device
        self._pictured: dict[Cell, SyntheticRun] = {}  # what the live pictures show: one, or none
        self.jobs = Latest(self._failed, delay)
        wide = Layout(width="auto")
        sliders = self._make_sliders()
        self.table, self.pictures = HTML(layout=wide), HTML(layout=wide)
        self.shown = Stack(
            [prepared_panels(measured, sliders), VBox([self.table, self.pictures], layout=wide)],
            selected_index=PREPARED,
            layout=wide,
        )
        self.inputs = self._make_inputs()
        for one in sliders:
            one.observe(lambda _: self._show(PREPARED), "index")
        for one in self.free.values():
            one.observe(lambda _: self.ask(), "value")
        super().__init__([*sliders, self.shown, self.inputs, heartbeat(self.reveal)], layout=wide)

    def _make_sliders(self) -> tuple[SelectionSlider, ...]:
        """The sliders over what is prepared."""
        grid = self._measured.grid
        k, d = grid.base.k, grid.base.d
        trained, evaluated = (
            [f"{reach:.2f}/√k = {reach / k**0.5:.3f}" for reach in reaches]
            for reaches in (grid.reaches, EVALUATED)
        )
        widths = [f"{width:g} d = {round(width * d)}" for width in grid.widths]
        self.radius = slider("training radius", trained, len(trained) - 2)
        self.width = slider("width m", widths, len(widths) - 1)
        self.evaluation = slider("evaluation radius", evaluated, MIDDLE)
        return self.radius, self.width, self.evaluation

    def _make_inputs(self) -> VBox:
        """The inputs of any values, hidden, and what is said while they are answered."""
        grid = self._measured.grid
        evaluation = number_input("any evaluation radius", EVALUATED[MIDDLE], 0.0, 1.2, 0.05)
        self.free = {
            "radius": number_input("any training radius", grid.reaches[-2], 0.0, 1.2, 0.05),
            "width": number_input("any width / d", grid.widths[-1], 0.1, 6.0, 0.25),
            "evaluation": evaluation,
        }
        hidden = Layout(visibility="hidden")
        self.progress = FloatProgress(max=1.0, description="training", style=LABEL, layout=hidden)
        self.status = HTML(layout=Layout(width="auto"))
        children = [*self.free.values(), self.progress, self.status]
        return VBox(children, layout=Layout(display="none"))

    def reveal(self) -> None:
        """Show the free inputs: there is a kernel."""
        self._say(
            "With a kernel: any values, radii in units of 1/√k."
            " A new training radius or width trains a network."
        )
        self.inputs.layout.display = ""

    def ask(self) -> None:
        """Answer what the free inputs say; a request before that is given up."""
        reach, width, evaluation = (one.value for one in self.free.values())
        self.jobs.submit(lambda check: self._answer(reach, width, evaluation, check))

    def _answer(
        self, reach: float, width: float, evaluation: float, check: Callable[[], None]
    ) -> None:
        """Show the live pictures and table of one training radius, width and evaluation radius."""
        started = time.monotonic()
        # A core is left to the browser: threads meet at every small step, and would wait for one
        # that it had displaced.
        torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) - 1)))
        run = self._picture((reach, width, self._measured.grid.seeds[0]), check)
        numbers = over_seeds([compare_networks(run, [evaluation], check)], 0)
        check()
        self.table.value = accuracy_table(evaluation, run.experiment.k, numbers)
        self._show(LIVE)
        took = f"{time.monotonic() - started:.1f} s"
        self._say(f"training radius {reach:.2f}/√k, width {len(run.clean.weight)}: {took}")

    def _picture(self, cell: Cell, check: Callable[[], None]) -> SyntheticRun:
        """The run of a cell, in the live pictures, unless it is there already."""
        if cell not in self._pictured:
            try:
                run, accuracies = self._train(cell, check)
                pictures = run_card([run], [accuracies])
            finally:
                self.progress.layout.visibility = "hidden"
            check()
            self._pictured = {cell: run}
            self.pictures.value = pictures
        return self._pictured[cell]

    def _train(self, cell: Cell, check: Callable[[], None]) -> tuple[SyntheticRun, Accuracies]:
        """The run of a cell and its accuracies at the radii of EVALUATED.

        They are the grid's where it has them; else a network is trained now, with progress.
        """
        if cell in self._measured.runs:
            return self._measured.runs[cell], self._measured.accuracies[cell]

        def tick(share: float) -> None:
            check()
            if abs(share - self.progress.value) >= 0.02:  # not a message to the browser every step
                self.progress.value = share

        reach, width, seed = cell
        self._say("training ...")
        self.progress.value = 0.0
        self.progress.layout.visibility = "visible"
        grid = replace(self._measured.grid, reaches=(reach,), widths=(width,), seeds=(seed,))
        run = run_grid(grid, self._device, tick, progress=False)[cell]
        self.progress.value = 1.0
        self._say("measuring ...")
        return run, compare_networks(run, EVALUATED, check)

    def _show(self, which: int) -> None:
        self.shown.selected_index = which

    def _say(self, text: str) -> None:
        self.status.value = f'<p role="status">{html.escape(text)}</p>'

    def _failed(self, error: Exception) -> None:
        self._say(f"{type(error).__name__}: {error}")
