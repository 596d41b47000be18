"""How data meet the modules of a network: in which order, which gives the scores, what follows."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from fpcore.models.acting import named_modules, unwrapped
from fpcore.models.outputs import evaluating
from fpcore.models.rows import rows_of

TRACED = "as data meets them"
REGISTERED = "as registered"
NORMALISATIONS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass
class DataFlow:
    """The modules of a network by name, as `data_flow` finds them.

    order       of those that data meet, the first first
    scores      the one with neurons whose output is the score; None: unknown
    normalised  the normalisations that all outputs of a module with neurons go through
    known       `TRACED`, or `REGISTERED` where the order is not known
    """

    order: list[str] = field(default_factory=list)
    scores: str | None = None
    normalised: dict[str, nn.Module] = field(default_factory=dict)
    known: str = TRACED


def data_flow(model: nn.Module, x: Any = None) -> DataFlow:
    """How data meet the modules of `model`: by torch.fx, or else by running it on x.

    model  a network, without its wrappers
    x      what it is called with: a batch, or a mapping of named arguments; two samples will do
    """
    modules = dict(named_modules(model))
    net = unwrapped(model)
    try:
        with evaluating(net), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a tracer that meets code it may not know
            return _by_tracing(net, modules)
    except Exception:  # whatever a network's code makes of a tracer
        return DataFlow(known=REGISTERED) if x is None else _by_running(net, modules, x)


class _Tracer(fx.Tracer):
    """A tracer that looks into no module with neurons."""

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        inside = unwrapped(m)
        return super().call_module(inside, forward if inside is m else inside, args, kwargs)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return bool(rows_of(m)) or super().is_leaf_module(m, module_qualified_name)


def _by_tracing(net: nn.Module, modules: Mapping[str, nn.Module]) -> DataFlow:
    graph = _Tracer().trace(net)
    names = {id(module): name for name, module in modules.items()}
    met: dict[fx.Node, str] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            met[node] = names[id(unwrapped(net.get_submodule(str(node.target))))]
        elif node.op == "get_attr":  # a weight that a function is called with
            owner = net.get_submodule(str(node.target).rpartition(".")[0])
            met[node] = names.get(id(unwrapped(owner)), "")
    (output,) = (node for node in graph.nodes if node.op == "output")
    before = _ancestors(output)
    giving = [name for node, name in met.items() if node in before and rows_of(modules[name])]
    flow = DataFlow([*dict.fromkeys(met.values())], giving[-1] if giving else None)
    for node, name in met.items():
        norm = modules[name] if node.op == "call_module" else None
        source = node.args[0] if node.args else None
        if isinstance(norm, NORMALISATIONS) and isinstance(source, fx.Node):
            alone = len(source.users) == 1 and source.op == "call_module"
            if alone and rows_of(modules[met[source]]):
                flow.normalised[met[source]] = norm
    return flow


def _ancestors(node: fx.Node) -> set[fx.Node]:
    """All nodes that a node of a graph depends on."""
    found: set[fx.Node] = set()
    ahead = [node]
    while ahead:
        for source in ahead.pop().all_input_nodes:
            if source not in found:
                found.add(source)
                ahead.append(source)
    return found


@torch.no_grad()
def _by_running(net: nn.Module, modules: Mapping[str, nn.Module], x: Any) -> DataFlow:
    flow = DataFlow()
    outputs: dict[str, list[Tensor]] = {}

    def note(name: str):
        def hook(_: nn.Module, __: Any, out: Any) -> None:
            if name not in outputs:
                flow.order.append(name)
                outputs[name] = _tensors(out) if rows_of(modules[name]) else []

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in modules.items()]
    try:
        with evaluating(net), torch.random.fork_rng():
            scores = _tensors(called(net, x))
    finally:
        for handle in hooks:
            handle.remove()
    having = [name for name in flow.order if rows_of(modules[name])]
    same = [name for name in having if any(_same(a, b) for a in outputs[name] for b in scores)]
    sizes = {score.shape[-1] for score in scores if score.ndim}
    fitting = [n for n in having if any(o.ndim and o.shape[-1] in sizes for o in outputs[n])]
    flow.scores = next((some[-1] for some in (same, fitting, having) if some), None)
    return flow


def called(net: nn.Module, x: Any) -> Any:
    """What a network gives for x: a batch, or a mapping of named arguments."""
    floats = (p.dtype for p in net.parameters() if p.is_floating_point())
    wanted = next(floats, torch.float32)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it does not call the modules inside
    compiled = any(unwrapped(module) is not module for module in net.modules())
    # Only then, since it imports the compiler.
    stance = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    try:
        with stance:
            if isinstance(x, Mapping):
                return net(**x)
            return net(x.to(wanted) if x.is_floating_point() else x)
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, LookupError, RuntimeError, TypeError) as error:
        line = str(error).strip().split("\n")[0]
        found = f"x = {_described(x)}: the network cannot be called with it"
        advice = "give a batch that it takes, or a mapping of its named arguments"
        raise ValueError(f"{found} ({type(error).__name__}: {line}): {advice}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _described(x: Any) -> str:
    """What an error calls an input."""
    if isinstance(x, Tensor):
        return f"{x.dtype} {tuple(x.shape)}"
    return f"{{{', '.join(map(str, x))}}}" if isinstance(x, Mapping) else type(x).__name__


def _tensors(out: Any) -> list[Tensor]:
    """The tensors of what a module returns."""
    if isinstance(out, Tensor):
        return [out]
    parts = out.values() if isinstance(out, Mapping) else out
    parts = parts if isinstance(out, Mapping | list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers, whatever their shapes."""
    return one.numel() == other.numel() and torch.equal(one.flatten(), other.flatten())
