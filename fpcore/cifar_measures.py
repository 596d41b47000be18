"""What is measured on CIFAR-10 networks: accuracies under attack, and how neurons of one network relate to another's."""

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from fpcore import checks, seeding
from fpcore.attacks import Ball, robust_correct
from fpcore.autoattacks import THREATS, autoattack
from fpcore.cifar import Images
from fpcore.cifar_experiments import CifarExperiment
from fpcore.decomposition import cosine, neurons
from fpcore.models import accuracy
from fpcore.results import interval

SUFFIXES = {"clean": "", "purified": "_adv", "control": "_control", "scratch": "_scratch"}
PAIRS = {
    "cos_init_clean": ("init", "clean"),
    "cos_init_adv": ("init", "purified"),
    "cos_clean_adv": ("clean", "purified"),
    "cos_clean_adv_control": ("clean", "control"),
    "cos_clean_scratch": ("clean", "scratch"),
    "cos_adv_scratch": ("purified", "scratch"),
}


def attacked_accuracy(net: nn.Module, test: Images, radius: float, attacked: int = 1000, norm: str = "l2") -> float:
    """Robust accuracy on the first so many test images: the worst of FGM, and PGD-20 with a random restart.

    An upper bound. The radius is in pixels of [0, 1]; the random starts are the same for every network.
    """
    x, y = test.x[:attacked], test.y[:attacked]
    if radius == 0:
        return accuracy(net, x, y)
    return survivors(net, x, y, Ball(norm, radius, (0.0, 1.0))).float().mean().item()


def survivors(net: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> Tensor:
    """Which images withstand the attacks of `attacked_accuracy`, (n,), bool."""
    return robust_correct(net, x, y, ball, restarts=2, rng=seeding.generator(0, "attack", device=x.device))


def switched_on(net: nn.Module) -> dict[str, Tensor]:
    """Which neurons have at least a hundredth of their layer's largest norm, {layer: (neurons,)}, bool.

    Weight decay switches some off: batch normalisation's scale falls to zero, and then nothing holds the weights up. What
    is left of them is no feature, and training does not move it, so cosines with it would mean nothing.
    """
    sizes = {layer: w.norm(dim=1) for layer, w in neurons(net).items()}
    return {layer: size > 0.01 * size.max() for layer, size in sizes.items()}


def layer_relations(one: nn.Module, other: nn.Module) -> dict[str, Tensor]:
    """cos of each neuron with the same neuron of another network, {layer: (neurons,)}, of those switched on in both."""
    a, b, on, too = neurons(one), neurons(other), switched_on(one), switched_on(other)
    return {layer: cosine(a[layer].float(), b[layer].float())[on[layer] & too[layer]] for layer in a}


def hidden_medians(relations: dict[str, Tensor]) -> list[float]:
    """The median over neurons of each layer but the last, which has one neuron a class and is no feature."""
    return [values.median().item() for values in list(relations.values())[:-1]]


def same_neuron(one: nn.Module, other: nn.Module) -> float:
    """Share of the hidden neurons of `other` whose nearest neuron (largest |cos|) in `one`'s layer is their own ancestor.

    Of neurons switched on in both.
    """
    a, b, on, too = neurons(one), neurons(other), switched_on(one), switched_on(other)
    own = []
    for layer in [*a][:-1]:
        unit, target = (nn.functional.normalize(w[layer].float()[on[layer] & too[layer]], dim=1) for w in (a, b))
        nearest = (target @ unit.T).abs().argmax(1)
        own.append(nearest == torch.arange(len(nearest), device=nearest.device))
    return torch.cat(own).float().mean().item()


def matched(one: nn.Module, other: nn.Module, layer: str) -> tuple[float, float]:
    """Median |cos| of a layer's neurons with those of another network, matched one to one; and with random ones, matched.

    The matching makes the sum of |cos| largest, so it raises chance as well.
    """
    a, b = (nn.functional.normalize(neurons(net)[layer].float()[switched_on(net)[layer]], dim=1) for net in (one, other))
    noise = torch.randn(b.shape, generator=seeding.generator(0, "matching")).to(b)
    found = []
    for target in (b, nn.functional.normalize(noise, dim=1)):
        size = (a @ target.T).abs().cpu()
        rows, columns = linear_sum_assignment(size.numpy(), maximize=True)
        found.append(size[rows, columns].median().item())
    return found[0], found[1]


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
    nets: Mapping[str, nn.Module], test: Images, config: CifarExperiment, threats: Collection[str] = tuple(THREATS)
) -> dict[str, float]:
    """Accuracy under AutoAttack, and beside it under PGD, of each network, on `autoattacked` images, for names of THREATS.

    `autoattack_ratio` is that of w' over w at the threat of the experiment's training, which must be among them.
    """
    attacked, out = checks.positive_int("autoattacked", config.autoattacked), {}
    home = next((threat for threat in threats if THREATS[threat] == (config.norm, config.radius)), None)
    if home is None:
        raise ValueError(f"threats = {[*threats]}: the training's, {config.norm} {config.radius:g}, must be among them")
    x, y = test.x[:attacked], test.y[:attacked]
    for name, net in nets.items():
        for threat in threats:
            norm, radius = THREATS[threat]
            key = f"{SUFFIXES[name]}/{threat}"
            survived = autoattack(net, x, y, Ball(norm, radius, (0.0, 1.0)))
            out[f"autoattack_accuracy{key}"] = survived.float().mean().item()
            out[f"pgd_accuracy{key}"] = attacked_accuracy(net, test, radius, attacked, norm)
    before, after = (out[f"autoattack_accuracy{SUFFIXES[name]}/{home}"] for name in ("clean", "purified"))
    return out | {"autoattack_ratio": after / max(before, 1 / attacked)}


def measure_relations(nets: dict[str, nn.Module]) -> dict[str, float]:
    """The cosines of `PAIRS`: the median over all neurons, for each layer, and the extreme hidden layer; shares; controls.

    Of neurons switched on, whose share is `live_share`. |beta w'| > |v| is cos^2 > 1/2, hence `share_dominant`, of w' or,
    in its place, of the control w_c or of w''. `*_matched`: conv1's neurons, the first layer's, matched to those of w''.
    """
    hidden = [*switched_on(nets["purified"]).values()][:-1]
    out = {"live_share": torch.cat(hidden).float().mean().item()}
    for name, (one, other) in PAIRS.items():
        each = layer_relations(nets[one], nets[other])
        pooled = torch.cat([*each.values()])
        out[name] = pooled.median().item()
        out |= {f"{name}/{layer}": values.median().item() for layer, values in each.items()}
        out[f"{name}_lowest"], out[f"{name}_highest"] = min(hidden_medians(each)), max(hidden_medians(each))
        if one == "clean":
            suffix = {"purified": "", "control": "_control", "scratch": "_scratch"}[other]
            out[f"share_dominant{suffix}"] = (pooled**2 > 0.5).float().mean().item()
            out |= {f"share_dominant{suffix}/{layer}": (cos**2 > 0.5).float().mean().item() for layer, cos in each.items()}
            out[f"same_neuron_share{suffix}"] = same_neuron(nets[one], nets[other])
    out["cos_clean_adv_difference"] = out["cos_clean_adv_control"] - out["cos_clean_adv"]
    first = next(iter(neurons(nets["clean"])))
    out["cos_adv_scratch_matched"], out["cos_matched_by_chance"] = matched(nets["purified"], nets["scratch"], first)
    return out


def held_out(measured: list[dict[str, float]], config: CifarExperiment) -> dict[str, dict[str, Any]]:
    """What the second stage's learning rate was chosen by, over the seeds that had no part in the choice."""
    rest = [one["cos_clean_adv_lowest"] for one in measured[config.tuned_seeds :]]
    return {"cos_clean_adv_lowest_held_out": interval(rest)} if rest else {}


def measure_two_seeds(runs: list[dict[str, nn.Module]]) -> list[dict[str, float]]:
    """Clean networks of successive seeds, which share nothing but the recipe: the cosine without a common origin."""
    found = []
    for one, other in pairwise(runs):
        pooled = torch.cat([*layer_relations(one["clean"], other["clean"]).values()])
        found.append({"cos_two_seeds": pooled.median().item(), "cos_two_seeds_size": pooled.abs().median().item()})
    return found
