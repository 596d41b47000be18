"""Taking v out of a trained network, w - alpha v, without training: and the controls of that."""

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
    """A copy of `clean` with w - alpha v, where v = w - beta w' is its residual along `purified`.

    clean        the network of weights w
    purified     the network of weights w', of the same architecture
    alpha        how much of v is taken out
    layers       the layers in which it is; None: all
    control      what is taken out instead, of each neuron a vector of the norm of v. A network: the
                 residual along its weights. A generator: a random vector, orthogonal to w'
    calibration  images (n, ...) on which the statistics of batch normalisation are estimated anew,
                 so that a layer's change of scale alone does no harm; None: they stay
    dealt        of a generator: the v of another neuron of the layer, made orthogonal to w'

    The scales and shifts of batch normalisation stay the clean network's.
    """
    checks.finite("alpha", alpha)
    if not isinstance(control, torch.Generator | nn.Module | None):
        raise ValueError(f"control = {control!r}: give a torch.Generator, a network or None")
    if dealt and not isinstance(control, torch.Generator):
        advice = "give a torch.Generator as control, which decides whose v each neuron gets"
        raise ValueError(f"dealt = True: {advice}")
    twin, pairs = merged(clean), paired(clean, purified)
    controls = paired(clean, control) if isinstance(control, nn.Module) else {}
    chosen = [*pairs] if layers is None else list(checks.several("layers", layers))
    unknown = set(chosen) - set(pairs)
    if unknown:
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
    """Rows of the norms of those of v (m, d), each orthogonal to the same row of `away` (m, d).

    v      sets the norms
    away   what the rows are made orthogonal to
    rng    of the draw
    dealt  the rows of v among themselves, none to itself, instead of random ones
    """
    if dealt:  # one cycle through all rows
        order = torch.randperm(len(v), generator=rng, device=rng.device).to(v.device)
        other = torch.empty_like(v).index_copy_(0, order, v[order.roll(1)])
    else:
        other = torch.randn(v.shape, generator=rng, device=rng.device).to(v)
    return _as_long_as(v, decompose(other, away).residual)


def _as_long_as(v: Tensor, other: Tensor) -> Tensor:
    """The rows of `other`, each of the norm of the same row of v."""
    return other * (v.norm(dim=1) / other.norm(dim=1).clamp(min=1e-30))[:, None]


def swapped(clean: nn.Module, purified: nn.Module, calibration: Tensor) -> nn.Module:
    """The purified weights inside the clean network's batch normalisation.

    That is w - v, but for the scale beta. With `removed(alpha=1)` this separates what the direction
    of w' does from what its training of biases and scales did. The statistics of batch
    normalisation are estimated anew on the images `calibration` (n, ...).
    """
    twin = merged(clean)
    with torch.no_grad():
        for name in paired(clean, purified):
            target = twin.get_submodule(name).weight
            source = purified.get_submodule(name).weight
            assert isinstance(target, Tensor) and isinstance(source, Tensor)
            target.copy_(source)
    return recalibrated(twin, calibration)


@torch.no_grad()
def truncated(clean: nn.Module, purified: nn.Module, rank: int, calibration: Tensor) -> nn.Module:
    """`purified`, with each layer's update w' - w replaced by its best approximation of low rank.

    clean        the network of weights w
    purified     the network of weights w', of the same architecture
    rank         of the approximation
    calibration  images (n, ...) on which the statistics of batch normalisation are estimated anew
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
    """The singular values of w' - w in each layer, relative to the largest.

    {layer: (min(out, fan-in),)}
    """
    before, after = neurons(clean), neurons(purified)
    sizes = {name: torch.linalg.svdvals((after[name] - before[name]).float()) for name in before}
    return {name: s / s[0].clamp(min=1e-30) for name, s in sizes.items()}


def effective_rank(spectrum: Tensor) -> float:
    """exp of the entropy of the singular values' shares of their sum: k for k equal ones.

    Source: Roy and Vetterli (2007).
    """
    share = spectrum / spectrum.sum()
    return torch.exp(-(share * share.clamp(min=1e-30).log()).sum()).item()
