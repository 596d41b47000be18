"""What layers give before normalisation and activation, neuron by neuron."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from fpcore.decomposition.data_flow import called
from fpcore.decomposition.layers import Neurons, neurons
from fpcore.models.outputs import evaluating
from fpcore.models.two_layer import TwoLayer


class NotObservedError(ValueError):
    """A layer whose preactivations do not appear when data run through the network."""


def preactivation(net: nn.Module, layer: str, x: Any, held: Neurons | None = None) -> Tensor:
    """What a layer gives before normalisation and ReLU on x: (n, neurons, ...).

    net    the network
    layer  a name in `neurons`
    x      images (n, 3, h, w), or what else the network is called with
    held   its `neurons`, by those who have them

    Of a module that is called several times, the first call's. NotObservedError, a ValueError, for
    embeddings, and for the gates of recurrent layers.
    """
    held = neurons(net, x) if held is None else held
    if layer not in held:
        raise ValueError(f"layer = {layer!r}: the network's layers are {[*held]}, give one")
    seen, why = preactivations(net, [layer], x, held)
    if layer not in seen:
        raise NotObservedError(why[layer])
    return seen[layer]


def preactivations(
    net: nn.Module, layers: Iterable[str], x: Any, held: Neurons
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """`preactivation` of several layers in one pass: {layer: (n, neurons, ...)} of those seen.

    net     the network
    layers  names in `neurons`
    x       what the network is called with
    held    its `neurons`

    And of those not seen why: {layer: a sentence}.
    """
    seen: dict[str, Tensor] = {}
    why = {layer: f"data do not meet layer {layer}" for layer in layers}
    hooks = []
    for layer in why:
        try:
            owner = _owner(held, layer, held.module(layer))
        except NotObservedError as error:
            why[layer] = str(error)
            continue
        note = partial(_note, held, layer, seen, why)
        hooks.append(owner.register_forward_hook(note, with_kwargs=True))
    try:
        with evaluating(net):
            called(held.model, x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen, {layer: said for layer, said in why.items() if layer not in seen}


def _note(
    held: Neurons,
    layer: str,
    seen: dict[str, Tensor],
    why: dict[str, str],
    _: nn.Module,
    args: tuple,
    kwargs: dict[str, Any],
    out: Any,
) -> None:
    """A forward hook that keeps what a layer gives in the first call of its owner."""
    if layer not in seen:
        try:
            seen[layer] = _response(held, layer, args, kwargs, out)
        except NotObservedError as error:
            why[layer] = str(error)


def _owner(held: Neurons, layer: str, module: nn.Module) -> nn.Module:
    """The module whose call shows what a layer gives: attention's, for its output projection."""
    parent = held.parent(layer)
    if isinstance(parent, nn.MultiheadAttention):
        return parent
    if isinstance(module, nn.Embedding | nn.EmbeddingBag | nn.RNNBase | nn.RNNCellBase):
        kind = type(module).__name__
        raise NotObservedError(f"layer {layer} of a {kind} has no preactivation that is seen")
    return module


def _response(held: Neurons, layer: str, args: tuple, kwargs: dict[str, Any], out: Any) -> Tensor:
    """What a layer gives in a call of its owner, neurons second; a copy, as ReLUs work in place."""
    module, parent = held.module(layer), held.parent(layer)
    if isinstance(module, TwoLayer):
        return module.preactivations(args[0])
    attention = next((m for m in (module, parent) if isinstance(m, nn.MultiheadAttention)), None)
    if attention is None:
        return _neurons_second(held, layer, out)
    if attention is parent:
        out = out[0]
    else:
        at = ("query", "key", "value").index(layer.rpartition(".")[2])
        given = [*args, *(kwargs[name] for name in ("query", "key", "value") if name in kwargs)]
        rows, bias = held.rows[layer], attention.in_proj_bias
        size = attention.embed_dim
        part = None if bias is None else bias[at * size : (at + 1) * size]
        weight = rows.matrix(getattr(attention, rows.parameter))
        out = F.linear(given[at], weight, part)
    if out.ndim == 3 and not attention.batch_first:
        out = out.transpose(0, 1)
    return _neurons_second(held, layer, out)


def _neurons_second(held: Neurons, layer: str, out: Any) -> Tensor:
    """Outputs with neurons on the second axis, where convolutions have them: (n, neurons, ...)."""
    count, _ = held.shape(layer)
    filters = isinstance(held.module(layer), nn.modules.conv._ConvNd)
    if isinstance(out, Tensor) and not filters and out.shape[-1] == count:
        return out.movedim(-1, 1).clone()
    if isinstance(out, Tensor) and out.ndim > 1 and out.shape[1] == count:
        return out.clone()
    kind, found = type(held.module(layer)).__name__, getattr(out, "shape", type(out).__name__)
    raise NotObservedError(f"a {kind} gives {found}: the preactivation of {layer} is not seen")
