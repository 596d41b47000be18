"""What a report asks of an architecture: its layers in order, and how much of it they are."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fpcore.decomposition.layers import neurons, paired, switched_on

Pairs = Mapping[str, Mapping[str, tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Layout:
    """The layers of an architecture, as the report tells of them.

    table     one row a layer: name, type, neurons, fan_in, weights, head (gives the score),
              heads (of attention; 1 elsewhere)
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

    def heads(self, layer: str) -> int:
        """How many heads of attention the neurons of a layer are shared out to; 1: none."""
        return next(row["heads"] for row in self.table if row["name"] == layer)

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
    rows = neurons(net, x)
    table = []
    for name in rows:
        count, fan_in = rows.shape(name)
        table.append(
            {
                "name": name,
                "type": parametrize.type_before_parametrizations(rows.module(name)).__name__,
                "neurons": count,
                "fan_in": fan_in,
                "weights": count * fan_in,
                "head": name == rows.head,
                "heads": rows.rows[name].heads,
            }
        )
    shapes = {name: rows.kernel(name) for name in rows}
    kernels = {name: kernel for name, kernel in shapes.items() if _filters(kernel)}
    coverage = asdict(rows.coverage)
    return Layout(table, rows.head, kernels, coverage | {"notes": list(rows.coverage.notes)})


def _filters(kernel: tuple[int, ...]) -> bool:
    """Whether neurons of this shape are filters of images that see more than a point."""
    return len(kernel) == 3 and max(kernel[1:]) > 1


def pairs(networks: Mapping[str, nn.Module], x: Tensor | None) -> dict[str, Mapping]:
    """{role: {layer: (clean, its own) matrix}} of each network but the clean one.

    Raises ValueError that names the network, the layer and both shapes if they do not match.
    """
    clean = networks["clean"]
    found: dict[str, Mapping] = {}
    for role, net in networks.items():
        if role != "clean":
            try:
                found[role] = paired(clean, net, x)
            except ValueError as error:
                raise ValueError(f"clean against {role}: {error}") from error
    return found


@torch.no_grad()
def on(networks: Mapping[str, nn.Module], x: Tensor | None) -> dict[str, dict[str, Tensor]]:
    """{role: {layer: (neurons,) bool}}, which neurons of each network are switched on."""
    return {role: switched_on(net, x) for role, net in networks.items()}
