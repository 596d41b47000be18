"""Taking v out of a trained network, w - alpha v, without training: an intervention, with its controls."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.decomposition.layers import neurons, paired
from fpcore.decomposition.purification import decompose
from fpcore.models.batch_norm import recalibrated
from fpcore.models.low_rank_update import merged


@torch.no_grad()
def removed(
    clean: nn.Module,
    purified: nn.Module,
    alpha: float,
    layers: Collection[str] | None = None,
    control: torch.Generator | nn.Module | None = None,
    calibration: Tensor | None = None,
    dealt: bool = False,
) -> nn.Module:
    """A copy of `clean` with w - alpha v in the given layers (None: all), v = w - beta w' its residual along `purified`.

    A `control` takes out another vector of the norm of v instead, for each neuron: a network, the residual along its
    weights; a generator, a random vector or, `dealt`, the v of another neuron of the layer, both made orthogonal to w'. The
    scales and shifts of batch normalisation stay the clean network's. Its statistics do as well, unless images are given as
    `calibration` (n, ...): then they are estimated anew on them, so that a layer's change of scale alone does no harm.
    """
    checks.finite("alpha", alpha)
    if not isinstance(control, torch.Generator | nn.Module | None):
        raise ValueError(f"control = {control!r}: give a torch.Generator, a network or None")
    if dealt and not isinstance(control, torch.Generator):
        raise ValueError(
            "dealt = True: give a torch.Generator as control, which decides whose v each neuron gets"
        )
    twin, pairs = merged(clean), paired(clean, purified)
    controls = paired(clean, control) if isinstance(control, nn.Module) else {}
    chosen = [*pairs] if layers is None else list(checks.several("layers", layers))
    if unknown := set(chosen) - set(pairs):
        raise ValueError(f"layers = {sorted(unknown)}: the network's layers are {[*pairs]}")
    for name in chosen:
        w, w_adv = pairs[name]
        v = decompose(w, w_adv).residual
        if isinstance(control, torch.Generator):
            v = random_like(v, w_adv, control, dealt)
        elif controls:
            v = _as_long_as(v, decompose(*controls[name]).residual)
        weight = twin.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        weight -= alpha * v.view_as(weight)
    return twin if calibration is None else recalibrated(twin, calibration)


def random_like(v: Tensor, away: Tensor, rng: torch.Generator, dealt: bool = False) -> Tensor:
    """Random rows, or `dealt` the rows of v (m, d) among themselves, of the norms of v, each orthogonal to that of `away`.

    No row is dealt to itself.
    """
    if dealt:
        order = torch.randperm(len(v), generator=rng, device=rng.device).to(v.device)
        other = torch.empty_like(v).index_copy_(
            0, order, v[order.roll(1)]
        )  # one cycle through all rows
    else:
        other = torch.randn(v.shape, generator=rng, device=rng.device).to(v)
    return _as_long_as(v, decompose(other, away).residual)


def _as_long_as(v: Tensor, other: Tensor) -> Tensor:
    """The rows of `other`, each of the norm of the same row of v."""
    return other * (v.norm(dim=1) / other.norm(dim=1).clamp(min=1e-30))[:, None]


def swapped(clean: nn.Module, purified: nn.Module, calibration: Tensor) -> nn.Module:
    """The purified weights inside the clean network's batch normalisation: what w - v is, but for the scale beta.

    With `removed(alpha=1)` this separates what the direction of w' does from what its training of biases and scales did.
    """
    twin = merged(clean)
    with torch.no_grad():
        for name in paired(clean, purified):
            target, source = twin.get_submodule(name).weight, purified.get_submodule(name).weight
            assert isinstance(target, Tensor) and isinstance(source, Tensor)
            target.copy_(source)
    return recalibrated(twin, calibration)


@torch.no_grad()
def truncated(clean: nn.Module, purified: nn.Module, rank: int, calibration: Tensor) -> nn.Module:
    """`purified`, with each layer's update w' - w cut off to its best approximation of rank `rank`, without any training.

    The statistics of batch normalisation are estimated anew on the images `calibration` (n, ...).
    """
    checks.whole("rank", rank)
    twin = merged(purified)
    for name, (start, target) in paired(clean, purified).items():
        u, s, v = torch.linalg.svd(target - start, full_matrices=False)
        weight = twin.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        weight.copy_((start + (u[:, :rank] * s[:rank]) @ v[:rank]).view_as(weight))
    return recalibrated(twin, calibration)


def update_spectra(clean: nn.Module, purified: nn.Module) -> dict[str, Tensor]:
    """The singular values of w' - w in each layer, relative to the largest: {layer: (min(out, fan-in),)}."""
    before, after = neurons(clean), neurons(purified)
    sizes = {name: torch.linalg.svdvals((after[name] - before[name]).float()) for name in before}
    return {name: s / s[0].clamp(min=1e-30) for name, s in sizes.items()}


def effective_rank(spectrum: Tensor) -> float:
    """exp of the entropy of the singular values' shares of their sum: k for k equal ones (Roy and Vetterli, 2007)."""
    share = spectrum / spectrum.sum()
    return torch.exp(-(share * share.clamp(min=1e-30).log()).sum()).item()
