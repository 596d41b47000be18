"""Low-rank updates of a trained network: a layer's matrix w (neurons, fan-in) becomes w + B A."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fpcore import checks, seeding
from fpcore.models.two_layer import TwoLayer

UPDATED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)  # the layers that get an update


class RankUpdate(nn.Module):
    """w -> w + B A: B (out, r) starts at 0, A (r, fan-in) with random orthonormal rows.

    weight  w (out, ...), flattened to (out, fan-in)
    rank    r, at most out and fan-in
    fixed   A stays the random projection that it is
    rng     of A

    Because A's rows are orthonormal, the first step on B is the full-rank step, projected on r
    directions.
    """

    def __init__(self, weight: Tensor, rank: int, fixed: bool, rng: torch.Generator):
        super().__init__()
        out, fan_in = weight.flatten(1).shape
        rank = min(rank, out, fan_in)
        basis = torch.linalg.qr(torch.randn(fan_in, rank, generator=rng)).Q  # (fan-in, r)
        self.up = nn.Parameter(weight.new_zeros(out, rank))
        self.down = nn.Parameter(basis.T.contiguous().to(weight), requires_grad=not fixed)

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.up @ self.down).view_as(weight)


def low_rank(model: nn.Module, rank: int, seed: int, fixed: bool = False) -> nn.Module:
    """A copy of `model` that computes the same: a low-rank update of each layer is trained.

    model  a network of Conv1d, Conv2d, Conv3d and Linear layers: a matrix of another layer, which
           would be trained in full, is an error
    rank   of each update; a layer of fewer neurons gets an update of as many
    seed   of the random matrices A
    fixed  only B is trained, A is a fixed random projection

    The biases and the scales and shifts of batch normalisation are trained as well: rank 0 trains
    these alone.
    """
    checks.whole("rank", rank)
    checks.whole("seed", seed)
    twin = copy.deepcopy(model)
    layers = {name: layer for name, layer in twin.named_modules() if isinstance(layer, UPDATED)}
    if not layers:
        found = f"model is a {type(model).__name__}"
        raise ValueError(f"{found}: give a network of convolutions and Linear layers")
    _check_plain(layers)
    _check_complete(twin, layers)
    for name, layer in layers.items():
        layer.weight.requires_grad_(False)
        if rank:
            rng = seeding.generator(seed, "low rank", name)
            update = RankUpdate(layer.weight, rank, fixed, rng)
            parametrize.register_parametrization(layer, "weight", update)
    return twin


def _check_plain(layers: Mapping[str, nn.Module]) -> None:
    """Raise ValueError for a layer whose weight is computed from other parameters."""
    for name, layer in layers.items():
        if parametrize.is_parametrized(layer):
            steps = getattr(layer, "parametrizations", {})
            kinds = [kind for chain in steps.values() for kind in chain]
            if any(isinstance(kind, RankUpdate) for kind in kinds):
                found = "model is a low-rank update already"
                raise ValueError(f"{found}: give the network that it updates")
            found = f"layer {name} is parametrised by {type(kinds[0]).__name__.lstrip('_')}"
            advice = "remove it, torch.nn.utils.parametrize.remove_parametrizations"
            raise ValueError(f"{found}: {advice}")


def _check_complete(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Raise ValueError for matrices of other layers, which would be trained in full."""
    updated = {id(layer.weight) for layer in layers.values() if hasattr(layer, "weight")}
    left = [
        name
        for name, weight in model.named_parameters()
        if weight.ndim > 1 and weight.requires_grad and id(weight) not in updated
    ]
    if left:
        advice = "freeze them by requires_grad_(False), or use Conv1d, Conv2d, Conv3d and Linear"
        raise ValueError(f"{', '.join(left)} would be trained in full: {advice}")


def merged(model: nn.Module) -> nn.Module:
    """A copy of `model`, in evaluation mode, whose weights can be written to.

    What `low_rank` added is in them.
    """
    if isinstance(model, TwoLayer):
        advice = "change its weights by fpcore.decomposition.replaced(model, weight)"
        raise ValueError(f"model is a TwoLayer, a single layer: {advice}")
    twin = copy.deepcopy(model).eval()
    for module in [*twin.modules()]:
        if parametrize.is_parametrized(module, "weight"):
            # Not remove_parametrizations: that would take the weight from `model` too, which shares
            # its class with the copy.
            weight = module.weight
            assert isinstance(weight, Tensor)
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            module.weight = nn.Parameter(weight.detach().clone())
    return twin


def trained_parameters(model: nn.Module) -> int:
    """How many numbers training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
