"""Tasks: a frozen configuration and a seed, made into one file under the name of its recipe.

So it does not matter who computes one, when, or how often it is asked for.
"""

import dataclasses
import functools
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fpbook.cifar10.experiment import CIFAR, CifarExperiment
from fpbook.cifar10.measures import measure_cifar
from fpbook.cifar10.runs import run_cifar
from fpbook.results.cache import cache_folder, cache_path
from fpbook.results.checksums import decode_sealed, encode_sealed
from fpbook.results.columns import rows
from fpbook.results.files import DamagedError
from fpbook.results.records import table
from fpbook.synthetic.measures import measure_control, measure_synthetic
from fpbook.synthetic.precisions import threads
from fpbook.synthetic.protocol import SYNTHETIC, SyntheticExperiment, run_control, run_synthetic
from fpbook.synthetic.sweeps import measure_limit, measure_scaling
from fpcore.checkpoint import write_atomically
from fpcore.images import load_cifar10

Experiment = SyntheticExperiment | CifarExperiment
Records = list[dict[str, Any]]


def _synthetic(experiment: SyntheticExperiment, seed: int, device: torch.device) -> Records:
    return measure_synthetic(run_synthetic(experiment, seed, device, progress=False))


def _control(experiment: SyntheticExperiment, seed: int, device: torch.device) -> Records:
    return measure_control(run_control(experiment, seed, device, progress=False))


def _limits(experiment: SyntheticExperiment, seed: int, device: torch.device) -> Records:
    return measure_limit(run_synthetic(experiment, seed, device, progress=False))


def _scaling(experiment: SyntheticExperiment, seed: int, device: torch.device) -> Records:
    return measure_scaling(run_synthetic(experiment, seed, device, progress=False))


def _cifar10(experiment: CifarExperiment, seed: int, device: torch.device) -> Records:
    sizes = experiment.train_images, experiment.test_images
    train, test = load_cifar10(None, *sizes, device)
    return measure_cifar(run_cifar(experiment, train, seed, progress=False), test, experiment)


@dataclasses.dataclass(frozen=True)
class Sweepable:
    """An experiment that can be swept: its configuration, those of the book, what is measured."""

    configuration: type
    profiles: dict[str, Any]
    measure: Callable[..., Records]


SWEEPABLE = {
    "synthetic": Sweepable(SyntheticExperiment, SYNTHETIC, _synthetic),
    "control": Sweepable(SyntheticExperiment, SYNTHETIC, _control),
    "limits": Sweepable(SyntheticExperiment, SYNTHETIC, _limits),
    "scaling": Sweepable(SyntheticExperiment, SYNTHETIC, _scaling),
    "cifar10": Sweepable(CifarExperiment, CIFAR, _cifar10),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """One run of an experiment, measured: a call that depends on nothing but what stands here.

    kind        a name in SWEEPABLE
    experiment  its configuration
    seed        of the run
    device      "cpu" or "cuda"
    varied      what the sweep varies of the configuration, for readers: ((name, value), ...)
    """

    kind: str
    experiment: Experiment
    seed: int
    device: str = "cpu"
    varied: tuple[tuple[str, Any], ...] = dataclasses.field(default=(), compare=False)

    @functools.cached_property
    def recipe(self) -> str:
        """The name of its file: made of the arguments, the code that they reach, and torch's."""
        where = f"device={self.device}"
        measure = SWEEPABLE[self.kind].measure
        return cache_path(self.kind, self.experiment, self.seed, where, code=measure).stem

    def __str__(self) -> str:
        settings = "".join(f"{name} = {value}, " for name, value in self.varied)
        return f"{self.kind}: {settings}seed {self.seed}"

    def content(self) -> bytes:
        """What its file holds, computed now, by one thread: the same bytes wherever it is."""
        with threads(1):
            measure = SWEEPABLE[self.kind].measure
            found = measure(self.experiment, self.seed, torch.device(self.device))
        settings = dataclasses.asdict(self.experiment)
        shown = {"experiment": self.kind, "settings": settings, "device": self.device}
        measured = rows(table(found, seed=self.seed))
        return encode_sealed({"recipe": self.recipe, **shown, "records": measured})


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a task: the content of its file, or an error.

    content  of the file; b"" after an error
    error    in one line; "" if there was none
    seconds  that it took to compute; 0 for what was there
    """

    content: bytes = b""
    error: str = ""
    seconds: float = 0.0


def existing(path: Path, recipe: str) -> bytes | None:
    """The content of a task's file; None if there is none, or, with a warning, a damaged one.

    ValueError if it is of another recipe.
    """
    try:
        content = path.read_bytes()
        found = decode_sealed(content, path, "it is computed anew")
    except FileNotFoundError:
        return None
    except DamagedError as error:
        warnings.warn(f"{error}", stacklevel=2)
        return None
    if found.get("recipe") != recipe:
        other = f"{path} is of another recipe, {found.get('recipe')!r}"
        raise ValueError(f"{other}: move it away, or name another folder by --into")
    return content


def attempt(task: Task, recipe: str, folder: Path) -> Outcome:
    """Compute a task and write its file, unless it is there: what a worker does.

    task    to compute
    recipe  as whoever asks for it has it: other code here, or another torch, is an error
    folder  of the files

    An exception is an outcome: the other tasks go on.
    """
    begun = time.perf_counter()
    try:
        if task.recipe != recipe:
            found = f"the recipe is {task.recipe} there, not {recipe}"
            raise ValueError(f"{found}: give all machines the same code and the same torch")
        path = folder / f"{recipe}.json"
        content = existing(path, recipe)
        if content is None:
            content = task.content()
            write_atomically(path, content)
            return Outcome(content, seconds=time.perf_counter() - begun)
        return Outcome(content)
    except Exception as error:
        said = f"{error}".strip().split("\n")[0]
        if isinstance(error, OSError):  # a full disk: say which may be meant
            said = f"{said} ({folder}, {cache_folder()})"
        return Outcome(error=f"{type(error).__name__} on {platform.node()}: {said}")
