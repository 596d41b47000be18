"""What the page *From a laptop to a thousand GPUs* computes of results/sweep-tasks.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from fpbook.figures.captions import captioned
from fpbook.figures.style import CLEAN, CONTROL, DEFAULTS, GREY, PURIFIED
from fpbook.results.columns import rows, select
from fpbook.results.store import Published, published
from fpbook.results.tables import markdown_table
from fpbook.sweep.simulation import FAULTLESS, Machines, makespan
from fpbook.sweep.times import TASK_TIMES

WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
REPEATS = 3  # simulations of each, whose mean is shown
SWEEP_SIZES = {100: CONTROL, 1000: CLEAN, 10_000: PURIFIED}  # tasks of a sweep
TROUBLES = {
    "nothing": FAULTLESS,
    "5% of the workers take 3 times as long": Machines(slow=0.05, slower=3.0),
    "a worker dies every hour": Machines(lifetime=3600.0, starting=30.0),
    "10 ms to hand out a task": Machines(dispatch=0.01),
    "all three, and 10 s to start": Machines(10.0, 0.05, 3.0, 3600.0, 0.01),
}


def sweeps_page() -> str:
    """The tables and the figure, from the published times of tasks."""
    result = published(TASK_TIMES)
    if result is None:
        return (
            "*Not yet measured: `python -m fpbook sweep sweeps/times.toml --publish` does it, in "
            "some minutes on two cores.*"
        )
    seconds = select(result.records, quantity="task_time")["value"].to_numpy(float)
    with plt.rc_context(DEFAULTS):
        figure = speed_up(seconds)
    caption = (
        "Speed-up and efficiency of sweeps, simulated of measured task times. Workers stay busy "
        "while each has many tasks; with few, most of them wait for the one that ends last."
    )
    alt = (
        "Two panels over the number of workers, from one to a thousand. On the left the speed-up "
        "of sweeps of a hundred, a thousand and ten thousand tasks: each follows the diagonal, "
        "then bends to the ratio of the whole work to the longest task. On the right the "
        "efficiency falls from one, first that of the smallest sweep."
    )
    shown = captioned(figure, caption, alt)._repr_html_()
    where = f"{result.provenance['device']}, {result.provenance['date']}"
    return "\n\n".join(
        [
            "## What a task computes and moves",
            _sizes(result),
            f"*Measured on {where}: {result.provenance['setting']}.*",
            "## How many workers serve",
            shown,
            "## What goes wrong",
            _troubles(seconds),
        ]
    )


def drawn(seconds: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The times of a sweep of so many tasks, drawn from measured ones (n,): (count,)."""
    return np.random.default_rng(seed).choice(seconds, count)


def simulated(
    seconds: np.ndarray, count: int, workers: int, machines: Machines
) -> tuple[float, float]:
    """Seconds that a sweep of `count` tasks takes, and what its tasks take one after the other.

    seconds   measured, (n,), of which tasks are drawn
    count     of tasks
    workers   at once
    machines  what they are like

    Means over REPEATS sweeps.
    """
    sweeps = [drawn(seconds, count, seed) for seed in range(REPEATS)]
    spans = [makespan(times.tolist(), workers, machines, i) for i, times in enumerate(sweeps)]
    return float(np.mean(spans)), float(np.mean([times.sum() for times in sweeps]))


def speed_up(seconds: np.ndarray) -> Figure:
    """Speed-up and efficiency over the number of workers, for sweeps of several sizes.

    seconds  measured, (n,), of which tasks are drawn
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.2))
    left.loglog(WORKERS, WORKERS, ":", color=GREY, label="ideal")
    for (count, color), marker in zip(SWEEP_SIZES.items(), "os^"):
        spans, totals = np.array(
            [simulated(seconds, count, workers, FAULTLESS) for workers in WORKERS]
        ).T
        gain = totals / spans
        left.loglog(WORKERS, gain, f"{marker}-", color=color, label=f"{count:,} tasks")
        right.semilogx(WORKERS, gain / WORKERS, f"{marker}-", color=color)
    left.set(xlabel="workers", title="speed-up")
    right.set(xlabel="workers", title="efficiency", ylim=(0, 1.05))
    left.legend()
    return figure


def _sizes(result: Published) -> str:
    """A table of the sizes: time, operations, rate, bytes."""
    lines: dict[tuple[int, int], dict[str, list[float]]] = {}
    for row in rows(result.records):
        line = lines.setdefault((row["d"], row["width"]), {})
        line.setdefault(row["quantity"], []).append(row["value"])
    cells = [_size(d, m, line) for (d, m), line in sorted(lines.items())]
    heads = ("d", "m", "tasks", "seconds", "GFLOP", "GFLOP/s", "weights, MB", "file, kB")
    return markdown_table(heads, cells)


def _size(d: int, m: int, line: Mapping[str, Sequence[float]]) -> list[str]:
    times, flops = np.array(line["task_time"]), np.mean(line["task_flops"])
    return [
        f"{d}",
        f"{m}",
        f"{len(times)}",
        f"{times.mean():.1f} ({times.min():.1f} to {times.max():.1f})",
        f"{flops / 1e9:,.0f}",
        f"{flops / times.mean() / 1e9:,.0f}",
        f"{4 * d * m / 1e6:.2f}",
        f"{np.mean(line['task_bytes']) / 1e3:.1f}",
    ]


def _troubles(seconds: np.ndarray, count: int = 10_000) -> str:
    """A table of what trouble costs: the time, and the worker-hours, of one sweep."""
    cells = []
    for name, machines in TROUBLES.items():
        for workers in (10, 100, 1000):
            span, total = simulated(seconds, count, workers, machines)
            cells.append(_trouble(name, workers, span, total))
    heads = (f"of {count:,} tasks", "workers", "minutes", "worker-hours", "efficiency")
    return markdown_table(heads, cells)


def _trouble(name: str, workers: int, span: float, total: float) -> list[Any]:
    if math.isinf(span):
        return [name, f"{workers}", "never", "-", "-"]
    paid = workers * span
    return [name, f"{workers}", f"{span / 60:,.1f}", f"{paid / 3600:,.1f}", f"{total / paid:.0%}"]
