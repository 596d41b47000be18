"""What a report is about: networks by their role, images, a threat, options."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fpcore.ball import Ball
from fpcore.loading.labelled_data import labelled

USED = 2000  # images at most, the first ones
GIVEN = 500  # images on which the networks that were given are attacked, at most
VARIANT_CLEAN = 300  # images at most on which variants are right or wrong without an attack
CALIBRATION = 250  # images at most on which batch statistics are estimated anew


@dataclass(frozen=True)
class Labelled:
    """Images x (n, ...) with labels y (n,), what they are called, and what was done to them."""

    x: Tensor
    y: Tensor
    name: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subjects:
    """The networks, the images and the options of one report.

    networks   {role: network}: clean, purified, and if given control, init, scratch
    images     None: the report is of weights alone
    ball       the threat; None: nothing is attacked
    layers     shell patterns of the layers that are measured one by one; None: all
    seed       of random vectors and random starts
    attacked   number of images on which variants are attacked
    described  {role: {"source": where it is from, "notes": what to know of it}}
    command    the words of the command line that makes the report anew; none: it was a call
    """

    networks: dict[str, nn.Module]
    images: Labelled | None = None
    ball: Ball | None = None
    layers: Sequence[str] | None = None
    seed: int = 0
    attacked: int = 200
    described: dict[str, dict[str, Any]] = field(default_factory=dict)
    command: tuple[str, ...] = ()

    @property
    def clean(self) -> nn.Module:
        """The network of weights w."""
        return self.networks["clean"]

    @property
    def purified(self) -> nn.Module:
        """The network of weights w'."""
        return self.networks["purified"]

    @property
    def others(self) -> dict[str, nn.Module]:
        """The networks whose neurons are compared with the clean one's, neuron by neuron."""
        compared = ("purified", "control", "scratch")
        return {role: self.networks[role] for role in compared if role in self.networks}


@dataclass(frozen=True)
class Shares:
    """Which of n images serve what: no image that a variant is calibrated on is attacked there."""

    given: int  # the first so many: attacked in the networks that were given
    variant: int  # the first so many: attacked in variants
    clean: int  # the first so many: classified by variants
    calibration: int  # the last so many: batch statistics of variants


def shares(n: int, attacked: int, normalised: bool) -> Shares:
    """How `n` images are shared out.

    n           number of images
    attacked    number of images that the user wants variants to be attacked on
    normalised  whether there is batch normalisation, whose statistics variants need anew
    """
    given = min(n, max(GIVEN, attacked))
    if not normalised:
        return Shares(given, min(attacked, n), min(n, max(VARIANT_CLEAN, attacked)), 0)
    variant = min(attacked, n // 2)
    calibration = min(CALIBRATION, n - variant)
    clean = max(variant, min(VARIANT_CLEAN, n - calibration))
    return Shares(given, variant, clean, calibration)


def first_labelled(images: Any, count: int = USED) -> Labelled:
    """The first `count` images and labels of what holds them.

    images  tensors (x, y), taken as they are; fpcore Images, a Dataset or a DataLoader
    count   at most so many; no more are read
    """
    if isinstance(images, Labelled):
        return Labelled(images.x[:count], images.y[:count], images.name, images.notes)
    if isinstance(images, tuple | list) and len(images) == 2:
        x, y = images
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            return Labelled(x[:count], y[:count], "images")
    found = labelled(images, count)
    fewer = f"{len(found)} samples are all there are, {count} were asked for"
    notes = tuple(note for note in found.notes if note != fewer)  # nobody asked for so many
    return Labelled(found.x, found.y, found.name, notes)


def normalised(net: nn.Module) -> bool:
    """Whether a network has batch normalisation with running statistics."""
    kind = nn.modules.batchnorm._BatchNorm
    return any(isinstance(m, kind) and m.track_running_stats for m in net.modules())


def device_of(net: nn.Module) -> torch.device:
    """The device of a network's parameters."""
    return next(net.parameters()).device


def fitted(x: Tensor, net: nn.Module) -> Tensor:
    """Images x on the device of a network, in the precision of its weights."""
    weight = next(p for p in net.parameters() if p.is_floating_point())
    return x.to(weight.device, weight.dtype)
