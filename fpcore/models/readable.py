"""Which networks' weights can be read: the checks of everything that measures or updates them."""

import torch
from torch import Tensor, nn


def check_readable(model: nn.Module) -> None:
    """Raise ValueError for networks whose layers do not hold the weights that act.

    model  any network

    These are scripted ones, and those with adapters beside their layers (peft's LoRA, say): the
    weight that acts is the layer's and the adapter's, which neither is alone.
    """
    for name, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            advice = "give the network that it was made of"
            raise ValueError(f"model = {kind}: torch.jit hides its layers, {advice}")
        if _is_adapter(module):
            advice = "give model.merge_and_unload(), which computes the same"
            raise ValueError(f"layer {name} = {kind}, with an adapter beside its weights: {advice}")


def _is_adapter(module: nn.Module) -> bool:
    """Whether a module keeps a layer inside, and what is added to its weights beside it."""
    inside = isinstance(getattr(module, "base_layer", None), nn.Module)
    ours = any(kind.__module__.partition(".")[0] == "peft" for kind in type(module).__mro__)
    replaced = isinstance(getattr(module, "original_module", None), nn.Module)
    return (inside and hasattr(module, "get_delta_weight")) or (ours and (inside or replaced))


def check_values(name: str, weight: Tensor, mask: bool = False) -> None:
    """Raise ValueError unless a weight has values, all of them finite.

    name    what the error calls it
    weight  of any shape
    mask    whether it may be one, of which -inf is no fault: a buffer
    """
    if weight.is_meta:
        raise ValueError(f"{name} has no values (device meta): load its weights first")
    fine = weight.isfinite() | weight.isneginf() if mask else weight.isfinite()
    bad = weight.numel() - int(fine.sum())
    if bad:
        found = f"{name} is not finite in {bad} of {weight.numel()} entries"
        raise ValueError(f"{found}: give a network whose training has not diverged")
