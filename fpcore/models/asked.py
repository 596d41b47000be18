"""A network that is asked: what it answers, one row a sample, and whether it says so again."""

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.alerts import BatchWarning, RandomWarning, warn


def answer(model: nn.Module, x: Tensor) -> Tensor:
    """What `model` gives for x (n, ...), one row a sample, or ValueError that says what it is.

    model  in evaluation mode
    x      samples
    """
    try:
        output = model(x)
    except (torch.OutOfMemoryError, Warning):
        raise
    except Exception as error:  # whatever its code makes of these samples
        line = str(error).strip().split("\n")[0]
        found = f"the model cannot read x, {checks.briefly(x)} ({type(error).__name__}: {line})"
        advice = "give samples of the shape, type and device that it takes"
        raise ValueError(f"{found}: {advice}") from error
    return one_output_each(output, x)


def unwritten(model: nn.Module, x: Tensor) -> Tensor:
    """`answer` for a few samples x (n, ...), or ValueError if the model writes into its input."""
    # Tensors of inference mode do not count how often they are written to.
    with torch.inference_mode(False), torch.no_grad():
        copy = x.clone()
        written = copy._version
        output = answer(model, copy)
    if copy._version != written:
        advice = "begin it with x = x.clone(), or give its first layers inplace=False"
        raise ValueError(f"the model writes into the samples that it is given: {advice}")
    return output


def one_output_each(output: Tensor, x: Tensor) -> Tensor:
    """Return `output` if it has a row for each sample of x (n, ...), else raise ValueError."""
    if not isinstance(output, Tensor):
        found = f"the model gives a {type(output).__name__}"
        raise ValueError(f"{found}: wrap it in a module that returns the scores alone")
    if output.layout != torch.strided:
        raise ValueError(f"the model gives outputs {output.layout}: make it give .to_dense()")
    scores_alone(output, "the model gives outputs")
    if output.shape[:1] != x.shape[:1]:
        found = f"the model gives outputs {tuple(output.shape)} for {len(x)} samples"
        advice = "make it give one row a sample (.squeeze() also drops a batch of one"
        raise ValueError(f"{found}: {advice}, .squeeze(1) does not)")
    if output.device != x.device:
        found = f"the model gives outputs on {output.device} for samples on {x.device}"
        raise ValueError(f"{found}: make it give them where the samples are")
    return output


def scores_alone(output: Tensor, found: str) -> None:
    """Raise ValueError for numbers that are no scores: of another type, or rounded to a class."""
    if not output.is_floating_point():
        advice = "it must give scores, floats, and not the class that is largest"
        raise ValueError(f"{found} {output.dtype}: {advice}")


def steady(model: nn.Module, x: Tensor, output: Tensor) -> None:
    """Warn if `model`, asked again for its first samples, with others beside, answers otherwise.

    model   in evaluation mode
    x       samples (n, ...)
    output  what it gave for the first of them
    """
    first = len(output)
    rounding = 16 * _coarsest(model, x, output)
    other = answer(model, x[:1] if first == 2 else x[:2])
    both = min(first, len(other))
    if _alike(other[:both], output[:both], rounding):
        return
    if not _alike(answer(model, x[:first]), output, rounding):
        warn("the model gives another output each time that it is asked", RandomWarning)
    elif not _alike(other[:both], output[:both], 2**10 * rounding):
        warn("the model's output depends on the other samples of its batch", BatchWarning)


def _coarsest(model: nn.Module, x: Tensor, output: Tensor) -> float:
    """The eps of what is rounded most: outputs may be of a finer type than what made them."""
    kinds = {x.dtype, output.dtype, *(weight.dtype for weight in model.parameters())}
    if torch.is_autocast_enabled(x.device.type):
        kinds.add(torch.get_autocast_dtype(x.device.type))
    return max(torch.finfo(kind).eps for kind in kinds if kind.is_floating_point)


def _alike(one: Tensor, other: Tensor, slack: float) -> bool:
    """Whether outputs are the same up to a share of the largest."""
    size = other.nan_to_num().abs().max()
    return torch.allclose(one, other, rtol=0, atol=slack * size.item(), equal_nan=True)
