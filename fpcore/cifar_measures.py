"""What is measured on CIFAR-10 networks: accuracies under attack, and how neurons of one network relate to another's."""

from collections.abc import Collection, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from fpcore import seeding
from fpcore.attacks import Attack, Ball, robust_correct
from fpcore.autoattacks import THREATS, autoattack
from fpcore.cifar import Images
from fpcore.cifar_experiments import CifarExperiment
from fpcore.decomposition import cosine, neurons
from fpcore.models import accuracy

SUFFIXES = {"clean": "", "purified": "_adv", "control": "_control", "scratch": "_scratch"}
PAIRS = {
    "cos_init_clean": ("init", "clean"),
    "cos_init_adv": ("init", "purified"),
    "cos_clean_adv": ("clean", "purified"),
    "cos_clean_adv_control": ("clean", "control"),
    "cos_clean_scratch": ("clean", "scratch"),
    "cos_adv_scratch": ("purified", "scratch"),
}


def attacked_accuracy(
    net: nn.Module, test: Images, radius: float, attacked: int = 1000, norm: str = "l2", extra: tuple[Attack, ...] = ()
) -> float:
    """Robust accuracy on the first so many test images: the worst of FGM, PGD-20 with a random restart, and `extra`.

    An upper bound. The radius is in pixels of [0, 1]; the random starts are the same for every network.
    """
    x, y = test.x[:attacked], test.y[:attacked]
    if radius == 0:
        return accuracy(net, x, y)
    rng, ball = seeding.generator(0, "attack", device=x.device), Ball(norm, radius, (0.0, 1.0))
    return robust_correct(net, x, y, ball, restarts=2, extra=extra, rng=rng).float().mean().item()


def layer_relations(one: nn.Module, other: nn.Module) -> dict[str, Tensor]:
    """cos of each neuron with the same neuron of another network of that architecture, {layer: (neurons,)}."""
    a, b = neurons(one), neurons(other)
    return {layer: cosine(a[layer].float(), b[layer].float()) for layer in a}


def hidden_medians(relations: dict[str, Tensor]) -> list[float]:
    """The median over neurons of each layer but the last, which has one neuron a class and is no feature."""
    return [values.median().item() for values in list(relations.values())[:-1]]


def same_neuron(one: nn.Module, other: nn.Module) -> float:
    """Share of the hidden neurons of `other` whose nearest neuron (largest |cos|) in `one`'s layer is their own ancestor."""
    a, b, own = neurons(one), neurons(other), []
    for layer in [*a][:-1]:
        unit, target = (nn.functional.normalize(w[layer].float(), dim=1) for w in (a, b))
        nearest = (target @ unit.T).abs().argmax(1)
        own.append(nearest == torch.arange(len(nearest), device=nearest.device))
    return torch.cat(own).float().mean().item()


def measure_cifar(nets: dict[str, nn.Module], test: Images, config: CifarExperiment) -> dict[str, float]:
    """The ledger's figures of one seed: accuracies on test images, cosines as medians over neurons, controls beside them."""
    out = {"radius": config.radius}
    for name, suffix in SUFFIXES.items():
        out[f"clean_accuracy{suffix}"] = accuracy(nets[name], test.x, test.y)
        out[f"robust_accuracy{suffix}"] = attacked_accuracy(nets[name], test, config.radius, config.attacked, config.norm)
    out["robust_gain"] = out["robust_accuracy_adv"] - out["robust_accuracy"]
    out["robust_ratio"] = out["robust_accuracy_adv"] / max(out["robust_accuracy"], 1 / config.attacked)
    out["clean_lost"] = out["clean_accuracy"] - out["clean_accuracy_adv"]
    return out | measure_relations(nets)


def measure_autoattack(
    nets: Mapping[str, nn.Module], test: Images, config: CifarExperiment, threats: Collection[str] = (*THREATS,)
) -> dict[str, float]:
    """Accuracy under AutoAttack, and beside it under PGD, of each network, on `autoattacked` images, for names of THREATS.

    `autoattack_ratio` is that of w' over w at the threat of the experiment's training, which must be among them.
    """
    attacked, out = config.autoattacked, {}
    x, y = test.x[:attacked], test.y[:attacked]
    for name, net in nets.items():
        for threat in threats:
            norm, radius = THREATS[threat]
            key = f"{SUFFIXES[name]}/{threat}"
            survived = autoattack(net, x, y, Ball(norm, radius, (0.0, 1.0)))
            out[f"autoattack_accuracy{key}"] = survived.float().mean().item()
            out[f"pgd_accuracy{key}"] = attacked_accuracy(net, test, radius, attacked, norm)
    home = f"autoattack_accuracy{{}}/{config.norm} {config.radius:g}"
    return out | {"autoattack_ratio": out[home.format("_adv")] / max(out[home.format("")], 1 / attacked)}


def measure_relations(nets: dict[str, nn.Module]) -> dict[str, float]:
    """The cosines of `PAIRS`: the median over all neurons, for each layer, and the extreme hidden layer; shares; controls.

    |beta w'| > |v| is cos^2 > 1/2, hence `share_dominant`, of w' or, in its place, of the control w_c or of w''.
    """
    out: dict[str, float] = {}
    for name, (one, other) in PAIRS.items():
        each = layer_relations(nets[one], nets[other])
        pooled = torch.cat([*each.values()])
        out[name] = pooled.median().item()
        out |= {f"{name}/{layer}": values.median().item() for layer, values in each.items()}
        out[f"{name}_lowest"], out[f"{name}_highest"] = min(hidden_medians(each)), max(hidden_medians(each))
        if one == "clean":
            suffix = {"purified": "", "control": "_control", "scratch": "_scratch"}[other]
            out[f"share_dominant{suffix}"] = (pooled**2 > 0.5).float().mean().item()
            out[f"same_neuron_share{suffix}"] = same_neuron(nets[one], nets[other])
    out["cos_clean_adv_difference"] = out["cos_clean_adv_control"] - out["cos_clean_adv"]
    return out


def measure_two_seeds(runs: list[dict[str, nn.Module]]) -> list[dict[str, float]]:
    """Clean networks of successive seeds, which share nothing but the recipe: the cosine without a common origin."""
    found = []
    for one, other in pairwise(runs):
        pooled = torch.cat([*layer_relations(one["clean"], other["clean"]).values()])
        found.append({"cos_two_seeds": pooled.median().item(), "cos_two_seeds_size": pooled.abs().median().item()})
    return found
