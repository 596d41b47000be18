"""The paper's symmetric two-layer ReLU network."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore import checks
from fpcore.models.closed_form import OddReLU


class TwoLayer(nn.Module):
    """f(x) = sum_i [ReLU(<w_i, x> - b_i) - ReLU(-<w_i, x> - b_i)] with b_i = threshold |w_i|.

    Maps x (n, d) to logits (n,); the label is the sign.

    d          number of inputs
    m          number of neurons, the width
    threshold  a buffer that training raises, in units of |w_i|; no gradient flows through b
    init_norm  `weight` (m, d) starts at N(0, init_norm^2/d) per entry
    rng        of the initial weights

    f is odd, and homogeneous of degree 1 in `weight`: scaling the weights changes no label.
    Source: Allen-Zhu & Li (2020), section 2.
    """

    def __init__(
        self,
        d: int,
        m: int,
        threshold: float = 0.0,
        init_norm: float = 0.05,
        rng: torch.Generator | None = None,
    ):
        super().__init__()
        checks.positive_int("d", d)
        checks.positive_int("m (width)", m)
        checks.fits_in_memory("d times m", d * m)
        checks.random_numbers("rng", rng)
        checks.finite("init_norm", init_norm)
        checks.finite("threshold", threshold)
        like: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
        normal = torch.randn(m, d, generator=rng, **like)
        self.weight = nn.Parameter(normal * init_norm / math.sqrt(d))
        self.register_buffer("threshold", torch.tensor(float(threshold), **like))
        self.threshold: Tensor

    @property
    def bias(self) -> Tensor:
        """b_i = threshold |w_i|, shape (m,), detached."""
        return self.threshold * self.weight.detach().norm(dim=1)

    def is_plain(self) -> bool:
        """Whether it computes what its class states: no subclass and no hook changes that."""
        own = getattr(self.forward, "__func__", None) is TwoLayer.forward
        return own and not self._forward_hooks and not self._forward_pre_hooks

    def preactivations(self, x: Tensor) -> Tensor:
        """<w_i, x>, shape (n, m); neuron i is active where its size exceeds `bias`."""
        return x @ self.weight.T

    def forward(self, x: Tensor) -> Tensor:
        norm = self.weight.detach().norm(dim=1).clamp(min=1e-30)
        u = x @ (self.weight / norm[:, None]).T  # (n, m), in units of |w_i|
        # ReLU(u - b) - ReLU(-u - b) is the soft-shrinkage of u by b: one kernel, and one mask for
        # its gradient.
        return F.softshrink(u, self.threshold.item()) @ norm

    def closed_form(self, products: torch.dtype) -> OddReLU:
        """What trains it without autograd, by products of numbers of such a type."""
        return OddReLU(self.weight, self.threshold, products)
