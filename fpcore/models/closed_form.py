"""The two-layer network without autograd: output and gradients by products into kept memory."""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class ClosedForm(Protocol):
    """A network f that says its own gradients, at the samples where it was last asked.

    read    takes the weights as they are now
    at      f (n,) at samples x (n, d), which are to stay as they are until `credit`
    slope   the gradient of each sample's f in x (n, d), in kept memory, which may be written to,
            and where `at` may be asked next: it has to be, before a `credit`
    credit  sets the weights' `.grad`, to that of sum_s share_s f(x_s), shares (n,); then a `read`
    """

    def read(self) -> None: ...

    def at(self, x: Tensor) -> Tensor: ...

    def slope(self) -> Tensor: ...

    def credit(self, share: Tensor) -> None: ...


class OddReLU:
    """The `ClosedForm` of f(x) = sum_i S(<w_i, x>), S the soft shrinkage by b_i = threshold |w_i|.

    Where a_i = 1 if |<w_i, x>| > b_i, else 0, the gradient of f is sum_i a_i w_i in x, and a_i x in
    w_i, with b_i held fixed: one product each, as f is.

    weight     (..., m, d), of one network or of several
    threshold  a scalar tensor
    products   the type of the numbers that are multiplied: the weights' own, or bfloat16
    scale      what multiplies the samples first, (..., 1, 1): f(scale x); None: nothing

    Samples are (..., n, d). Memory is taken once, and again where n changes.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        threshold: Tensor,
        products: torch.dtype,
        scale: Tensor | None = None,
    ):
        self.weight, self.threshold, self.products = weight, threshold, products
        self.scale = scale
        self.gradient = torch.empty_like(weight.detach())
        self.rounds = products != weight.dtype
        self.factor = torch.empty_like(self.gradient, dtype=products if self.rounds else None)
        self.samples = 0

    def read(self) -> None:
        weight = self.weight.detach()
        norm = torch.linalg.vector_norm(weight, dim=-1)
        bound = self.threshold * norm + 0 * norm  # a norm that overflows is no bound: f is NaN
        self.bound = bound.to(self.products)[..., None, :]  # (..., 1, m)
        self.factor = self.factor.copy_(weight) if self.rounds else weight

    def at(self, x: Tensor) -> Tensor:
        self._reserve(x)
        if self.scale is not None:
            x = torch.mul(x, self.scale, out=self.memory)
        # Scaled and rounded in two passes: in one, torch takes five times as long.
        self.x = self.rounded.copy_(x) if self.rounds else x
        torch.matmul(self.x, self.factor.mT, out=self.u)
        torch.clamp(self.u, -self.bound, self.bound, out=self.clamped)
        return self.u.sub_(self.clamped).sum(-1).to(self.weight.dtype)

    def slope(self, out: Tensor | None = None) -> Tensor:
        out = self.memory if out is None else out
        product = torch.matmul(self.u.ne_(0), self.factor, out=self.rounded if self.rounds else out)
        slope = out.copy_(product) if self.rounds else out
        return slope if self.scale is None else slope.mul_(self.scale)

    def credit(self, share: Tensor) -> None:
        x = torch.mul(self.x, share[..., None].to(self.products), out=self.rounded)
        # The rounded weights are of no more use: their memory holds the rounded gradient.
        product = self.factor if self.rounds else self.gradient
        torch.matmul(self.u.ne_(0).mT, x, out=product)
        self.weight.grad = self.gradient.copy_(product) if self.rounds else product

    def _reserve(self, x: Tensor) -> None:
        """Have room for samples like x."""
        if x.shape[-2] != self.samples:
            self.samples = x.shape[-2]
            self.memory = torch.empty_like(x, dtype=self.weight.dtype)
            # Samples as they are multiplied: where nothing is rounded, in the same memory.
            self.rounded = torch.empty_like(x, dtype=self.products) if self.rounds else self.memory
            self.u = self.rounded.new_empty((*x.shape[:-1], self.weight.shape[-2]))  # (..., n, m)
            self.clamped = torch.empty_like(self.u)


def closed_form(net: nn.Module) -> Callable[[torch.dtype], ClosedForm] | None:
    """What makes a network's `ClosedForm` of a type of numbers, if its class has one that holds.

    It does not where a subclass or the network itself has another `forward`, or where hooks watch.
    """
    kinds = type(net).__mro__
    saying = next((kind for kind in kinds if "closed_form" in vars(kind)), None)
    running = next(kind for kind in kinds if "forward" in vars(kind))
    changed = "forward" in vars(net) or parametrize.is_parametrized(net) or any(_hooks(net))
    if saying is not running or changed:
        return None
    return net.closed_form  # type: ignore[return-value]


def _hooks(net: nn.Module) -> Iterable[object]:
    """The hooks of a network, its parts and parameters, which a closed form would pass by."""
    for one in net.modules():
        yield from (one._forward_hooks, one._forward_pre_hooks)
        yield from (one._backward_hooks, one._backward_pre_hooks)
    for weight in net.parameters():
        hooks = ("_backward_hooks", "_post_accumulate_grad_hooks")
        yield from (getattr(weight, name) for name in hooks)
