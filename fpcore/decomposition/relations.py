"""How two networks relate, layer by layer: cosines, matched neurons, what a linear map explains."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore import seeding
from fpcore.decomposition.feature_images import preactivation
from fpcore.decomposition.filter_spectra import scrambled
from fpcore.decomposition.layers import neurons, paired, switched_on
from fpcore.decomposition.purification import cosine


def layer_relations(one: nn.Module, other: nn.Module) -> dict[str, Tensor]:
    """cos of each neuron with the same neuron of another network, {layer: (neurons,)}.

    Of those switched on in both.
    """
    on, too = switched_on(one), switched_on(other)
    found = {}
    for layer, (a, b) in paired(one, other).items():
        found[layer] = cosine(a.float(), b.float())[on[layer] & too[layer]]
    return found


def hidden_medians(relations: dict[str, Tensor]) -> list[float]:
    """The median over neurons of each layer but the last: one neuron a class is no feature."""
    return [values.median().item() for values in list(relations.values())[:-1]]


def same_neuron(one: nn.Module, other: nn.Module) -> float:
    """Share of the hidden neurons of `other` whose nearest neuron in `one` is their own ancestor.

    The nearest has the largest |cos| of the layer. Of neurons switched on in both, among those
    switched on in `one`.
    """
    a, b = neurons(one), neurons(other)
    on, too = switched_on(one), switched_on(other)
    own = []
    for layer in [*a][:-1]:
        both = on[layer] & too[layer]
        unit = F.normalize(a[layer].float()[on[layer]], dim=1)
        target = F.normalize(b[layer].float()[both], dim=1)
        nearest = (target @ unit.T).abs().argmax(1)
        own.append(nearest == (on[layer].cumsum(0) - 1)[both])
    return torch.cat(own).float().mean().item()


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
    a, b = (neurons(net)[layer].float()[switched_on(net)[layer]] for net in (one, other))
    found = _matched(a, b)
    weight = other.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    filters = b.unflatten(1, weight.shape[1:])
    rng = seeding.generator(0, "matching", device=b.device)
    chance = [_matched(a, scrambled(filters, rng).flatten(1)) for _ in range(draws)]
    return found, sum(chance) / draws


def _matched(a: Tensor, b: Tensor) -> float:
    """The median |cos| of rows of a (m, d) and b (n, d), matched one to one for the largest sum."""
    from scipy.optimize import linear_sum_assignment  # here: half of the time of `import fpcore`

    size = (F.normalize(a, dim=1) @ F.normalize(b, dim=1).T).abs().cpu()  # (m, n)
    rows, columns = linear_sum_assignment(size.numpy(), maximize=True)
    return size[rows, columns].median().item()


@torch.no_grad()
def explained(one: nn.Module, other: nn.Module, x: Tensor, held: Tensor) -> dict[str, Tensor]:
    """What a linear map of `one`'s neurons explains of each neuron of `other`.

    one    a network
    other  another one, of the same layers
    x      images (n, 3, h, w) on which the map is fitted
    held   other images, on which it is measured

    Returns the share of the variance, {layer: (neurons,)}, of preactivations, position by position,
    of the neurons switched on, in each layer but the last. Random neurons explain something, too:
    compare.
    """
    on = {one: switched_on(one), other: switched_on(other)}

    def rows(net: nn.Module, layer: str, images: Tensor) -> Tensor:
        """The preactivations (n h w, neurons)."""
        maps = preactivation(net, layer, images)[:, on[net][layer]]
        return maps.movedim(1, -1).flatten(0, -2).double()

    found = {}
    for layer in [*neurons(one)][:-1]:
        # Least squares of the deviations from the mean; a ridge, since neurons may depend on each
        # other.
        a, b = rows(one, layer, x), rows(other, layer, x)
        here, there = a - a.mean(0), b - b.mean(0)
        gram = here.T @ here
        ridge = 1e-9 * gram.diagonal().sum() * torch.eye(len(gram)).to(gram)
        linear = torch.linalg.solve(gram + ridge, here.T @ there)
        # The share of the variance it explains on the held-out images.
        b_held = rows(other, layer, held)
        missed = b_held - b.mean(0) - (rows(one, layer, held) - a.mean(0)) @ linear
        found[layer] = 1 - missed.square().sum(0) / (b_held - b_held.mean(0)).square().sum(0)
    return found
