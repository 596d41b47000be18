"""The explorer of training radius and width: its panels are made beforehand, and anything between them live."""

import html
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from ipywidgets import HTML, BoundedFloatText, FloatProgress, Layout, Stack, VBox
from matplotlib.figure import Figure
from torch import Tensor

from fpbook.figures.style import CLEAN, PURIFIED
from fpbook.figures.synthetic import decision, neuron
from fpbook.first import interval, show
from fpbook.synthetic.many_at_once import Cell, Grid, run_grid
from fpbook.synthetic.measures import robust_correct_with_dense
from fpbook.synthetic.protocol import SyntheticRun
from fpbook.widgets.controls import (
    LABEL,
    Latest,
    card,
    heartbeat,
    panels,
    picture,
    slider,
    small_axes,
)
from fpcore.certificates.certificate import certify
from fpcore.decomposition.purification import cosine, live

EVALUATED = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)  # of evaluation, in units of 1/sqrt(k)
SAMPLES = 200  # of each test set
SHOWN = {"clean": ("w", CLEAN), "purified": ("w'", PURIFIED)}
BOUNDS = {"attacked": "-", "certified": "--"}
Accuracies = dict[
    tuple[str, str], list[float]
]  # {(network, kind): one a radius}, of NETWORKS and KINDS


def robust_between(run: SyntheticRun, network: str, reaches: Sequence[float]) -> Accuracies:
    """Robust accuracy of the run's "clean" or "purified" network from above, under attack, and from below, certified.

    At the l2 radii reach / sqrt(k), on the first SAMPLES of the run's test set.
    """
    net, x, y = getattr(run, network), run.x[:SAMPLES], run.y[:SAMPLES]
    attacked, certified = [], []
    for radius in (reach / run.experiment.k**0.5 for reach in reaches):
        attacked.append(
            robust_correct_with_dense(net, run.data, x, y, radius, restarts=1).float().mean().item()
        )
        certified.append(certify(net, x, y, radius, branches=1).robust.float().mean().item())
    return {(network, "attacked"): attacked, (network, "certified"): certified}


@dataclass(frozen=True)
class Answers:
    """The networks of a grid and their accuracies at RADII."""

    grid: Grid
    runs: dict[Cell, SyntheticRun]
    measured: dict[Cell, Accuracies]

    def numbers(
        self, reach: float, width: float, evaluation: float
    ) -> dict[tuple[str, str], dict[str, Any]]:
        """(network, kind) -> mean and 95% interval over seeds, at an evaluation radius of RADII."""
        if evaluation not in EVALUATED:
            raise ValueError(f"evaluation = {evaluation!r}: measured are {EVALUATED}")
        at = EVALUATED.index(evaluation)
        each = [self.measured[reach, width, s] for s in self.grid.seeds]
        return {key: interval([one[key][at] for one in each], share=True) for key in each[0]}


def measure_grid(grid: Grid, device: torch.device, progress: bool = True) -> Answers:
    """Train the grid, or take it from its checkpoints, and measure every network of it."""
    runs = run_grid(grid, device, progress=progress)
    clean = {
        (w, s): robust_between(run, "clean", EVALUATED)
        for (r, w, s), run in runs.items()
        if r == grid.reaches[0]
    }
    return Answers(
        grid,
        runs,
        {
            (r, w, s): clean[w, s] | robust_between(run, "purified", EVALUATED)
            for (r, w, s), run in runs.items()
        },
    )


def accuracy_table(reach: float, k: int, numbers: dict[tuple[str, str], dict[str, Any]]) -> str:
    """The numbers at one evaluation radius, as HTML."""
    seeds = next(iter(numbers.values()))["n"]
    over = "one seed" if seeds == 1 else f"mean and 95% interval over {seeds} seeds"
    rows = "".join(
        f'<tr><th scope="row">{label}</th>{"".join(f"<td>{show(numbers[name, kind])}</td>" for kind in BOUNDS)}</tr>'
        for name, label in (
            ("clean", "clean network <i>w</i>"),
            ("purified", "after FGM training, <i>w</i>′"),
        )
    )
    head = '<th scope="col">worst attack (upper bound)</th><th scope="col">certified (lower bound)</th>'
    caption = f"Robust accuracy at evaluation radius {reach:.2f}/√k = {reach / k**0.5:.3f}; {over}"
    return f'<table class="table"><caption style="caption-side:top">{caption}</caption><tr><td></td>{head}</tr>{rows}</table>'


def draw(runs: list[SyntheticRun], measured: list[Accuracies]) -> str:
    """The pictures of one training radius and width, from one run a seed; neuron and decision are those of the first."""
    run = runs[0]
    pictures = (
        neuron_panel(run),
        decision_panel(run),
        accuracy_panel(measured),
        cosine_panel(runs),
    )
    for figure, _ in pictures[1:3]:
        axis = figure.axes[0]
        axis.axvline(run.experiment.training_reach, color="black", linewidth=0.8, linestyle=":")
        axis.text(
            run.experiment.training_reach,
            0.93,
            " trained",
            fontsize=7.5,
            transform=axis.get_xaxis_transform(),
        )
    return card(*(picture(*one) for one in pictures))


def neuron_panel(run: SyntheticRun) -> tuple[Figure, str]:
    """The live neuron with the median cosine, in the basis of the features, before and after FGM training."""
    i, cos = typical(run)
    figure, axes = small_axes(2)
    for axis, (name, (label, color)) in zip(axes, SHOWN.items()):
        w = getattr(run, name).weight.detach()[i]
        neuron(axis, w, run.data, color, "", unit=w.norm().clamp(min=1e-30).item())
        axis.set(
            ylabel=f"${label}_i$" if name == "clean" else "$w_i'$", xlabel="", ylim=(-0.4, 1.1)
        )
    axes[0].set_title("a typical neuron")
    axes[1].set_xlabel("feature $j$")
    return (
        figure,
        f"Neuron {i} in the basis of the features, before and after FGM training; their cosine is {cos:.2f}.",
    )


def typical(run: SyntheticRun) -> tuple[int, float]:
    """The live neuron whose cosine before and after FGM training is the median, and that cosine."""
    alive, cos = live(run.purified).nonzero().flatten(), alike(run)
    middle = cos.argsort()[len(cos) // 2]
    return int(alive[middle]), cos[middle].item()


def alike(run: SyntheticRun) -> Tensor:
    """cos(w_i, w_i') of the neurons that are live after FGM training."""
    alive = live(run.purified)
    return cosine(run.clean.weight.detach()[alive], run.purified.weight.detach()[alive])


@torch.no_grad()
def decision_panel(run: SyntheticRun) -> tuple[Figure, str]:
    """y f(x - y t u*) relative to its median at t = 0: median and central 90% of samples, and where the median is 0."""
    figure, axis = small_axes()
    reaches = torch.linspace(0, 1.2, 25)
    x, y, flips = run.x[:SAMPLES], run.y[:SAMPLES], []
    for name, (label, color) in SHOWN.items():
        net, unit = getattr(run, name), run.experiment.k**-0.5
        middle = decision(axis, net, run.data, x, y, reaches, color, f"${label}$", unit)
        below = (middle <= 0).nonzero()
        flips.append(f"at {reaches[below[0, 0]]:.2f}" if len(below) else "nowhere up to 1.20")
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(title="decision along the dense direction", ylim=(-2, 1.6))
    axis.set(
        xlabel=r"moved along $-y\,u^\star$, in $1/\sqrt{k}$", ylabel="$y\\,f$ / its median unmoved"
    )
    axis.legend(loc="lower left")
    where = "Moved along the dense direction, the median sample changes its label"
    return (
        figure,
        f"{where} {flips[0]} for the clean network, {flips[1]} for the FGM-trained one, in units of one over root k.",
    )


def accuracy_panel(measured: list[Accuracies]) -> tuple[Figure, str]:
    """Robust accuracy over the evaluation radius from above and below: means and 95% intervals over seeds."""
    figure, axis = small_axes()
    for name, (label, color) in SHOWN.items():
        for kind, dashes in BOUNDS.items():
            each = [
                interval([one[name, kind][at] for one in measured], share=True)
                for at in range(len(EVALUATED))
            ]
            axis.plot(
                EVALUATED,
                [e["value"] for e in each],
                dashes,
                color=color,
                label=f"${label}$ {kind}",
            )
            if len(measured) > 1:
                ends = [[e[end] for e in each] for end in ("low", "high")]
                axis.fill_between(EVALUATED, *ends, color=color, alpha=0.13, linewidth=0)
    axis.set(
        title="robust accuracy", xlabel=r"evaluation radius, in $1/\sqrt{k}$", ylim=(-0.02, 1.05)
    )
    axis.legend(loc="best", fontsize=7.5)
    return (
        figure,
        "Attacked and certified accuracy over the evaluation radius, before and after FGM training; numbers in the table.",
    )


def cosine_panel(runs: list[SyntheticRun]) -> tuple[Figure, str]:
    """Histogram of cos(w_i, w_i') over the live neurons of all seeds."""
    figure, axis = small_axes()
    values = torch.cat([alike(run) for run in runs]).cpu()
    weights = torch.full_like(values, 1 / len(values))
    axis.hist(values, bins=torch.linspace(-0.2, 1, 41).tolist(), weights=weights, color=PURIFIED)
    axis.axvline(0.5**0.5, color="black", linewidth=0.9, linestyle="--")
    axis.set(
        title="cosine before and after, live neurons",
        xlabel=r"$\cos(w_i, w_i')$; dashed: $1/\sqrt{2}$",
        ylabel="share",
    )
    share = (values > 0.5**0.5).float().mean()
    return (
        figure,
        f"Histogram of cosines, median {values.median():.2f}; {share:.0%} of the live neurons are above 1/root 2.",
    )


class Explorer(VBox):
    """Sliders for the training radius, the width and the evaluation radius; with a kernel, inputs for any others.

    `radius`, `width` and `evaluation` are the sliders; `free` the inputs of the same three, which appear with a kernel.
    A new evaluation radius is answered at once; for a new training radius or width a network is trained, seed 0 of the
    grid, beside the kernel: the newest request wins.
    """

    def __init__(self, answers: Answers, device: torch.device, delay: float = 0.3):
        grid = self._grid = answers.grid
        self._answers, self._device = answers, device
        self._live: tuple[Cell, SyntheticRun] | None = None  # what the live answer is of
        k, d = grid.base.k, grid.base.d
        radii = [
            [f"{r:.2f}/√k = {r / k**0.5:.3f}" for r in some] for some in (grid.reaches, EVALUATED)
        ]
        self.radius = slider("training radius", radii[0], len(grid.reaches) - 2)
        self.width = slider(
            "width m", [f"{w:g} d = {round(w * d)}" for w in grid.widths], len(grid.widths) - 1
        )
        self.evaluation = slider("evaluation radius", radii[1], len(EVALUATED) // 2)

        def read(i: int, j: int, at: int) -> str:
            return accuracy_table(
                EVALUATED[at], k, answers.numbers(grid.reaches[i], grid.widths[j], EVALUATED[at])
            )

        def drawn(i: int, j: int) -> str:
            cells = [(grid.reaches[i], grid.widths[j], s) for s in grid.seeds]
            return draw([answers.runs[c] for c in cells], [answers.measured[c] for c in cells])

        sliders, wide = (self.radius, self.width, self.evaluation), Layout(width="auto")
        prepared = VBox([panels(sliders, read), panels(sliders[:2], drawn)], layout=wide)
        self.answer, self.picture, self.status = (
            HTML(layout=wide),
            HTML(layout=wide),
            HTML(layout=wide),
        )
        self.shown = Stack(
            [prepared, VBox([self.answer, self.picture], layout=wide)],
            selected_index=0,
            layout=wide,
        )
        self.free = {
            "radius": number_input("any training radius", grid.reaches[-2], 0.0, 1.2, 0.05),
            "width": number_input("any width / d", grid.widths[-1], 0.1, 6.0, 0.25),
            "evaluation": number_input(
                "any evaluation radius", EVALUATED[len(EVALUATED) // 2], 0.0, 1.2, 0.05
            ),
        }
        self.progress = FloatProgress(
            max=1.0, description="training", style=LABEL, layout=Layout(visibility="hidden")
        )
        self.live = VBox(
            [*self.free.values(), self.progress, self.status], layout=Layout(display="none")
        )
        self.jobs = Latest(self._failed, delay)
        for one in sliders:
            one.observe(lambda _: self._show(0), "index")
        for one in self.free.values():
            one.observe(lambda _: self.ask(), "value")
        super().__init__([*sliders, self.shown, self.live, heartbeat(self.reveal)], layout=wide)

    def reveal(self) -> None:
        """Show the free inputs: there is a kernel."""
        self._say(
            "With a kernel: any values, radii in units of 1/√k. A new training radius or width trains a network."
        )
        self.live.layout.display = ""

    def ask(self) -> None:
        """Answer what the free inputs say; a request before that is given up."""
        reach, width, evaluation = (one.value for one in self.free.values())
        self.jobs.submit(lambda check: self._answer(reach, width, evaluation, check))

    def _answer(
        self, reach: float, width: float, evaluation: float, check: Callable[[], None]
    ) -> None:
        started = time.monotonic()
        # A core is left to the browser: threads meet at every small step, and would wait for one that it had displaced.
        torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) - 1)))
        cell = (reach, width, self._grid.seeds[0])
        if self._live is None or self._live[0] != cell:
            try:
                run, measured = self._train(cell, check)
                drawn = draw([run], [measured])
            finally:
                self.progress.layout.visibility = "hidden"
            check()
            self._live, self.picture.value = (cell, run), drawn
        run = self._live[1]
        each = robust_between(run, "clean", [evaluation]) | robust_between(
            run, "purified", [evaluation]
        )
        check()
        self.answer.value = accuracy_table(
            evaluation, run.experiment.k, {key: interval(values) for key, values in each.items()}
        )
        self._show(1)
        self._say(
            f"training radius {reach:.2f}/√k, width {len(run.clean.weight)}: {time.monotonic() - started:.1f} s"
        )

    def _train(self, cell: Cell, check: Callable[[], None]) -> tuple[SyntheticRun, Accuracies]:
        """The run of a cell and its accuracies at RADII: from the grid, or trained now, with progress."""
        if cell in self._answers.runs:
            return self._answers.runs[cell], self._answers.measured[cell]

        def tick(share: float) -> None:
            check()
            if abs(share - self.progress.value) >= 0.02:  # not a message to the browser every step
                self.progress.value = share

        reach, width, seed = cell
        self._say("training ...")
        self.progress.value, self.progress.layout.visibility = 0.0, "visible"
        one = replace(self._grid, reaches=(reach,), widths=(width,), seeds=(seed,))
        run = run_grid(one, self._device, tick, progress=False)[cell]
        self.progress.value = 1.0
        self._say("measuring ...")
        measured = robust_between(run, "clean", EVALUATED)
        check()
        return run, measured | robust_between(run, "purified", EVALUATED)

    def _show(self, which: int) -> None:
        self.shown.selected_index = which

    def _say(self, text: str) -> None:
        self.status.value = f'<p role="status">{html.escape(text)}</p>'

    def _failed(self, error: Exception) -> None:
        self._say(f"{type(error).__name__}: {error}")


def number_input(
    label: str, value: float, low: float, high: float, step: float
) -> BoundedFloatText:
    """A labelled input of a number, clipped to [low, high]."""
    layout = Layout(width="18em")
    return BoundedFloatText(
        value, min=low, max=high, step=step, description=label, style=LABEL, layout=layout
    )
