"""Batch-normalisation statistics, estimated again: what a network needs after its weights were changed by hand."""

import copy

import torch
from torch import Tensor, nn

from fpcore.models.outputs import evaluating


@torch.no_grad()
def recalibrated(model: nn.Module, x: Tensor, chunk: int = 500) -> nn.Module:
    """A copy of `model`, in evaluation mode, whose running means and variances are those of the images x (n, ...).

    Each is the mean over chunks of x, at most `chunk` images and all of one size to within one; no augmentation. Nothing
    else changes.
    """
    twin = copy.deepcopy(model).eval()
    norms = [m for m in twin.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [norm.momentum for norm in norms]
    with evaluating(twin):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum, norm.training = None, True  # a cumulative mean instead of a running one
        for part in x.tensor_split(-(-len(x) // chunk)):
            twin(part)
    for norm, momentum in zip(norms, before):
        norm.momentum = momentum
    return twin
