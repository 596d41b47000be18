"""What a sweep file asks for: a list of tasks, all of it checked before any work."""

import dataclasses
import itertools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from fpbook.results.quantities import known
from fpbook.sweep.tasks import SWEEPABLE, Task
from fpcore import checks

ASKED_FOR = ("experiment", "base", "device", "seeds", "settings")
ELSEWHERE = ("seeds", "few_seeds", "tuned_seeds")  # of a configuration: a task has one seed


def planned(path: Path) -> list[Task]:
    """The tasks of a sweep file, in the order of its lists, seeds fastest.

    ValueError that names the file, and the closest names to a misspelt one.
    """
    try:
        return tasks_of(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): name a sweep file") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def tasks_of(asked: Mapping[str, Any]) -> list[Task]:
    """The tasks of what a sweep file holds.

    asked  `experiment`, `seeds`, `settings`, and perhaps `base` and `device`: see `command`

    ValueError unless all of it is known and every configuration sound.
    """
    for name in asked:
        known("key", name, ASKED_FOR)
    kind = known("experiment", asked.get("experiment", ""), SWEEPABLE)
    device = checks.choice("device", asked.get("device", "cpu"), ("cpu", "cuda"))
    seeds = _listed(asked.get("seeds", 0))
    for seed in seeds:
        checks.whole("seeds", seed)
    tables = asked.get("settings", {})
    tables = tables if isinstance(tables, list) else [tables]
    found = []
    for settings in tables:
        if not isinstance(settings, Mapping):
            raise ValueError(f"settings = {settings!r}: give a table, [settings]")
        values = {name: _listed(value) for name, value in settings.items()}
        varied = [name for name in settings if len(values[name]) > 1 or len(tables) > 1]
        for one in itertools.product(*values.values()):
            chosen = dict(zip(values, one))
            experiment = _configured(kind, asked.get("base"), chosen)
            shown = tuple((name, chosen[name]) for name in varied)
            found += [Task(kind, experiment, seed, device, shown) for seed in seeds]
    for task, times in ((task, found.count(task)) for task in found):
        if times > 1:
            raise ValueError(f"{task}: it is asked for {times} times, name each value once")
    return found


def _listed(value: Any) -> list[Any]:
    if value == []:
        raise ValueError("an empty list asks for no task: give one value at least")
    return value if isinstance(value, list) else [value]


def _configured(kind: str, base: str | None, chosen: Mapping[str, Any]) -> Any:
    """A configuration of an experiment, with what is chosen of it."""
    sweepable = SWEEPABLE[kind]
    fields = {field.name: field for field in dataclasses.fields(sweepable.configuration)}
    kinds = {
        name: {*(get_args(field.type) or (field.type,))}
        for name, field in fields.items()
        if name not in ELSEWHERE
    }
    kinds = {name: some for name, some in kinds.items() if some <= {int, float, str, NoneType}}
    typed = {
        known("setting", name, kinds): _typed(value, kinds[name]) for name, value in chosen.items()
    }
    if base is not None:
        home = sweepable.profiles[known("base", base, sweepable.profiles)]
        return dataclasses.replace(home, **typed, seeds=1)
    needed = [name for name in kinds if fields[name].default is dataclasses.MISSING]
    if missing := [name for name in needed if name not in chosen]:
        raise ValueError(f'settings lack {", ".join(missing)}: give them, or a base, as "quick"')
    return sweepable.configuration(**typed, seeds=1)


def _typed(value: Any, kinds: set[Any]) -> Any:
    """A value as the configuration has it: TOML has no None, and 1 and 1.0 are one value."""
    if value == "none" and NoneType in kinds:
        return None
    return float(value) if type(value) is int and float in kinds and int not in kinds else value
