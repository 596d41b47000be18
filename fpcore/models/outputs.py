"""What a network's outputs mean: one logit or class scores, their loss, which samples are right."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


def signs(y: Tensor) -> Tensor:
    """Return the labels `y` if all are -1 or +1, else raise ValueError."""
    wrong = y[y.double().abs() != 1]
    if len(wrong):
        raise ValueError(f"y holds {sorted(set(wrong.tolist()))[:5]}: give labels -1 and +1")
    return y


def fitting(output: Tensor, y: Tensor) -> Tensor:
    """Return `output` if `y` are labels for it, else raise ValueError.

    It waits for the device, as `loss` must not.
    """
    one_label_each(output, signs(y) if output.ndim == 1 else y)
    if output.ndim == 2 and len(y) and not 0 <= y.min() <= y.max() < output.shape[1]:
        found = f"y holds classes {y.min():g} to {y.max():g}"
        raise ValueError(f"{found}: the network has scores of 0 to {output.shape[1] - 1}")
    return output


@torch.no_grad()
def classified(model: nn.Module, x: Tensor, y: Tensor, chunk: int = 2048) -> Tensor:
    """Which samples `model`, in evaluation mode, classifies right: (n,), bool.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    chunk  samples at a time
    """
    one_label_each(x, y)
    parts = zip(x.split(chunk), y.split(chunk))
    with evaluating(model):
        return torch.cat([correct(fitting(model(a), b), b) for a, b in parts])


def accuracy(model: nn.Module, x: Tensor, y: Tensor, chunk: int = 2048) -> float:
    """Share of samples that `model`, in evaluation mode, classifies right.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    chunk  samples at a time
    """
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
