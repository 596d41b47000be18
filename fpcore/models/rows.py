"""Where the neurons of a layer lie: which parameter, along which axis, which of its rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from fpcore.models.two_layer import TwoLayer


@dataclass(frozen=True)
class Rows:
    """Where a matrix (neurons, fan-in) lies in a parameter.

    A neuron is a row of what multiplies the input.

    parameter  its name in the module
    start      the first of the neurons, along their axis
    stop       the one after the last; None: to the end
    axis       along which neurons are counted: 0 of (neurons, ...), 1 of (fan-in, neurons, ...)
    groups     of a transposed convolution, whose second axis holds the neurons of one group
    heads      of attention: so many blocks of neurons of equal size, one a head
    """

    parameter: str = "weight"
    start: int = 0
    stop: int | None = None
    axis: int = 0
    groups: int = 1
    heads: int = 1

    def block(self, weight: Tensor) -> Tensor:
        """The neurons' part of the parameter, a view to read and to write: (..., fan-in...)."""
        if self.axis == 0:
            return weight[self.start : self.stop]
        return weight.unflatten(0, (self.groups, -1)).transpose(1, 2)  # (groups, out, in, ...)

    def matrix(self, weight: Tensor) -> Tensor:
        """The neurons (neurons, fan-in): a view where the parameter's layout allows it."""
        block = self.block(weight)
        return (block if self.axis == 0 else block.flatten(0, 1)).flatten(1)

    def folded(self, matrix: Tensor, like: Tensor) -> Tensor:
        """All neurons of a parameter, (neurons, fan-in), in the shape of the parameter `like`."""
        if self.axis == 0:
            return matrix.view_as(like)
        block = matrix.view(self.block(like).shape)
        return block.transpose(1, 2).reshape(like.shape)


# What a type's module holds: {what is appended to the module's name, or "": where it lies}.
Holds = Callable[[nn.Module], Mapping[str, Rows]]
GATES = {
    nn.LSTM: ("input", "forget", "cell", "output"),
    nn.LSTMCell: ("input", "forget", "cell", "output"),
    nn.GRU: ("reset", "update", "new"),
    nn.GRUCell: ("reset", "update", "new"),
}


def _one(_: nn.Module) -> dict[str, Rows]:
    return {"": Rows()}


def _transposed(layer: nn.Module) -> dict[str, Rows]:
    return {"": Rows(axis=1, groups=getattr(layer, "groups", 1))}


def _attention(layer: nn.Module) -> dict[str, Rows]:
    """Query, key and value; the output projection is a Linear of its own."""
    assert isinstance(layer, nn.MultiheadAttention)
    size, heads = layer.embed_dim, layer.num_heads
    names = ("query", "key", "value")
    if layer._qkv_same_embed_dim:
        at = [Rows("in_proj_weight", i * size, (i + 1) * size, heads=heads) for i in range(3)]
    else:
        at = [Rows(f"{name[0]}_proj_weight", heads=heads) for name in names]
    return dict(zip(names, at))


def _recurrent(layer: nn.Module) -> dict[str, Rows]:
    """Each matrix by gate; the projection of an LSTM's output has none."""
    gates = next((gates for kind, gates in GATES.items() if isinstance(layer, kind)), ())
    found = {}
    for name in [n for n in _parameter_names(layer) if n.startswith("weight_")]:
        if not gates or name.startswith("weight_hr"):
            found[name] = Rows(name)
            continue
        size: int = layer.hidden_size  # type: ignore[assignment]
        for i, gate in enumerate(gates):
            found[f"{name}.{gate}"] = Rows(name, i * size, (i + 1) * size)
    return found


def _parameter_names(layer: nn.Module) -> list[str]:
    """The weights of a recurrent layer, in the order of its cells."""
    names = [name for group in getattr(layer, "_all_weights", []) for name in group]
    return names or ["weight_ih", "weight_hh"]


TYPES: dict[type | str, Holds] = {
    nn.Linear: _one,
    nn.Bilinear: _one,
    nn.Conv1d: _one,
    nn.Conv2d: _one,
    nn.Conv3d: _one,
    nn.ConvTranspose1d: _transposed,
    nn.ConvTranspose2d: _transposed,
    nn.ConvTranspose3d: _transposed,
    nn.Embedding: _one,
    nn.EmbeddingBag: _one,
    nn.MultiheadAttention: _attention,
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _recurrent,
    TwoLayer: lambda _: {"hidden": Rows()},
    # by name, so that they need not be installed
    "torchvision.ops.deform_conv.DeformConv2d": _one,
    "transformers.pytorch_utils.Conv1D": _transposed,
}


def add_layer_type(kind: type[nn.Module], holds: Holds | Mapping[str, Rows]) -> None:
    """Teach the measures a layer type of one's own, and its subclasses.

    kind   the class
    holds  where its neurons lie, {"": Rows("kernel", axis=1)}, say, for a matrix (fan-in, neurons);
           several matrices have a name each. Or a function of the module that returns this
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"kind = {kind!r}: give a subclass of torch.nn.Module")
    if isinstance(holds, Mapping):
        if not all(isinstance(rows, Rows) for rows in holds.values()):
            raise ValueError(f"holds = {holds!r}: give {{name: fpcore.models.Rows(...)}}")
        found = dict(holds)
        TYPES[kind] = lambda _: found
    elif callable(holds):
        TYPES[kind] = holds
    else:
        raise ValueError(f"holds = {holds!r}: give a mapping of Rows, or a function that does")


def rows_of(module: nn.Module) -> Mapping[str, Rows]:
    """Where the neurons of a module itself lie, without its children's; {} of an unknown type."""
    holds = next((TYPES[key] for kind in type(module).__mro__ if (key := _key(kind))), None)
    return holds(module) if holds else {}


def own_forward(module: nn.Module) -> bool:
    """Whether a module computes what only its own code knows, as a subclass of a known type may."""
    kind = next(kind for kind in type(module).__mro__ if "forward" in vars(kind))
    return _key(kind) is None and not kind.__module__.startswith("torch.nn.")


def _key(kind: type) -> type | str | None:
    """Under which a class stands in `TYPES`; None if it does not."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    return kind if kind in TYPES else name if name in TYPES else None
