"""All that a GPU is for, in one command: `make gpu`, twelve minutes on one of the H200 class.

    python benchmarks/gpu.py                  # all pieces, the most valuable first
    python benchmarks/gpu.py --budget 520     # what fits into so many seconds; again for the rest
    python benchmarks/gpu.py --rehearse       # all of it at toy sizes on the CPU

Each piece is a process of its own: tests, timings, the headline at d = 4096, PreActResNet-18 at
full width, the headline at d = 16384, arithmetics. It writes what it has into `_build/gpu` as it
goes, as results with provenance: copy `gpu-*.json` to results/, then `python -m fpbook convert`.
A piece that is done is not made again; one that was stopped goes on from its checkpoints.
$FPCORE_DATA names the folder of CIFAR-10.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from gpu_pieces import PARTIAL, PIECES, ROOT, headline_experiment, resnet_experiment

from fpbook.synthetic.protocol import SyntheticExperiment
from fpcore.images import DataNotFoundError, find_cifar10

PRODUCT_RATE = 400e12  # of bfloat16 products of the two-layer network, in a second, assumed
CONVOLUTION_RATE = 150e12  # of PreActResNet-18's, channels last
IMAGE = 1.11e9  # multiplications and additions of its forward pass, for one image
GRACE = 30.0  # seconds beyond its own, after which a piece is killed


def missing(rehearse: bool) -> list[str]:
    """What is not here and will be needed, each with what to do.

    rehearse  on a CPU, without data if need be
    """
    found = []
    if not rehearse and not torch.cuda.is_available():
        found.append("no CUDA device is here: --rehearse runs all at toy sizes on the CPU")
    for package in ("pyautoattack", "safetensors", "pandas", "platformdirs", "pytest"):
        if importlib.util.find_spec(package) is None:
            found.append(f"{package} is not installed: pip install {package}")
    if not rehearse:
        try:
            find_cifar10(download=True)  # now, and not while a GPU waits
        except DataNotFoundError as error:
            found.append(f"{error}")
    return found


def synthetic_flops(experiment: SyntheticExperiment) -> float:
    """Of one run: two products a clean step, four an FGM step, 2 n d m each."""
    products = 2 * experiment.clean_steps + 4 * experiment.adversarial_steps
    return 2.0 * products * experiment.batch * experiment.d * experiment.width


def estimates() -> dict[str, str]:
    """What arithmetic says of the trainings, before any is made, by piece."""
    found = {}
    for name, d, runs in (("headline", 4096, 3), ("largest", 16384, 1)):
        flops = runs * synthetic_flops(headline_experiment(d))
        seconds = flops / PRODUCT_RATE
        found[name] = f"{flops / 1e15:.2f} PFLOP, {seconds:.0f} s at {PRODUCT_RATE / 1e12:.0f} T/s"
    config = resnet_experiment(toy=False)
    # In forward passes: a step is 3, and so is one of the attack, whose compiled backward pass
    # makes the gradients of the weights as well.
    steps = config.clean_epochs + (2 + config.attack_steps) * config.adversarial_epochs
    passes = 3 * steps
    flops = IMAGE * config.train_images * passes
    seconds = flops / CONVOLUTION_RATE
    rate = f"{CONVOLUTION_RATE / 1e12:.0f} T/s"
    found["resnet18"] = f"{flops / 1e15:.0f} PFLOP, {seconds:.0f} s at {rate}, then AutoAttack"
    return found


def make(name: str, folder: Path, seconds: float, rehearse: bool) -> int:
    """Run a piece in a process of its own; its exit status.

    name      in PIECES
    folder    where its results go
    seconds   that it may take
    rehearse  at toy sizes on the CPU
    """
    script = Path(__file__).with_name("gpu_pieces.py")
    device = "cpu" if rehearse else "cuda"
    command = [sys.executable, str(script), name, device, str(folder), f"{seconds:.0f}"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {"FPCORE_CACHE": str(folder / "cache"), "PYTHONPATH": path}
    try:
        done = subprocess.run(
            command + ["--toy"] * rehearse,
            env=os.environ | kept,
            timeout=seconds + GRACE,
        )
    except subprocess.TimeoutExpired:
        return PARTIAL
    return done.returncode


def main(arguments: Sequence[str]) -> int:
    """Make what is not done yet; 1 if a piece failed, 3 if some are left for another call."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PIECES, metavar="PIECE", help="some pieces")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds in all")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "gpu", help="a folder")
    parser.add_argument("--rehearse", action="store_true", help="toy sizes on the CPU")
    given = parser.parse_args(arguments)
    if lacking := missing(given.rehearse):
        sys.exit("\n".join(lacking))
    begun, folder = time.monotonic(), given.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    said = estimates()
    for name, piece in PIECES.items():
        print(f"{name}: at most {piece.seconds:.0f} s. {said.get(name, piece.setting)}")
    status = {}
    for name in given.only or PIECES:
        done, seconds = folder / f"{name}.done", PIECES[name].seconds
        left = given.budget - (time.monotonic() - begun)
        if done.exists():
            print(f"{name}: done before, {done} says so")
        elif left < seconds + GRACE:
            print(f"{name}: left for another call, {left:.0f} s are too few for it")
            status[name] = PARTIAL
        else:
            print(f"== {name}", flush=True)
            status[name] = make(name, folder, seconds, given.rehearse)
            if not status[name]:
                done.touch()
    print(f"{time.monotonic() - begun:.0f} s; results are in {folder}")
    words = {0: "done", PARTIAL: "not finished: the same command goes on"}
    for name, code in status.items():
        print(f"{name}: {words.get(code, 'FAILED')}")
    failed = [code for code in status.values() if code not in (0, PARTIAL)]
    return 1 if failed else max(status.values(), default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
