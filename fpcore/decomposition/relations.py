"""How two networks relate, layer by layer: cosines, matched neurons, and what a linear map explains."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from fpcore import seeding
from fpcore.decomposition.feature_images import preactivation
from fpcore.decomposition.filter_spectra import scrambled
from fpcore.decomposition.layers import neurons, paired, switched_on
from fpcore.decomposition.purification import cosine


def layer_relations(one: nn.Module, other: nn.Module) -> dict[str, Tensor]:
    """cos of each neuron with the same neuron of another network, {layer: (neurons,)}, of those switched on in both."""
    pairs, on, too = paired(one, other), switched_on(one), switched_on(other)
    return {
        layer: cosine(a.float(), b.float())[on[layer] & too[layer]]
        for layer, (a, b) in pairs.items()
    }


def hidden_medians(relations: dict[str, Tensor]) -> list[float]:
    """The median over neurons of each layer but the last, which has one neuron a class and is no feature."""
    return [values.median().item() for values in list(relations.values())[:-1]]


def same_neuron(one: nn.Module, other: nn.Module) -> float:
    """Share of the hidden neurons of `other` whose nearest neuron (largest |cos|) in `one`'s layer is their own ancestor.

    Of neurons switched on in both, among those switched on in `one`.
    """
    a, b, on, too = neurons(one), neurons(other), switched_on(one), switched_on(other)
    own = []
    for layer in [*a][:-1]:
        both = on[layer] & too[layer]
        unit, target = (
            nn.functional.normalize(w[layer].float()[rows], dim=1)
            for w, rows in ((a, on[layer]), (b, both))
        )
        nearest = (target @ unit.T).abs().argmax(1)
        own.append(nearest == (on[layer].cumsum(0) - 1)[both])
    return torch.cat(own).float().mean().item()


def matched(one: nn.Module, other: nn.Module, layer: str, draws: int = 20) -> tuple[float, float]:
    """Median |cos| of a convolution's filters with those of another network, matched one to one; and by chance.

    Matching makes the sum of |cos| largest, and smooth filters are all alike, so chance is high: it is the mean over
    `draws` of matching the other network's filters with their phases scrambled, of which only colours and frequencies
    are left.
    """
    a, b = (neurons(net)[layer].float()[switched_on(net)[layer]] for net in (one, other))
    found = _matched(a, b)
    weight = other.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    filters = b.unflatten(1, weight.shape[1:])
    rng = seeding.generator(0, "matching", device=b.device)
    return found, sum(_matched(a, scrambled(filters, rng).flatten(1)) for _ in range(draws)) / draws


def _matched(a: Tensor, b: Tensor) -> float:
    size = (
        (nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T).abs().cpu()
    )  # (m, n)
    rows, columns = linear_sum_assignment(size.numpy(), maximize=True)
    return size[rows, columns].median().item()


@torch.no_grad()
def explained(one: nn.Module, other: nn.Module, x: Tensor, held: Tensor) -> dict[str, Tensor]:
    """What a linear map of `one`'s neurons explains of each neuron of `other`, {layer: share of its variance (neurons,)}.

    Of preactivations, position by position, on images `held` (n, 3, h, w); the map is fitted on other images x. Neurons
    switched on, of each layer but the last. Random neurons explain something, too: compare.
    """
    on = {one: switched_on(one), other: switched_on(other)}

    def rows(net: nn.Module, layer: str, images: Tensor) -> Tensor:
        return (
            preactivation(net, layer, images)[:, on[net][layer]]
            .movedim(1, -1)
            .flatten(0, -2)
            .double()
        )

    found = {}
    for layer in [*neurons(one)][:-1]:
        a, b = rows(one, layer, x), rows(other, layer, x)
        here, there = a - a.mean(0), b - b.mean(0)
        gram = here.T @ here
        ridge = (
            1e-9 * gram.diagonal().sum() * torch.eye(len(gram)).to(gram)
        )  # neurons may depend on each other
        linear = torch.linalg.solve(gram + ridge, here.T @ there)
        b_held = rows(other, layer, held)
        missed = b_held - b.mean(0) - (rows(one, layer, held) - a.mean(0)) @ linear
        found[layer] = 1 - missed.square().sum(0) / (b_held - b_held.mean(0)).square().sum(0)
    return found
