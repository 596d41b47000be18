"""The linearisation of a network in its parameters: its neural tangent kernel, to be trained."""

import copy

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.models.batch_norm import calibrated


class Linearised(nn.Module):
    """f(x; w) + <df/dw (x; w), delta>: `net` frozen at its weights w, linear in delta, the trained.

    x (n, ...) -> class scores (n, classes); delta starts at 0. Batch normalisation uses fixed
    statistics, estimated on the images `calibration` (n, ...), so that the model is a function of
    each image alone: at initialization the running statistics mean nothing. Forward-mode
    differentiation gives the product without building the Jacobian. Source: Jacot et al. (2018).
    """

    def __init__(self, net: nn.Module, calibration: Tensor):
        super().__init__()
        checks.network("net", net)
        self.net = calibrated(net, calibration, name="calibration").requires_grad_(False)
        self.delta = nn.ParameterList(torch.zeros_like(p) for p in self.net.parameters())

    def forward(self, x: Tensor) -> Tensor:
        weights = dict(self.net.named_parameters())
        directions = dict(zip(weights, self.delta))

        def scores(w: dict[str, Tensor]) -> Tensor:
            return torch.func.functional_call(self.net, w, (x,))

        with torch.autocast(x.device.type, enabled=False):
            value, change, *_ = torch.func.jvp(scores, (weights,), (directions,))
        return value + change

    def train(self, mode: bool = True) -> "Linearised":
        super().train(mode)
        self.net.eval()  # its statistics are part of the point of linearisation
        return self

    def displaced(self) -> nn.Module:
        """The nonlinear network at w + delta."""
        twin = copy.deepcopy(self.net)
        with torch.no_grad():
            for p, d in zip(twin.parameters(), self.delta):
                p.add_(d)
        return twin
