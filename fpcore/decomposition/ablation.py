"""Taking v out of a trained network, w - alpha v, without training: and the controls of that."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.decomposition.layers import neurons, paired
from fpcore.decomposition.purification import at_least_float32, decompose, norms
from fpcore.models.acting import merged
from fpcore.models.batch_norm import calibrated
from fpcore.precision import unrounded


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
    pairs, twin = paired(clean, purified), merged(clean)
    written = neurons(twin)
    controls = paired(clean, control) if isinstance(control, nn.Module) else {}
    chosen = [*pairs] if layers is None else list(checks.several("layers", layers))
    for name in chosen:
        checks.choice("layers", name, pairs)
    for name in chosen:
        w, w_adv = pairs[name]
        v = decompose(w, w_adv).residual
        if isinstance(control, torch.Generator):
            v = random_like(v, w_adv, control, dealt)
        elif controls:
            v = _as_long_as(v, decompose(*controls[name]).residual)
        written.write(name, w - alpha * v)
    return twin if calibration is None else calibrated(twin, calibration, name="calibration")


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
        other = torch.randn(v.shape, generator=rng, dtype=torch.float32, device=rng.device).to(v)
    return _as_long_as(v, decompose(other, away).residual)


def _as_long_as(v: Tensor, other: Tensor) -> Tensor:
    """The rows of `other`, each of the norm of the same row of v."""
    scale = norms(v) / norms(other).clamp(min=1e-300)
    return other * scale.to(other)[:, None]


def swapped(clean: nn.Module, purified: nn.Module, calibration: Tensor) -> nn.Module:
    """The purified weights inside the clean network's batch normalisation.

    That is w - v, but for the scale beta. With `removed(alpha=1)` this separates what the direction
    of w' does from what its training of biases and scales did. The statistics of batch
    normalisation are estimated anew on the images `calibration` (n, ...).
    """
    pairs, twin = paired(clean, purified), merged(clean)
    written = neurons(twin)
    for name, (_, w_adv) in pairs.items():
        written.write(name, w_adv)
    return calibrated(twin, calibration, name="calibration")


@torch.no_grad()
@unrounded
def truncated(clean: nn.Module, purified: nn.Module, rank: int, calibration: Tensor) -> nn.Module:
    """`purified`, with each layer's update w' - w replaced by its best approximation of low rank.

    clean        the network of weights w
    purified     the network of weights w', of the same architecture
    rank         of the approximation
    calibration  images (n, ...) on which the statistics of batch normalisation are estimated anew
    """
    checks.whole("rank", rank)
    pairs, twin = paired(clean, purified), merged(purified)
    written = neurons(twin)
    for name, pair in pairs.items():
        start, target = (at_least_float32(w) for w in pair)
        u, s, v = torch.linalg.svd(target - start, full_matrices=False)
        written.write(name, start + (u[:, :rank] * s[:rank]) @ v[:rank])
    return calibrated(twin, calibration, name="calibration")


def update_spectra(clean: nn.Module, purified: nn.Module) -> dict[str, Tensor]:
    """The singular values of w' - w in each layer, relative to the largest.

    {layer: (min(out, fan-in),)}
    """
    found = {}
    for name, pair in paired(clean, purified).items():
        start, target = (at_least_float32(w) for w in pair)
        s = torch.linalg.svdvals(target - start)
        found[name] = s / s[0].clamp(min=1e-30)
    return found


def effective_rank(spectrum: Tensor) -> float:
    """exp of the entropy of the singular values' shares of their sum: k for k equal ones.

    Source: Roy and Vetterli (2007).
    """
    checks.all_finite("spectrum", checks.tensor("spectrum", spectrum, "(k,)"))
    if spectrum.ndim != 1 or spectrum.min() < 0 or not spectrum.sum():
        found = f"spectrum is {checks.briefly(spectrum)}"
        raise ValueError(f"{found}: give singular values (k,), of which one is above 0")
    share = spectrum / spectrum.sum()
    return torch.exp(-(share * share.clamp(min=1e-30).log()).sum()).item()
