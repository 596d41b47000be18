"""How two networks relate, layer by layer: cosines, matched neurons, what a linear map explains."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore import checks, seeding
from fpcore.decomposition.filter_spectra import scrambled
from fpcore.decomposition.layers import neurons, paired, switched_on
from fpcore.decomposition.moments import moments, watched
from fpcore.decomposition.purification import at_least_float32, cosine
from fpcore.models.readable import check_values
from fpcore.precision import unrounded


class LeftOutWarning(UserWarning):
    """A measure says nothing of some layers; the warning names them, and why."""


def layer_relations(one: nn.Module, other: nn.Module, x: Any = None) -> dict[str, Tensor]:
    """cos of each neuron with the same neuron of another network, {layer: (neurons,)}.

    one    a network
    other  another one, of the same layers
    x      as in `neurons`

    Of those switched on in both: a layer may have none.
    """
    pairs = paired(one, other, x)
    on, too = switched_on(one, x), switched_on(other, x)
    return {layer: cosine(a, b)[on[layer] & too[layer]] for layer, (a, b) in pairs.items()}


def hidden_medians(relations: dict[str, Tensor]) -> list[float]:
    """The median over neurons of each layer but the last: one neuron a class is no feature.

    Of layers in which any neuron is switched on; ValueError if there is none.
    """
    found = [values.median().item() for values in [*relations.values()][:-1] if len(values)]
    if not found:
        raise ValueError("no hidden neuron is switched on in both networks: there is no median")
    return found


@unrounded
def same_neuron(one: nn.Module, other: nn.Module, x: Any = None) -> float:
    """Share of the hidden neurons of `other` whose nearest neuron in `one` is their own ancestor.

    one    a network
    other  one that was trained from it
    x      as in `neurons`

    The nearest has the largest |cos| of the layer. Of neurons switched on in both, among those
    switched on in `one`.
    """
    pairs = paired(one, other, x)
    on, too = switched_on(one, x), switched_on(other, x)
    own = []
    for layer in [*pairs][:-1]:
        a, b = (at_least_float32(w) for w in pairs[layer])
        both = on[layer] & too[layer]
        unit = F.normalize(a[on[layer]], dim=1)
        target = F.normalize(b[both], dim=1)
        if len(target):
            nearest = (target @ unit.T).abs().argmax(1)
            own.append(nearest == (on[layer].cumsum(0) - 1)[both])
    if not own:
        raise ValueError("no hidden neuron is switched on in both networks: there is no share")
    return torch.cat(own).float().mean().item()


@unrounded
def matched(one: nn.Module, other: nn.Module, layer: str, draws: int = 20) -> tuple[float, float]:
    """Median |cos| of a convolution's filters with another network's, one to one; and by chance.

    one    a network
    other  another one, of any architecture with such a layer
    layer  the convolution
    draws  of the chance level

    Matching makes the sum of |cos| largest, and smooth filters are all alike, so chance is high: it
    is the mean over `draws` of matching the other network's filters with their phases scrambled, of
    which only colours and frequencies are left.
    """
    checks.positive_int("draws", draws)
    for which, net in (("one", one), ("other", other)):
        held = neurons(checks.network(which, net))
        checks.choice("layer", layer, held)
        check_values(f"layer {layer} of {which}", held[layer])
    a, b = (at_least_float32(neurons(net)[layer])[switched_on(net)[layer]] for net in (one, other))
    if a.shape[1] != b.shape[1]:
        found = f"layer {layer} has {a.shape[1]} weights a neuron in one, {b.shape[1]} in other"
        raise ValueError(f"{found}: give two networks whose filters are of one size")
    relation = _matched(a, b)
    weight = other.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    filters = b.unflatten(1, weight.shape[1:])
    rng = seeding.generator(0, "matching", device=b.device)
    chance = [_matched(a, scrambled(filters, rng).flatten(1)) for _ in range(draws)]
    return relation, sum(chance) / draws


def _matched(a: Tensor, b: Tensor) -> float:
    """The median |cos| of rows of a (m, d) and b (n, d), matched one to one for the largest sum."""
    from scipy.optimize import linear_sum_assignment  # here: half of the time of `import fpcore`

    size = (F.normalize(a, dim=1) @ F.normalize(b, dim=1).T).abs().cpu()  # (m, n)
    rows, columns = linear_sum_assignment(size.numpy(), maximize=True)
    return size[rows, columns].median().item()


def _check_images(name: str, images: Tensor) -> None:
    """Raise ValueError unless these are some samples (n, ...) that have values."""
    checks.tensor(name, images)
    if images.ndim < 2 or not images.numel():
        raise ValueError(f"{name} is {tuple(images.shape)}: give images (n, ...)")


@torch.no_grad()
def explained(one: nn.Module, other: nn.Module, x: Tensor, held: Tensor) -> dict[str, Tensor]:
    """What a linear map of `one`'s neurons explains of each neuron of `other`.

    one    a network
    other  another one, of the same layers
    x      images (n, 3, h, w) on which the map is fitted
    held   other images, on which it is measured

    Returns the share of the variance, {layer: (neurons,)}, of preactivations, position by position,
    of the neurons switched on, in each layer but the last. Random neurons explain something, too:
    compare. A neuron that gives one value on all of `held` has no variance: NaN. A `LeftOutWarning`
    names the layers whose preactivations are not seen, or that have more neurons than x has
    positions to fit them on. Each network runs once over x and once over `held`.
    """
    pairs = paired(one, other, x)
    for name, images in {"x": x, "held": held}.items():
        if isinstance(images, Tensor):
            _check_images(name, images)
        if isinstance(images, Tensor) and not checks.is_finite(images):
            raise ValueError(f"{name} is not finite (NaN or infinity): give images of numbers")
    hidden = [*pairs][:-1]
    nets = watched(one, x), watched(other, x)
    fitted, left_out = moments(*nets, hidden, x)
    left_out |= {name for name, of in fitted.items() if of.n <= int(nets[0].on[name].sum())}
    there = [layer for layer in hidden if layer not in left_out]
    test, _ = moments(*nets, there, held)
    if left_out:
        named = ", ".join(layer for layer in hidden if layer in left_out)
        why = "what they give is not seen, or x has fewer positions than they have neurons"
        warnings.warn(f"nothing is said of {named}: {why}", LeftOutWarning, 3)
    return {layer: test[layer].explained(*fitted[layer].linear()) for layer in there}
