"""What is measured on CIFAR-10 networks: accuracies, clean and under attack, and what removal does to them."""

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from fpbook.cifar10.layers import measure_explained, measure_relations
from fpbook.cifar10.networks import SUFFIXES, absent, first_images
from fpbook.cifar10.protocol import THREATS, CifarExperiment
from fpbook.results.cache import cache_path
from fpcore import checks, seeding
from fpcore.attacks import Ball, robust_correct
from fpcore.auto_attack import autoattack
from fpcore.decomposition.ablation import removed, swapped
from fpcore.decomposition.layers import neurons
from fpcore.images import Images
from fpcore.models.batch_norm import recalibrated
from fpcore.models.outputs import accuracy


def pgd_accuracy(
    net: nn.Module, test: Images, radius: float, attacked: int = 1000, norm: str = "l2"
) -> float:
    """Robust accuracy on the first so many test images: the worst of FGM, and PGD-20 with a random restart.

    An upper bound. The radius is in pixels of [0, 1]; the generator of the random starts is the same for every network.
    """
    x, y = first_images(test, "attacked", attacked)
    if radius == 0:
        return accuracy(net, x, y)
    return pgd_correct(net, x, y, Ball(norm, radius, (0.0, 1.0))).float().mean().item()


def pgd_correct(net: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> Tensor:
    """Which images withstand the attacks of `attacked_accuracy`, (n,), bool."""
    return robust_correct(
        net, x, y, ball, restarts=2, rng=seeding.generator(0, "attack", device=x.device)
    )


def measure_accuracies(
    nets: Mapping[str, nn.Module], test: Images, config: CifarExperiment
) -> dict[str, float]:
    """Of each network its accuracy, "name/clean_accuracy", and under PGD at the training's threat, "name/robust_accuracy"."""
    out: dict[str, float] = {}
    for name, net in nets.items():
        out[f"{name}/clean_accuracy"] = accuracy(net, test.x, test.y)
        out[f"{name}/robust_accuracy"] = pgd_accuracy(
            net, test, config.radius, config.attacked, config.norm
        )
    return out


def measure_cifar(
    nets: dict[str, nn.Module], test: Images, config: CifarExperiment
) -> dict[str, float]:
    """The ledger's figures of one seed: accuracies on test images, cosines as medians over neurons, controls beside them.

    Of w0, w and w', and of the control and w'' if they are given.
    """
    out, missing = {"radius": config.radius}, absent(nets)
    for name, suffix in SUFFIXES.items():
        if name in missing:
            continue
        out[f"clean_accuracy{suffix}"] = accuracy(nets[name], test.x, test.y)
        out[f"robust_accuracy{suffix}"] = pgd_accuracy(
            nets[name], test, config.radius, config.attacked, config.norm
        )
    out["robust_gain"] = out["robust_accuracy_adv"] - out["robust_accuracy"]
    out["robust_ratio"] = out["robust_accuracy_adv"] / max(
        out["robust_accuracy"], 1 / config.attacked
    )
    out["clean_lost"] = out["clean_accuracy"] - out["clean_accuracy_adv"]
    return out | measure_relations(nets) | measure_explained(nets, test, min(250, len(test) // 2))


def training_threat(config: CifarExperiment) -> str:
    """The name in THREATS of the threat of the experiment's training; an error if it is none of them."""
    for name, threat in THREATS.items():
        if threat == (config.norm, config.radius):
            return name
    raise ValueError(
        f"threats = {[*THREATS]}: the training's, {config.norm} {config.radius:g}, must be among them"
    )


def autoattack_correct(
    nets: Mapping[str, nn.Module], test: Images, config: CifarExperiment
) -> dict[str, Tensor]:
    """Which of the first `autoattacked` images each network withstands under AutoAttack: {"network/threat": (n,), bool}.

    Networks are named as in SUFFIXES, threats as in THREATS; the threat of the experiment's training must be one of these.
    """
    training_threat(config)
    for name in nets:
        checks.choice("network", name, SUFFIXES)
    x, y = first_images(test, "autoattacked", config.autoattacked)
    found = {}
    for name, net in nets.items():
        for threat, (norm, radius) in THREATS.items():
            ball = Ball(norm, radius, (0.0, 1.0))
            keep = cache_path("autoattack", net, x, y, ball, code=autoattack).with_suffix(".json")
            found[f"{name}/{threat}"] = autoattack(net, x, y, ball, keep=keep)
    return found


def measure_autoattack(
    survived: Mapping[str, Tensor],
    nets: Mapping[str, nn.Module],
    test: Images,
    config: CifarExperiment,
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
        out[f"pgd_accuracy{SUFFIXES[name]}/{threat}"] = pgd_accuracy(
            nets[name], test, radius, len(alive), norm
        )
    home = training_threat(config)
    at_home = {
        name: survived[f"{name}/{home}"] for name in SUFFIXES if f"{name}/{home}" in survived
    }
    if (before := at_home.pop("clean", None)) is not None:
        count = max(before.sum().item(), 1)
        if "purified" in at_home:
            out["autoattack_ratio"] = at_home["purified"].sum().item() / count
        for name, after in at_home.items():
            out[f"autoattack_kept_share{SUFFIXES[name]}"] = (before & after).sum().item() / count
    return out


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
        control = (
            w_c
            if way == "v_c"
            else seeding.generator(seed, "control")
            if way in ("random", "dealt")
            else None
        )
        return removed(
            w, w_adv, alpha, layers, control, None if "old" in way else calibration, way == "dealt"
        )

    ways = ("v", "random", "dealt", "v_c")
    rows = {
        f"{way}/{alpha:g}": without(way, alpha)
        for way in (*ways, "v, old statistics")
        for alpha in alphas
    }
    rows |= {
        f"{way} in {layer}": without(way, 1.0, [layer]) for way in ways for layer in neurons(w)
    }
    return rows | {
        "v_c at its length": removed(w, w_c, 1.0, calibration=calibration),
        "swapped": swapped(w, w_adv, calibration),
        "swapped back": swapped(w_adv, w, calibration),
        "purified, anew": recalibrated(w_adv, calibration),
        "purified": w_adv,
    }
