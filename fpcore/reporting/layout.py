"""What a report asks of an architecture: its layers in order, and how much of it they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from fpcore.decomposition.layers import neurons, paired, switched_on

Pairs = Mapping[str, Mapping[str, tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Layout:
    """The layers of an architecture, as the report tells of them.

    table     one row a layer: name, type, neurons, fan_in, weights, head
    head      the layer whose output is the score
    kernels   {layer: (channels, h, w)} of convolutions over images whose kernel is no point
    coverage  how much of the network's matrices the layers hold, and what is left out
    """

    table: list[dict[str, Any]]
    head: str
    kernels: dict[str, tuple[int, ...]]
    coverage: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """The layers' names, in order."""
        return [row["name"] for row in self.table]

    def share(self, layer: str) -> float:
        """The share of a layer in the weights of all layers."""
        weights = {row["name"]: row["weights"] for row in self.table}
        return weights[layer] / sum(weights.values())

    def chosen(self, patterns: Sequence[str] | None) -> list[str]:
        """The layers that match a shell pattern, or ValueError if none does; None: all."""
        if patterns is None:
            return self.names
        found = [n for n in self.names if any(fnmatchcase(n, pattern) for pattern in patterns)]
        if not found:
            raise ValueError(f"layers = {list(patterns)}: the network's layers are {self.names}")
        return found


def layout(net: nn.Module, x: Tensor | None) -> Layout:
    """The layout of a network; x: some samples, from which the order of its layers is known."""
    rows = neurons(net)
    if not rows:
        found = f"clean is a {type(net).__name__} without a linear layer or convolution"
        raise ValueError(f"{found}: give a network of such layers")
    modules = dict(net.named_modules())
    head = [*rows][-1]
    table = [
        {
            "name": name,
            "type": type(modules.get(name, net)).__name__,
            "neurons": len(w),
            "fan_in": w.shape[1],
            "weights": w.numel(),
            "head": name == head,
        }
        for name, w in rows.items()
    ]
    return Layout(table, head, _kernels(modules, [*rows]), _coverage(net, [*rows]))


def _kernels(modules: Mapping[str, nn.Module], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of the filters of convolutions over images that see more than a point."""
    found = {}
    for name in names:
        layer = modules.get(name)
        if isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1:
            found[name] = tuple(layer.weight.shape[1:])
    return found


def _coverage(net: nn.Module, names: Sequence[str]) -> dict[str, Any]:
    """A stand-in for `neurons(net, x).coverage`: the matrices that are some layer's weight."""
    matrices = {name: p.numel() for name, p in net.named_parameters() if p.ndim > 1}
    held = {f"{name}.weight" for name in names} | {"weight"}  # a network that is one layer
    held |= {f"{name}.parametrizations.weight.original" for name in names}
    left = {name: count for name, count in matrices.items() if name not in held}
    return {
        "share": 1 - sum(left.values()) / max(1, sum(matrices.values())),
        "left_out": left,
        "tied": {},
        "order": "as registered",
        "notes": [],
    }


def pairs(networks: Mapping[str, nn.Module], x: Tensor | None) -> dict[str, Mapping]:
    """{role: {layer: (clean, its own) matrix}} of each network but the clean one.

    Raises ValueError that names the network, the layer and both shapes if they do not match.
    """
    clean = networks["clean"]
    found: dict[str, Mapping] = {}
    for role, net in networks.items():
        if role != "clean":
            try:
                found[role] = paired(clean, net)
            except ValueError as error:
                raise ValueError(f"clean against {role}: {error}") from error
    return found


@torch.no_grad()
def on(networks: Mapping[str, nn.Module], x: Tensor | None) -> dict[str, dict[str, Tensor]]:
    """{role: {layer: (neurons,) bool}}, which neurons of each network are switched on."""
    return {role: switched_on(net) for role, net in networks.items()}
