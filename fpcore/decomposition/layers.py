"""The neurons of any network, layer by layer: their weights, and which of them are switched on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import getattr_static, isroutine
from typing import Any

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.decomposition.data_flow import REGISTERED, data_flow
from fpcore.decomposition.lazily import Lazily
from fpcore.decomposition.purification import Decomposition, decompose, norms
from fpcore.models.acting import acting, feeding, named_modules, unwrapped
from fpcore.models.readable import check_readable, check_values
from fpcore.models.rows import Rows, own_forward, rows_of

NONE = "has no layer with neurons: see fpcore.models.add_layer_type"
ALIKE = "give two networks of the same architecture"


@dataclass(frozen=True)
class Coverage:
    """Which of a network's weights `neurons` speaks of.

    share     of all weights, which are the numbers in parameters of two or more dimensions
    left_out  those that it does not speak of, {name of the parameter: count}
    tied      {layer: the layer that it shares its weights with, where they are}
    order     of the layers: "as data meets them", or "as registered" where that is not known
    notes     what else a reader should know, in words
    """

    share: float
    left_out: dict[str, int]
    tied: dict[str, str]
    order: str
    notes: tuple[str, ...]


class Neurons(Lazily[str, Tensor]):
    """{layer: its weights as a matrix (neurons, fan-in)}, made one at a time: see `neurons`.

    model       the network, without its wrappers
    rows        {layer: where in its module they lie}
    modules     {layer: the name of the module}
    normalised  {layer: the normalisation behind it}
    coverage    what of the network this is
    """

    def __init__(self, model: nn.Module, x: Any = None):
        self.model = unwrapped(model)
        self._named = dict(named_modules(model))
        places = {
            ".".join(filter(None, (name, part))): (name, rows)
            for name, module in self._named.items()
            for part, rows in rows_of(module).items()
            if acting(module, rows.parameter) is not None
        }
        flow = data_flow(model, x)
        self.modules = {layer: module for layer, (module, _) in places.items()}
        self.rows: dict[str, Rows] = {layer: rows for layer, (_, rows) in places.items()}
        order, unmet = self._ordered(flow.order, flow.scores)
        tied = self._tied(order)
        layers = [layer for layer in order if layer not in tied]
        self.normalised = {
            layer: flow.normalised[module]
            for layer in layers
            if (module := self.modules[layer]) in flow.normalised
        }
        super().__init__({layer: partial(self.matrix, layer) for layer in layers})
        notes = _notes(self._named, [] if flow.known == REGISTERED else unmet, flow.known)
        share, left_out = self._covered()
        self.coverage = Coverage(share, left_out, tied, flow.known, notes)

    @property
    def head(self) -> str:
        """The layer whose output is the score: the last. ValueError if there is no layer."""
        if not self:
            raise ValueError(f"a {type(self.model).__name__} {NONE}")
        return [*self][-1]

    def module(self, layer: str) -> nn.Module:
        """The module that a layer's weights are in."""
        return self._named[self.modules[layer]]

    def parent(self, layer: str) -> nn.Module | None:
        """The module that this one is in; None of the network itself."""
        name = self.modules[layer]
        return self._named.get(name.rpartition(".")[0]) if name else None

    def matrix(self, layer: str) -> Tensor:
        """The neurons of a layer (neurons, fan-in), detached; a view where the layout allows it."""
        rows = self.rows[layer]
        weight = acting(self.module(layer), rows.parameter)
        assert weight is not None
        return rows.matrix(weight)

    @torch.no_grad()
    def write(self, layer: str, matrix: Tensor) -> None:
        """Overwrite the neurons of a layer, in a network whose weights are its parameters' own."""
        rows = self.rows[layer]
        weight = getattr(self.module(layer), rows.parameter)
        block = rows.block(weight)
        block.copy_(matrix.view(block.shape))

    def shape(self, layer: str) -> tuple[int, int]:
        """The number of neurons and the fan-in."""
        neurons, fan_in = self[layer].shape
        return neurons, fan_in

    def kernel(self, layer: str) -> tuple[int, ...]:
        """The shape of a neuron: (channels, h, w) of a filter, (fan-in,) of a row."""
        rows = self.rows[layer]
        weight = acting(self.module(layer), rows.parameter)
        assert weight is not None
        return tuple(rows.block(weight).shape[1 + rows.axis :])

    def _ordered(self, met: list[str], scores: str | None) -> tuple[list[str], list[str]]:
        """All layers as data meet them, the one that gives the scores last; and those not met.

        A layer that is not called itself, as inside attention, comes when its parent does.
        """
        place = {name: at for at, name in enumerate(met)}

        def when(layer: str) -> int:
            name = self.modules[layer]
            while name not in place and name:
                name = name.rpartition(".")[0]
            return place.get(name, len(met)) if name or "" in place else len(met)

        unmet = [layer for layer in self.modules if when(layer) == len(met)]
        order = sorted(self.modules, key=when)  # stable: else as registered
        last = [layer for layer in order if scores is not None and self.modules[layer] == scores]
        return [layer for layer in order if layer not in last] + last, unmet

    def _tied(self, order: list[str]) -> dict[str, str]:
        """{layer: the one that it shares its weights with}: the scores' layer, else the first."""
        first: dict[tuple, str] = {}
        tied: dict[str, str] = {}
        for layer in [*order[-1:], *order[:-1]]:
            module, rows = self._named[self.modules[layer]], self.rows[layer]
            key = tuple(_place(p) for p in feeding(module, rows.parameter))
            if not key or any(None in place for place in key):
                continue
            other = first.setdefault((key, rows.start, rows.stop), layer)
            if other != layer:
                tied[layer] = other
        return tied

    def _covered(self) -> tuple[float, dict[str, int]]:
        """The share of the weights, and what is left out."""
        spoken = {
            id(parameter)
            for layer, name in self.modules.items()
            for parameter in feeding(self._named[name], self.rows[layer].parameter)
        }
        weights = {n: p for n, p in _named_parameters(self.model) if p.ndim > 1}
        left_out = {name: p.numel() for name, p in weights.items() if id(p) not in spoken}
        packed = {f"{n}.weight": m for n, m in self._named.items() if _quantised(m)}
        left_out |= {name: m.weight().numel() for name, m in packed.items()}  # type: ignore[operator]
        total = sum(p.numel() for p in weights.values()) + sum(left_out[name] for name in packed)
        return 1 - sum(left_out.values()) / total if total else 1.0, left_out


def _named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters, each once, by their names in the network without wrappers."""
    for name, parameter in model.named_parameters():
        yield name.replace("_orig_mod.", ""), parameter


def _place(tensor: Tensor) -> tuple:
    """Where in memory a tensor is: tied weights are in one place. None on the meta device."""
    if tensor.is_meta or not tensor.numel():
        return (None,)
    return (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.numel())


def _quantised(module: nn.Module) -> bool:
    """Whether a layer keeps its weight packed, as torch's quantised ones do."""
    packed = isroutine(getattr_static(module, "weight", None))
    return packed and type(module).__module__.startswith("torch.ao.nn.")


def _notes(modules: Mapping[str, nn.Module], unmet: list[str], order: str) -> tuple[str, ...]:
    notes = [f"data do not meet {', '.join(unmet)}"] if unmet else []
    if order == REGISTERED:
        notes.append(
            "the network cannot be traced: its layers stand as registered, and scales of "
            "normalisation are not looked at; give x, with which it is run"
        )
    for name, module in modules.items():
        if isroutine(getattr_static(module, "weight", None)):  # as quantised layers have it
            notes.append(f"{name} is a {type(module).__name__}: its weights cannot be read")
        elif rows_of(module) and own_forward(module):
            notes.append(f"{name} is a {type(module).__name__}: its forward may change its weights")
        for own, buffer in module.named_buffers(recurse=False):
            if buffer.ndim > 1 and buffer.is_floating_point() and not rows_of(module):
                notes.append(f"{name}.{own} is a buffer and no parameter: it is not counted")
    return tuple(notes)


def neurons(model: nn.Module, x: Any = None) -> Neurons:
    """Each layer's weights as a matrix (neurons, fan-in), by its name: a neuron is a row.

    model  any network; of one in DataParallel or torch.compile, what is inside
    x      what it is called with, a batch or named arguments; needed to order the layers of a
           network that torch.fx cannot trace

    A filter of a convolution is one neuron, and a row of an embedding; attention's query, key and
    value are a matrix each, recurrent layers have one by gate. Weights count as they act (weight
    norm, low-rank updates), tied ones once. Layers stand as data meet them, and the one that gives
    the scores is the last. `coverage` says what is left out. `fpcore.models.add_layer_type` adds a
    type.
    """
    check_readable(checks.module("model", model))
    return Neurons(model, x)


def paired(one: nn.Module, other: nn.Module, x: Any = None) -> Mapping[str, tuple[Tensor, Tensor]]:
    """The `neurons` of both networks, layer by layer, made one at a time.

    ValueError unless they are of one architecture.
    """
    checks.network("the first network", one)
    checks.network("the second network", other)
    return _paired(neurons(one, x), neurons(other, x))


def _paired(a: Neurons, b: Neurons) -> Lazily[str, tuple[Tensor, Tensor]]:
    """{layer: its neurons in both networks}."""
    if not a:
        raise ValueError(f"a {type(a.model).__name__} {NONE}")
    for one, other in ((a, b), (b, a)):
        if missing := [layer for layer in one if layer not in other]:
            raise ValueError(f"layer {missing[0]} is in one network only: {ALIKE}")
    for name in a:
        shapes = a.shape(name), b.shape(name)
        if shapes[0] != shapes[1]:
            raise ValueError(f"layer {name} is {shapes[0]} against {shapes[1]}: {ALIKE}")
    for name in a:
        for which, found in (("first", a), ("second", b)):
            check_values(f"layer {name} of the {which} network", found[name])
    return Lazily({name: partial(_pair, a, b, name) for name in a})


def _pair(a: Neurons, b: Neurons, layer: str) -> tuple[Tensor, Tensor]:
    return a[layer], b[layer]


def decompose_layers(
    model: nn.Module, adversarial: nn.Module, x: Any = None
) -> dict[str, Decomposition]:
    """`decompose` for every layer of two networks of one architecture, clean and purified.

    model        the clean network
    adversarial  the purified one
    x            as in `neurons`
    """
    pairs = paired(model, adversarial, x)
    return {name: decompose(w, w_adv) for name, (w, w_adv) in pairs.items()}


def live_channels(norm: nn.Module) -> Tensor:
    """Which channels have a scale above a hundredth of the layer's largest: (channels,), bool.

    All, of a batch normalisation without scales.
    """
    if isinstance(norm.weight, Tensor):
        return _sizeable(norm.weight.detach().abs())
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    return torch.ones(norm.num_features, dtype=torch.bool, device="cpu")


def switched_on(net: nn.Module, x: Any = None) -> dict[str, Tensor]:
    """Which neurons training has left on, {layer: (neurons,)}, bool.

    net  the network
    x    as in `neurons`

    Those with weights, and a scale after them, above a hundredth of their layer's largest.
    What is left of the others is no feature, and training does not move it, so cosines with it
    would mean nothing.
    """
    found = neurons(net, x)
    for layer, w in found.items():
        check_values(f"layer {layer}", w)
    on = {layer: _sizeable(norms(w)) for layer, w in found.items()}
    for layer, norm in found.normalised.items():
        scale = norm.weight
        if isinstance(scale, Tensor) and scale.shape == on[layer].shape:
            on[layer] &= _sizeable(scale.detach().abs())
    return on


def _sizeable(size: Tensor) -> Tensor:
    """Which sizes are above a hundredth of the largest."""
    return size > 0.01 * size.max()
