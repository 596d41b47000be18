"""The CIFAR-10 experiments, by profile: what is trained from what, on which schedule, and which controls stand beside it."""

import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from fpbook.results.cache import cache_path
from fpcore import checks
from fpcore.attacks import Ball
from fpcore.images import Images
from fpcore.models.convnet import ConvNet
from fpcore.models.linearised import Linearised
from fpcore.models.low_rank_update import low_rank
from fpcore.models.resnet import ResNet
from fpcore.training import Schedule, Training, train

THREATS = {
    "l2 0.25": ("l2", 0.25),
    "l2 0.5": ("l2", 0.5),
    "linf 4/255": ("linf", 4 / 255),
    "linf 8/255": ("linf", 8 / 255),
}
ARCHITECTURES = {"convnet": ConvNet, "resnet18": ResNet}


@dataclass(frozen=True)
class CifarExperiment:
    """Sizes and schedules. Two stages: the first forgets the initial weights, the second is short and gentle.

    w0 -> w (clean), w -> w' (adversarial), w -> w_c (the control: clean, on exactly the schedule of w -> w'), and
    w0 -> w'' (adversarial from scratch: the schedules of both stages, the radius warmed up). Low-rank updates and
    linearisations are trained beside them.
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
    batch: int = 128
    ranks: tuple[int, ...] = (
        0,
        1,
        2,
        4,
        8,
        16,
    )  # of low-rank updates; 0 trains biases and normalisation alone
    control_ranks: tuple[int, ...] = (16,)  # of the random projections, and of the clean updates
    low_rank_lr: float = 0.02
    tangent_epochs: int = 6
    tangent_lr: float = 0.025  # over the width: the kernel grows with it
    tangent_adversarial_lr: float = 0.008
    tangent_widths: tuple[float, ...] = (1.0,)
    narrow_widths: tuple[
        float, ...
    ] = ()  # of networks so narrow that a linearisation is as accurate
    few_seeds: int = 1  # of the seeds, for what takes long with each
    tuned_seeds: int = 0  # the first so many: the second stage's learning rate was chosen on them
    attacked: int = 1000  # test images under attack
    autoattacked: int = 0  # and under AutoAttack; it takes hours on a CPU

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
        for name in (*counts, "attack_steps", "batch", "attacked"):
            checks.positive_int(name, getattr(self, name))
        for name in ("tuned_seeds", "autoattacked"):
            checks.whole(name, getattr(self, name))
        for rank in (*self.ranks, *self.control_ranks):
            checks.whole("rank", rank)
        rates = ("lr", "adversarial_lr", "low_rank_lr", "tangent_lr", "tangent_adversarial_lr")
        for name in (*rates, "weight_decay", "adversarial_weight_decay"):
            checks.finite(name, getattr(self, name))
        for width in (self.width, *self.tangent_widths, *self.narrow_widths):
            with torch.device("meta"):  # the network's own check, without its weights
                ARCHITECTURES[self.architecture](width)
        for name in ("attacked", "autoattacked"):
            if getattr(self, name) > self.test_images:
                raise ValueError(
                    f"{name} = {getattr(self, name)}: give at most test_images = {self.test_images}"
                )
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
        """The first stage under attack; the radius is warmed up, since a large one at the start can stop all learning."""
        return self._training(
            data, seed, self.clean_epochs, self.lr, self.weight_decay, self._warmed_up()
        )

    def low_rank(self, data: Images, seed: int, radius: float) -> Training:
        """The second stage for a low-rank update: its own learning rate, because B A moves more slowly than w."""
        return self._training(
            data,
            seed,
            self.adversarial_epochs,
            self.low_rank_lr,
            self.adversarial_weight_decay,
            radius,
        )

    def tangent(self, data: Images, seed: int, attack: bool) -> Training:
        """Of a linearisation: without weight decay, so that the best of the class is what is aimed at."""
        lr, radius = (
            (self.tangent_adversarial_lr, self._warmed_up()) if attack else (self.tangent_lr, 0.0)
        )
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
            seed=seed,
        )

    def initial(self, seed: int, device: torch.device | str = "cpu") -> nn.Module:
        """The network at initialization, w0: PyTorch's default for its layers."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(
                seed
            )  # torch.manual_seed would seed the GPU's generators as well
            model = ARCHITECTURES[self.architecture](self.width)
        return model.to(device).to(memory_format=torch.channels_last)

    def stage(
        self,
        name: str,
        model: nn.Module,
        data: Images,
        training: Training,
        seed: int,
        progress: bool = True,
    ) -> list[dict[str, Any]]:
        """Train `model` in place, or read its checkpoint; return the history, an entry an epoch.

        name      of the stage, for the checkpoint and the progress bar
        model     where training starts: its checkpoint is named by its weights, among other things
        data      what it is trained on
        training  the stage's configuration
        seed      of the run
        progress  whether to show a bar

        Leaves the model in evaluation mode.
        """
        path = cache_path(f"cifar10-{name}", training, model, data, seed, code=train)
        label = f"{name}, seed {seed}" if progress else None
        every = data.steps(1, self.batch)
        history = train(model, data, training, every=every, checkpoint=path, progress=label)
        model.eval()
        return history


_FULL = CifarExperiment(
    1.0,
    50_000,
    10_000,
    15,
    10,
    seeds=5,
    few_seeds=3,
    tuned_seeds=2,
    tangent_widths=(0.25, 0.5, 1.0),
    narrow_widths=(1 / 16,),
    autoattacked=1000,
)
CIFAR = {
    "quick": CifarExperiment(
        0.5,
        4_000,
        1_000,
        8,
        4,
        seeds=1,
        adversarial_lr=0.02,
        weight_decay=1e-2,
        ranks=(0, 8),
        control_ranks=(8,),
        tangent_epochs=1,
        tangent_widths=(0.5,),
        attacked=50,
    ),
    "full": _FULL,
    # The same recipe, nothing tuned, in a residual network of about as many parameters as the ConvNet.
    "narrow-resnet": replace(_FULL, width=1 / 8, architecture="resnet18", seeds=3, tuned_seeds=0),
    # For a GPU: the usual recipe of the field, and a second stage at its learning rate.
    "resnet18": CifarExperiment(
        1.0,
        50_000,
        10_000,
        30,
        20,
        seeds=1,
        architecture="resnet18",
        adversarial_lr=0.05,
        weight_decay=5e-4,
    ),
}


def run_cifar(
    config: CifarExperiment,
    data: Images,
    seed: int,
    names: Collection[str] = ("purified", "control", "scratch"),
    progress: bool = True,
) -> dict[str, nn.Module]:
    """{name: network} of a seed: "init" w0 and "clean" w, and of "purified" w', "control" w_c and "scratch" w'' those named.

    Trained on `data`, on its device, or read from their checkpoints; in evaluation mode.
    """
    for name in checks.several("names", names):
        checks.choice("name", name, ("purified", "control", "scratch"))
    init = config.initial(seed, data.x.device).eval()
    nets = {"init": init, "clean": copy.deepcopy(init)}
    config.stage("clean", nets["clean"], data, config.clean(data, seed), seed, progress)
    for name, radius in (("purified", config.radius), ("control", 0.0)):
        if name in names:
            nets[name] = copy.deepcopy(nets["clean"])
            training = config.adversarial(data, seed, radius)
            config.stage(name, nets[name], data, training, seed, progress)
    if "scratch" in names:
        nets["scratch"] = run_adversarial_scratch(config, data, seed, progress)
    return nets


def run_adversarial_scratch(
    config: CifarExperiment, data: Images, seed: int, progress: bool = True
) -> nn.Module:
    """w'': from w0, under attack throughout, on the schedules of both stages, never clean."""
    net = config.initial(seed, data.x.device)
    config.stage("scratch-halfway", net, data, config.scratch(data, seed), seed, progress)
    last = config.adversarial(data, seed, config.radius)
    config.stage("scratch", net, data, last, seed, progress)
    return net


def run_low_rank(
    config: CifarExperiment,
    data: Images,
    clean: nn.Module,
    seed: int,
    rank: int,
    kind: str = "adversarial",
    progress: bool = True,
) -> nn.Module:
    """A rank-`rank` update of a seed's clean network w, as `run_cifar` gives it. Kinds: "adversarial", controls as follows.

    "random" is trained adversarially with fixed random projections A (only B is learnt), "clean" without an attack;
    "full" is w -> w' at this learning rate, whatever the rank.
    """
    checks.choice("kind", kind, ("adversarial", "random", "clean", "full"))
    if kind == "full":
        net = copy.deepcopy(clean)
    else:
        net = low_rank(clean, rank, seed, fixed=kind == "random")
    training = config.low_rank(data, seed, 0.0 if kind == "clean" else config.radius)
    config.stage(f"rank{rank}-{kind}", net, data, training, seed, progress)
    return net


def run_linearised(
    config: CifarExperiment,
    data: Images,
    seed: int,
    clean: nn.Module | None = None,
    attack: bool = True,
    progress: bool = True,
) -> tuple[Linearised, list[float]]:
    """The network's linearisation at w0 or, given `clean`, around the clean weights w; trained under attack or not.

    With it the training loss of each epoch.
    """
    net = config.initial(seed, data.x.device) if clean is None else clean
    model = Linearised(net, data.x[:5000])
    training = config.tangent(data, seed, attack)
    name = f"tangent-{'init' if clean is None else 'clean'}-{'adversarial' if attack else 'clean'}"
    history = config.stage(name, model, data, training, seed, progress)
    return model, [entry["loss"] for entry in history[1:]]
