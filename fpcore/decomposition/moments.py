"""Second moments of what the neurons of two networks give, in one pass over images."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fpcore.decomposition.layers import Neurons, neurons, switched_on
from fpcore.decomposition.preactivations import preactivations

AT_ONCE = 2**16  # numbers of images that run together: what all layers give is kept


class Moments:
    """Sums over rows a (n, p) and b (n, q), in float64, about the means of those added first."""

    n = 0
    sums: tuple[Tensor, ...]

    def add(self, a: Tensor, b: Tensor) -> None:
        """Add rows a (n, p) and b (n, q)."""
        a, b = a.double(), b.double()
        if not self.n:
            # Sums of squares about 0 would lose the variance of what is far from it.
            self.origin = a.mean(0), b.mean(0)
        a, b = a - self.origin[0], b - self.origin[1]
        new = (a.sum(0), b.sum(0), a.T @ a, a.T @ b, b.square().sum(0))
        self.sums = tuple(old + one for old, one in zip(self.sums, new)) if self.n else new
        self.n += len(a)

    def linear(self) -> tuple[Tensor, Tensor, Tensor]:
        """The least squares map (p, q) from a to b, of deviations from the means; the means."""
        a, b, aa, ab, _ = self.sums
        gram = aa - torch.outer(a, a) / self.n
        # A ridge, since neurons may depend on each other.
        ridge = (
            1e-9
            * gram.diagonal().sum()
            * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        )
        found = torch.linalg.solve(gram + ridge, ab - torch.outer(a, b) / self.n)
        return found, self.origin[0] + a / self.n, self.origin[1] + b / self.n

    def explained(self, linear: Tensor, mean_a: Tensor, mean_b: Tensor) -> Tensor:
        """The share of the variance of b (q,) that a map (p, q) explains; NaN where it is none."""
        a, b, aa, ab, bb = self.sums
        # With r = b - a L about our origins, what is missed is r + c.
        c = self.origin[1] - mean_b - (self.origin[0] - mean_a) @ linear
        r = bb - 2 * (linear * ab).sum(0) + (linear * (aa @ linear)).sum(0)
        missed = r + 2 * c * (b - a @ linear) + self.n * c.square()
        varied = bb - b.square() / self.n
        size = bb + 2 * self.origin[1] * b + self.n * self.origin[1].square()
        # What float32 rounds of a constant is no variance.
        return 1 - missed.clamp(min=0) / varied.masked_fill(varied <= 1e-12 * size, torch.nan)


@dataclass(frozen=True)
class Watched:
    """A network, its neurons, and which of them are switched on."""

    net: nn.Module
    held: Neurons
    on: dict[str, Tensor]

    def rows(self, maps: Tensor, layer: str) -> Tensor:
        """Preactivations (n, neurons, ...) as rows (n ..., neurons), of the neurons switched on."""
        return maps[:, self.on[layer]].movedim(1, -1).flatten(0, -2)


def watched(net: nn.Module, x: Any) -> Watched:
    """A network whose neurons are to be seen on x."""
    return Watched(net, neurons(net, x), switched_on(net, x))


@torch.no_grad()
def moments(
    one: Watched, other: Watched, layers: Iterable[str], x: Any
) -> tuple[dict[str, Moments], set[str]]:
    """{layer: the moments of what both networks give on x}, and the layers that are not seen.

    one     whose rows are a
    other   whose rows are b
    layers  names in their `neurons`
    x       images (n, ...), a few at a time; or what else they are called with, at once
    """
    names = list(layers)
    found = {layer: Moments() for layer in names}
    unseen: set[str] = set()
    chunks = x.split(max(1, AT_ONCE // math.prod(x.shape[1:]))) if isinstance(x, Tensor) else [x]
    for some in chunks if names else []:
        left = [layer for layer in names if layer not in unseen]
        a, _ = preactivations(one.net, left, some, one.held)
        b, _ = preactivations(other.net, left, some, other.held)
        unseen |= {layer for layer in left if layer not in a or layer not in b}
        for layer in left:
            if layer not in unseen:
                found[layer].add(one.rows(a.pop(layer), layer), other.rows(b.pop(layer), layer))
    return {layer: of for layer, of in found.items() if layer not in unseen}, unseen
