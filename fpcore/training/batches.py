"""The batches of a training, from whatever gives them: step by step, checked, and resumable."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from fpcore.seeding import seeded


class Data(Protocol):
    """What `train` asks of data: the mini-batch of a step as a pure function of (seed, step)."""

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]: ...


Pairs = Iterable[Any]  # of (x, y)
_OVER = object()  # what an epoch gives at its end
Source = Data | Pairs | Callable[[], Pairs]


def is_indexed(data: Source) -> bool:
    """Whether data give the batch of any step; iterables do so one after the other.

    Raises ValueError for what gives no batches at all.
    """
    if callable(getattr(data, "batch", None)):
        return True
    if isinstance(data, str | Tensor) or not (isinstance(data, Iterable) or callable(data)):
        advice = "give an object with .batch(size, seed, step), an iterable of batches (x, y), "
        advice += "or a function that returns one"
        raise ValueError(f"data = {type(data).__name__}: {advice}")
    return False


def batches(
    data: Source, size: int, seed: int, start: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches (x, y) of the steps `start`, `start` + 1, and so on, without end.

    data    as `train` takes them; an iterable is gone through again and again, from its beginning
    size    samples of a batch, for data with `.batch`
    seed    of the batches
    start   the first step; an iterable's batches before it are drawn and dropped
    device  of the model: torch's random numbers, there and on the CPU, are a function of seed and
            step while an iterable is drawn from

    Raises ValueError for what is no batch, and where an iterable that cannot be gone through again
    ends.
    """
    if is_indexed(data):
        for step in itertools.count(start):
            yield _pair(data.batch(size, seed, step), step)  # type: ignore[union-attr]
    drawn = _Repeated(data, seed, device)  # type: ignore[arg-type]
    for _ in range(start):
        drawn.draw()
    for step in itertools.count(start):
        yield _pair(drawn.draw(), step)


def at(step: int) -> str:
    """What errors call the batch of a step, as the history counts steps."""
    return f"the batch after {step} steps"


class _Repeated:
    """An iterable of batches, epoch after epoch."""

    def __init__(self, data: Pairs | Callable[[], Pairs], seed: int, device: torch.device):
        self.data, self.seed, self.device = data, seed, device
        self.step = self.epoch = 0
        self.current: Iterator[Any] = iter(())

    def draw(self) -> Any:
        """The next batch, of a new epoch if one is over."""
        with seeded(self.seed, "data", self.step, device=self.device):
            found = next(self.current, _OVER)
            if found is _OVER:
                self.current = self._epoch()
                found = next(self.current, _OVER)
        if found is _OVER:
            advice = "give a list, a DataLoader, or a function that returns an iterator each epoch"
            raise ValueError(f"the data ended after {self.step} steps: {advice}")
        self.step += 1
        return found

    def _epoch(self) -> Iterator[Any]:
        """The iterator of the next epoch, whose number a sampler that asks for it is told."""
        told = getattr(getattr(self.data, "sampler", None), "set_epoch", None)
        if told is not None:
            told(self.epoch)
        self.epoch += 1
        return iter(self.data if isinstance(self.data, Iterable) else self.data())


def _pair(found: Any, step: int) -> tuple[Tensor, Tensor]:
    """A batch, if it is two tensors, of at least one sample."""
    pair = tuple(found) if isinstance(found, list | tuple) else (found,)
    if len(pair) != 2 or not all(isinstance(one, Tensor) for one in pair):
        kinds = ", ".join(type(one).__name__ for one in pair)
        raise ValueError(f"{at(step)} is ({kinds}): give (x, y), two tensors")
    if not pair[0].numel():
        raise ValueError(f"{at(step)} holds no samples: give one at least")
    return pair
