"""How the neurons of a seed's CIFAR-10 networks relate, layer by layer, with controls."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fpbook.cifar10.networks import absent, first_images
from fpbook.results import record
from fpcore.decomposition.layers import switched_on
from fpcore.decomposition.relations import explained, hidden_medians, layer_relations, same_neuron
from fpcore.images import Images

# {quantity: (the network that others are compared with, the others)}
COSINES = {
    "cos_to_init": ("init", ("clean", "purified")),
    "cos_to_clean": ("clean", ("purified", "control", "scratch")),
    "cos_to_purified": ("purified", ("scratch",)),
}
EXPLAINED = {
    "explained_by_clean": ("clean", ("purified", "control", "scratch")),
    "explained_by_init": ("init", ("purified",)),
}


def measure_relations(nets: Mapping[str, nn.Module]) -> list[dict[str, Any]]:
    """The cosines of `COSINES`, and which neurons of w stay what they are, as records.

    Of neurons switched on, whose share is `share_switched_on`; of w0, the control and w'' if they
    are given.
    """
    missing = absent(nets)
    hidden = [*switched_on(nets["purified"]).values()][:-1]
    share = torch.cat(hidden).float().mean().item()
    found = [record("share_switched_on", share, "purified")]
    for quantity, (origin, others) in COSINES.items():
        for name in others:
            if {origin, name} & missing:
                continue
            each = layer_relations(nets[origin], nets[name])
            found += _cosines(quantity, name, each)
            if origin == "clean":
                found += _dominance(name, each)
                same = same_neuron(nets[origin], nets[name])
                found.append(record("same_neuron_share", same, name))
    if "control" not in missing:
        pooled = {
            row["network"]: row["value"]
            for row in found
            if row["quantity"] == "cos_to_clean" and "layer" not in row
        }
        less = pooled["control"] - pooled["purified"]
        found.append(record("cos_to_clean_difference", less, "purified"))
    return found


def _cosines(quantity: str, name: str, each: dict[str, Tensor]) -> list[dict[str, Any]]:
    """The median over all neurons, over those of each layer, and the extreme hidden layers."""
    medians = {layer: values.median().item() for layer, values in each.items()}
    extremes = {"lowest": min(hidden_medians(each)), "highest": max(hidden_medians(each))}
    return [
        record(quantity, torch.cat([*each.values()]).median().item(), name),
        *(record(quantity, value, name, layer) for layer, value in (medians | extremes).items()),
    ]


def _dominance(name: str, each: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """The share of neurons with |beta w'| > |v|, which is cos^2 > 1/2: of all, and by layer."""
    shares = {layer: (cos**2 > 0.5).float().mean().item() for layer, cos in each.items()}
    pooled = (torch.cat([*each.values()]) ** 2 > 0.5).float().mean().item()
    by_layer = shares | {"lowest": min(shares.values())}
    return [
        record("share_dominant", pooled, name),
        *(record("share_dominant", share, name, layer) for layer, share in by_layer.items()),
    ]


def measure_explained(
    nets: Mapping[str, nn.Module], test: Images, count: int
) -> list[dict[str, Any]]:
    """How much of one network a linear map of another explains, as records: medians, by layer.

    Of the pairs in `EXPLAINED`; of w0, the control and w'' if they are given. Fitted on the first
    `count` test images, measured on as many that follow.
    """
    missing = absent(nets)
    fitted_on, held = first_images(test, "two times count", 2 * count)[0].split(count)
    found = []
    for quantity, (origin, others) in EXPLAINED.items():
        for name in others:
            if {origin, name} & missing:
                continue
            each = explained(nets[origin], nets[name], fitted_on, held)
            medians = {layer: values.median().item() for layer, values in each.items()}
            medians["lowest"] = min(medians.values())
            found += [record(quantity, share, name, layer) for layer, share in medians.items()]
    return found


def measure_two_seeds(runs: Sequence[Mapping[str, nn.Module]], seed: int) -> list[dict[str, Any]]:
    """Cosines of clean networks of two seeds, which share nothing but the recipe, as records.

    Seeds are taken two by two from `seed` on, each once, so that the pairs are independent; a last
    one without a partner is left out. A record's seed is the first of the pair.
    """
    found = []
    for i in range(0, len(runs) - 1, 2):
        one, other = (nets["clean"] for nets in runs[i : i + 2])
        pooled = torch.cat([*layer_relations(one, other).values()])
        size = pooled.abs().median().item()
        found += [
            record("cos_two_seeds", pooled.median().item(), "clean", seed=seed + i),
            record("cos_two_seeds_size", size, "clean", seed=seed + i),
        ]
    return found
