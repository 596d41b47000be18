"""How time and memory grow with d, m, n, the networks of a grid and workers: a part of `bench.py`.

Beside each curve stands what the hardware allows: the step's matrix products at the rate of
torch's own, the least memory that its tensors take, all cores at work. Each size has a process of
its own, so that its peak of memory is its own as well.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import fpcore as fp
from fpbook.synthetic.many_at_once import NetworkBatch, together
from fpcore.checks import arithmetic

CPU = torch.device("cpu")
PRODUCTS = 4  # of an FGM step: u, its gradient in x, u at the example, its gradient in w
K = 8  # active features of a sample


@dataclass(frozen=True)
class Sizes:
    """Of one FGM step: features d, neurons m, samples n, networks g that are trained at once."""

    d: int = 512
    m: int = 2048
    n: int = 512
    g: int = 1

    @property
    def flops(self) -> float:
        """Multiplications and additions of the step's products."""
        return 2.0 * PRODUCTS * self.g * self.n * self.d * self.m

    @property
    def moved(self) -> float:
        """The least gigabytes that a step must move: each product reads its factors, writes itself.

        The weights are read by all four in bfloat16, at best; the step reads and writes them.
        """
        weights, outputs, samples = self.m * self.d, self.n * self.m, self.n * self.d
        return 2e-9 * self.g * (PRODUCTS * (weights + outputs + samples) + 4 * weights)

    @property
    def gigabytes(self) -> float:
        """The least that its tensors take: weights and their step, pre-activations, samples."""
        numbers = 2 * self.m * self.d + self.n * self.m + 2 * self.n * self.d
        return 4e-9 * self.g * numbers + 4e-9 * self.d**2  # and the features


CURVES = {  # what is varied, and the values that it takes
    "d": (128, 256, 512, 1024, 2048),
    "m": (512, 1024, 2048, 4096, 8192),
    "n": (64, 128, 256, 512, 1024),
}
BASE = Sizes()
SMALLEST = Sizes(d=16, m=16, n=8)
GRID = Sizes(d=100, m=200, n=512)  # of each network of a grid
NETWORKS = (1, 4, 16, 48)
WORKERS = (1, 2, 4)
TOY = {"d": (16, 32), "m": (16, 32), "n": (8, 16)}


class _Watched:
    """Batches, and the moments at which they were asked for: one a step."""

    def __init__(self, data: fp.SparseCoding, copies: int):
        self.data, self.copies = data, copies
        self.moments: list[float] = []

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        self.moments.append(time.perf_counter())
        x, y = self.data.batch(size, seed, step)
        return (x, y) if self.copies == 1 else (x.repeat(self.copies, 1), y.repeat(self.copies))


def steps_of(sizes: Sizes, steps: int, threads: int) -> tuple[list[float], float]:
    """Seconds of each of some FGM steps, batches included, and the gigabytes they took at most.

    sizes    of the step
    steps    how many are timed, after three that are not
    threads  of torch
    """
    torch.set_num_threads(threads)
    if sizes != SMALLEST:  # what the libraries themselves take is there already
        steps_of(SMALLEST, 1, threads)
    before = _peak()
    data = fp.SparseCoding(sizes.d, K, margin=1.5)
    nets = [fp.TwoLayer(sizes.d, sizes.m, 0.1) for _ in range(sizes.g)]
    config = fp.Training(steps=steps + 4, lr=0.01 * sizes.d, batch=sizes.n, radius=0.1)
    model = nets[0] if sizes.g == 1 else NetworkBatch(nets, torch.ones(sizes.g))
    watched = _Watched(data, sizes.g)
    fp.train(model, watched, config if sizes.g == 1 else together(config, sizes.g))
    gaps = np.diff(watched.moments)
    return [float(gap) for gap in gaps[3:]], _peak() - before


def task(sizes: Sizes, steps: int) -> float:
    """Train one small network with one thread; the seconds that it took.

    sizes  of a step
    steps  how many
    """
    start = time.perf_counter()
    steps_of(sizes, steps, 1)
    return time.perf_counter() - start


def _peak() -> float:
    """The most memory that this process has taken, in gigabytes."""
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts kilobytes, macOS bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def rate_of(call: Callable[[], Any], amount: float, repeats: int) -> list[float]:
    """How much a call gets through in a second, in billions, once a repeat.

    call     is made once before it is timed
    amount   that it gets through
    repeats  how often it is timed
    """
    call()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(amount / (time.perf_counter() - start) / 1e9)
    return found


def product_rates(sizes: Sizes, repeats: int) -> list[float]:
    """GFLOP/s of torch's own product of the step's shapes, (n, d) by (d, m), in its arithmetic."""
    kind = arithmetic(CPU)
    x, w = torch.randn(sizes.n, sizes.d, dtype=kind), torch.randn(sizes.m, sizes.d, dtype=kind)
    return rate_of(lambda: x @ w.T, 2.0 * sizes.n * sizes.d * sizes.m, repeats)


def bandwidths(megabytes: int, repeats: int) -> list[float]:
    """GB/s of a copy, bytes read and bytes written."""
    source = torch.ones(megabytes * 250_000)
    target = torch.empty_like(source)
    return rate_of(lambda: target.copy_(source), 2e6 * megabytes, repeats)


def row(
    name: str, values: Sequence[float], unit: str, settings: str, size: float | None = None
) -> dict[str, Any]:
    """A row of the benchmark: the median of repeats, the least and the largest.

    name      of what is timed
    values    one a repeat
    unit      of the values
    settings  in words
    size      that a curve is over
    """
    value, low, high = statistics.median(values), min(values), max(values)
    found = {"name": name, "value": value, "unit": unit, "low": low, "high": high}
    return {**found, "repeats": len(values), "settings": settings, "size": size}


def unmeasured(name: str, reason: str) -> dict[str, Any]:
    """The row of what could not be measured.

    name    of it
    reason  in words
    """
    empty = dict.fromkeys(("value", "low", "high"))
    return {"name": name, **empty, "unit": "", "repeats": 0, "settings": reason}


def fitted(name: str, settings: str, sizes: Sequence[float], values: Sequence[float]) -> dict:
    """The row of a power law's exponent, by least squares in the logarithms of a curve.

    name      of the curve
    settings  in words
    sizes     that it is over
    values    of it
    """
    exponent = float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
    return row(name, [exponent], "", settings)


def _alone(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, made in a process of its own."""
    (found,) = _at_once(call, [arguments], 1)
    return found


def _at_once(call: Callable[..., Any], tasks: Sequence[tuple], workers: int) -> list[Any]:
    """What a call returns for each of some arguments, by so many new processes.

    They are forked, and import nothing anew: so this process must not compute with torch itself,
    whose threads would not be there after a fork.
    """
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        return [future.result() for future in [pool.submit(call, *one) for one in tasks]]


def curve(
    letter: str, each: Sequence[Sizes], steps: int, rates: tuple[float, float], threads: int
) -> list[dict[str, Any]]:
    """The rows of time and memory over one size, with what the hardware allows, and exponents.

    letter   of the size that is varied, an attribute of `Sizes`
    each     the sizes
    steps    timed of each
    rates    of products, GFLOP/s, and of a copy, GB/s
    threads  of torch
    """
    base = each[0]
    fixed = [f"{name} = {getattr(base, name)}" for name in "dmng" if name not in (letter, "g")]
    settings = ", ".join([*fixed, f"{threads} threads"])
    times, most, found = f"FGM step over {letter}", f"memory over {letter}", []
    medians, peaks = [], []
    for sizes in each:
        seconds, gigabytes = _alone(steps_of, sizes, steps, threads)
        at = float(getattr(sizes, letter))
        products, bytes_moved = sizes.flops / rates[0] / 1e9, sizes.moved / rates[1]
        found += [
            row(times, seconds, "s", settings, at),
            row(f"{times}, products alone", [products], "s", settings, at),
            row(f"{times}, bytes alone", [bytes_moved], "s", settings, at),
            row(most, [gigabytes], "GB", settings, at),
            row(f"{most}, tensors alone", [sizes.gigabytes], "GB", settings, at),
        ]
        medians.append(statistics.median(seconds))
        peaks.append(gigabytes)
    over = [float(getattr(sizes, letter)) for sizes in each]
    found.append(fitted(times, settings, over, medians))
    if min(peaks) > 0:
        found.append(fitted(most, settings, over, peaks))
    return found


def over_workers(counts: Sequence[int], sizes: Sizes, steps: int) -> list[dict[str, Any]]:
    """The rows of trainings finished in a second, by so many processes of one thread each.

    counts  of workers
    sizes   of a step of each training
    steps   of each training
    """
    cores, each, found = os.cpu_count() or 1, 2 * max(counts), []
    settings = f"d = {sizes.d}, m = {sizes.m}, n = {sizes.n}, {steps} steps, {cores} cores"
    first = 0.0
    for workers in counts:
        start = time.perf_counter()
        _at_once(task, [(sizes, steps)] * each, workers)
        rate = each / (time.perf_counter() - start)
        first = first or rate
        most = first * min(workers, cores)
        name, at = "trainings over workers", float(workers)
        found += [
            row(name, [rate], "1/s", settings, at),
            row(f"{name}, no core idle", [most], "1/s", settings, at),
        ]
    return found


def measure(quick: bool) -> list[dict[str, Any]]:
    """All rows: rates of the hardware, then the curves.

    quick  whether at toy sizes
    """
    threads = torch.get_num_threads()
    base, grid = (SMALLEST, SMALLEST) if quick else (BASE, GRID)
    curves, steps = (TOY, 2) if quick else (CURVES, 10)
    networks, workers = ((1, 2), (1, 2)) if quick else (NETWORKS, WORKERS)
    kind = str(arithmetic(CPU)).removeprefix("torch.")
    rates = _alone(product_rates, base, 3 if quick else 15)
    shape = f"({base.n}, {base.d}) by ({base.d}, {base.m}), {kind}, {threads} threads"
    copies = _alone(bandwidths, 1 if quick else 256, 5)
    rate = (statistics.median(rates), statistics.median(copies))
    found = [
        row("matrix product", rates, "GFLOP/s", shape),
        row("copy", copies, "GB/s", f"{threads} threads"),
    ]
    for letter, values in curves.items():
        sizes = [replace(base, **{letter: value}) for value in values]
        found += curve(letter, sizes, steps, rate, threads)
    found += curve("g", [replace(grid, g=g) for g in networks], steps, rate, threads)
    return found + over_workers(workers, grid, 5 if quick else 150)
