"""The protocol on the sparse coding model: clean training, then FGM training; its controls."""

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fpbook.results.cache import cache_path
from fpcore import checks, seeding
from fpcore.attacks import pgd
from fpcore.ball import Ball
from fpcore.decomposition.purification import active_share, cosine, features, live
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding, check_sizes
from fpcore.training import Schedule, Training, train


@dataclass(frozen=True)
class SyntheticExperiment:
    """Clean SGD, then SGD on l2 FGM examples, for the two-layer network on the sparse coding model.

    One protocol for all sizes: every constant is a number here or a formula in d and k below, none
    is set per seed.
    """

    d: int  # inputs
    k: int  # active features of a sample
    width: int  # neurons
    seeds: int  # runs
    clean_steps: int  # of the first stage
    adversarial_steps: int  # of the second
    margin: float = 2.5  # the least score of a sample, in standard deviations
    noise: float = 0.2  # standard deviation of a sample's noise, times sqrt(d)
    reach: float = 0.59  # radius of attacks and certificates, in features: units of 1/sqrt(k)
    training_reach: float = 0.65  # radius of FGM training, a little larger
    init_norm: float = 0.05  # of a neuron
    first_threshold: float = 1.9  # times 1/sqrt(d), the spread of a random neuron's pre-activation
    last_threshold: float = 0.62  # times 1/sqrt(k), at the end of clean training and ever after
    clean_lr: float = 0.02  # times d
    adversarial_lr: float = 0.1  # times d
    decay: float = 0.007  # share of its weight that a neuron loses in a step, at the full step size
    warm_up: float = 0.15  # share of the second stage in which the radius rises
    patience: int | None = 20  # steps after which a collapsed second stage stops; None: never
    attack_steps: int = 1  # of FGM training; more: PGD
    batch: int = 512
    test_samples: int = 1000
    tuned_seeds: int = 1  # the first seeds, on whose runs the constants were settled

    def __post_init__(self) -> None:
        check_sizes(self.d, self.k, self.margin, self.noise)
        counts = ("width", "seeds", "clean_steps", "adversarial_steps", "attack_steps")
        for name in (*counts, "batch", "test_samples"):
            checks.positive_int(name, getattr(self, name))
        checks.whole("tuned_seeds", self.tuned_seeds)
        for name in ("reach", "training_reach", "decay", "first_threshold", "last_threshold"):
            checks.finite(name, getattr(self, name))
        for name in ("clean_lr", "adversarial_lr", "init_norm"):
            checks.finite(name, getattr(self, name), low=1e-30)
        checks.finite("warm_up", self.warm_up, high=1.0)

    @property
    def radius(self) -> float:
        """The l2 radius of attacks and certificates: reach / sqrt(k)."""
        return self.reach / math.sqrt(self.k)

    @property
    def training_radius(self) -> float:
        """The l2 radius of FGM training: training_reach / sqrt(k)."""
        return self.training_reach / math.sqrt(self.k)

    @property
    def thresholds(self) -> tuple[float, float]:
        """b_i/|w_i| at initialization, and from the end of clean training on.

        FGM training does not touch it.
        """
        return self.first_threshold / math.sqrt(self.d), self.last_threshold / math.sqrt(self.k)

    def data(self, seed: int, device: torch.device) -> SparseCoding:
        """The sparse coding model of a seed."""
        return SparseCoding(self.d, self.k, self.margin, self.noise, seed, device)

    def network(self, seed: int, device: torch.device) -> TwoLayer:
        """The network at initialization, w0."""
        return TwoLayer(
            self.d, self.width, self.thresholds[0], self.init_norm, seeding.generator(seed, "init")
        ).to(device)

    def clean(self, seed: int, radius: float | Schedule = 0.0) -> Training:
        """The first stage: the threshold rises while the neurons grow."""
        start, end = self.thresholds
        full = self.clean_lr * self.d
        return Training(
            steps=self.clean_steps,
            lr=Schedule((0, full), (0.9, full), (1, 0.1 * full)),
            batch=self.batch,
            radius=radius,
            threshold=Schedule((0, start), (1, end)),
            weight_decay=self.decay / full,
            seed=seed,
        )

    def adversarial(self, seed: int) -> Training:
        """The second stage, FGM training from the clean weights.

        Step size and radius are warmed up: the full attack at once lets f collapse to 0. A run that
        does is stopped.
        """
        full = self.adversarial_lr * self.d
        held = max(0.3, self.warm_up)
        return Training(
            steps=self.adversarial_steps,
            lr=Schedule((0, 0.005 * full), (0.15, full), (held, full), (1, 0.02 * full)),
            batch=self.batch,
            radius=Schedule((0, 0.3 * self.training_radius), (self.warm_up, self.training_radius)),
            attack_steps=self.attack_steps,
            weight_decay=self.decay / full,
            seed=seed + 1_000_000,  # fresh samples: not those of clean training
            patience=self.patience,
        )


SYNTHETIC = {
    "quick": SyntheticExperiment(
        d=400, k=8, width=2000, seeds=2, clean_steps=250, adversarial_steps=400, test_samples=500
    ),
    "full": SyntheticExperiment(
        d=1536, k=17, width=7680, seeds=5, clean_steps=250, adversarial_steps=750
    ),
}


@dataclass(frozen=True)
class SyntheticRun:
    """One seed: its data, its networks and how they were trained.

    experiment: the protocol
    seed:       of data, initialization and samples
    data:       the sparse coding model
    x, y:       a held-out test set, (n, d) and (n,)
    networks:   by name: "init" w0, and what `run_synthetic`, `run_control` or `run_scratch` trained
                from it; each is an attribute as well
    histories:  what was watched in each stage, by the name of the network that it ends with
    """

    experiment: SyntheticExperiment
    seed: int
    data: SparseCoding
    x: Tensor
    y: Tensor
    networks: dict[str, TwoLayer]
    histories: dict[str, list[dict[str, Any]]]

    @property
    def init(self) -> TwoLayer:
        """w0."""
        return self.named("init")

    @property
    def clean(self) -> TwoLayer:
        """w, after clean training."""
        return self.named("clean")

    @property
    def purified(self) -> TwoLayer:
        """w', FGM-trained from w."""
        return self.named("purified")

    @property
    def control(self) -> TwoLayer:
        """w_c, trained on from w on the schedule of w', but clean."""
        return self.named("control")

    @property
    def scratch(self) -> TwoLayer:
        """w'', FGM-trained from w0, never clean."""
        return self.named("scratch")

    def named(self, name: str) -> TwoLayer:
        """The network of this name; ValueError if the run has none."""
        if name not in self.networks:
            raise ValueError(f"this run has no {name} network: it trained {[*self.networks]}")
        return self.networks[name]


def run_synthetic(
    experiment: SyntheticExperiment, seed: int, device: torch.device, progress: bool = True
) -> SyntheticRun:
    """Train "clean" w, then "purified" w'; what was finished before is read from checkpoints."""
    stages = {"clean": experiment.clean(seed), "purified": experiment.adversarial(seed)}
    return _run(experiment, seed, device, stages, progress)


def run_control(
    experiment: SyntheticExperiment, seed: int, device: torch.device, progress: bool = True
) -> SyntheticRun:
    """Train "clean" w, then "control" w_c: on the very schedule of w', but clean."""
    control = replace(experiment.adversarial(seed), radius=0.0)
    stages = {"clean": experiment.clean(seed), "control": control}
    return _run(experiment, seed, device, stages, progress)


def run_scratch(
    experiment: SyntheticExperiment, seed: int, device: torch.device, progress: bool = True
) -> SyntheticRun:
    """Train "scratch" w'': both stages under attack, from w0; the first ends "scratch_halfway"."""
    full = experiment.training_radius
    rising = experiment.clean(seed, Schedule((0, 0.3 * full), (1, full)))
    stages = {"scratch_halfway": rising, "scratch": experiment.adversarial(seed)}
    return _run(experiment, seed, device, stages, progress)


def _run(
    experiment: SyntheticExperiment,
    seed: int,
    device: torch.device,
    stages: dict[str, Training],
    progress: bool,
) -> SyntheticRun:
    """Train one network after the other, each from the one before, the first from w0.

    experiment: sizes and constants
    seed:       of all that is random
    device:     to train on
    stages:     the trainings, by the name of the network that each ends with
    progress:   whether to show it
    """
    data, init = experiment.data(seed, device), experiment.network(seed, device)
    # Test samples that are only watched during training, and never reported.
    watched = data.sample(100, seeding.generator(seed, "watch", device=data.device))
    networks = {"init": init}
    histories: dict[str, list[dict[str, Any]]] = {}
    start = init
    for name, training in stages.items():
        model = copy.deepcopy(start)
        watching = (init, experiment.training_radius)
        path = cache_path(f"synthetic-{name}", training, model, data, seed, *watching, code=_run)
        tops = features(start.weight.detach(), data.features, data.u_star).top

        def measure(
            _: nn.Module, model: TwoLayer = model, start: TwoLayer = start, tops: Tensor = tops
        ) -> dict[str, Any]:
            return watch(model, init, start, tops, data, *watched, experiment.training_radius)

        histories[name] = train(
            model,
            data,
            training,
            measure=measure,
            every=max(1, training.steps // 12),
            checkpoint=path,
            progress=f"{name} training, seed {seed}" if progress else None,
        )
        networks[name] = start = model
    x, y = data.test_set(experiment.test_samples, seed)
    return SyntheticRun(experiment, seed, data, x, y, networks, histories)


@torch.no_grad()
def watch(
    net: TwoLayer,
    init: TwoLayer,
    start: TwoLayer,
    tops: Tensor,
    data: SparseCoding,
    x: Tensor,
    y: Tensor,
    radius: float,
) -> dict[str, float]:
    """What the histories follow: accuracies under attack, and what the live neurons have become.

    net:    the network now
    init:   w0
    start:  the network at the start of the stage
    tops:   the feature that each of its neurons holds, (m,)
    data:   the sparse coding model
    x, y:   samples, (n, d) and (n,)
    radius: of the attack, l2
    """
    alive = live(net)
    held = features(net.weight[alive], data.features, data.u_star)
    since = cosine(start.weight[alive], net.weight[alive]).abs()
    adversarial = pgd(net, x, y, Ball("l2", radius), steps=10)
    return {
        "clean_accuracy": accuracy(net, x, y),
        "robust_accuracy": accuracy(net, adversarial, y),
        "share_live": alive.float().mean().item(),
        "purity": held.purity.median().item(),
        "dense_part": held.dense_part.median().item(),
        "cos_init": cosine(init.weight[alive], net.weight[alive]).median().item(),
        "cos_start": since.median().item(),
        "share_dominant": (since > 0.5**0.5).float().mean().item(),
        "same_feature": (held.top == tops[alive]).float().mean().item(),
        "features_held": len(held.top[held.purity > 0.5**0.5].unique()) / data.d,
        "active": active_share(net, x),
    }
