"""A small sweep that is killed: trainings with checkpoints, and measurements that are kept."""

import dataclasses
import os
from pathlib import Path

import torch

from fpbook.results.cache import _loaded, kept
from fpbook.results.coverage import coverage
from fpbook.synthetic.protocol import SYNTHETIC, run_synthetic

TINY = dataclasses.replace(
    SYNTHETIC["quick"],
    d=40,
    k=4,
    width=40,
    seeds=1,
    clean_steps=12,
    adversarial_steps=12,
    batch=32,
    margin=1.2,
    test_samples=20,
    first_threshold=1.0,
)


def sweep(where: Path, ready=None) -> dict[str, torch.Tensor | float]:
    """Train and measure two seeds; all that is found, by name. It goes on where one was killed."""
    torch.set_num_threads(1)
    os.environ["FPCORE_CACHE"] = str(where)
    if ready is not None:
        ready.set()
    found: dict[str, torch.Tensor | float] = {}
    for seed in (0, 1):
        run = run_synthetic(TINY, seed, torch.device("cpu"), progress=False)
        for name, net in run.networks.items():
            found |= {f"{seed} {name} {key}": value for key, value in net.state_dict().items()}
        found[f"{seed} coverage"] = kept(coverage, "normal", 3, 100, seed)
    return found


_loaded().digest_of(run_synthetic, coverage)  # reads the code once, for all forks
