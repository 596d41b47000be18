"""The pieces of `gpu.py`: each yields what it has measured so far, most valuable first.

    python benchmarks/gpu_pieces.py PIECE DEVICE FOLDER SECONDS [--toy]

publishes into the folder after each yield, and ends in time, with what it has: status 3 then.
Trainings go on from checkpoints in $FPCORE_CACHE.
"""

import contextlib
import copy
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import device_timings
import torch
from torch import nn

import fpcore as fp
from fpbook.cifar10.experiment import CIFAR, CifarExperiment, training_threat
from fpbook.cifar10.layers import measure_relations
from fpbook.cifar10.measures import pgd_accuracy
from fpbook.results.arithmetics import conclusions
from fpbook.results.cache import cache_path, kept
from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpbook.results.timings import timings_table
from fpbook.synthetic.measures import measure_synthetic
from fpbook.synthetic.narrow import narrow_experiment
from fpbook.synthetic.protocol import SYNTHETIC, SyntheticExperiment, SyntheticRun
from fpcore.training.collapse import CollapseError

ROOT = Path(__file__).resolve().parents[1]
Found = Iterator[list[dict[str, Any]]]
BATCHES = {4096: 8192, 16384: 1024}  # the largest at a number of features
PARTIAL = 3  # the status of a piece that ran out of time


class OutOfTime(Exception):
    """A piece has used its seconds."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise OutOfTime after so many seconds, wherever Python is then."""

    def stop(*_: Any) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def tests(device: torch.device, toy: bool) -> Found:
    """The tests that compare a device with the CPU: how many were tried, and how many failed."""
    file = "tests/fpcore/test_devices.py"
    report = ROOT / "_build" / "device-tests.xml"
    report.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pytest", file, "-q", f"--junitxml={report}"]
    # Another torch may warn of other things.
    command += ["-p", "no:cacheprovider", "--override-ini=filterwarnings=default"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "FPCORE_TEST_DEVICE": device.type})
    (suite,) = ET.parse(report).getroot().iter("testsuite")
    wrong = sum(int(suite.get(name, "0")) for name in ("failures", "errors"))
    tried = int(suite.get("tests", "0")) - int(suite.get("skipped", "0"))
    check = f"tests on {device.type}"
    yield [record("tried", float(tried), check=check), record("wrong", float(wrong), check=check)]


def speed(device: torch.device, toy: bool) -> Found:
    """Timings on the device and on the CPU beside it, and their ratios."""
    found: list[dict[str, Any]] = []
    for kind in device_timings.KINDS:
        for one in dict.fromkeys((device, torch.device("cpu"))):
            for rows in kind(one, toy):
                found += rows
                yield rows
    yield device_timings.ratios(found)


def numerics(device: torch.device, toy: bool) -> Found:
    """The quick experiment in three arithmetics: are its conclusions the same?"""
    experiment = headline_experiment(40) if toy else SYNTHETIC["quick"]
    measured = []
    for kind in ("float32", "tf32", "bfloat16"):
        torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
        precision = "float32" if kind == "tf32" else kind
        run, _ = trained(experiment, 0, device, precision)
        rows = [
            record(**{**row, "precision": kind, "threads": 1, "seed": 0})
            for row in measure_synthetic(run, 2)
        ]
        measured += rows
        yield rows
    total, differing = conclusions(table(measured))
    check = f"conclusions in other arithmetics on {device.type}"
    yield [
        record("tried", float(total), check=check),
        record("wrong", float(differing), check=check),
    ]


def headline_experiment(d: int) -> SyntheticExperiment:
    """The protocol for a narrow margin at d features; below 400 a toy of it.

    d  number of features

    Its batch follows d k, and its neurons d. What fits into the minutes is less of both.
    """
    found = replace(narrow_experiment(d, width=8), test_samples=1000)
    found = replace(found, batch=min(found.batch, BATCHES.get(d, found.batch)))
    if d >= 400:
        return found
    small = {"k": 4, "width": 2 * d, "clean_steps": 6, "adversarial_steps": 9, "batch": 32}
    return replace(found, margin=1.2, test_samples=60, first_threshold=1.0, **small)


def trained(
    experiment: SyntheticExperiment, seed: int, device: torch.device, precision: str = "auto"
) -> tuple[SyntheticRun, dict[str, float]]:
    """Both stages of the protocol, and the seconds of each; nothing is kept on the way.

    experiment  sizes and constants
    seed        of all that is random
    device      to train on
    precision   as in `Training`
    """
    data, init = experiment.data(seed, device), experiment.network(seed, device)
    networks, model, took = {"init": init}, copy.deepcopy(init), {}
    stages = {"clean": experiment.clean(seed), "purified": experiment.adversarial(seed)}
    for name, training in stages.items():
        device_timings.wait(device)
        start = time.perf_counter()
        fp.train(model, data, replace(training, precision=precision), every=training.steps)
        device_timings.wait(device)
        took[name] = time.perf_counter() - start
        networks[name] = copy.deepcopy(model) if name == "clean" else model
    x, y = data.test_set(experiment.test_samples, seed)
    return SyntheticRun(experiment, seed, data, x, y, networks, {}), took


def measured_seed(experiment: SyntheticExperiment, seed: int, device: str) -> list[dict[str, Any]]:
    """What the ledger takes of one run, and the seconds that its trainings took: records.

    Certificates do not branch: for each sample that is left open that takes longest.
    """
    run, took = trained(experiment, seed, torch.device(device))
    over = {"d": experiment.d, "k": experiment.k, "width": experiment.width, "seed": seed}
    times = [record("wall_time", each, name) for name, each in took.items()]
    return [record(**{**row, **over}) for row in [*measure_synthetic(run, 2, branches=1), *times]]


def headline(device: torch.device, toy: bool) -> Found:
    """T1, T2 and P1 at d = 4096, three seeds; each is kept once it is measured."""
    experiment = headline_experiment(40 if toy else 4096)
    for seed in range(201, 204):
        yield _measured(experiment, seed, device)


def largest(device: torch.device, toy: bool) -> Found:
    """The same at d = 16384, one seed."""
    yield _measured(headline_experiment(48 if toy else 16384), 201, device)


def _measured(
    experiment: SyntheticExperiment, seed: int, device: torch.device
) -> list[dict[str, Any]]:
    """`measured_seed`, or what was kept of it; a training that collapses is a result as well."""
    try:
        return kept(measured_seed, experiment, seed, device.type)
    except CollapseError as error:
        print(error, flush=True)
        return [record("wrong", 1.0, check="trainings that collapsed to f = 0", seed=seed)]


def resnet_experiment(toy: bool) -> CifarExperiment:
    """PreActResNet-18 at full width, by recipes that are known to work, in large batches.

    Clean: batch 512, one cycle to a step of 0.4, decay 5e-4, 30 epochs: 94 to 95% in the field.
    Then l2 0.5 with two steps of PGD, 20 epochs of a second cycle, to 0.2, from these weights.
    """
    config = replace(
        CIFAR["resnet18"],
        clean_epochs=30,
        adversarial_epochs=20,
        batch=512,
        lr=0.4,
        adversarial_lr=0.2,
        attack_steps=2,
        attacked_images=1000,
        autoattacked_images=1000,
    )
    few = {"clean_epochs": 2, "adversarial_epochs": 2, "attacked_images": 8, "batch": 32}
    sizes = {"width": 1 / 32, "train_images": 64, "test_images": 16, "autoattacked_images": 8}
    return replace(config, **few, **sizes) if toy else config


@contextlib.contextmanager
def compiled(net: nn.Module, batch: int, toy: bool) -> Iterator[None]:
    """The network, compiled for batches of one size, in place; any other goes through it as it is.

    net    computes as before afterwards
    batch  samples
    toy    traces, and compiles nothing
    """
    plain = net.forward
    fast = torch.compile(plain, backend="eager" if toy else "inductor", dynamic=False)
    net.forward = lambda x: (fast if len(x) == batch else plain)(x)
    try:
        yield
    finally:
        del net.forward


def cifar10(config: CifarExperiment, device: torch.device) -> tuple[fp.Images, fp.Images]:
    """Training and test images on the device, moved by up to four pixels; random ones for a toy."""
    counts = (config.train_images, config.test_images)
    try:
        found = fp.load_cifar10(None, *counts, device=device, download=False)
    except FileNotFoundError:
        if config.train_images > 1000:
            raise
        x, y, name = device_timings.images(sum(counts), device)
        one, two = x.split(counts), y.split(counts)
        found = (fp.Images(one[0], two[0], name), fp.Images(one[1], two[1], name))
    train, test = found
    return replace(train, shift=4), test


def resnet18(device: torch.device, toy: bool) -> Found:
    """PreActResNet-18: clean, purified, the control; accuracies, AutoAttack, the decomposition."""
    config, seed = resnet_experiment(toy), 0
    data, test = cifar10(config, device)
    init = config.initial(seed, device).eval()
    stages = {
        "clean": config.clean(data, seed),
        "purified": config.adversarial(data, seed, config.radius),
        "control": config.adversarial(data, seed, 0.0),
    }
    nets, threat = {"init": init}, training_threat(config)
    for name, training in stages.items():
        net = copy.deepcopy(nets.get("clean", init))
        path = cache_path(f"gpu-{name}", training, net, data, seed, code=fp.train)
        began = time.perf_counter()
        with compiled(net, config.batch, toy):
            every = 5 * data.steps(1, config.batch)
            fp.train(net, data, training, every=every, checkpoint=path)
        took = time.perf_counter() - began  # of what was left to do
        nets[name] = net.eval()
        right = fp.accuracy(net, test.x, test.y)
        rows = [record("clean_accuracy", right, name), record("wall_time", took, name)]
        if name == "purified":
            rows += measure_relations(nets)
        yield [record(**{**row, "seed": seed}) for row in rows]
        stands = autoattacked(net, test, config)
        yield [record("autoattack_accuracy", stands, name, threat=threat, seed=seed)]
    for name in stages:  # beside AutoAttack, the package's own attacks
        stands = pgd_accuracy(nets[name], test, config.radius, config.attacked_images, config.norm)
        yield [record("robust_accuracy", stands, name, threat=threat, seed=seed)]


def autoattacked(net: nn.Module, test: fp.Images, config: CifarExperiment) -> float:
    """Accuracy under AutoAttack, half of the images at a time, each half kept; products in TF32."""
    count = config.autoattacked_images
    x, y = test.x[:count], test.y[:count]
    ball = fp.Ball(config.norm, config.radius, (0.0, 1.0))
    keep = cache_path("gpu-autoattack", net, x, y, ball, code=fp.autoattack).with_suffix(".json")
    torch.backends.cuda.matmul.allow_tf32 = True
    stands = fp.autoattack(net, x, y, ball, chunk=count // 2, keep=keep)
    torch.backends.cuda.matmul.allow_tf32 = False
    return stands.float().mean().item()


@dataclass(frozen=True)
class Piece:
    """What one call can finish.

    make     yields rows
    seconds  that it may take
    timings  whether its rows are timings; else they are records
    setting  sizes and data, in words
    """

    make: Callable[[torch.device, bool], Found]
    seconds: float
    setting: str
    timings: bool = False


PIECES = {  # in the order in which they are worth having
    "tests": Piece(tests, 45, "tests that compare the device with the CPU"),
    "speed": Piece(speed, 90, "the device, and the CPU beside it", timings=True),
    "headline": Piece(headline, 100, "d = 4096, margin 1.7, batch 8192, 3 seeds"),
    "resnet18": Piece(resnet18, 330, "PreActResNet-18 at full width, CIFAR-10, l2 0.5"),
    "largest": Piece(largest, 125, "d = 16384, margin 1.7, batch 1024, 1 seed"),
    "numerics": Piece(numerics, 30, "d = 400, 3 arithmetics, 1 seed"),
}


def run(name: str, device: torch.device, folder: Path, seconds: float, toy: bool) -> int:
    """Make a piece in time, publishing what it has after each yield; its exit status.

    name     in PIECES
    device   to work on
    folder   where results are published
    seconds  that it may take
    toy      at toy sizes
    """
    piece = PIECES[name]
    found: list[dict[str, Any]] = []
    setting = f"toy sizes: {piece.setting}" if toy else piece.setting
    try:
        with within(seconds):
            for rows in piece.make(device, toy):
                for row in rows:
                    print(row, flush=True)
                found += rows
                measured = timings_table(found) if piece.timings else table(found)
                with patch.dict(os.environ, FPCORE_RESULTS=str(folder)):
                    seeds = sorted({row.get("seed", 0) for row in found})
                    publish(f"gpu-{name}", measured, "full", device, setting, seeds=seeds)
    except OutOfTime:
        print(f"{name}: out of time after {seconds:.0f} s, with {len(found)} rows", flush=True)
        return PARTIAL
    return 0


def main(arguments: list[str]) -> int:
    """Make one piece: PIECE DEVICE FOLDER SECONDS [--toy]."""
    name, device, folder, seconds, *toy = arguments
    where = fp.resolve_device(device)
    return run(name, where, Path(folder).resolve(), float(seconds), bool(toy))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
