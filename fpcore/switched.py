"""Neurons that weight decay has switched off: batch normalisation's scale has gone, and then nothing holds the weights up."""

from torch import Tensor, fx, nn

from fpcore.decomposition import neurons


def live_channels(norm: nn.BatchNorm2d) -> Tensor:
    """Which channels have a scale of at least a hundredth of the layer's largest: (channels,), bool."""
    return _sizeable(norm.weight.detach().abs())


def switched_on(net: nn.Module) -> dict[str, Tensor]:
    """Which neurons have weights, and a scale after them, of a hundredth of their layer's largest or more, {layer: (neurons,)}.

    What is left of the others is no feature, and training does not move it, so cosines with it would mean nothing.
    """
    on = {layer: _sizeable(w.norm(dim=1)) for layer, w in neurons(net).items()}
    for layer, norm in _normalisations(net).items():
        on[layer] &= live_channels(norm)
    return on


def _sizeable(size: Tensor) -> Tensor:
    return size > 0.01 * size.max()


def _normalisations(net: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """{convolution: its batch normalisation}, of every one whose output goes through that and nowhere else."""
    modules = dict(net.named_modules())
    found = {}
    for node in fx.symbolic_trace(net).graph.nodes:
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(norm, nn.BatchNorm2d):
            source = node.args[0]
            if isinstance(modules.get(str(source.target)), nn.Conv2d) and len(source.users) == 1:
                found[str(source.target)] = norm
    return found
