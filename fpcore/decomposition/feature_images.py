"""Features people can look at: what drives a neuron most, and how sparsely layers are active."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore import checks, seeding
from fpcore.decomposition.layers import live_channels, neurons
from fpcore.decomposition.preactivations import preactivation
from fpcore.models.outputs import evaluating
from fpcore.models.readable import check_values


def maximise(
    net: nn.Module,
    layer: str,
    neuron: Tensor,
    norm: float = 6.0,
    steps: int = 128,
    shift: int = 2,
    smooth: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Images (n, 3, 32, 32) that drive each neuron most at the centre of its map.

    net     the network
    layer   a convolution
    neuron  the indices of its neurons (n,)
    norm    of the images' distance from grey, ||x - 1/2||_2 at most
    steps   of the ascent
    shift   each gradient is taken at an image shifted at random by up to so many pixels
    smooth  and blurred by a Gaussian of this standard deviation, in pixels
    seed    of the first image, faint noise, and of the shifts

    Steepest ascent in [0, 1], from the same noise for every network, with no other regularisation.
    """
    checks.positive_int("steps", steps)
    checks.finite("norm", norm)
    checks.finite("smooth", smooth, low=1e-3)
    rng = seeding.generator(seed, "maximise")
    like: dict[str, Any] = {"generator": rng, "device": "cpu"}
    noise = torch.randn(len(neuron), 3, 32, 32, dtype=torch.float32, **like)
    delta = (0.01 * noise).to(next(net.parameters()))
    kernel = gaussian(smooth).to(delta)
    for step in range(steps):
        # The gradient at a shifted image, blurred and shifted back.
        moved = tuple(torch.randint(-shift, shift + 1, (2,), **like).tolist())
        x = (0.5 + delta).roll(moved, (2, 3)).requires_grad_()
        with torch.enable_grad():
            out = preactivation(net, layer, x)  # (n, neurons, h, w)
            each = torch.arange(len(neuron), device=out.device)
            centre = out[each, neuron, out.shape[2] // 2, out.shape[3] // 2]
            (grad,) = torch.autograd.grad(centre.sum(), x)
        grad = blurred(grad, kernel).roll([-m for m in moved], (2, 3))
        # A step of unit length, ever shorter; then back into the ball and the box.
        grad = grad / _norms(grad)
        delta = delta + 4 * norm / steps * (1 - step / steps) * grad
        delta = delta * (norm / _norms(delta)).clamp(max=1)
        delta = delta.clamp(-0.5, 0.5)
    return 0.5 + delta


def _norms(images: Tensor) -> Tensor:
    """The norm of each image (n, c, h, w), to divide by: (n, 1, 1, 1)."""
    return images.flatten(1).norm(dim=1).clamp(min=1e-30).view(-1, 1, 1, 1)


def gaussian(sigma: float) -> Tensor:
    """A normalised Gaussian kernel (1, 1, s, s), cut at three standard deviations."""
    reach = max(1, round(3 * sigma))
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32, device="cpu")
    line = torch.exp(-((steps / sigma) ** 2) / 2)
    square = line[:, None] * line[None, :]
    return (square / square.sum())[None, None]


def blurred(x: Tensor, kernel: Tensor) -> Tensor:
    """Each channel of x (n, c, h, w) convolved with `kernel` (1, 1, s, s)."""
    flat = x.flatten(0, 1)[:, None]
    return F.conv2d(flat, kernel, padding=kernel.shape[-1] // 2).view_as(x)


@torch.no_grad()
def exciting(
    net: nn.Module, layer: str, neuron: int, x: Tensor, count: int = 8, chunk: int = 1000
) -> Tensor:
    """The images of x that drive a neuron most, anywhere in its map: (count, 3, h, w).

    net     the network
    layer   its layer
    neuron  the index of the neuron
    x       images (n, 3, h, w)
    count   how many of them, the strongest first
    chunk   images at a time
    """
    checks.positive_int("count", count)
    checks.positive_int("chunk", chunk)
    checks.whole("neuron", neuron)
    checks.all_finite("x", checks.tensor("x", x))
    if x.ndim < 2 or not x.numel():
        raise ValueError(f"x is {tuple(x.shape)}: give images (n, 3, h, w)")
    held = neurons(net, x[:1])
    if layer in held:
        check_values(f"layer {layer}", held[layer])
        there = len(held[layer])
        if neuron >= there:
            raise ValueError(f"neuron = {neuron}: give one of the {there} of {layer}, from 0")
    if not 1 <= count <= len(x):
        raise ValueError(f"count = {count}: there are {len(x)} images, give at most so many")
    maps = (preactivation(net, layer, part, held)[:, neuron] for part in x.split(chunk))
    peaks = torch.cat([part.flatten(1).amax(1) for part in maps])
    return x[peaks.topk(count).indices]


@torch.no_grad()
def activity(net: nn.Module, x: Tensor) -> dict[str, float]:
    """Share of positive entries after each batch normalisation, {layer: share}.

    That is what its ReLU lets through, of neurons that weight decay has not switched off.
    """
    found: dict[str, float] = {}

    def note(name: str) -> Callable:
        def hook(norm: nn.BatchNorm2d, _, out: Tensor) -> None:
            found[name] = (out[:, live_channels(norm)] > 0).float().mean().item()

        return hook

    norms = {name: m for name, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)}
    hooks = [m.register_forward_hook(note(name)) for name, m in norms.items()]
    try:
        with evaluating(net):
            net(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@torch.no_grad()
def thresholds(net: nn.Module) -> dict[str, float]:
    """Where the ReLU after each batch normalisation opens, -shift / |scale|, {layer: threshold}.

    The median over its neurons without those that weight decay has switched off, in standard
    deviations of the preactivation from its mean, towards the side that opens: batch normalisation
    divides by sqrt(variance + eps), which is more where the variance is small.
    """
    found = {}
    for name, m in net.named_modules():
        if isinstance(m, nn.BatchNorm2d):
            assert m.running_var is not None
            deviations = ((m.running_var + m.eps) / m.running_var).sqrt()
            found[name] = (-m.bias / m.weight.abs() * deviations)[live_channels(m)].median().item()
    return found


def patches(x: Tensor, size: int, count: int, seed: int = 0) -> Tensor:
    """Random patches of the images x (n, 3, h, w) as rows (count, 3 size^2).

    x      the images
    size   of a patch, in pixels
    count  number of patches
    seed   of their places

    The mean of each channel is removed.
    """
    checks.positive_int("count", count)
    checks.positive_int("size", size)
    checks.whole("seed", seed)
    checks.all_finite("x", checks.tensor("x", x, "(n, 3, h, w)"))
    if x.ndim != 4 or not x.numel() or not x.is_floating_point():
        raise ValueError(f"x is {checks.briefly(x)}: give images (n, 3, h, w), floats")
    if not 1 <= size <= min(x.shape[-2:]):
        raise ValueError(f"size = {size}: give 1 to {min(x.shape[-2:])}, the images' side")
    rng = seeding.generator(seed, "patches")
    like: dict[str, Any] = {"generator": rng, "device": "cpu"}
    image = torch.randint(len(x), (count,), **like)
    top, left = (torch.randint(side - size + 1, (count,), **like) for side in x.shape[-2:])
    side = torch.arange(size, device="cpu")
    rows = (top[:, None] + side)[:, :, None]
    columns = (left[:, None] + side)[:, None]
    found = x[image[:, None, None], :, rows, columns].movedim(3, 1)  # (count, 3, size, size)
    return (found - found.mean((2, 3), keepdim=True)).flatten(1)


def coding_error(dictionary: Tensor, rows: Tensor, atoms: int) -> float:
    """Share of the energy of `rows` (n, d) that so many atoms a row leave unexplained, in [0, 1].

    The atoms are those of the dictionary (m, d), scaled to norm 1. Orthogonal matching pursuit
    (scikit-learn), a greedy search for the best ones.
    """
    from sklearn.linear_model import orthogonal_mp  # here, because it takes seconds to import

    checks.positive_int("atoms", atoms)
    for name, matrix in (("dictionary", dictionary), ("rows", rows)):
        checks.all_finite(name, checks.row_vectors(name, matrix))
    if dictionary.shape[1] != rows.shape[1] or not rows.any():
        found = f"dictionary is {tuple(dictionary.shape)} and rows {tuple(rows.shape)}"
        raise ValueError(f"{found}: give rows of as many numbers as an atom, not all of them 0")
    unit = F.normalize(dictionary.double(), dim=1).cpu().numpy()
    target = rows.double().cpu().numpy()
    code = orthogonal_mp(unit.T, target.T, n_nonzero_coefs=min(atoms, *unit.shape))
    code = code.reshape(len(unit), len(target))  # of a single row it drops the axis
    return float(np.square(target.T - unit.T @ code).sum() / np.square(target).sum())
