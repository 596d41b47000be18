"""Taking v out of a trained network, w - alpha v, without training: an intervention, with its control."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from fpcore import checks, seeding
from fpcore.batch_norm import recalibrated
from fpcore.decomposition import decompose, neurons, paired
from fpcore.low_rank import merged


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
        raise ValueError("dealt = True: give a torch.Generator as control, which decides whose v each neuron gets")
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
        other = torch.empty_like(v).index_copy_(0, order, v[order.roll(1)])  # one cycle through all rows
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


def removal_rows(
    nets: Mapping[str, nn.Module], calibration: Tensor, seed: int, alphas: Sequence[float]
) -> dict[str, nn.Module]:
    """A seed's clean network w without what adversarial training removed, and without what its controls take out instead.

    "v/0.5" is w - v/2, "v in conv1" w without the v of one layer; for v stand also "random", "dealt" and "v_c", the
    residual of w along the control w_c, as long as v. "v_c at its length", "swapped" both ways, and w' itself stand beside
    them. Statistics of batch normalisation are estimated anew on the images `calibration`, also in "purified, anew", but
    not in "v, old statistics" and "purified". `nets` are those of `run_cifar`: "clean", "purified" and "control".
    """
    w, w_adv, w_c = (nets[name] for name in ("clean", "purified", "control"))

    def without(way: str, alpha: float, layers: Collection[str] | None = None) -> nn.Module:
        control = w_c if way == "v_c" else seeding.generator(seed, "control") if way in ("random", "dealt") else None
        return removed(w, w_adv, alpha, layers, control, None if "old" in way else calibration, way == "dealt")

    ways = ("v", "random", "dealt", "v_c")
    rows = {f"{way}/{alpha:g}": without(way, alpha) for way in (*ways, "v, old statistics") for alpha in alphas}
    rows |= {f"{way} in {layer}": without(way, 1.0, [layer]) for way in ways for layer in neurons(w)}
    return rows | {
        "v_c at its length": removed(w, w_c, 1.0, calibration=calibration),
        "swapped": swapped(w, w_adv, calibration),
        "swapped back": swapped(w_adv, w, calibration),
        "purified, anew": recalibrated(w_adv, calibration),
        "purified": w_adv,
    }


def roughness(w: Tensor) -> Tensor:
    """Share of each filter's energy (m, channels, h, w) outside the lowest spatial frequencies, (m,), in [0, 1].

    The lowest are those below half of the Nyquist frequency in both directions: 0 is a smooth filter, white noise has
    the share of the frequencies that are counted as high.
    """
    power = torch.fft.fft2(w.float()).abs() ** 2  # (m, c, h, w)
    low = [torch.fft.fftfreq(n, device=w.device).abs() < 0.25 for n in w.shape[-2:]]
    mask = low[0][:, None] & low[1][None, :]
    return 1 - (power * mask).sum((1, 2, 3)) / power.sum((1, 2, 3)).clamp(min=1e-30)


def spectrum(w: Tensor) -> tuple[Tensor, Tensor]:
    """Energy of filters w (m, channels, h, w) over spatial frequency, in cycles a pixel, relative to white noise.

    Returns the frequencies (k,) and the mean over filters, each scaled to the same energy, (k,): white noise is 1 at all.
    """
    power = (torch.fft.fft2(w.float()).abs() ** 2).sum(1)  # (m, h, w)
    power = (power / power.mean((1, 2), keepdim=True).clamp(min=1e-30)).mean(0)
    down, across = (torch.fft.fftfreq(n, device=w.device) for n in w.shape[-2:])
    size = (down[:, None] ** 2 + across**2).sqrt().mul(1000).round().div(1000)
    at, which, count = size.unique(return_inverse=True, return_counts=True)
    return at, torch.zeros_like(at).scatter_add_(0, which.flatten(), power.flatten()) / count
