"""One sweep by each engine, beside this process alone: a part of `bench.py`.

The same tasks, with folders of files and of trainings for each engine, and two workers of one
thread each. The start of the workers is part of it: Ray starts a cluster on this machine and ends
it, SLURM's local executor (submitit) a process for each task. Each engine sweeps once: joblib would
keep its workers.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from growth_timings import row, unmeasured

from fpbook.sweep.engines import swept
from fpbook.sweep.plan import tasks_of

WORKERS = 2
# Of the engine, how many workers it has, and at which address.
ENGINES = {
    "this process": ("local", 1, None),
    "joblib": ("local", WORKERS, None),
    "Ray": ("ray", WORKERS, None),
    "SLURM's local executor": ("slurm", WORKERS, "local"),
}


def seconds_of(
    engine: str, workers: int, tasks: list[Any], address: str | None = None
) -> tuple[float, set[tuple[str, bytes]]]:
    """Seconds of a sweep into an empty folder, and its files, by name.

    engine   of the sweep
    workers  at once
    tasks    of it
    address  of the engine

    ValueError if the engine is not installed, or a task fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FPCORE_CACHE"] = str(Path(folder) / "cache")  # nothing is trained there yet
        start = time.perf_counter()
        options = {"address": address} if address else {}
        for task, outcome in swept(tasks, Path(folder), engine, workers, **options):
            if outcome.error:
                raise ValueError(f"{task}: {outcome.error}")
        seconds = time.perf_counter() - start
        return seconds, {(path.name, path.read_bytes()) for path in Path(folder).glob("*.json")}


def measure(quick: bool) -> list[dict[str, Any]]:
    """All rows: seconds of each engine, over those of this process, and whether files agree.

    quick  whether at toy sizes, and by joblib alone
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    sizes = {"d": 64, "k": 4, "width": 128, "clean_steps": 20, "adversarial_steps": 20}
    if not quick:
        sizes |= {"d": 100, "width": 400, "clean_steps": 150, "adversarial_steps": 150}
    settings = {**sizes, "margin": 1.5, "test_samples": 50}
    asked = {"experiment": "limits", "seeds": [*range(2 if quick else 8)], "settings": settings}
    tasks = tasks_of(asked)
    at = f"{len(tasks)} tasks of d = {sizes['d']}, m = {sizes['width']}, {os.cpu_count()} cores"
    found: list[dict[str, Any]] = []
    first: set[tuple[str, bytes]] | None = None
    alone = 0.0  # seconds of this process
    for name, (engine, workers, address) in ENGINES.items():
        if quick and engine != "local":
            continue
        title = f"sweep by {name}"
        try:
            seconds, files = seconds_of(engine, workers, tasks, address)
        except ValueError as error:
            found.append(unmeasured(title, f"{error}"))
            continue
        if files != (first := first or files):
            raise ValueError(f"{title}: its files are not those of this process, byte for byte")
        found.append(row(title, [seconds], "s", f"{at}, {workers} workers"))
        if alone:
            over = row(
                f"{title}, over this process", [alone / seconds], "x", f"{at}, {workers} workers"
            )
            found.append(over)
        alone = alone or seconds
    return found
