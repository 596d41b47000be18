"""What a network is trained in: its weights' own numbers, and those that products are made of."""

import torch
from torch import nn

from fpcore import checks


def weights_in(model: nn.Module) -> torch.dtype:
    """The type of the weights, float32 or float64, which batches are given in as well.

    Raises ValueError for weights in half precision, in which small steps are lost to rounding.
    """
    floats = [(name, p.dtype) for name, p in model.named_parameters() if p.is_floating_point()]
    for name, kind in floats:
        if kind not in (torch.float32, torch.float64):
            advice = "train model.float(); precision='bfloat16' computes its products in bfloat16"
            raise ValueError(f"{name} is {kind}, in which small steps are lost: {advice}")
    return torch.float64 if torch.float64 in [kind for _, kind in floats] else torch.float32


def products_in(model: nn.Module, precision: str) -> torch.dtype:
    """The type of the numbers that the network computes in, on the device where it is.

    model      its weights say the device, and whether it is a float64 network
    precision  as in `Training`

    Raises ValueError for what the device cannot do, or what is not for such weights.
    """
    weights, device = weights_in(model), next(model.parameters()).device
    if weights == torch.float64:
        if precision != "auto":
            advice = "give 'auto', which computes in float64, or train model.float()"
            raise ValueError(f"precision = {precision!r} for float64 weights: {advice}")
        return weights
    if precision == "auto":
        return checks.arithmetic(device)
    if precision == "bfloat16" and not _does_bfloat16(device):
        raise ValueError(f"precision = 'bfloat16' on {device}, which cannot: give 'auto'")
    return torch.float32 if precision == "float32" else torch.bfloat16


def _does_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 at all, be it emulated."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.amp.is_autocast_available(device.type)
