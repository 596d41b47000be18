"""What is measured on CIFAR-10 networks: accuracies under attack, and how neurons of one network relate to another's."""

from collections.abc import Mapping

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from fpcore import checks, seeding
from fpcore.attacks import Ball, robust_correct
from fpcore.autoattacks import THREATS, autoattack
from fpcore.cifar import Images
from fpcore.cifar_experiments import CifarExperiment
from fpcore.decomposition import cosine, neurons, paired
from fpcore.models import accuracy
from fpcore.switched import switched_on
from fpcore.visible import preactivation

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

    An upper bound. The radius is in pixels of [0, 1]; the generator of the random starts is the same for every network.
    """
    x, y = first(test, "attacked", attacked)
    if radius == 0:
        return accuracy(net, x, y)
    return survivors(net, x, y, Ball(norm, radius, (0.0, 1.0))).float().mean().item()


def first(test: Images, name: str, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` images and labels; an error, in which the count is called `name`, if there are fewer."""
    if checks.positive_int(name, count) > len(test):
        raise ValueError(f"{name} = {count}: there are {len(test)} images, give at most so many")
    return test.x[:count], test.y[:count]


def survivors(net: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> Tensor:
    """Which images withstand the attacks of `attacked_accuracy`, (n,), bool."""
    return robust_correct(net, x, y, ball, restarts=2, rng=seeding.generator(0, "attack", device=x.device))


def layer_relations(one: nn.Module, other: nn.Module) -> dict[str, Tensor]:
    """cos of each neuron with the same neuron of another network, {layer: (neurons,)}, of those switched on in both."""
    pairs, on, too = paired(one, other), switched_on(one), switched_on(other)
    return {layer: cosine(a.float(), b.float())[on[layer] & too[layer]] for layer, (a, b) in pairs.items()}


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
        unit, target = (nn.functional.normalize(w[layer].float()[rows], dim=1) for w, rows in ((a, on[layer]), (b, both)))
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
    size = (nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T).abs().cpu()  # (m, n)
    rows, columns = linear_sum_assignment(size.numpy(), maximize=True)
    return size[rows, columns].median().item()


def scrambled(w: Tensor, rng: torch.Generator) -> Tensor:
    """Filters w (m, channels, h, w) with random phases, one draw for all channels of a filter: shape lost, spectrum kept."""
    noise = torch.fft.fft2(torch.randn(len(w), 1, *w.shape[2:], generator=rng, device=w.device))
    return torch.fft.ifft2(torch.fft.fft2(w) * noise / noise.abs()).real


@torch.no_grad()
def explained(one: nn.Module, other: nn.Module, x: Tensor, held: Tensor) -> dict[str, Tensor]:
    """What a linear map of `one`'s neurons explains of each neuron of `other`, {layer: share of its variance (neurons,)}.

    Of preactivations, position by position, on images `held` (n, 3, h, w); the map is fitted on other images x. Neurons
    switched on, of each layer but the last. Random neurons explain something, too: compare.
    """
    on = {one: switched_on(one), other: switched_on(other)}

    def rows(net: nn.Module, layer: str, images: Tensor) -> Tensor:
        return preactivation(net, layer, images)[:, on[net][layer]].movedim(1, -1).flatten(0, -2).double()

    found = {}
    for layer in [*neurons(one)][:-1]:
        a, b = rows(one, layer, x), rows(other, layer, x)
        here, there = a - a.mean(0), b - b.mean(0)
        gram = here.T @ here
        ridge = 1e-9 * gram.diagonal().sum() * torch.eye(len(gram)).to(gram)  # neurons may depend on each other
        linear = torch.linalg.solve(gram + ridge, here.T @ there)
        b_held = rows(other, layer, held)
        missed = b_held - b.mean(0) - (rows(one, layer, held) - a.mean(0)) @ linear
        found[layer] = 1 - missed.square().sum(0) / (b_held - b_held.mean(0)).square().sum(0)
    return found


def measure_explained(nets: Mapping[str, nn.Module], test: Images, count: int) -> dict[str, float]:
    """How much of w', of the control and of w'' a linear map of w explains, and of w' one of w0: medians, layer by layer.

    Of the control and w'' if they are given. Fitted on the first `count` test images, measured on as many that follow.
    """
    absent = _absent(nets)
    x = first(test, "two times count", 2 * count)[0]
    out: dict[str, float] = {}
    pairs = {"_adv": ("clean", "purified"), "_control": ("clean", "control"), "_scratch": ("clean", "scratch")}
    for suffix, (one, other) in (pairs | {"_init": ("init", "purified")}).items():
        if {one, other} & absent:
            continue
        medians = {layer: v.median().item() for layer, v in explained(nets[one], nets[other], *x.split(count)).items()}
        out |= {f"explained_share{suffix}/{layer}": share for layer, share in medians.items()}
        out[f"explained_share{suffix}_lowest"] = min(medians.values())
    return out


def measure_accuracies(nets: Mapping[str, nn.Module], test: Images, config: CifarExperiment) -> dict[str, float]:
    """Of each network its accuracy, "name/clean_accuracy", and under PGD at the training's threat, "name/robust_accuracy"."""
    out: dict[str, float] = {}
    for name, net in nets.items():
        out[f"{name}/clean_accuracy"] = accuracy(net, test.x, test.y)
        out[f"{name}/robust_accuracy"] = attacked_accuracy(net, test, config.radius, config.attacked, config.norm)
    return out


def measure_cifar(nets: dict[str, nn.Module], test: Images, config: CifarExperiment) -> dict[str, float]:
    """The ledger's figures of one seed: accuracies on test images, cosines as medians over neurons, controls beside them.

    Of w0, w and w', and of the control and w'' if they are given.
    """
    out, absent = {"radius": config.radius}, _absent(nets)
    for name, suffix in SUFFIXES.items():
        if name in absent:
            continue
        out[f"clean_accuracy{suffix}"] = accuracy(nets[name], test.x, test.y)
        out[f"robust_accuracy{suffix}"] = attacked_accuracy(nets[name], test, config.radius, config.attacked, config.norm)
    out["robust_gain"] = out["robust_accuracy_adv"] - out["robust_accuracy"]
    out["robust_ratio"] = out["robust_accuracy_adv"] / max(out["robust_accuracy"], 1 / config.attacked)
    out["clean_lost"] = out["clean_accuracy"] - out["clean_accuracy_adv"]
    return out | measure_relations(nets) | measure_explained(nets, test, min(250, len(test) // 2))


def training_threat(config: CifarExperiment) -> str:
    """The name in THREATS of the threat of the experiment's training; an error if it is none of them."""
    for name, threat in THREATS.items():
        if threat == (config.norm, config.radius):
            return name
    raise ValueError(f"threats = {[*THREATS]}: the training's, {config.norm} {config.radius:g}, must be among them")


def withstood(nets: Mapping[str, nn.Module], test: Images, config: CifarExperiment) -> dict[str, Tensor]:
    """Which of the first `autoattacked` images each network withstands under AutoAttack: {"network/threat": (n,), bool}.

    Networks are named as in SUFFIXES, threats as in THREATS; the threat of the experiment's training must be one of these.
    """
    training_threat(config)
    for name in nets:
        checks.choice("network", name, SUFFIXES)
    x, y = first(test, "autoattacked", config.autoattacked)
    balls = {threat: Ball(norm, radius, (0.0, 1.0)) for threat, (norm, radius) in THREATS.items()}
    return {f"{name}/{t}": autoattack(net, x, y, ball) for name, net in nets.items() for t, ball in balls.items()}


def measure_autoattack(
    survived: Mapping[str, Tensor], nets: Mapping[str, nn.Module], test: Images, config: CifarExperiment
) -> dict[str, float]:
    """Accuracy under AutoAttack, of what `withstood` found, and beside it under PGD on the same images.

    At the threat of the experiment's training, `autoattack_ratio` is the accuracy of w' over that of w, and
    `autoattack_kept_share` the share of the images withstood by w that another network withstands as well.
    """
    out: dict[str, float] = {}
    for key, alive in survived.items():
        name, threat = key.split("/", 1)
        norm, radius = THREATS[threat]
        out[f"autoattack_accuracy{SUFFIXES[name]}/{threat}"] = alive.float().mean().item()
        out[f"pgd_accuracy{SUFFIXES[name]}/{threat}"] = attacked_accuracy(nets[name], test, radius, len(alive), norm)
    home = training_threat(config)
    at_home = {name: survived[f"{name}/{home}"] for name in SUFFIXES if f"{name}/{home}" in survived}
    if (before := at_home.pop("clean", None)) is not None:
        count = max(before.sum().item(), 1)
        if "purified" in at_home:
            out["autoattack_ratio"] = at_home["purified"].sum().item() / count
        for name, after in at_home.items():
            out[f"autoattack_kept_share{SUFFIXES[name]}"] = (before & after).sum().item() / count
    return out


def measure_relations(nets: dict[str, nn.Module]) -> dict[str, float]:
    """The cosines of `PAIRS`: the median over all neurons, for each layer, and the extreme hidden layer; shares; controls.

    Of neurons switched on, whose share is `live_share`. |beta w'| > |v| is cos^2 > 1/2, hence `share_dominant`, of w' or,
    in its place, of the control w_c or of w'', if they are given.
    """
    absent = _absent(nets)
    hidden = [*switched_on(nets["purified"]).values()][:-1]
    out = {"live_share": torch.cat(hidden).float().mean().item()}
    for name, (one, other) in PAIRS.items():
        if {one, other} & absent:
            continue
        each = layer_relations(nets[one], nets[other])
        pooled = torch.cat([*each.values()])
        out[name] = pooled.median().item()
        out |= {f"{name}/{layer}": values.median().item() for layer, values in each.items()}
        out[f"{name}_lowest"], out[f"{name}_highest"] = min(hidden_medians(each)), max(hidden_medians(each))
        if one == "clean":
            suffix = {"purified": "", "control": "_control", "scratch": "_scratch"}[other]
            out[f"share_dominant{suffix}"] = (pooled**2 > 0.5).float().mean().item()
            shares = {layer: (cos**2 > 0.5).float().mean().item() for layer, cos in each.items()}
            out |= {f"share_dominant{suffix}/{layer}": share for layer, share in shares.items()}
            out[f"share_dominant{suffix}_lowest"] = min(shares.values())
            out[f"same_neuron_share{suffix}"] = same_neuron(nets[one], nets[other])
    if "control" not in absent:
        out["cos_clean_adv_difference"] = out["cos_clean_adv_control"] - out["cos_clean_adv"]
    return out


def _absent(nets: Mapping[str, nn.Module]) -> set[str]:
    """Of the control and w'' those that are not given; an error if w0, w or w' is not."""
    absent = {"init", *SUFFIXES} - nets.keys()
    if needed := absent - {"control", "scratch"}:
        raise ValueError(f"networks = {[*nets]}: give {sorted(needed)} as well")
    return absent


def measure_two_seeds(runs: list[dict[str, nn.Module]]) -> list[dict[str, float]]:
    """Clean networks of two seeds, which share nothing but the recipe: the cosine without a common origin.

    Seeds are taken two by two, each once, so that the pairs are independent; a last one without a partner is left out.
    """
    found = []
    for one, other in zip(runs[::2], runs[1::2]):
        pooled = torch.cat([*layer_relations(one["clean"], other["clean"]).values()])
        found.append({"cos_two_seeds": pooled.median().item(), "cos_two_seeds_size": pooled.abs().median().item()})
    return found
