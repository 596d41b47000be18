"""The neurons of any network, layer by layer: their weights, and which of them are switched on."""

from torch import Tensor, fx, nn

from fpcore.decomposition.purification import Decomposition, decompose
from fpcore.models.two_layer import TwoLayer


def neurons(model: nn.Module) -> dict[str, Tensor]:
    """Each layer's weights as a matrix (neurons, fan-in), by its name.

    Of linear layers and convolutions, of which a filter is one neuron.
    """
    if isinstance(model, TwoLayer):
        return {"hidden": model.weight.detach()}
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}
    return {name: layer.weight.detach().flatten(1) for name, layer in layers.items()}


def paired(one: nn.Module, other: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """The `neurons` of both networks, layer by layer.

    ValueError unless they are of one architecture.
    """
    a, b = neurons(one), neurons(other)
    advice = "give two networks of the same architecture"
    if a.keys() != b.keys():
        raise ValueError(f"layers {list(a)} against {list(b)}: {advice}")
    for name in a:
        if a[name].shape != b[name].shape:
            shapes = f"{tuple(a[name].shape)} against {tuple(b[name].shape)}"
            raise ValueError(f"layer {name} is {shapes}: {advice}")
    return {name: (a[name], b[name]) for name in a}


def decompose_layers(model: nn.Module, adversarial: nn.Module) -> dict[str, Decomposition]:
    """`decompose` for every layer of two networks of one architecture, clean and purified."""
    return {name: decompose(w, w_adv) for name, (w, w_adv) in paired(model, adversarial).items()}


def live_channels(norm: nn.BatchNorm2d) -> Tensor:
    """Which channels have a scale above a hundredth of the layer's largest: (channels,), bool."""
    return _sizeable(norm.weight.detach().abs())


def switched_on(net: nn.Module) -> dict[str, Tensor]:
    """Which neurons training has left on, {layer: (neurons,)}, bool.

    Those with weights, and a scale after them, above a hundredth of their layer's largest.
    What is left of the others is no feature, and training does not move it, so cosines with it
    would mean nothing.
    """
    on = {layer: _sizeable(w.norm(dim=1)) for layer, w in neurons(net).items()}
    for layer, norm in _normalisations(net).items():
        on[layer] &= live_channels(norm)
    return on


def _sizeable(size: Tensor) -> Tensor:
    """Which sizes are above a hundredth of the largest."""
    return size > 0.01 * size.max()


def _normalisations(net: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """{convolution: its batch normalisation}, if its output goes through that and nowhere else."""
    modules = dict(net.named_modules())
    found = {}
    for node in fx.symbolic_trace(net).graph.nodes:
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(norm, nn.BatchNorm2d):
            source = node.args[0]
            if isinstance(modules.get(str(source.target)), nn.Conv2d) and len(source.users) == 1:
                found[str(source.target)] = norm
    return found
