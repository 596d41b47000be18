"""The CIFAR-10 experiments: clean training, FGM training from it, and the control, in both profiles."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fpcore import seeding
from fpcore.attacks import Ball, robust_correct
from fpcore.cifar import Images
from fpcore.decomposition import cosine, neurons
from fpcore.experiments import cache_path
from fpcore.models import ConvNet, accuracy
from fpcore.training import Schedule, Training, train


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
