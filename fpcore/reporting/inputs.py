"""The checks before a report's work: each error names the thing and what to give instead."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.ball import Ball
from fpcore.gradients import not_of_inference
from fpcore.models.outputs import evaluating, labels_for, samples
from fpcore.models.readable import check_values
from fpcore.reporting.identity import parameters_digest
from fpcore.reporting.subjects import Labelled, Subjects, fitted

LEAST = 4  # images: half of them calibrates, and batch statistics need two


def patterns(layers: str | Sequence[str] | None) -> list[str] | None:
    """Shell patterns of layers as a list."""
    if layers is None:
        return None
    found = [layers] if isinstance(layers, str) else list(layers)
    if not found or not all(isinstance(pattern, str) for pattern in found):
        raise ValueError(f"layers = {layers!r}: give a shell pattern, a list of them, or None")
    return found


def report_folder(out: str | Path | None) -> Path | None:
    """The folder of a report, which need not be there yet."""
    if out is None:
        return None
    path = checks.path("out", out)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"out = {str(out)!r}: {place} is a file, give a folder")
    return path


def check(subjects: Subjects) -> None:
    """Raise ValueError, naming the thing and the fix, unless all of it can be measured."""
    checks.whole("seed", subjects.seed)
    checks.positive_int("attacked", subjects.attacked)
    for role, net in subjects.networks.items():
        _check_network(role, net)
    _check_distinct(subjects.networks)
    for role, net in subjects.networks.items():
        _check_finite(role, net)
    _check_devices(subjects.networks)
    _check_twins(subjects.networks)
    if subjects.ball is not None and not isinstance(subjects.ball, Ball):
        found = f"ball = {subjects.ball!r}"
        raise ValueError(f'{found}: give a fpcore.Ball, such as Ball("l2", 0.5, (0, 1))')
    if subjects.images is not None:
        _check_images(subjects.networks, subjects.images, subjects.ball)
    elif subjects.ball is not None:
        raise ValueError(f"ball = {subjects.ball}: give images as well, or no ball")


def _check_network(role: str, net: Any) -> None:
    if not isinstance(net, nn.Module):
        found = f"{role} is a {type(net).__name__}"
        raise ValueError(f"{found}: give a network, a torch.nn.Module with its weights loaded")
    if not any(p.is_floating_point() for p in net.parameters()):
        raise ValueError(f"{role} has no weights: give a trained network, not quantised")


def _check_distinct(networks: dict[str, nn.Module]) -> None:
    for (one, a), (other, b) in combinations(networks.items(), 2):
        if a is b:
            advice = "load the weights of each into a network of its own, copy.deepcopy(network)"
            raise ValueError(f"{one} and {other} are one and the same object: {advice}")


def _check_devices(networks: dict[str, nn.Module]) -> None:
    places = {
        role: sorted({str(value.device) for value in [*net.parameters(), *net.buffers()]})
        for role, net in networks.items()
    }
    if len({place for found in places.values() for place in found}) > 1:
        found = ", ".join(f"{role} is on {' and '.join(where)}" for role, where in places.items())
        raise ValueError(f"{found}: bring all to one device, network.to(device)")


def _check_finite(role: str, net: nn.Module) -> None:
    for name, parameter in net.named_parameters():
        check_values(f"{role}: {name}", parameter.detach())
    for name, buffer in net.named_buffers():
        check_values(f"{role}: {name}", buffer, mask=buffer.is_floating_point())


def _check_twins(networks: dict[str, nn.Module]) -> None:
    digests = {role: parameters_digest(net) for role, net in networks.items()}
    for one, other in combinations(networks, 2):
        if digests[one] == digests[other]:
            what = "the purified network" if other == "purified" else f"another {other}, or none"
            raise ValueError(f"{other} has the very weights of {one}: give {what}, trained on")


def check_shapes(networks: dict[str, nn.Module]) -> None:
    """Raise ValueError where parameters or buffers that are no layer's weight do not match."""
    clean = _shapes(networks["clean"])
    for role, net in networks.items():
        theirs = _shapes(net)
        for name in {**clean, **theirs}:
            if clean.get(name) != theirs.get(name):
                found = f"clean against {role}: {name} is {clean.get(name, 'not there')} against "
                advice = "give two networks of the same architecture"
                raise ValueError(f"{found}{theirs.get(name, 'not there')}: {advice}")


def _shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of what is no matrix, by name without the prefixes of wrappers."""
    return {
        ".".join(part for part in name.split(".") if part not in ("module", "_orig_mod")): (
            tuple(value.shape)
        )
        for name, value in [*net.named_parameters(), *net.named_buffers()]
        if value.ndim < 2 and "parametrizations" not in name
    }


def _check_images(networks: dict[str, nn.Module], images: Labelled, ball: Ball | None) -> None:
    samples(images.x, images.y)
    if len(images.x) < LEAST:
        found = f"images holds {len(images.x)} samples"
        raise ValueError(f"{found}: give {LEAST} at least, better 1,000")
    if ball is not None:
        ball.check(images.x)
    for role, net in networks.items():
        try:
            if ball is not None:
                not_of_inference(net)
            labels_for(_scores(role, net, images.x[:2]), images.y)
        except ValueError as error:
            text = str(error)
            raise ValueError(text if text.startswith(role) else f"{role}: {text}") from error


@torch.no_grad()
def _scores(role: str, net: nn.Module, x: Tensor) -> Tensor:
    """What a network says of two images, or ValueError unless these are scores."""
    try:
        with evaluating(net):
            output = net(fitted(x, net))
    except Exception as error:  # whatever its code makes of these images
        line = str(error).strip().split("\n")[0]
        found = f"{role} cannot read images {tuple(x.shape)} ({type(error).__name__}: {line})"
        raise ValueError(f"{found}: give images of the size that it takes") from error
    if not isinstance(output, Tensor):
        found = f"{role} gives a {type(output).__name__}"
        raise ValueError(f"{found}: wrap it in a module that returns the scores alone")
    if output.ndim not in (1, 2) or len(output) != len(x):
        found = f"{role} gives outputs {tuple(output.shape)} for {len(x)} images"
        advice = "wrap it in a module that returns scores (n, classes), or one logit each (n,)"
        raise ValueError(f"{found}: {advice}")
    if not checks.is_finite(output):
        found = f"{role} gives outputs that are not finite"
        raise ValueError(f"{found}: give images scaled as in its training, or another network")
    return output
