"""A small sweep that is killed: trainings with checkpoints, and measurements that are kept."""

import dataclasses
import multiprocessing
import os
from pathlib import Path

import torch

from fpbook.results.cache import kept
from fpbook.synthetic.precisions import measure_in
from fpbook.synthetic.protocol import SYNTHETIC, run_synthetic

CONTEXT = multiprocessing.get_context("forkserver")  # children of a process without threads
TINY = dataclasses.replace(
    SYNTHETIC["quick"],
    d=40,
    k=4,
    width=80,
    seeds=1,
    clean_steps=24,
    adversarial_steps=24,
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
        for row in kept(measure_in, TINY, seed, "float32", 1, 1):
            found[f"{seed} {row['quantity']} {row.get('network')}"] = row["value"]
    return found
