"""Labelled data from anything that holds it: checked, in memory, never in silence changed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from fpcore import checks
from fpcore.images import Images
from fpcore.loading.decoding import pixels

UNNORMALISED = "give pixels in [0, 1], the normalisation in front of the network (Normalised)"


SINGLE = (Tensor, np.ndarray, str, bytes, Mapping)  # iterable, and yet no batches


@dataclass(frozen=True)
class LabelledData:
    """Samples and their classes, as attacks and measures take them.

    x      samples (n, ...), float32 in [0, 1]
    y      their class numbers (n,), int64, from 0
    name   which data it is
    notes  what was done to it
    """

    x: Tensor
    y: Tensor
    name: str
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        x, y = self.x, self.y
        if not isinstance(x, Tensor) or x.ndim < 2 or x.dtype != torch.float32 or not len(x):
            found = f"{tuple(x.shape)} {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"{self.name}: x is {found}: give samples (n, ...), float32, n >= 1")
        if bad := int((~x.isfinite()).flatten(1).any(1).sum()):
            found = f"x is not finite (NaN or infinity) in {bad} of {len(x)} samples"
            raise ValueError(f"{self.name}: {found}: leave them out")
        low, high = (value.item() for value in x.aminmax())
        if low < 0 or high > 1:
            advice = "give x / 255" if low >= 0 and 1 < high <= 255 else UNNORMALISED
            raise ValueError(f"{self.name}: x spans {low:g} to {high:g}: {advice}")
        if not isinstance(y, Tensor) or y.shape != x.shape[:1] or y.dtype != torch.int64:
            found = f"{tuple(y.shape)} {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"{self.name}: y is {found}: give class numbers ({len(x)},), int64")
        if y.min() < 0:
            found = f"y holds the class {int(y.min())}"
            raise ValueError(f"{self.name}: {found}: number the classes from 0, and label all")

    def __len__(self) -> int:
        return len(self.x)


def labelled(images: Any, count: int | None = None) -> LabelledData:
    """The first `count` samples of anything that holds labelled data.

    images  `LabelledData`, `Images`, a pair (x, y) of tensors, or any Dataset of samples (x, y),
            DataLoader or other iterable of batches (x, y); x are floats in [0, 1], or bytes,
            which are divided by 255
    count   the number of samples, None: all; no more are read. Fewer there are is a note

    Raises ValueError that names what is wrong and the fix.
    """
    if count is not None:
        checks.positive_int("count", count)
    notes: tuple[str, ...] = ()
    name = type(images).__name__
    if isinstance(images, LabelledData | Images):
        name = images.name
        notes = images.notes if isinstance(images, LabelledData) else ()
        images = (images.x, images.y)
    several = isinstance(images, tuple | list) and len(images) == 2
    if several and isinstance(images[0], Tensor | np.ndarray):
        name = "x, y" if name in ("tuple", "list") else name
        x, y = _joined(name, [images], count)
    elif isinstance(images, Dataset):
        data: Any = images
        indexed = hasattr(data, "__len__") and not isinstance(data, IterableDataset)
        samples = map(data.__getitem__, range(len(data))) if indexed else iter(data)
        x, y = _stacked(name, islice(samples, count))
    elif isinstance(images, Iterable) and not isinstance(images, SINGLE):  # as a DataLoader
        x, y = _joined(name, images, count)
    else:
        raise ValueError(f"images is a {name}: give (x, y), Images, a Dataset or a DataLoader")
    return assembled(name, x, y, notes, count)


def assembled(
    name: str, x: Any, y: Any, notes: Iterable[str] = (), count: int | None = None
) -> LabelledData:
    """Pixels and labels of any kind of number as `LabelledData`, the changes noted.

    name   which data it is
    x      samples (n, ...), floats in [0, 1] or bytes
    y      their labels (n,), whole numbers
    notes  what was done before
    count  how many were asked for
    """
    x, y = (_as_tensor(part).detach() for part in (x, y))
    found = [*notes]
    if x.dtype == torch.uint8:
        x = x.float() / 255
        found.append("bytes were divided by 255")
    elif not x.is_floating_point():
        raise ValueError(f"{name}: x is {x.dtype}: give floats in [0, 1], or bytes (torch.uint8)")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool or y.ndim != 1:
        fix = "y.argmax(1)" if y.ndim == 2 else "y.long()"
        raise ValueError(f"{name}: y is {tuple(y.shape)} {y.dtype}: give class numbers, {fix}")
    if count is not None and len(x) < count:
        found.append(f"{len(x)} samples are all there are, {count} were asked for")
    return LabelledData(x.float(), y.long(), name, tuple(found))


def _as_tensor(part: Any) -> Tensor:
    """A tensor as it is, anything else on the CPU, numbers as float32: no default decides."""
    if isinstance(part, Tensor):
        return part
    found = torch.as_tensor(np.asarray(part), device="cpu")
    python = not isinstance(part, np.ndarray | np.generic) and found.is_floating_point()
    return found.float() if python else found


def _stacked(name: str, samples: Iterable[Any]) -> tuple[Tensor, Tensor]:
    """Samples (x, y) one by one as tensors."""
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    for i, sample in enumerate(samples):
        x, y = _pair(name, i, sample)
        xs.append(pixels(x))
        ys.append(_as_tensor(y))
        if (xs[-1].shape, xs[-1].dtype, ys[-1].shape) != (xs[0].shape, xs[0].dtype, ys[0].shape):
            found = f"sample {i} is {tuple(xs[-1].shape)} {xs[-1].dtype}, label {ys[-1].tolist()}"
            first = f"the first {tuple(xs[0].shape)} {xs[0].dtype}"
            raise ValueError(f"{name}: {found}, {first}: give samples of one size and mode")
    if not xs:
        raise ValueError(f"{name} holds 0 samples: give one at least")
    return torch.stack(xs), torch.stack(ys)


def _joined(name: str, batches: Iterable[Any], count: int | None) -> tuple[Tensor, Tensor]:
    """Batches (x, y) as tensors, no more of them than `count` samples need."""
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    have = 0
    for i, batch in enumerate(batches):
        x, y = (_as_tensor(part) for part in _pair(name, i, batch))
        if not x.ndim or x.shape[:1] != y.shape[:1] or (xs and x.shape[1:] != xs[0].shape[1:]):
            found = f"batch {i} is x {tuple(x.shape)}, y {tuple(y.shape)}"
            raise ValueError(f"{name}: {found}: give batches of samples of one size, a label each")
        xs.append(x)
        ys.append(y)
        have += len(x)
        if count is not None and have >= count:
            break
    if not have:
        raise ValueError(f"{name} holds 0 samples: give one at least")
    return torch.cat(xs)[:count], torch.cat(ys)[:count]


def _pair(name: str, i: int, sample: Any) -> tuple[Any, Any]:
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        raise ValueError(f"{name}: item {i} is a {type(sample).__name__}: give pairs (x, y)")
    return sample[0], sample[1]


def in_turn(y: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, list[str]]:
    """Which samples are the first `count`: as they lie, or of each class in turn if sorted by it.

    y      labels of all (n,)
    count  how many
    rng    of the choice within a class

    Returns their indices (at most count,), and a note if they were chosen.
    """
    counts = Counter(y.tolist())
    changes = int((y[1:] != y[:-1]).sum())
    at_random = len(y) - sum(c * c for c in counts.values()) / max(1, len(y))
    if count >= len(y) or changes >= at_random / 2:
        return torch.arange(min(count, len(y)), device=y.device), []
    order = torch.randperm(len(y), generator=rng, device=rng.device)
    order = order[y[order].argsort(stable=True)]  # by class, at random in it
    turn = torch.cat([torch.arange(counts[label], device=y.device) for label in sorted(counts)])
    chosen = order[turn.argsort(stable=True)][:count]
    note = f"sorted by class: {len(chosen)} of {len(y)} were drawn, {len(counts)} classes in turn"
    return chosen, [note]
