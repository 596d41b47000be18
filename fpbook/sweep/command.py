"""Run a sweep: python -m fpbook sweep FILE.toml. Run again, it goes on where it was.

The file names an experiment (synthetic, control, limits, scaling, cifar10), its seeds, and
settings; lists are multiplied. `base` is the profile whose settings hold where none is given.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fpbook.results.cache import cache_folder
from fpbook.results.checksums import decode_sealed
from fpbook.results.intervals import interval
from fpbook.results.quantities import quantity_of
from fpbook.results.tables import markdown_table, show
from fpbook.sweep.engines import ENGINES, swept
from fpbook.sweep.plan import planned
from fpbook.sweep.tasks import Task, existing
from fpbook.sweep.times import publish_times
from fpcore import checks


def swept_table(found: Sequence[tuple[Task, dict[str, Any]]]) -> str:
    """A Markdown table of accuracies: a line for each setting, mean and 95% interval over seeds.

    found  tasks with what their files hold
    """
    values: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for task, content in found:
        line = values.setdefault(tuple(f"{value}" for _, value in task.varied), {})
        for row in content["records"]:
            if row["quantity"].endswith("_accuracy"):
                title = f"{quantity_of(row['quantity']).label}, {row['network']}"
                line.setdefault(title, []).append(row["value"])
    titles = [*dict.fromkeys(title for line in values.values() for title in line)]
    cells = [
        [
            *setting,
            *(show(interval(line[t], True, "%")) if t in line else "-" for t in titles),
        ]
        for setting, line in values.items()
    ]
    names = [name for name, _ in found[0][0].varied] if found else []
    return markdown_table([*names, *titles], cells)


def main(arguments: Sequence[str]) -> None:
    """The command `sweep`: compute what is not there, show what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m fpbook sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="the sweep, as sweeps/radius.toml")
    parser.add_argument("--engine", choices=[*ENGINES], default="local")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="at once (cores)")
    parser.add_argument("--address", help="of a Ray cluster; a partition of SLURM, or local")
    parser.add_argument("--gpus", type=float, default=0.0, help="that each task takes (0)")
    parser.add_argument("--into", type=Path, help="folder of the results (sweeps in the cache)")
    parser.add_argument("--publish", action="store_true", help="how long all took, computed anew")
    parser.add_argument("--dry-run", action="store_true", help="only list what is to be computed")
    given = parser.parse_args(arguments)
    workers = checks.positive_int("workers", given.workers)
    options = {"address": given.address, "gpus": checks.finite("gpus", given.gpus)}
    tasks, folder = planned(given.file), (given.into or cache_folder() / "sweeps").absolute()
    if given.publish:
        print(publish_times(tasks, workers))
        return
    if given.dry_run:
        for task in tasks:
            there = existing(folder / f"{task.recipe}.json", task.recipe)
            print("there" if there else "to do", task.recipe, task)
        return
    found: list[tuple[Task, dict[str, Any]]] = []
    failed: list[str] = []
    bar = tqdm(total=len(tasks), desc="tasks", smoothing=0)
    for task, outcome in swept(tasks, folder, given.engine, workers, **options):
        bar.update()
        if outcome.error:
            failed.append(f"{task}: {outcome.error}")
        else:
            path = folder / f"{task.recipe}.json"
            found.append((task, decode_sealed(outcome.content, path, "run the sweep again")))
    bar.close()
    print(swept_table(sorted(found, key=lambda pair: tasks.index(pair[0]))))
    print(f"{len(found)} of {len(tasks)} tasks are in {folder}")
    if failed:
        some = f"{len(failed)} of {len(tasks)} tasks failed, run it again for these"
        raise ValueError(f"{some}; the first: {failed[0]}")
