"""How long tasks take, and how much they compute and move: measured, and published."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpbook.sweep.engines import swept
from fpbook.sweep.tasks import Outcome, Task
from fpbook.synthetic.protocol import SyntheticExperiment

TASK_TIMES = "sweep-tasks"  # the name of the result
SIZE = ("d", "k", "width", "radius")  # what its records name of a task, beside the seed


def training_flops(experiment: SyntheticExperiment) -> float:
    """Floating-point operations of the products of both stages.

    Each product of a batch with the weights, or of two such batches, has 2 n m d. A clean step has
    two, f and the weights' gradient; each step of the attack has two more, f and the gradient in x.
    """
    clean = 2 * experiment.clean_steps
    adversarial = (2 + 2 * experiment.attack_steps) * experiment.adversarial_steps
    return 2.0 * experiment.batch * experiment.width * experiment.d * (clean + adversarial)


def publish_times(tasks: Sequence[Task], workers: int) -> str:
    """Compute tasks in a folder that holds nothing yet, and publish how long each took.

    tasks    of the sparse coding model
    workers  of this machine at once, each on one thread; their cores are best left alone

    Returns a line that says what was published.
    """
    if not all(isinstance(task.experiment, SyntheticExperiment) for task in tasks):
        raise ValueError("--publish: give a sweep on the sparse coding model, whose sizes are d, m")
    if len({(task.seed, *_size(task).values()) for task in tasks}) < len(tasks):
        raise ValueError(
            f"--publish: let tasks differ in {', '.join(SIZE)} or seed, each from each"
        )
    before = os.environ.get("FPCORE_CACHE")
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FPCORE_CACHE"] = folder  # no training is read from an earlier run's
        try:
            ended = swept(tasks, Path(folder) / "results", workers=workers)
            for task, outcome in tqdm(ended, total=len(tasks)):
                if outcome.error:
                    raise ValueError(f"{task}: {outcome.error}; nothing is published")
                found += _records(task, outcome)
        finally:
            if before is None:
                del os.environ["FPCORE_CACHE"]
            else:
                os.environ["FPCORE_CACHE"] = before
    setting = f"{len(tasks)} tasks, {workers} workers of one thread each"
    publish(TASK_TIMES, table(found), "full", torch.device("cpu"), setting)
    return f"published {TASK_TIMES}: {setting}"


def _size(task: Task) -> dict[str, Any]:
    return {name: getattr(task.experiment, name) for name in SIZE}


def _records(task: Task, outcome: Outcome) -> list[dict[str, Any]]:
    assert isinstance(task.experiment, SyntheticExperiment)
    values = {
        "task_time": outcome.seconds,
        "task_flops": training_flops(task.experiment),
        "task_bytes": float(len(outcome.content)),
    }
    return [record(name, value, seed=task.seed, **_size(task)) for name, value in values.items()]
