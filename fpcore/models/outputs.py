"""What a network's outputs mean: one logit or class scores, their loss, which samples are right."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore import checks


def loss(output: Tensor, y: Tensor) -> Tensor:
    """Loss of each sample, shape (n,).

    Logistic for one logit and y in {-1, +1}, cross-entropy for class scores.
    """
    one_label_each(output, y)
    if output.ndim == 1:
        return F.softplus(-y * output)
    return F.cross_entropy(output, y, reduction="none")


def correct(output: Tensor, y: Tensor) -> Tensor:
    """Which samples are classified right, shape (n,), bool; a tie counts as wrong."""
    one_label_each(output, y)
    if output.ndim == 1:
        return y * output > 0
    index = y[:, None]
    return output.gather(1, index).squeeze(1) > output.scatter(1, index, -torch.inf).amax(1)


def one_label_each(output: Tensor, y: Tensor) -> None:
    """Raise ValueError unless y is (n,) for outputs (n, ...): another shape would be broadcast."""
    if y.shape != output.shape[:1]:
        wanted = tuple(output.shape[:1])
        raise ValueError(f"y is {tuple(y.shape)}: give one label a sample, {wanted}")


def one_output_each(output: Tensor, x: Tensor) -> Tensor:
    """Return `output` if it has a row for each sample of x (n, ...), else raise ValueError."""
    if not isinstance(output, Tensor):
        found = f"the model gives a {type(output).__name__}"
        raise ValueError(f"{found}: wrap it in a module that returns the scores alone")
    if output.shape[:1] != x.shape[:1]:
        found = f"the model gives outputs {tuple(output.shape)} for {len(x)} samples"
        advice = "make it give one row a sample (.squeeze() also drops a batch of one"
        raise ValueError(f"{found}: {advice}, .squeeze(1) does not)")
    return output


def signs(y: Tensor) -> Tensor:
    """Return the labels `y` if all are -1 or +1, else raise ValueError."""
    wrong = y[y.double().abs() != 1]
    if len(wrong):
        raise ValueError(f"y holds {sorted(set(wrong.tolist()))[:5]}: give labels -1 and +1")
    if y.dtype in (torch.bool, torch.uint8):
        raise ValueError(f"y is {y.dtype}: give labels -1 and +1, y.float()")
    return y


def fitting(output: Tensor, y: Tensor) -> Tensor:
    """Return `output` if `y` are labels for it, else raise ValueError.

    It waits for the device, as `loss` must not.
    """
    one_label_each(output, y)
    labels_for(output, y)
    return output


def labels_for(output: Tensor, y: Tensor) -> None:
    """Raise ValueError unless `y` are labels for outputs like `output`, of any number of samples.

    They are -1 and +1 for one logit, class numbers for class scores.
    """
    if output.ndim == 1:
        signs(y)
        return
    if output.ndim != 2 or output.shape[1] == 1:
        found = f"the model gives outputs {tuple(output.shape)}"
        raise ValueError(f"{found}: it must give one logit a sample, (n,), or scores, (n, classes)")
    if y.dtype != torch.int64:
        raise ValueError(f"y is {y.dtype}: give class numbers, torch.int64 (y.long())")
    if len(y) and not 0 <= y.min() <= y.max() < output.shape[1]:
        found = f"y holds classes {y.min():g} to {y.max():g}"
        raise ValueError(f"{found}: the network has scores of 0 to {output.shape[1] - 1}")


def samples(x: Tensor, y: Tensor) -> None:
    """Raise ValueError unless x (n, ...) are finite floats and y (n,) one label each."""
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}: give floats (x.float(), and / 255 if they are bytes)")
    if x.ndim < 2:
        raise ValueError(f"x is {tuple(x.shape)}: give samples (n, ...), x[None] if it is one")
    if y.shape != x.shape[:1]:
        raise ValueError(f"y is {tuple(y.shape)}: give one label a sample, ({len(x)},)")
    bad = ~x.isfinite().flatten(1).all(1)
    if bad.any():
        found = f"x is not finite (NaN or infinity) in {int(bad.sum())} of {len(x)} samples"
        raise ValueError(f"{found}: leave them out, x[x.isfinite().flatten(1).all(1)]")


def some(x: Tensor) -> None:
    """Raise ValueError for no samples: a share of them would not be a number."""
    if not len(x):
        raise ValueError("x holds 0 samples: a share of them needs one at least")


@torch.no_grad()
def ready(model: nn.Module, x: Tensor, y: Tensor, probe: int = 2) -> None:
    """The checks before work: raise ValueError unless x and y are samples and labels of `model`.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    probe  on so many samples it is tried out: 1 where the work may come down to one
    """
    samples(x, y)
    if len(x):
        with evaluating(model):
            output = one_output_each(model(x[:probe]), x[:probe])
        labels_for(output, y)


@torch.no_grad()
def classified(model: nn.Module, x: Tensor, y: Tensor, chunk: int = 2048) -> Tensor:
    """Which samples `model`, in evaluation mode, classifies right: (n,), bool.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    chunk  samples at a time
    """
    checks.positive_int("chunk", chunk)
    samples(x, y)
    parts = zip(x.split(chunk), y.split(chunk))
    with evaluating(model):
        return torch.cat([correct(fitting(one_output_each(model(a), a), b), b) for a, b in parts])


def accuracy(model: nn.Module, x: Tensor, y: Tensor, chunk: int = 2048) -> float:
    """Share of samples that `model`, in evaluation mode, classifies right.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    chunk  samples at a time
    """
    some(x)
    return classified(model, x, y, chunk).float().mean().item()


class evaluating:
    """Context in which `model` is in evaluation mode; on leaving, each submodule is as before."""

    def __init__(self, model: nn.Module):
        self.modules = list(model.modules())

    def __enter__(self):
        self.was = [m.training for m in self.modules]
        for m in self.modules:
            m.training = False

    def __exit__(self, *_):
        for m, was in zip(self.modules, self.was):
            m.training = was
