"""The book's experiments, by profile: "quick" (minutes on two CPU cores) and "full" (the published sizes)."""

import copy
import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fpcore import checks, figures, seeding
from fpcore.attacks import Ball, along, pgd, robust_correct
from fpcore.certificates import BRANCHES, certify
from fpcore.cifar import Images
from fpcore.decomposition import cosine, decompose, features, neurons
from fpcore.models import ConvNet, TwoLayer, accuracy
from fpcore.results import ROOT, interval, provenance
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Schedule, Training, train

# Changing any of these files changes what a checkpoint would hold, so it changes the checkpoint's name.
_SOURCES = ("seeding", "sparse_coding", "cifar", "models", "attacks", "certificates", "decomposition", "training")


def cache_path(label: str, *lineage: Any) -> Path:
    """Where a training keeps its checkpoint: $FPCORE_CACHE, else `_build/cache`, under a name made from its lineage.

    The lineage is all that decides the outcome: trainings, seeds, data, earlier stages; and the code.
    """
    folder = Path(os.environ.get("FPCORE_CACHE") or ROOT / "_build" / "cache")
    plain = [repr(part) for part in lineage]
    digest = hashlib.sha256(json.dumps([*plain, torch.__version__]).encode())
    for source in _SOURCES:
        digest.update((Path(__file__).parent / f"{source}.py").read_bytes())
    return folder / f"{label}-{digest.hexdigest()[:16]}.safetensors"


@dataclass(frozen=True)
class CifarExperiment:
    """w0 -> w (clean) -> w' (l2 FGM), and w -> w_c: clean training continued on the schedule of w -> w' (the control)."""

    width: float
    train_images: int
    test_images: int
    clean_epochs: int
    adversarial_epochs: int
    seeds: int
    lr: float = 0.1
    adversarial_lr: float = 0.005
    weight_decay: float = 5e-3
    adversarial_weight_decay: float = 5e-4
    radius: float = 0.5  # l2, pixels in [0, 1]
    batch: int = 128

    def clean(self, data: Images, seed: int) -> Training:
        return self._training(data, seed, self.clean_epochs, self.lr, self.weight_decay, 0.0)

    def adversarial(self, data: Images, seed: int, radius: float) -> Training:
        """The second stage; with radius 0, the control's."""
        return self._training(data, seed, self.adversarial_epochs, self.adversarial_lr, self.adversarial_weight_decay, radius)

    def _training(self, data: Images, seed: int, epochs: int, lr: float, weight_decay: float, radius: float) -> Training:
        return Training(
            steps=data.steps(epochs, self.batch),
            lr=Schedule((0, 0.1 * lr), (0.1, lr), (1, 0)),
            batch=self.batch,
            momentum=0.9,
            weight_decay=weight_decay,
            radius=radius,
            box=(0.0, 1.0) if radius else None,
            clip=1.0,
            seed=seed,
        )


CIFAR = {
    "quick": CifarExperiment(0.5, 10_000, 1_000, 10, 5, seeds=1, adversarial_lr=0.02, weight_decay=1e-2),
    "full": CifarExperiment(1.0, 50_000, 10_000, 15, 10, seeds=2),
}


@dataclass(frozen=True)
class CifarRun:
    """The networks of one seed: `init` w0, `clean` w, `purified` w', `control` w_c; and the histories of training."""

    init: nn.Module
    clean: nn.Module
    purified: nn.Module
    control: nn.Module
    histories: dict[str, list[dict[str, Any]]]


def run_cifar(config: CifarExperiment, data: Images, seed: int, progress: bool = True) -> CifarRun:
    """Train the four networks of a seed on `data`, on its device; finished stages are read from their checkpoints."""
    device = data.x.device
    torch.manual_seed(seed)  # the layers' default initialisation draws from the global generator
    init = ConvNet(config.width).to(device).to(memory_format=torch.channels_last)
    histories = {}

    def stage(name: str, start: nn.Module, training: Training, *before: Training) -> nn.Module:
        model = copy.deepcopy(start)
        path = cache_path(f"cifar10-{name}", training, *before, config.width, data, seed)
        label = f"{name}, seed {seed}" if progress else None
        every = data.steps(1, config.batch)
        histories[name] = train(model, data, training, every=every, checkpoint=path, progress=label)
        return model.eval()

    first = config.clean(data, seed)
    clean = stage("clean", init, first)
    purified = stage("adversarial", clean, config.adversarial(data, seed, config.radius), first)
    control = stage("control", clean, config.adversarial(data, seed, 0.0), first)
    return CifarRun(init.eval(), clean, purified, control, histories)


@dataclass(frozen=True)
class SyntheticExperiment:
    """Clean SGD, then SGD on l2 FGM examples, for the two-layer network on the sparse coding model.

    One protocol for all sizes: every constant is a number here or a formula in d and k below, none is set per seed.
    """

    d: int
    k: int
    width: int
    seeds: int
    clean_steps: int
    adversarial_steps: int
    margin: float = 1.5
    noise: float = 0.2
    reach: float = 0.49  # the radius in units of 1/sqrt(k), the size of one active feature
    init_norm: float = 0.05
    first_threshold: float = 1.9  # in units of 1/sqrt(d), the standard deviation of a random neuron's pre-activation
    last_threshold: float = 0.6  # in units of 1/sqrt(k), at the end of clean training and ever after
    clean_lr: float = 0.04  # times d
    adversarial_lr: float = 0.1  # times d
    decay: float = 0.007  # share of its weight that a neuron loses in a step of FGM training, at the full step size
    batch: int = 512
    test_samples: int = 1000

    @property
    def radius(self) -> float:
        """The l2 radius of attack, training and certificate: reach / sqrt(k)."""
        return self.reach / math.sqrt(self.k)

    @property
    def thresholds(self) -> tuple[float, float]:
        """b_i/|w_i| at initialisation, and from the end of clean training on: FGM training does not touch it."""
        return self.first_threshold / math.sqrt(self.d), self.last_threshold / math.sqrt(self.k)

    def data(self, seed: int, device: torch.device) -> SparseCoding:
        return SparseCoding(self.d, self.k, self.margin, self.noise, seed, device)

    def network(self, seed: int, device: torch.device) -> TwoLayer:
        """The network at initialisation, w0."""
        return TwoLayer(self.d, self.width, self.thresholds[0], self.init_norm, seeding.generator(seed, "init")).to(device)

    def clean(self, seed: int) -> Training:
        start, end = self.thresholds
        lr = self.clean_lr * self.d
        return Training(self.clean_steps, lr, self.batch, threshold=Schedule((0, start), (1, end)), seed=seed)

    def adversarial(self, seed: int) -> Training:
        """FGM training; step size and radius are warmed up, since the full attack at once lets f collapse to 0."""
        full = self.adversarial_lr * self.d
        return Training(
            steps=self.adversarial_steps,
            lr=Schedule((0, 0.005 * full), (0.2, full), (0.5, full), (1, 0.03 * full)),
            batch=self.batch,
            radius=Schedule((0, 0.3 * self.radius), (0.2, self.radius)),
            weight_decay=self.decay / full,
            seed=seed + 1_000_000,  # fresh samples: not those of clean training
        )


SYNTHETIC = {
    "quick": SyntheticExperiment(400, 8, 2000, seeds=2, clean_steps=140, adversarial_steps=400),
    "full": SyntheticExperiment(1024, 12, 5120, seeds=3, clean_steps=140, adversarial_steps=1000),
}
PROFILES = tuple(SYNTHETIC)


@dataclass(frozen=True)
class SyntheticRun:
    """One seed: its data, a held-out test set, the networks w0, w, w', and the histories of both trainings."""

    experiment: SyntheticExperiment
    data: SparseCoding
    x: Tensor
    y: Tensor
    init: TwoLayer
    clean: TwoLayer
    purified: TwoLayer
    histories: dict[str, list[dict[str, Any]]]


def run_synthetic(experiment: SyntheticExperiment, seed: int, device: torch.device, progress: bool = True) -> SyntheticRun:
    """Train one seed, clean then adversarially; finished or interrupted stages go on from their checkpoints."""
    data = experiment.data(seed, device)
    x, y = data.test_set(experiment.test_samples, seed)
    init = experiment.network(seed, device)
    # Test samples that are only watched during training, and never reported.
    watched = data.sample(200, seeding.generator(seed, "watch", device=device))
    histories = {}

    def stage(name: str, start: TwoLayer, training: Training, *before: Training) -> TwoLayer:
        model = copy.deepcopy(start)
        path = cache_path(f"synthetic-{name}", training, *before, data, experiment, seed)

        def measure(_: nn.Module) -> dict[str, Any]:
            return watch(model, init, data, *watched, experiment.radius)

        label = f"{name} training, seed {seed}" if progress else None
        every = max(1, training.steps // 12)
        histories[name] = train(model, data, training, measure=measure, every=every, checkpoint=path, progress=label)
        return model

    first = experiment.clean(seed)
    clean = stage("clean", init, first)
    purified = stage("adversarial", clean, experiment.adversarial(seed), first)
    return SyntheticRun(experiment, data, x, y, init, clean, purified, histories)


@torch.no_grad()
def watch(net: TwoLayer, init: TwoLayer, data: SparseCoding, x: Tensor, y: Tensor, radius: float) -> dict[str, float]:
    """What the histories follow: accuracies at the radius, and the neurons' measures weighted by their norm."""
    held = features(net.weight, data.features, data.u_star)
    weight = held.norm / held.norm.sum()
    adversarial = pgd(net, x, y, Ball("l2", radius), steps=10)
    return {
        "clean_accuracy": accuracy(net, x, y),
        "robust_accuracy": accuracy(net, adversarial, y),
        "certified_accuracy": certify(net, x, y, radius).robust.float().mean().item(),
        "purity": float((held.purity * weight).sum()),
        "dense_part": float((held.dense_part * weight).sum()),
        "cos_init": cosine(init.weight, net.weight).median().item(),
        "active": (net.preactivations(x).abs() > net.bias).float().mean().item(),
    }


def live(net: TwoLayer, share: float = 0.1) -> Tensor:
    """Neurons with a norm of at least `share` of the largest: those that carry the function. Shape (m,), bool."""
    norm = net.weight.detach().norm(dim=1)
    return norm > share * norm.max()


def measure_synthetic(run: SyntheticRun, restarts: int = 5) -> dict[str, float]:
    """All of the ledger's figures of one seed, on its held-out test set, at the experiment's radius."""
    out = {"radius": run.experiment.radius}
    for suffix, net, branches in (("", run.clean, 1), ("_adv", run.purified, BRANCHES)):
        out |= {f"{name}{suffix}": value for name, value in robustness(run, net, restarts, branches).items()}
    w0, w, w1 = (n.weight.detach() for n in (run.init, run.clean, run.purified))
    parts, alive = decompose(w, w1), live(run.purified)
    out["share_live"] = alive.float().mean().item()
    out["share_dominant"] = parts.dominant.float().mean().item()
    out["share_dominant_live"] = parts.dominant[alive].float().mean().item()
    cosines = {"cos_clean_adv": parts.cos, "cos_init_clean": cosine(w0, w), "cos_init_adv": cosine(w0, w1)}
    for name, values in cosines.items():
        out[name], out[f"{name}_live"] = values.median().item(), values[alive].median().item()
    for suffix, net in (("_init", run.init), ("", run.clean), ("_adv", run.purified)):
        held = features(net.weight.detach(), run.data.features, run.data.u_star)
        out[f"purity{suffix}"] = held.purity[alive].median().item()
        out[f"dense_part{suffix}"] = held.dense_part[alive].median().item()
    out["cos_removed_dense"] = (
        (parts.residual[alive] @ run.data.u_star / parts.residual[alive].norm(dim=1)).abs().median().item()
    )
    return out


def robustness(run: SyntheticRun, net: TwoLayer, restarts: int = 5, branches: int = BRANCHES) -> dict[str, float]:
    """Clean, robust (worst attack: an upper bound) and certified (a lower bound) accuracy at the run's radius.

    Networks that are far from robust cost the certificate most and gain least: give `branches` = 1 for them.
    """
    radius, dense = run.experiment.radius, along(run.data.u_star, run.experiment.radius)
    rng = seeding.generator(0, "attack", device=run.x.device)
    survived = robust_correct(net, run.x, run.y, Ball("l2", radius), restarts=restarts, extra=(dense,), rng=rng)
    certificate = certify(net, run.x, run.y, radius, branches)
    return {
        "clean_accuracy": accuracy(net, run.x, run.y),
        "robust_accuracy": survived.float().mean().item(),
        "certified_accuracy": certificate.robust.float().mean().item(),
        "certificate_exact": certificate.exact.float().mean().item(),
    }


def soundness(
    net: TwoLayer, x: Tensor, y: Tensor, radii: list[float], branches: int = BRANCHES, restarts: int = 2, rng: Any = None
) -> dict[str, int]:
    """Attack all that is certified: how many (sample, radius) `pairs` there are, `certified` ones, and `broken` ones of those.

    The attacks are FGM and PGD with `restarts`. A single broken pair would disprove the certificate.
    """
    counts = {"pairs": 0, "certified": 0, "broken": 0}
    for radius in radii:
        robust = certify(net, x, y, radius, branches).robust
        survived = robust_correct(net, x[robust], y[robust], Ball("l2", radius), restarts=restarts, rng=rng)
        counts["pairs"] += len(x)
        counts["certified"] += len(survived)
        counts["broken"] += int((~survived).sum())
    return counts


def measure_cifar(run: CifarRun, test: Images, config: CifarExperiment, attacked: int = 1000) -> dict[str, float]:
    """The ledger's figures of one seed on CIFAR-10: accuracies on test images, cosines as the median over neurons."""
    ball, out = Ball("l2", config.radius, (0.0, 1.0)), {"radius": config.radius}
    x, y = test.x[:attacked], test.y[:attacked]
    rng = seeding.generator(0, "attack", device=x.device)
    for suffix, net in (("", run.clean), ("_adv", run.purified), ("_control", run.control)):
        out[f"clean_accuracy{suffix}"] = accuracy(net, test.x, test.y)
        out[f"robust_accuracy{suffix}"] = robust_correct(net, x, y, ball, restarts=2, rng=rng).float().mean().item()
    layers = {name: neurons(getattr(run, name)) for name in ("init", "clean", "purified", "control")}
    pairs = {
        "cos_init_clean": ("init", "clean"),
        "cos_init_adv": ("init", "purified"),
        "cos_clean_adv": ("clean", "purified"),
        "cos_clean_adv_control": ("clean", "control"),
    }
    for name, (one, other) in pairs.items():
        each = {layer: cosine(layers[one][layer], layers[other][layer]) for layer in layers["init"]}
        out[name] = torch.cat([*each.values()]).median().item()
        out |= {f"{name}/{layer}": values.median().item() for layer, values in each.items()}
        if one == "clean":  # |beta w'| > |v| is cos^2 > 1/2
            share = (torch.cat([*each.values()]) ** 2 > 0.5).float().mean().item()
            out[name.replace("cos_clean_adv", "share_dominant")] = share
    out["cos_clean_adv_difference"] = out["cos_clean_adv_control"] - out["cos_clean_adv"]
    return out


def start(profile: str, device: str, seed: int) -> torch.device:
    """Open a chapter: check its parameters before any work, set the figures' style, say where the numbers come from."""
    checks.choice("profile", profile, PROFILES)
    checks.whole("seed", seed)
    target = checks.resolve_device(device)
    figures.style()
    source = provenance(profile, target, [seed])
    print(f"profile {profile} · {source['device']} · torch {torch.__version__} · seed {seed}")
    return target


def summarise(measured: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean and 95% interval over seeds of each figure; accuracies, shares and purities are cut to [0, 1]."""
    shares = ("accuracy", "share", "purity", "dense")
    return {name: interval([one[name] for one in measured], share=any(word in name for word in shares)) for name in measured[0]}
