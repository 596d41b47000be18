"""How near a training step is to torch's own products, and a grid to its networks: for `bench.py`.

Repeats of all that is compared take turns in one process, and ratios are of the same turn, so that
other work on the machine slows all of them.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

import fpcore as fp
from fpbook.build.targets import LEAST_WORK
from fpbook.synthetic.many_at_once import BatchStreams, Grid, NetworkBatch, together
from fpbook.synthetic.sweeps import at_size
from fpcore.training.descent import Descent
from fpcore.training.processes import Processes
from fpcore.training.step import Step

CPU = torch.device("cpu")
SHAPES = ((1024, 2048), (1536, 7680))  # (d, m)
SAMPLES, K, REPEATS = 512, 16, 7
RADII = {"clean": 0.0, "FGM": 0.1}
PRODUCTS = {"clean": 2, "FGM": 4}
Call = Callable[[], Any]
Row = dict[str, Any]


def row(name: str, values: Sequence[float], unit: str, settings: Mapping[str, Any]) -> Row:
    """The median of repeats, the least and the largest.

    name      of what is timed
    values    one a repeat
    unit      of the values
    settings  by name
    """
    ends = {"value": statistics.median(values), "low": min(values), "high": max(values)}
    return {"name": name, **ends, "unit": unit, "repeats": len(values), "settings": dict(settings)}


def in_turns(calls: Mapping[str, Call], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, once a turn, after a turn that is not timed.

    calls    by name
    repeats  the number of turns
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - start)
    return {name: seconds[1:] for name, seconds in found.items()}


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Of the same turns."""
    return [one / other for one, other in zip(above, below, strict=True)]


def by_autograd(net: nn.Module) -> nn.Module:
    """The network, watched: so its training goes by autograd."""
    net.register_forward_hook(lambda *_: None)
    return net


def steps_of(net: nn.Module, data: Any, config: fp.Training) -> Call:
    """What makes the next step of a training, batch included."""
    step = Step(net, config, Descent(net, config), None, Processes())
    numbers = itertools.count()

    def make() -> None:
        number = next(numbers)
        step(*data.batch(config.batch, 0, number), number, check=number == 0, whole=True)

    return make


def products_of(d: int, m: int, n: int, count: int, kind: torch.dtype, g: int = 1) -> Call:
    """What makes the products of a step into kept memory: of g networks, of a type of numbers."""
    shape = () if g == 1 else (g,)
    x, w = (torch.randn(*shape, rows, d).to(kind) for rows in (n, m))
    u, grad = torch.empty(*shape, n, m, dtype=kind), torch.empty_like(w)
    slope = torch.empty_like(x)  # of its own: what is made stays bounded, however often

    def make() -> None:
        torch.matmul(x, w.mT, out=u)
        if count == 4:
            torch.matmul(u, w, out=slope)
            torch.matmul(x, w.mT, out=u)
        torch.matmul(u.mT, x, out=grad)

    return make


def passes_of(pre: int, weights: int, forward: int, kind: torch.dtype) -> Call:
    """What makes one pass over all that a step must read and write beside its products.

    pre      pre-activations, of all samples: read and written in place, wherever they are computed
    weights  read with their gradient and written, and once more as rounded ones
    forward  how often pre-activations are computed
    kind     of the numbers that are multiplied
    """
    u, w, grad = torch.ones(pre, dtype=kind), torch.ones(weights), torch.ones(weights)
    rounded = w.to(kind)

    def make() -> None:
        for _ in range(forward):
            u.mul_(1)
        w.add_(grad, alpha=1e-9)
        if rounded is not w:
            rounded.copy_(w)

    return make


def step_rows(d: int, m: int, n: int, repeats: int) -> Iterator[Row]:
    """Of one network: shares of the rate of products, and times over those of autograd.

    d, m, n  features, neurons, samples
    repeats  turns
    """
    data = fp.SparseCoding(d, K if d > K else 4, margin=1.5)

    def batch() -> Any:
        return data.batch(n, 0, 0)

    for precision, (kind, radius) in itertools.product(("float32", "bfloat16"), RADII.items()):
        settings = {"d": d, "m": m, "n": n, "precision": precision}
        settings["threads"] = torch.get_num_threads()
        config = fp.Training(
            10**6, 0.01 * d, batch=n, weight_decay=1e-4, radius=radius, precision=precision
        )
        numbers = getattr(torch, precision)
        products = products_of(d, m, n, PRODUCTS[kind], numbers)
        passes = passes_of(n * m, m * d, PRODUCTS[kind] // 2, numbers)
        seconds = in_turns(
            {
                "products": products,
                "least": _all((products, passes, batch)),
                "step": steps_of(fp.TwoLayer(d, m, 0.06), data, config),
                "autograd": steps_of(by_autograd(fp.TwoLayer(d, m, 0.06)), data, config),
                "batch": batch,
            },
            repeats,
        )
        share = ratios(seconds["products"], seconds["step"])
        yield row(f"{kind} step", seconds["step"], "s", settings)
        yield row(f"{kind} step, products alone", seconds["products"], "s", settings)
        yield row(f"{kind} step, share of the product rate", share, "share", settings)
        most = ratios(seconds["products"], seconds["least"])
        yield row(f"{kind} step, share of the product rate, {LEAST_WORK}", most, "share", settings)
        faster = ratios(seconds["autograd"], seconds["step"])
        yield row(f"{kind} step over autograd", faster, "x", settings)
        yield row(f"{kind} step, batch alone", seconds["batch"], "s", settings)


def grid_rows(grid: Grid, repeats: int) -> Iterator[Row]:
    """Of all networks of a grid: a step at once, over a step of each, one after the other.

    grid     radii, widths, seeds
    repeats  turns
    """
    base, first, cells = grid.base, grid.seeds[0], grid.cells
    data = [base.data(seed, CPU) for seed in grid.seeds]
    which = torch.tensor([grid.seeds.index(seed) for *_, seed in cells])
    scale = torch.tensor([grid.experiment(r, w).training_radius for r, w, _ in cells])
    streams = BatchStreams(data, [s - first for s in grid.seeds], which, scale, lambda step: None)
    for precision, kind in itertools.product(("float32", "bfloat16"), RADII):
        one = base.clean(first) if kind == "clean" else base.adversarial(first)
        one = replace(one, precision=precision)
        unit = replace(one, radius=0.0 if kind == "clean" else 1.0)
        nets = [grid.experiment(r, w).network(seed, CPU) for r, w, seed in cells]
        at_once = NetworkBatch(nets, scale)
        numbers = getattr(torch, precision)
        groups = [
            products_of(base.d, w.shape[1], base.batch, PRODUCTS[kind], numbers, len(w))
            for w in at_once.weights
        ]
        pre, weights = (
            sum(one * len(w) * w.shape[1] for w in at_once.weights) for one in (base.batch, base.d)
        )
        passes = passes_of(pre, weights, PRODUCTS[kind] // 2, numbers)
        least = (*groups, passes, lambda: streams.batch(base.batch, first, 0))
        each = [steps_of(net, data[i], one) for net, i in zip(nets, which)]
        others = [grid.experiment(r, w).network(seed, CPU) for r, w, seed in cells]
        watched = [steps_of(by_autograd(net), data[i], one) for net, i in zip(others, which)]
        seconds = in_turns(
            {
                "least": _all(least),
                "grid": steps_of(at_once, streams, together(unit, len(nets))),
                "loop": _all(each),
                "autograd": _all(watched),
            },
            repeats,
        )
        settings = {"networks": len(nets), "d": base.d, "n": base.batch, "precision": precision}
        settings["threads"] = torch.get_num_threads()
        name = f"grid, {kind} step"
        yield row(name, seconds["grid"], "s", settings)
        for other, words in (
            ("loop", "over the loop"),
            ("autograd", "over the loop by autograd"),
        ):
            faster = ratios(seconds[other], seconds["grid"])
            most = ratios(seconds[other], seconds["least"])
            yield row(f"{name} {words}", faster, "x", settings)
            yield row(f"{name} {words}, {LEAST_WORK}", most, "x", settings)


def _all(calls: Sequence[Call]) -> Call:
    """All of them, one after the other."""
    return lambda: [call() for call in calls]


def measure(quick: bool) -> list[Row]:
    """All rows of this part.

    quick  whether at toy sizes
    """
    repeats = 2 if quick else REPEATS
    base = at_size(100, 7, 300)
    if quick:
        shapes, grid = ((16, 32),), Grid(replace(base, batch=16), (0.3,), (0.5, 1.0), (0,))
    else:
        shapes, grid = SHAPES, Grid(base, (0.15, 0.3, 0.45, 0.65), (0.5, 1.0, 2.0, 4.0), (0, 1, 2))
    rows = [one for d, m in shapes for one in step_rows(d, m, 16 if quick else SAMPLES, repeats)]
    return [*rows, *grid_rows(grid, repeats)]
