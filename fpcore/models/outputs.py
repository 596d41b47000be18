"""What a network's outputs mean: one logit or class scores, their loss, which samples are right."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore import checks
from fpcore.models.asked import answer, scores_alone, steady, unwritten
from fpcore.models.dice import Dice
from fpcore.models.two_layer import TwoLayer


def loss(output: Tensor, y: Tensor) -> Tensor:
    """Loss of each sample, shape (n,).

    Logistic for one logit and y in {-1, +1}, cross-entropy for class scores.
    """
    _fits(output, y)
    if output.ndim == 1:
        return F.softplus(-y * output)
    return F.cross_entropy(output, y, reduction="none")


def correct(output: Tensor, y: Tensor) -> Tensor:
    """Which samples are classified right, shape (n,), bool; a tie counts as wrong."""
    _fits(output, y)
    if output.ndim == 1:
        return y * output > 0
    index = y[:, None]
    return output.gather(1, index).squeeze(1) > output.scatter(1, index, -torch.inf).amax(1)


def _fits(output: Tensor, y: Tensor) -> None:
    """Raise ValueError unless y are labels for `output`; a GPU is not waited for, to see values.

    output  (n,) or (n, classes)
    y       (n,)
    """
    checks.tensor("output", output, "(n,) or (n, classes)")
    checks.tensor("y", y, "(n,)")
    scores_alone(output, "output is")
    one_label_each(output, y)
    if output.ndim != 1:
        _classes(output, y, "output is")
    if output.device.type == "cpu" and not torch.compiler.is_compiling():
        labels_for(output, y)


def _classes(output: Tensor, y: Tensor, found: str) -> None:
    """Raise ValueError unless outputs are (n, classes), and y class numbers by their type."""
    if output.ndim != 2 or output.shape[1] < 2:
        advice = "it must give one logit a sample, (n,), or scores, (n, classes)"
        raise ValueError(f"{found} {tuple(output.shape)}: {advice}")
    if y.dtype != torch.int64:
        raise ValueError(f"y is {y.dtype}: give class numbers, torch.int64 (y.long())")


def one_label_each(output: Tensor, y: Tensor) -> None:
    """Raise ValueError unless y is (n,) for outputs (n, ...): another shape would be broadcast."""
    if y.shape != output.shape[:1]:
        wanted = f"{tuple(output.shape[:1])}, as the output {tuple(output.shape)} has rows"
        raise ValueError(f"y is {tuple(y.shape)}: give one label a sample, {wanted}")


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
    _classes(output, y, "the model gives outputs")
    if len(y) and not 0 <= y.min() <= y.max() < output.shape[1]:
        found = f"y holds classes {y.min():g} to {y.max():g}"
        has = f"the network has scores of 0 to {output.shape[1] - 1}, its output's columns"
        raise ValueError(f"{found}: {has}, give labels of these")


def samples(x: Tensor, y: Tensor) -> None:
    """Raise ValueError unless x (n, ...) are finite floats and y (n,) one label each."""
    checks.tensor("x", x)
    checks.tensor("y", y, "(n,)")
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}: give floats (x.float(), and / 255 if they are bytes)")
    if x.ndim < 2 or (len(x) and not x.numel()):
        raise ValueError(f"x is {tuple(x.shape)}: give samples (n, ...), x[None] if it is one")
    if y.shape != x.shape[:1]:
        wanted = f"({len(x)},), as x has {len(x)}"
        raise ValueError(f"y is {tuple(y.shape)}: give one label a sample, {wanted}")
    if x.device != y.device:
        raise ValueError(f"x is on {x.device} and y on {y.device}: give both on one device")
    if not checks.is_finite(x):
        bad = ~x.isfinite().flatten(1).all(1)
        found = f"x is not finite (NaN or infinity) in {int(bad.sum())} of {len(x)} samples"
        raise ValueError(f"{found}: leave them out, x[x.isfinite().flatten(1).all(1)]")


def some(x: Tensor) -> None:
    """Raise ValueError for no samples: a share of them would not be a number."""
    if not len(checks.tensor("x", x).flatten()):
        raise ValueError("x holds 0 samples: a share of them needs one at least")


@torch.no_grad()
def ready(model: nn.Module, x: Tensor, y: Tensor, probe: int = 2) -> None:
    """The checks before work: raise ValueError unless x and y are samples and labels of `model`.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    probe  on so many samples it is tried out: 1 where the work may come down to one

    A model that is random, or looks at other samples of the batch, is a warning.
    """
    checks.network("model", model)
    samples(x, y)
    if _is_known(model, x):
        signs(y)
    elif len(x):
        with evaluating(model):
            dice = Dice(model, x.device)
            output = without_nan(unwritten(model, x[:probe]))
            labels_for(output, y)
            if not dice.random(model, x[:probe]):
                steady(model, x, output)


def _is_known(model: nn.Module, x: Tensor) -> bool:
    """Whether `model` is sure to give one logit a sample of x: to try it costs 5% of a step."""
    if not isinstance(model, TwoLayer) or not model.is_plain():
        return False
    w = model.weight
    alike = x.shape[1:] == w.shape[1:] and (x.dtype, x.device) == (w.dtype, w.device)
    return alike and bool(model.threshold >= 0)


@torch.no_grad()
def answers(model: nn.Module, x: Tensor, y: Tensor, chunk: int) -> Tensor:
    """What `model`, in evaluation mode, gives for x: (n,) or (n, classes).

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    chunk  samples at a time

    Raises ValueError where it gives no number, and for what are no samples or labels.
    """
    checks.positive_int("chunk", chunk)
    checks.network("model", model)
    samples(x, y)
    parts = zip(x.split(chunk), y.split(chunk))
    with evaluating(model):
        if not _is_known(model, x):
            unwritten(model, x[: min(chunk, 2)])
        output = torch.cat([fitting(answer(model, one), labels) for one, labels in parts])
    return without_nan(output)


def without_nan(output: Tensor) -> Tensor:
    """Return outputs if none of them is NaN, else raise ValueError: no class can be read there."""
    if unknown := int(output.isnan().sum()):
        found = f"the model gives outputs that are no numbers (NaN), {unknown} of them"
        raise ValueError(f"{found}: give samples scaled as in its training, or other weights")
    return output


def steady_answers(model: nn.Module, x: Tensor, y: Tensor, chunk: int) -> Tensor:
    """`answers`, with a warning from a model that is random, or looks at others of the batch.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    chunk  samples at a time: also those that a random model is asked again for
    """
    checks.network("model", model)
    dice = None if _is_known(model, checks.tensor("x", x)) else Dice(model, x.device)
    output = answers(model, x, y, chunk)
    if dice and len(x):
        with torch.no_grad(), evaluating(model):
            if not dice.random(model, x[:chunk]):
                steady(model, x, output[:chunk])
    return output


def classified(model: nn.Module, x: Tensor, y: Tensor, chunk: int = 2048) -> Tensor:
    """Which samples `model`, in evaluation mode, classifies right: (n,), bool.

    model  gives one logit a sample, or class scores
    x      samples (n, ...)
    y      their labels (n,)
    chunk  samples at a time

    Raises ValueError where it gives no number; a model that is random, or looks at other samples of
    the batch, is a warning.
    """
    return correct(steady_answers(model, x, y, chunk), y)


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
