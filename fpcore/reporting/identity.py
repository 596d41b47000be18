"""What a report is of, by content: weights, images, options, versions, and what networks say."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from fpcore import seeding
from fpcore.models.outputs import evaluating
from fpcore.reporting.subjects import Subjects, fitted

PROBES = 16  # images whose outputs tell one network's code from another's


def fpcore_version() -> str:
    """The version of fpcore that is installed; "not installed" where its folder is on the path."""
    try:
        return version("fpcore")
    except PackageNotFoundError:
        return "not installed"


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A short name for named tensors of any precision: names, shapes and contents."""
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        found.update(f"{name} {tuple(value.shape)} {value.dtype};".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def parameters_digest(net: nn.Module) -> str:
    """A short name for the parameters of a network."""
    return digest_of(dict(net.named_parameters()))


def network_digest(net: nn.Module) -> str:
    """A short name for all that a network holds: parameters, buffers, and how it prints."""
    printed = hashlib.sha256(repr(net).encode()).hexdigest()[:8]
    return f"{digest_of({**dict(net.named_parameters()), **dict(net.named_buffers())})} {printed}"


@torch.no_grad()
def outputs(net: nn.Module, x: Tensor) -> Tensor:
    """What a network says of a few images, and of images between them, in evaluation mode."""
    some = fitted(x[:PROBES], net)
    rng = seeding.generator(0, "probe")
    noise = torch.rand(some.shape, generator=rng, dtype=torch.float32, device="cpu").to(some)
    with evaluating(net):
        return net(torch.cat([some, some + 0.1 * noise * (some.flip(0) - some)]))


def subject(subjects: Subjects) -> dict[str, Any]:
    """All that decides what a report finds, as text and numbers, but what the networks say."""
    ball, images = subjects.ball, subjects.images
    found = {
        "fpcore": fpcore_version(),
        "torch": torch.__version__,
        "seed": subjects.seed,
        "attacked": subjects.attacked,
        "layers": None if subjects.layers is None else list(subjects.layers),
        "ball": None if ball is None else [ball.norm, ball.radius, ball.box and list(ball.box)],
        "images": None if images is None else digest_of({"x": images.x, "y": images.y}),
    }
    return found | {role: network_digest(net) for role, net in subjects.networks.items()}


def said(subjects: Subjects) -> dict[str, list]:
    """{role: its outputs on probe images}: weights do not tell one activation from another."""
    if subjects.images is None:
        return {}
    x = subjects.images.x
    return {role: outputs(net, x).double().tolist() for role, net in subjects.networks.items()}
