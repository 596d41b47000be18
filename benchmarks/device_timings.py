"""The same work on a GPU and on the CPU beside it: what `gpu.py` times.

Rates are held against the device's own: of matrix products of the same shapes, and of a copy.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from growth_timings import PRODUCTS, Sizes, row
from torch import Tensor, nn

import fpcore as fp
from fpbook.cifar10.networks import published_networks
from fpbook.synthetic.many_at_once import Grid, explorer_grid, run_grid
from fpcore import seeding

Row = dict[str, Any]
# (d, m) of the training step: that of a target on the CPU, and of the headline on a GPU.
SHAPES = {"cpu": ((1024, 2048),), "cuda": ((1024, 2048), (4096, 20480))}
SAMPLES = 512
PEAKS = {"bfloat16": 990e3, "tf32": 495e3, "float32": 67e3}  # GFLOP/s of an H200 (SXM), dense
SKIPPED = 5  # steps before the clock starts


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], Any], device: torch.device, repeats: int) -> list[float]:
    """Seconds of a call, once a repeat, after one that is not timed.

    call     takes no arguments
    device   that it works on
    repeats  how often it is timed
    """
    found = []
    for _ in range(repeats + 1):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        found.append(time.perf_counter() - start)
    return found[1:]


class _Clocked:
    """Batches of a training whose clock starts after a few steps."""

    def __init__(self, data: fp.SparseCoding):
        self.data, self.start = data, 0.0

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        if step == SKIPPED:
            wait(self.data.device)
            self.start = time.perf_counter()
        return self.data.batch(size, seed, step)


def step_rows(device: torch.device, quick: bool) -> Iterator[list[Row]]:
    """Of the two-layer network's step: seconds, and its share of the rate of products.

    device  to train on
    quick   whether at toy sizes
    """
    repeats, steps = (1, 2) if quick else (3, 30)
    for d, m in ((16, 32),) if quick else SHAPES[device.type]:
        sizes = Sizes(d=d, m=m, n=16 if quick else SAMPLES)
        data = fp.SparseCoding(d, 8, margin=1.5, device=device)
        net = fp.TwoLayer(d, m, 0.1).to(device)
        kinds = (
            ("bfloat16", "tf32", "float32") if device.type == "cuda" else ("bfloat16", "float32")
        )
        for kind in kinds[: 1 if quick else None]:
            torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
            of = torch.bfloat16 if kind == "bfloat16" else torch.float32
            x = torch.randn(sizes.n, d, device=device, dtype=of)
            w = torch.randn(m, d, device=device, dtype=of)
            at = f"{device.type}, d = {d}, m = {m}, n = {sizes.n}, {kind}"
            many = 50 if device.type == "cuda" else 1  # in a row: a launch takes longer than one
            each = seconds(lambda: [x @ w.T for _ in range(many)], device, 5 * repeats)  # noqa: B023
            product = statistics.median(each) / many
            rate = 2.0 * sizes.n * d * m / product / 1e9
            found = [row("matrix product", [rate], "GFLOP/s", at)]
            for name, count, radius in (("clean", PRODUCTS // 2, 0.0), ("FGM", PRODUCTS, 0.1)):
                each = [_step(net, data, sizes.n, radius, kind, steps) for _ in range(repeats)]
                found.append(row(f"{name} step", each, "s", at))
                share = [count * product / one for one in each]
                found.append(row(f"{name} step, of products", share, "share", at))
                if device.type == "cuda":
                    peak = PEAKS[kind]
                    of_peak = [count * product * rate / peak / one for one in each]
                    found.append(row(f"{name} step, of the peak", of_peak, "share", at))
            yield found
    torch.backends.cuda.matmul.allow_tf32 = False


def _step(
    net: nn.Module, data: fp.SparseCoding, n: int, radius: float, kind: str, steps: int
) -> float:
    """Seconds of one step of `train`, batch included; the network is changed, hardly."""
    precision = "bfloat16" if kind == "bfloat16" else "float32"
    config = fp.Training(
        steps=steps + SKIPPED, lr=1e-6, batch=n, radius=radius, precision=precision
    )
    clocked = _Clocked(data)
    fp.train(net, clocked, config)
    wait(data.device)
    return (time.perf_counter() - clocked.start) / steps


def copy_rows(device: torch.device, quick: bool) -> Iterator[list[Row]]:
    """Of a copy on the device: bytes read and written in a second."""
    numbers = 1000 if quick else 500_000_000 if device.type == "cuda" else 50_000_000
    source = torch.ones(numbers, device=device)
    target = torch.empty_like(source)
    each = seconds(lambda: target.copy_(source), device, 5)
    yield [row("copy", [8e-9 * numbers / one for one in each], "GB/s", device.type)]


def images(count: int, device: torch.device) -> tuple[Tensor, Tensor, str]:
    """The first test images of CIFAR-10, their labels, a name; random ones if it is not here."""
    try:
        _, test = fp.load_cifar10(train_images=1, test_images=count, device=device, download=False)
    except FileNotFoundError:
        rng = seeding.generator(0, "images")
        x = torch.rand(count, 3, 32, 32, generator=rng).to(device)
        return x, torch.arange(count, device=device) % 10, "random images"
    return test.x, test.y, test.name


def attack_rows(device: torch.device, quick: bool) -> Iterator[list[Row]]:
    """Of PGD-20 on the published ConvNets: images a second, and what stands: the check of equality.

    device  to attack on
    quick   whether at toy sizes
    """
    count, steps = (4, 2) if quick else (512, 20)
    x, y, name = images(count, device)
    ball = fp.Ball("l2", 0.5, (0.0, 1.0))
    at = f"{device.type}, {count} of {name}, PGD-{steps}, l2 0.5"
    for network, net in published_networks(device).items():
        if network in ("clean", "purified"):
            each = seconds(lambda: fp.pgd(net, x, y, ball, steps), device, 1 if quick else 3)  # noqa: B023
            stands = fp.accuracy(net, fp.pgd(net, x, y, ball, steps), y)
            named = f"PGD on the {network} ConvNet"
            yield [
                row(named, [count / one for one in each], "1/s", at),
                row(f"{named}, accuracy", [100 * stands], "points", at),
            ]


def certificate_rows(device: torch.device, quick: bool) -> Iterator[list[Row]]:
    """Of the certificate of a pure network with noise: samples a second, and the share certified.

    device  to certify on
    quick   whether at toy sizes
    """
    d, k, count = (32, 4, 8) if quick else (400, 8, 512)
    data = fp.SparseCoding(d, k, margin=1.5, device=device)
    x, y = data.test_set(count, 0)
    net = fp.TwoLayer(d, 4 * d, 0.6 / k**0.5).to(device)
    rows = (data.features * data.w_star).T.repeat(4, 1)
    rng = seeding.generator(0, "noise")
    noise = torch.randn(rows.shape, generator=rng).to(device) * 0.3 / d**0.5
    net.weight.data = rows + noise
    radius = 0.45 / k**0.5
    for branches in (0, 1):
        at = f"{device.type}, d = {d}, m = {4 * d}, {count} samples, branches = {branches}"
        each = seconds(lambda: fp.certify(net, x, y, radius, branches), device, 3)  # noqa: B023
        share = fp.certified_accuracy(net, x, y, radius, branches)
        yield [
            row("certificate", [count / one for one in each], "1/s", at),
            row("certificate, certified", [100 * share], "points", at),
        ]


def grid_rows(device: torch.device, quick: bool) -> Iterator[list[Row]]:
    """Of the explorer's grid of small networks, trained at once: seconds of a few steps.

    device  to train on
    quick   whether with few steps
    """
    grid = explorer_grid("quick", 0)
    steps = 2 if quick else 15
    grid = replace(grid, base=replace(grid.base, clean_steps=steps, adversarial_steps=steps))
    if quick:
        grid = replace(grid, widths=(0.5,), seeds=(0,))
    found = [_trained(grid, device) for _ in range(3)][1:]  # the first one is not counted
    at = f"{device.type}, {len(grid.cells)} networks, d = {grid.base.d}, 2 x {steps} steps"
    yield [row("grid of networks", found, "s", at)]


def _trained(grid: Grid, device: torch.device) -> float:
    """Seconds of a grid's training, with a cache of its own, so that nothing is read."""
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, FPCORE_CACHE=cache):
        start = time.perf_counter()
        run_grid(grid, device, progress=False)
        wait(device)
        return time.perf_counter() - start


KINDS = (step_rows, copy_rows, attack_rows, certificate_rows, grid_rows)  # the most wanted first


def ratios(measured: list[Row]) -> list[Row]:
    """How many times as fast the GPU is, of what was measured on both, at the same settings."""
    found = []
    for one in measured:
        device, _, rest = one["settings"].partition(", ")
        other = next(
            (r for r in measured if (r["name"], r["settings"]) == (one["name"], f"cpu, {rest}")),
            None,
        )
        if device == "cuda" and other and one["unit"] in ("s", "1/s"):
            ratio = one["value"] / other["value"]
            ratio = 1 / ratio if one["unit"] == "s" else ratio
            found.append(row(f"{one['name']}, GPU over CPU", [ratio], "x", rest))
    return found
