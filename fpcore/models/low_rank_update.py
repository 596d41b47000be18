"""Low-rank updates of a trained network: a layer's matrix w (neurons, fan-in) becomes w + B A."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fpcore import checks, seeding
from fpcore.models.acting import acting, check_copyable, computed, copied, named_modules, unwrapped
from fpcore.models.readable import check_readable, check_values
from fpcore.models.rows import Rows, rows_of


class RankUpdate(nn.Module):
    """w -> w + B A: B (out, r) starts at 0, A (r, fan-in) with random orthonormal rows.

    weight  w, a matrix (out, fan-in)
    rank    r, at most out and fan-in
    fixed   A stays the random projection that it is
    rng     of A

    Because A's rows are orthonormal, the first step on B is the full-rank step, projected on r
    directions. Calling it gives B A.
    """

    def __init__(self, weight: Tensor, rank: int, fixed: bool, rng: torch.Generator):
        super().__init__()
        out, fan_in = weight.shape
        rank = min(rank, out, fan_in)
        like: dict[str, Any] = {"generator": rng, "dtype": torch.float32, "device": "cpu"}
        basis = torch.linalg.qr(torch.randn(fan_in, rank, **like)).Q  # (fan-in, r)
        self.up = nn.Parameter(weight.new_zeros(out, rank))
        self.down = nn.Parameter(basis.T.contiguous().to(weight), requires_grad=not fixed)

    def forward(self) -> Tensor:
        with torch.autocast(self.up.device.type, enabled=False):
            return self.up @ self.down


class Updated(nn.Module):
    """A parameter plus the update of each matrix that lies in it, as torch's parametrisation.

    updates  {name: its `RankUpdate`}, together all rows of the parameter, in order
    rows     where the first of them lies
    """

    def __init__(self, updates: Mapping[str, RankUpdate], rows: Rows):
        super().__init__()
        self.updates = nn.ModuleList(updates.values())
        self.rows = rows

    def forward(self, weight: Tensor) -> Tensor:
        update = torch.cat([each() for each in self.updates])
        return weight + self.rows.folded(update, weight)


def low_rank(model: nn.Module, rank: int, seed: int, fixed: bool = False) -> nn.Module:
    """A copy of `model` that computes the same: a low-rank update of each layer is trained.

    model  a network of layers with neurons (`fpcore.neurons`): a matrix of another kind, which
           would be trained in full, is an error
    rank   of the update of each matrix: query, key and value of attention have one each, and the
           gates of recurrent layers; a layer of fewer neurons gets an update of as many
    seed   of the random matrices A
    fixed  only B is trained, A is a fixed random projection

    Biases are trained as well, and the scales and shifts of normalisation: rank 0 trains these
    alone. A parameter whose first size is 1 is added to all samples alike, and so is a bias.
    """
    checks.whole("rank", rank)
    checks.whole("seed", seed)
    check_readable(checks.network("model", model))
    check_copyable(model)
    twin = copied(unwrapped(model))
    modules = {name: module for name, module in named_modules(twin) if rows_of(module)}
    if not modules:
        found = f"model is a {type(model).__name__}"
        raise ValueError(f"{found}: give a network of convolutions and Linear layers, say")
    _check_plain(modules)
    for name, module in modules.items():
        for parameter in _by_parameter(module):
            check_values(f"{parameter} of layer {name}", getattr(module, parameter))
    _check_complete(twin, modules)
    for module in modules.values():  # of a sum no gradient is sparse
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False
    updated: dict[int, Updated] = {}
    for name, module in modules.items():
        for parameter, parts in _by_parameter(module).items():
            weight = getattr(module, parameter)
            weight.requires_grad_(False)
            if rank and id(weight) not in updated:
                updated[id(weight)] = _updated(weight, name, parts, rank, seed, fixed)
            if rank:  # tied weights share their update
                parametrize.register_parametrization(module, parameter, updated[id(weight)])
    return twin


def _by_parameter(module: nn.Module) -> dict[str, dict[str, Rows]]:
    """{parameter: {what is appended to the module's name: a matrix that lies in it}}."""
    found: dict[str, dict[str, Rows]] = {}
    for part, rows in rows_of(module).items():
        if acting(module, rows.parameter) is not None:
            found.setdefault(rows.parameter, {})[part] = rows
    return found


def _updated(
    weight: Tensor, name: str, parts: Mapping[str, Rows], rank: int, seed: int, fixed: bool
) -> Updated:
    """The update of a parameter, by matrices."""
    updates = {}
    for part, rows in parts.items():
        layer = ".".join(filter(None, (name, part)))
        rng = seeding.generator(seed, "low rank", layer)
        updates[layer] = RankUpdate(rows.matrix(weight.detach()), rank, fixed, rng)
    return Updated(updates, next(iter(parts.values())))


def _check_plain(modules: Mapping[str, nn.Module]) -> None:
    """Raise ValueError for a layer whose weight is computed from other parameters."""
    for name, module in modules.items():
        for parameter, kind in computed(module).items():
            if kind is Updated:
                found = "model is a low-rank update already"
                raise ValueError(f"{found}: give the network that it updates")
            found = f"layer {name} is parametrised by {kind.__name__.lstrip('_')} ({parameter})"
            raise ValueError(f"{found}: give fpcore.models.merged(model), which computes the same")


def _check_complete(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Raise ValueError for matrices of other layers, which would be trained in full."""
    updated = {
        id(getattr(module, rows.parameter, None))
        for module in modules.values()
        for rows in rows_of(module).values()
    }
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    large = {name: p for name, p in trained.items() if p.ndim > 1 and len(p) > 1}
    left = [name for name, p in large.items() if id(p) not in updated]
    if left:
        advice = "freeze them by requires_grad_(False), or see fpcore.models.add_layer_type"
        raise ValueError(f"{', '.join(left)} would be trained in full: {advice}")


def trained_parameters(model: nn.Module) -> int:
    """How many numbers training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
