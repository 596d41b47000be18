"""The book's experiments, by profile: "quick" (minutes on two CPU cores) and "full" (the published sizes)."""

import copy
import dataclasses
import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fpcore import seeding
from fpcore.attacks import Ball, along, pgd, robust_correct
from fpcore.certificates import certify
from fpcore.cifar import Images
from fpcore.decomposition import cosine, decompose, decompose_layers, features, neurons
from fpcore.models import ConvNet, TwoLayer, accuracy
from fpcore.results import ROOT
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Schedule, Training, train

# Changing any of these files changes what a checkpoint would hold, so it changes the checkpoint's name.
_SOURCES = ("seeding", "sparse_coding", "cifar", "models", "attacks", "training")


def cache_path(name: str, config: Any, *parts: Any) -> Path:
    """Where a training keeps its checkpoint: $FPCORE_CACHE, else `_build/cache`; a name for each config and code."""
    folder = Path(os.environ.get("FPCORE_CACHE") or ROOT / "_build" / "cache")
    code = b"".join((Path(__file__).parent / f"{s}.py").read_bytes() for s in _SOURCES)
    key = json.dumps([dataclasses.asdict(config), *map(str, parts)], sort_keys=True).encode()
    digest = hashlib.sha256(key + code).hexdigest()[:16]
    return folder / f"{name}-{parts[-1]}-{digest}.safetensors"


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
    adversarial_lr: float = 0.02
    weight_decay: float = 5e-3
    radius: float = 0.5  # l2, pixels in [0, 1]
    batch: int = 128

    def stage(self, data: Images, seed: int, epochs: int, lr: float, radius: float) -> Training:
        return Training(
            steps=data.steps(epochs, self.batch),
            lr=Schedule((0, 0.1 * lr), (0.1, lr), (1, 0)),
            batch=self.batch,
            momentum=0.9,
            weight_decay=self.weight_decay,
            radius=radius,
            box=(0.0, 1.0) if radius else None,
            clip=1.0,
            seed=seed,
        )


CIFAR = {
    "quick": CifarExperiment(0.5, 10_000, 1_000, 10, 5, seeds=1, weight_decay=1e-2),
    "full": CifarExperiment(1.0, 50_000, 10_000, 15, 10, seeds=3),
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

    def stage(name: str, start: nn.Module, epochs: int, lr: float, radius: float) -> nn.Module:
        model = copy.deepcopy(start)
        path = cache_path("cifar10", config, data.name, len(data), seed, device, name)
        label = f"{name}, seed {seed}" if progress else None
        training = config.stage(data, seed, epochs, lr, radius)
        histories[name] = train(model, data, training, every=data.steps(1, config.batch), checkpoint=path, progress=label)
        return model.eval()

    clean = stage("clean", init, config.clean_epochs, config.lr, 0.0)
    purified = stage("adversarial", clean, config.adversarial_epochs, config.adversarial_lr, config.radius)
    control = stage("control", clean, config.adversarial_epochs, config.adversarial_lr, 0.0)
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
    reach: float = 0.45  # the radius in units of 1/sqrt(k), the size of one active feature
    clean_lr: float = 5.0
    adversarial_lr: float = 40.0
    weight_decay: float = 2e-6
    init_norm: float = 0.05
    batch: int = 512
    test_samples: int = 1000

    @property
    def radius(self) -> float:
        """The l2 radius of attack, training and certificate: reach / sqrt(k)."""
        return self.reach / math.sqrt(self.k)

    def data(self, seed: int, device: torch.device) -> SparseCoding:
        return SparseCoding(self.d, self.k, self.margin, self.noise, seed, device)

    def network(self, seed: int, device: torch.device) -> TwoLayer:
        """The network at initialisation, w0."""
        rng = seeding.generator(seed, "init")
        return TwoLayer(self.d, self.width, self.threshold(0.0), self.init_norm, rng).to(device)

    def threshold(self, progress: float) -> float:
        """b_i/|w_i| over clean training: from 0.045 to 0.5/sqrt(k), half the size of an active feature."""
        return 0.045 + (0.5 / math.sqrt(self.k) - 0.045) * progress

    def clean(self, seed: int) -> Training:
        end = self.threshold(0.48)
        return Training(self.clean_steps, self.clean_lr, self.batch, threshold=Schedule((0, 0.045), (1, end)), seed=seed)

    def adversarial(self, seed: int) -> Training:
        start, end = self.threshold(0.48), self.threshold(1.0)
        return Training(
            steps=self.adversarial_steps,
            lr=Schedule((0, 0.0), (0.2, self.adversarial_lr), (0.7, self.adversarial_lr), (1, 0.05 * self.adversarial_lr)),
            batch=self.batch,
            radius=Schedule((0, 0.3 * self.radius), (0.2, self.radius)),
            threshold=Schedule((0, start), (0.2, end)),
            weight_decay=self.weight_decay,
            seed=seed + 1_000_000,  # a stream of its own
        )


SYNTHETIC = {
    "quick": SyntheticExperiment(400, 8, 2400, seeds=2, clean_steps=100, adversarial_steps=1000),
    "full": SyntheticExperiment(1024, 16, 6144, seeds=5, clean_steps=133, adversarial_steps=1500),
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

    def stage(name: str, start: TwoLayer, training: Training, every: int) -> TwoLayer:
        model = copy.deepcopy(start)
        path = cache_path("synthetic", experiment, seed, device, name)

        def measure(_: nn.Module) -> dict[str, Any]:
            return watch(model, init, data, *watched, experiment.radius)

        label = f"{name} training, seed {seed}" if progress else None
        histories[name] = train(model, data, training, measure=measure, every=every, checkpoint=path, progress=label)
        return model

    clean = stage("clean", init, experiment.clean(seed), max(1, experiment.clean_steps // 10))
    purified = stage("adversarial", clean, experiment.adversarial(seed), max(1, experiment.adversarial_steps // 15))
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
    for suffix, net in (("", run.clean), ("_adv", run.purified)):
        out |= {f"{name}{suffix}": value for name, value in robustness(run, net, restarts).items()}
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


def robustness(run: SyntheticRun, net: TwoLayer, restarts: int = 5) -> dict[str, float]:
    """Clean, robust (worst attack: an upper bound) and certified (a lower bound) accuracy at the run's radius."""
    radius, dense = run.experiment.radius, along(run.data.u_star, run.experiment.radius)
    rng = seeding.generator(0, "attack", device=run.x.device)
    survived = robust_correct(net, run.x, run.y, Ball("l2", radius), restarts=restarts, extra=(dense,), rng=rng)
    certificate = certify(net, run.x, run.y, radius)
    return {
        "clean_accuracy": accuracy(net, run.x, run.y),
        "robust_accuracy": survived.float().mean().item(),
        "certified_accuracy": certificate.robust.float().mean().item(),
        "certificate_exact": certificate.exact.float().mean().item(),
    }


def measure_cifar(run: CifarRun, test: Images, config: CifarExperiment, attacked: int = 1000) -> dict[str, float]:
    """The ledger's figures of one seed on CIFAR-10: accuracies on test images, cosines as the median over neurons."""
    ball, out = Ball("l2", config.radius, (0.0, 1.0)), {"radius": config.radius}
    x, y = test.x[:attacked], test.y[:attacked]
    rng = seeding.generator(0, "attack", device=x.device)
    for suffix, net in (("", run.clean), ("_adv", run.purified), ("_control", run.control)):
        out[f"clean_accuracy{suffix}"] = accuracy(net, test.x, test.y)
        out[f"robust_accuracy{suffix}"] = robust_correct(net, x, y, ball, restarts=2, rng=rng).float().mean().item()
    layers = {name: neurons(getattr(run, name)) for name in ("init", "clean", "purified", "control")}
    for suffix, other in (("", "purified"), ("_control", "control")):
        parts = decompose_layers(run.clean, getattr(run, other))
        out[f"share_dominant{suffix}"] = torch.cat([p.dominant for p in parts.values()]).float().mean().item()
        out[f"cos_clean_adv{suffix}"] = torch.cat([p.cos for p in parts.values()]).median().item()
    for name, other in (("cos_init_clean", "clean"), ("cos_init_adv", "purified")):
        every = [cosine(layers["init"][layer], layers[other][layer]) for layer in layers["init"]]
        out[name] = torch.cat(every).median().item()
    return out
