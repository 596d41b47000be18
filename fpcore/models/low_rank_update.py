"""Low-rank updates of a trained network: each layer's matrix w (neurons, fan-in) becomes w + B A, w frozen."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fpcore import checks, seeding
from fpcore.models.two_layer import TwoLayer


class RankUpdate(nn.Module):
    """w -> w + B A for w of shape (out, ...), flattened to (out, fan-in): B (out, r) starts at 0, A (r, fan-in) orthonormal.

    Because A's rows are orthonormal, the first step on B is the full-rank step, projected on r directions. With `fixed`
    A stays the random projection that it is.
    """

    def __init__(self, weight: Tensor, rank: int, fixed: bool, rng: torch.Generator):
        super().__init__()
        out, fan_in = weight.flatten(1).shape
        rank = min(rank, out, fan_in)
        basis = (
            torch.linalg.qr(torch.randn(fan_in, rank, generator=rng)).Q.T.contiguous().to(weight)
        )
        self.up = nn.Parameter(weight.new_zeros(out, rank))
        self.down = nn.Parameter(basis, requires_grad=not fixed)

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.up @ self.down).view_as(weight)


def low_rank(model: nn.Module, rank: int, seed: int, fixed: bool = False) -> nn.Module:
    """A copy of `model` that computes the same, in which a rank-`rank` update of every layer's matrix is trained.

    The biases and the scales and shifts of batch normalisation are trained as well: rank 0 trains these alone. `fixed`: only
    B is trained, A is a fixed random projection. A layer of fewer neurons than `rank` gets an update of as many.
    """
    checks.whole("rank", rank), checks.whole("seed", seed)
    twin = copy.deepcopy(model)
    layers = [
        (name, module)
        for name, module in twin.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    if not layers:
        raise ValueError(
            f"model is a {type(model).__name__}: give a network of Conv2d and Linear layers"
        )
    if any(parametrize.is_parametrized(module) for _, module in layers):
        raise ValueError("model is a low-rank update already: give the network that it updates")
    for name, module in layers:
        module.weight.requires_grad_(False)
        if rank:
            rng = seeding.generator(seed, "low rank", name)
            parametrize.register_parametrization(
                module, "weight", RankUpdate(module.weight, rank, fixed, rng)
            )
    return twin


def merged(model: nn.Module) -> nn.Module:
    """A copy of `model`, in evaluation mode, whose weights can be written to: what `low_rank` added is in them."""
    if isinstance(model, TwoLayer):
        raise ValueError(
            "model is a TwoLayer, a single layer: change its weights by fp.replaced(model, weight)"
        )
    twin = copy.deepcopy(model).eval()
    for module in [*twin.modules()]:
        if parametrize.is_parametrized(module, "weight"):
            # remove_parametrizations would take the weight from `model` too, which shares its class with the copy.
            weight = module.weight
            assert isinstance(weight, Tensor)
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            module.weight = nn.Parameter(weight.detach().clone())
    return twin


def trained_parameters(model: nn.Module) -> int:
    """How many numbers training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
