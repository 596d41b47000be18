"""The CIFAR-10 experiments, by profile: sizes, schedules, attacks."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from fpcore import checks
from fpcore.ball import Ball
from fpcore.images import Images
from fpcore.models.convnet import ConvNet
from fpcore.models.resnet import ResNet
from fpcore.training import Schedule, Training

# What networks are attacked with, {name: (norm, radius in pixels of [0, 1])}.
THREATS = {
    "l2 0.25": ("l2", 0.25),
    "l2 0.5": ("l2", 0.5),
    "linf 4/255": ("linf", 4 / 255),
    "linf 8/255": ("linf", 8 / 255),
}
ARCHITECTURES = {"convnet": ConvNet, "resnet18": ResNet}


@dataclass(frozen=True, kw_only=True)
class CifarExperiment:
    """Sizes and schedules. Two stages: the first forgets the initial weights, the second is gentle.

    w0 -> w (clean), w -> w' (adversarial), w -> w_c (the control: clean, on exactly the schedule of
    w -> w'), and w0 -> w'' (adversarial from scratch: the schedules of both stages, the radius
    warmed up). Low-rank updates and linearisations are trained beside them.
    """

    width: float
    train_images: int
    test_images: int
    clean_epochs: int
    adversarial_epochs: int
    seeds: int
    architecture: str = "convnet"
    lr: float = 0.1
    adversarial_lr: float = 0.004
    weight_decay: float = 5e-3
    adversarial_weight_decay: float = 5e-4
    norm: str = "l2"
    radius: float = 0.5  # in pixels of [0, 1]
    attack_steps: int = 1  # 1: FGM, as in the paper; more: PGD
    precision: str = "auto"  # of training, as in `Training`
    batch: int = 128
    # of low-rank updates; 0 trains biases and normalisation alone
    ranks: tuple[int, ...] = (0, 1, 2, 4, 8, 16)
    control_ranks: tuple[int, ...] = (16,)  # of the random projections, and of the clean updates
    low_rank_lr: float = 0.02
    tangent_epochs: int = 6
    tangent_lr: float = 0.025  # over the width: the kernel grows with it
    tangent_adversarial_lr: float = 0.008
    tangent_widths: tuple[float, ...] = (1.0,)
    # of networks so narrow that a linearisation is as accurate
    narrow_widths: tuple[float, ...] = ()
    few_seeds: int = 1  # of the seeds, for what takes long with each
    tuned_seeds: int = 0  # the first so many: the second stage's learning rate was chosen on them
    attacked_images: int = 1000  # the first so many test images, for all attacks but AutoAttack
    autoattacked_images: int = 0  # for AutoAttack, which takes hours on a CPU

    def __post_init__(self):
        checks.choice("architecture", self.architecture, ARCHITECTURES)
        counts = (
            "train_images",
            "test_images",
            "clean_epochs",
            "adversarial_epochs",
            "tangent_epochs",
            "seeds",
            "few_seeds",
        )
        for name in (*counts, "attack_steps", "batch", "attacked_images"):
            checks.positive_int(name, getattr(self, name))
        for name in ("tuned_seeds", "autoattacked_images"):
            checks.whole(name, getattr(self, name))
        for rank in (*self.ranks, *self.control_ranks):
            checks.whole("rank", rank)
        rates = ("lr", "adversarial_lr", "low_rank_lr", "tangent_lr", "tangent_adversarial_lr")
        for name in (*rates, "weight_decay", "adversarial_weight_decay"):
            checks.finite(name, getattr(self, name))
        for width in (self.width, *self.tangent_widths, *self.narrow_widths):
            with torch.device("meta"):  # the network's own check, without its weights
                ARCHITECTURES[self.architecture](width)
        for name in ("attacked_images", "autoattacked_images"):
            if (count := getattr(self, name)) > self.test_images:
                raise ValueError(f"{name} = {count}: give at most test_images = {self.test_images}")
        Ball(self.norm, self.radius)  # its checks

    def clean(self, data: Images, seed: int) -> Training:
        """The first stage."""
        return self._training(data, seed, self.clean_epochs, self.lr, self.weight_decay, 0.0)

    def adversarial(self, data: Images, seed: int, radius: float) -> Training:
        """The second stage; with radius 0, the control's."""
        return self._training(
            data,
            seed,
            self.adversarial_epochs,
            self.adversarial_lr,
            self.adversarial_weight_decay,
            radius,
        )

    def scratch(self, data: Images, seed: int) -> Training:
        """The first stage under attack.

        The radius is warmed up, since a large one at the start can stop all learning.
        """
        return self._training(
            data, seed, self.clean_epochs, self.lr, self.weight_decay, self._warmed_up()
        )

    def low_rank(self, data: Images, seed: int, radius: float) -> Training:
        """The second stage for a low-rank update.

        Its learning rate is its own, because B A moves more slowly than w.
        """
        return self._training(
            data,
            seed,
            self.adversarial_epochs,
            self.low_rank_lr,
            self.adversarial_weight_decay,
            radius,
        )

    def tangent(self, data: Images, seed: int, attack: bool) -> Training:
        """Of a linearisation: without weight decay, since the best of the class is aimed at."""
        lr = self.tangent_adversarial_lr if attack else self.tangent_lr
        radius = self._warmed_up() if attack else 0.0
        return self._training(data, seed, self.tangent_epochs, lr / self.width, 0.0, radius)

    def _warmed_up(self) -> Schedule:
        return Schedule((0, 0), (0.2, self.radius), (1, self.radius))

    def _training(
        self,
        data: Images,
        seed: int,
        epochs: int,
        lr: float,
        weight_decay: float,
        radius: float | Schedule,
    ) -> Training:
        return Training(
            steps=data.steps(epochs, self.batch),
            lr=Schedule((0, 0.1 * lr), (0.1, lr), (1, 0)),
            batch=self.batch,
            momentum=0.9,
            weight_decay=weight_decay,
            norm=self.norm,
            radius=radius,
            box=(0.0, 1.0) if radius else None,
            attack_steps=self.attack_steps if radius else 1,
            clip=1.0,
            precision=self.precision,
            seed=seed,
        )

    def initial(self, seed: int, device: torch.device | str = "cpu") -> nn.Module:
        """The network at initialization, w0: PyTorch's default for its layers."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            # torch.manual_seed would seed the GPU's generators as well
            torch.default_generator.manual_seed(seed)
            model = ARCHITECTURES[self.architecture](self.width)
        return model.to(device).to(memory_format=torch.channels_last)


def training_threat(config: CifarExperiment) -> str:
    """The name in THREATS of the threat that an experiment trains against.

    ValueError if it is none of them.
    """
    for name, threat in THREATS.items():
        if threat == (config.norm, config.radius):
            return name
    trained = f"{config.norm} {config.radius:g}"
    raise ValueError(f"threats = {[*THREATS]}: the training's, {trained}, must be among them")


_FULL = CifarExperiment(
    width=1.0,
    train_images=50_000,
    test_images=10_000,
    clean_epochs=15,
    adversarial_epochs=10,
    seeds=5,
    few_seeds=3,
    tuned_seeds=2,
    tangent_widths=(0.25, 0.5, 1.0),
    narrow_widths=(1 / 16,),
    autoattacked_images=1000,
)
CIFAR = {
    "quick": CifarExperiment(
        width=0.5,
        train_images=4_000,
        test_images=1_000,
        clean_epochs=8,
        adversarial_epochs=4,
        seeds=1,
        adversarial_lr=0.02,
        weight_decay=1e-2,
        ranks=(0, 8),
        control_ranks=(8,),
        tangent_epochs=1,
        tangent_widths=(0.5,),
        attacked_images=50,
    ),
    "full": _FULL,
    # The same recipe, nothing tuned, in a residual network of about as many parameters.
    "narrow-resnet": replace(
        _FULL,
        width=1 / 8,
        architecture="resnet18",
        seeds=3,
        tuned_seeds=0,
        precision="float32",  # as its first networks were trained
        autoattacked_images=100,
    ),
    # For a GPU: the usual recipe of the field, and a second stage at its learning rate.
    "resnet18": CifarExperiment(
        width=1.0,
        train_images=50_000,
        test_images=10_000,
        clean_epochs=30,
        adversarial_epochs=20,
        seeds=1,
        architecture="resnet18",
        adversarial_lr=0.05,
        weight_decay=5e-4,
    ),
}
