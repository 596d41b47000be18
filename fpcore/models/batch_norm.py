"""Batch-normalisation statistics anew: what a network needs once its weights were changed."""

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.models.acting import check_copyable, copied
from fpcore.models.outputs import evaluating


def recalibrated(model: nn.Module, x: Tensor, chunk: int = 500) -> nn.Module:
    """A copy of `model`, in evaluation mode, with the running means and variances of images x.

    x (n, ...); each statistic is the mean over chunks of x, of at most `chunk` images and all of
    one size to within one, without augmentation. Nothing else changes.
    """
    return calibrated(model, x, chunk)


@torch.no_grad()
def calibrated(model: nn.Module, x: Tensor, chunk: int = 500, name: str = "x") -> nn.Module:
    """`recalibrated` on images that errors call by another name."""
    checks.positive_int("chunk", chunk)
    checks.network("model", model)
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} = {type(x).__name__}: give a tensor (n, ...) of images")
    checks.tensor(name, x)
    if not x.ndim or not len(x):
        raise ValueError(f"{name} is {tuple(x.shape)}: give one image at least, (n, ...)")
    if not checks.is_finite(x):
        raise ValueError(f"{name} is not finite (NaN or infinity): give images that are numbers")
    check_copyable(model)
    twin = copied(model).eval()
    norms = [m for m in twin.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [norm.momentum for norm in norms]
    with evaluating(twin):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative mean instead of a running one
            norm.training = True
        for part in x.tensor_split(-(-len(x) // chunk)):
            _run(twin, part, name)
    for norm, momentum in zip(norms, before):
        norm.momentum = momentum
    return twin


def _run(model: nn.Module, x: Tensor, name: str) -> None:
    """Call a network, or raise ValueError that says what it was given."""
    try:
        model(x)
    except torch.OutOfMemoryError:
        raise
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        line = str(error).strip().split("\n")[0]
        found = f"{name} = {x.dtype} {tuple(x.shape)}: the network cannot read it"
        advice = "give images of the size and dtype that it takes"
        raise ValueError(f"{found} ({type(error).__name__}: {line}): {advice}") from error
