"""Weights as they act: computed from other parameters, tied or wrapped; and copies to write to."""

import copy
from collections.abc import Iterator
from types import FunctionType

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from fpcore.models.outputs import evaluating

# Parametrisations from before torch.nn.utils.parametrize: hooks that run before the module does.
OLD = (WeightNorm, SpectralNorm, prune.BasePruningMethod)


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside DataParallel, DistributedDataParallel and torch.compile."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, parallel):
            model = model.module
        elif isinstance(inside := getattr(model, "_orig_mod", None), nn.Module):
            model = inside
        else:
            return model


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module once, by its name in the network without wrappers, parents first."""
    met: set[int] = set()

    def walk(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
        module = unwrapped(module)
        if id(module) in met:
            return
        met.add(id(module))
        yield name, module
        for child, inside in module.named_children():
            if child != "parametrizations":
                yield from walk(inside, f"{name}.{child}" if name else child)

    return walk(model, "")


def _old_hooks(module: nn.Module) -> dict[str, WeightNorm | SpectralNorm | prune.BasePruningMethod]:
    """The parametrisations of a module that are hooks, by the weight that they compute."""
    found = {}
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, OLD):
            name = hook._tensor_name if isinstance(hook, prune.BasePruningMethod) else hook.name
            found[name] = hook
    return found


def computed(module: nn.Module) -> dict[str, type]:
    """{weight of a module that is computed from other parameters: the type of what does it}."""
    chains = getattr(module, "parametrizations", {}) if parametrize.is_parametrized(module) else {}
    return {
        **{name: type(hook) for name, hook in _old_hooks(module).items()},
        **{name: type(steps[0]) for name, steps in chains.items()},
    }


@torch.no_grad()
def acting(module: nn.Module, name: str) -> Tensor | None:
    """A weight of a module as it acts in evaluation mode, detached; None if there is none.

    What it is computed from (weight norm, spectral norm, pruning, low-rank updates) keeps its
    state: no step of a power iteration is made.
    """
    with evaluating(module):
        hook = _old_hooks(module).get(name)
        if hook is None:
            weight = getattr(module, name, None)
        elif isinstance(hook, WeightNorm):
            weight = hook.compute_weight(module)
        elif isinstance(hook, SpectralNorm):
            weight = hook.compute_weight(module, do_power_iteration=False)
        else:
            weight = hook.apply_mask(module)
    if not isinstance(weight, Tensor):
        return None
    if is_lazy(weight):
        advice = "run the network once on a batch, which gives it its shape"
        raise ValueError(f"{name} of a {type(module).__name__} has no values yet: {advice}")
    return weight.detach()


def feeding(module: nn.Module, name: str) -> list[nn.Parameter]:
    """The parameters that a weight of a module is, or is computed from."""
    if parametrize.is_parametrized(module, name):
        chains = module.parametrizations
        assert isinstance(chains, nn.ModuleDict)
        return list(chains[name].parameters())
    own = module._parameters
    names = [name, f"{name}_g", f"{name}_v", f"{name}_orig"]
    return [parameter for one in names if (parameter := own.get(one)) is not None]


def copied(model: nn.Module) -> nn.Module:
    """A deep copy, also of a network that keeps what its last run made, as old weight norm does."""
    memo: dict[int, Tensor] = {}
    for module in model.modules():
        held = [*module.__dict__.values()]
        held += [each for value in held if isinstance(value, list) for each in value]
        for value in held:
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(model, memo)


def check_copyable(model: nn.Module) -> None:
    """Raise ValueError for a network whose forward was replaced by a function.

    That of a copy would go on calling the network that it was written for, not the copy.
    """
    for name, module in named_modules(model):
        if isinstance(module.__dict__.get("forward"), FunctionType):
            found = f"{name or 'model'} = {type(module).__name__}, whose forward is a function"
            advice = "give a module whose class has this forward, class Mine(nn.Module)"
            raise ValueError(f"{found}, in which a copy's weights would not act: {advice}")


@torch.no_grad()
def merged(model: nn.Module) -> nn.Module:
    """A copy of a network, unwrapped and in evaluation mode, whose weights can be written to.

    Weights that are computed from other parameters become parameters of their own.
    """
    check_copyable(model)
    twin = copied(unwrapped(model)).eval()
    for module in [*twin.modules()]:
        if parametrize.is_parametrized(module):
            # Not remove_parametrizations: that would take the weight from `model` too, which shares
            # its class with the copy.
            chains = module.parametrizations
            assert isinstance(chains, nn.ModuleDict)
            weights = {name: acting(module, name) for name in chains}
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
        else:
            hooks = _old_hooks(module)
            weights = {name: acting(module, name) for name in hooks}
            for key, hook in [*module._forward_pre_hooks.items()]:
                if hook in hooks.values():
                    del module._forward_pre_hooks[key]
            for name in hooks:
                module.__dict__.pop(name, None)
                for end in ("_g", "_v", "_orig"):
                    module._parameters.pop(name + end, None)
                for end in ("_u", "_v", "_mask"):
                    module._buffers.pop(name + end, None)
        for name, weight in weights.items():
            assert weight is not None
            setattr(module, name, nn.Parameter(weight.clone()))  # recurrent layers take note
    return twin
