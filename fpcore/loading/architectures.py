"""A network by the name of its architecture: torchvision's, timm's, one of ours, or a function."""

import difflib
import importlib
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from torch import nn

from fpcore import models
from fpcore.loading.wrappings import listed

WAYS_TO_NAME = (
    "torchvision:NAME, timm:NAME, fpcore:ConvNet[:WIDTH], fpcore:ResNet[:WIDTH], my.module:f"
)


def build_network(arch: str, classes: int | None = None) -> nn.Module:
    """A new network, its weights random: none are downloaded.

    arch     "torchvision:resnet18", "timm:NAME", "fpcore:ConvNet", "fpcore:ResNet:0.5" (of half
             the width), or "my.module:factory": a function or class, called without arguments, of
             a module that can be imported, also from the current folder
    classes  the number of classes, None: the architecture's own

    Raises ValueError that names what is wrong: an unknown name with the closest ones, timm not
    installed, a module or function that is not there or fails.
    """
    kind, _, name = str(arch).partition(":")
    if not isinstance(arch, str) or not kind or not name:
        raise ValueError(f"arch = {arch!r}: give {WAYS_TO_NAME}")
    if kind not in BUILDERS:
        if classes is not None:
            found = f"classes = {classes} with arch = {arch!r}"
            raise ValueError(f"{found}: {name} is called without arguments, set it there")
        return _from_factory(kind, name)
    return BUILDERS[kind](name, classes)


def takes_classes(arch: str) -> bool:
    """Whether `build_network` can give this architecture another number of classes."""
    return arch.partition(":")[0] in BUILDERS


def named_among(what: str, name: str, names: Collection[str]) -> str:
    """Return `name` if it is one of `names`, else raise ValueError that has the closest."""
    if name in names:
        return name
    lower = {each.lower(): each for each in names if not each.startswith("_")}
    close = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.4)
    closest = [lower[each] for each in close] or sorted(lower.values())
    raise ValueError(f"{what} = {name!r} is not known: did you mean {listed(closest)}?")


def _from_torchvision(name: str, classes: int | None) -> nn.Module:
    from torchvision import models as theirs

    named_among("torchvision", name, theirs.list_models(module=theirs))
    return theirs.get_model(name, weights=None, **_given(num_classes=classes))


def _from_timm(name: str, classes: int | None) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"timm:{name} needs timm ({error}): pip install timm") from error
    named_among("timm", name.partition(".")[0], timm.list_models())  # nothing that asks a hub
    return timm.create_model(name, pretrained=False, **_given(num_classes=classes))


def _from_fpcore(name: str, classes: int | None) -> nn.Module:
    ours: dict[str, Callable[..., nn.Module]] = {"ConvNet": models.ConvNet, "ResNet": models.ResNet}
    name, _, width = name.partition(":")
    named_among("fpcore", name, ours)
    try:
        return ours[name](**_given(width=float(width) if width else None, classes=classes))
    except ValueError as error:
        raise ValueError(f"fpcore:{name}:{width} ({error}): give a width such as 0.5") from error


def _given(**options: float | None) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "torchvision": _from_torchvision,
    "timm": _from_timm,
    "fpcore": _from_fpcore,
}


def _from_factory(module_name: str, name: str) -> nn.Module:
    """What a function of anybody's module makes."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        try:
            made: Any = importlib.import_module(module_name)
        except Exception as error:
            what = f"module {module_name!r} cannot be imported ({type(error).__name__}: {error})"
            raise ValueError(f"{what}: run in its folder, or give {WAYS_TO_NAME}") from error
        for part in name.split("."):
            if not hasattr(made, part):
                named_among(f"{module_name}: function or class", part, [*vars(made)])
            made = getattr(made, part)
        if isinstance(made, nn.Module) or not callable(made):
            what = f"{module_name}:{name} is a {type(made).__name__}"
            raise ValueError(f"{what}: give a function or class that makes a network")
        try:
            network = made()
        except Exception as error:
            what = f"{module_name}:{name}() failed ({type(error).__name__}: {error})"
            raise ValueError(f"{what}: give a function without arguments") from error
    finally:
        sys.path.remove(here)
    if not isinstance(network, nn.Module):
        what = f"{module_name}:{name}() made a {type(network).__name__}"
        raise ValueError(f"{what}: give a function that makes a torch.nn.Module")
    return network
