"""How the neurons of a seed's CIFAR-10 networks relate, layer by layer, with controls."""

from collections.abc import Mapping

import torch
from torch import nn

from fpbook.cifar10.networks import absent, first_images
from fpcore.decomposition.layers import switched_on
from fpcore.decomposition.relations import explained, hidden_medians, layer_relations, same_neuron
from fpcore.images import Images

PAIRS = {
    "cos_init_clean": ("init", "clean"),
    "cos_init_adv": ("init", "purified"),
    "cos_clean_adv": ("clean", "purified"),
    "cos_clean_adv_control": ("clean", "control"),
    "cos_clean_scratch": ("clean", "scratch"),
    "cos_adv_scratch": ("purified", "scratch"),
}


def measure_explained(nets: Mapping[str, nn.Module], test: Images, count: int) -> dict[str, float]:
    """How much of w', of the control and of w'' a linear map of w explains, and of w' one of w0: medians, layer by layer.

    Of the control and w'' if they are given. Fitted on the first `count` test images, measured on as many that follow.
    """
    missing = absent(nets)
    x = first_images(test, "two times count", 2 * count)[0]
    out: dict[str, float] = {}
    pairs = {
        "_adv": ("clean", "purified"),
        "_control": ("clean", "control"),
        "_scratch": ("clean", "scratch"),
    }
    for suffix, (one, other) in (pairs | {"_init": ("init", "purified")}).items():
        if {one, other} & missing:
            continue
        medians = {
            layer: v.median().item()
            for layer, v in explained(nets[one], nets[other], *x.split(count)).items()
        }
        out |= {f"explained_share{suffix}/{layer}": share for layer, share in medians.items()}
        out[f"explained_share{suffix}_lowest"] = min(medians.values())
    return out


def measure_relations(nets: dict[str, nn.Module]) -> dict[str, float]:
    """The cosines of `PAIRS`: the median over all neurons, for each layer, and the extreme hidden layer; shares; controls.

    Of neurons switched on, whose share is `live_share`. |beta w'| > |v| is cos^2 > 1/2, hence `share_dominant`, of w' or,
    in its place, of the control w_c or of w'', if they are given.
    """
    missing = absent(nets)
    hidden = [*switched_on(nets["purified"]).values()][:-1]
    out = {"live_share": torch.cat(hidden).float().mean().item()}
    for name, (one, other) in PAIRS.items():
        if {one, other} & missing:
            continue
        each = layer_relations(nets[one], nets[other])
        pooled = torch.cat([*each.values()])
        out[name] = pooled.median().item()
        out |= {f"{name}/{layer}": values.median().item() for layer, values in each.items()}
        out[f"{name}_lowest"], out[f"{name}_highest"] = (
            min(hidden_medians(each)),
            max(hidden_medians(each)),
        )
        if one == "clean":
            suffix = {"purified": "", "control": "_control", "scratch": "_scratch"}[other]
            out[f"share_dominant{suffix}"] = (pooled**2 > 0.5).float().mean().item()
            shares = {layer: (cos**2 > 0.5).float().mean().item() for layer, cos in each.items()}
            out |= {f"share_dominant{suffix}/{layer}": share for layer, share in shares.items()}
            out[f"share_dominant{suffix}_lowest"] = min(shares.values())
            out[f"same_neuron_share{suffix}"] = same_neuron(nets[one], nets[other])
    if "control" not in missing:
        out["cos_clean_adv_difference"] = out["cos_clean_adv_control"] - out["cos_clean_adv"]
    return out


def measure_two_seeds(runs: list[dict[str, nn.Module]]) -> list[dict[str, float]]:
    """Clean networks of two seeds, which share nothing but the recipe: the cosine without a common origin.

    Seeds are taken two by two, each once, so that the pairs are independent; a last one without a partner is left out.
    """
    found = []
    for one, other in zip(runs[::2], runs[1::2]):
        pooled = torch.cat([*layer_relations(one["clean"], other["clean"]).values()])
        found.append(
            {
                "cos_two_seeds": pooled.median().item(),
                "cos_two_seeds_size": pooled.abs().median().item(),
            }
        )
    return found
