"""Networks that plain PyTorch trained, as anybody's: w0, w, w' and w_c of two architectures."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fpbook.cifar10.measures import measure_pipeline
from fpbook.cifar10.plain_pytorch import Perceptron, VisionTransformer, fit
from fpbook.results.cache import cache_path
from fpbook.results.store import published, published_arrays
from fpcore import checks
from fpcore.images import Images

BATCH = 128  # images a step
PUBLISHED = ("clean", "purified", "control")  # of the transformer of seed 0; w0 has but its seed


@dataclass(frozen=True, kw_only=True)
class OwnExperiment:
    """Sizes and schedules of `plain_pytorch.fit`, in two stages, both with AdamW.

    w0 -> w (clean), w -> w' (FGM), and w -> w_c (the control: clean, on exactly the schedule of
    w -> w', with its batches). They were chosen beforehand, on no seed that is measured.
    """

    architecture: str
    clean_epochs: int
    adversarial_epochs: int
    train_images: int = 50_000
    test_images: int = 10_000
    attacked_images: int = 1000
    seeds: int = 3
    norm: str = "l2"
    lr: float = 1e-3
    adversarial_lr: float = 3e-4
    radius: float = 0.5  # in l2, in pixels of [0, 1]

    def initial(self, seed: int) -> nn.Module:
        """The network at initialization, w0."""
        checks.choice("architecture", self.architecture, NETWORKS)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return NETWORKS[self.architecture]()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "transformer": VisionTransformer,
    "perceptron": Perceptron,
}
OWN = {
    "quick": {
        "transformer": OwnExperiment(
            architecture="transformer",
            clean_epochs=3,
            adversarial_epochs=2,
            train_images=512,
            test_images=100,
            attacked_images=25,
            seeds=1,
        ),
        "perceptron": OwnExperiment(
            architecture="perceptron",
            clean_epochs=8,
            adversarial_epochs=4,
            train_images=512,
            test_images=100,
            attacked_images=25,
            seeds=1,
        ),
    },
    "full": {
        "transformer": OwnExperiment(
            architecture="transformer", clean_epochs=6, adversarial_epochs=3
        ),
        "perceptron": OwnExperiment(
            architecture="perceptron", clean_epochs=12, adversarial_epochs=5
        ),
    },
}


def run_own(
    config: OwnExperiment, data: Images, seed: int, tell: Callable[[str], None] | None = None
) -> dict[str, nn.Module]:
    """The networks of a seed, {"init", "clean", "purified", "control": network}, on the CPU.

    config  sizes and schedules
    data    what they are trained on
    seed    of the run
    tell    called with a line about each epoch

    Each stage is kept in the cache: a run that was stopped goes on from its last epoch. ValueError
    for fewer images than a batch.
    """
    if len(data) < BATCH:
        raise ValueError(f"{len(data)} images: give at least {BATCH}, one batch")
    init = config.initial(seed).eval()
    nets = {"init": init, "clean": copy.deepcopy(init)}
    own_stage("clean", nets["clean"], config, data, seed, tell)
    for name in ("purified", "control"):
        nets[name] = copy.deepcopy(nets["clean"])
        own_stage(name, nets[name], config, data, seed, tell)
    return nets


def own_stage(
    name: str,
    net: nn.Module,
    config: OwnExperiment,
    data: Images,
    seed: int,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Train a network in place by `plain_pytorch.fit`, or read what that made of it before.

    name    of the stage: "clean", "purified" or "control"
    net     where training starts
    config  sizes and schedules
    data    what it is trained on
    seed    of the run; the second stage has other batches than the first, w' and w_c the same
    tell    called with a line about each epoch
    """
    first = checks.choice("name", name, ("clean", "purified", "control")) == "clean"
    schedule: dict[str, Any] = {
        "epochs": config.clean_epochs if first else config.adversarial_epochs,
        "lr": config.lr if first else config.adversarial_lr,
        "radius": config.radius if name == "purified" else 0.0,
        "seed": 2 * seed + (not first),
    }
    label = f"own-{config.architecture}-{name}"
    path = cache_path(label, net, data.digest, schedule, code=fit).with_suffix(".pt")

    def epoch(number: int, loss: float) -> None:
        if tell:
            tell(f"{label}, seed {seed}: epoch {number} of {schedule['epochs']}, loss {loss:.3f}")

    x, y = data.x.cpu(), data.y.cpu()
    fit(net, x, y, **schedule, path=path, tell=epoch)


def measure_own(
    nets: Mapping[str, nn.Module], test: Images, config: OwnExperiment
) -> list[dict[str, Any]]:
    """What the ledger names of a seed, as records: accuracies; cosines as medians over neurons.

    nets    as `run_own` gives them
    test    test images, on the CPU
    config  the experiment; its architecture stands in each record
    """
    found = measure_pipeline(nets, test, config)
    return [row | {"architecture": config.architecture} for row in found]


def own_arrays(nets: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The networks of a seed to be published, in float16, {"network/parameter": array}."""
    return {
        f"{name}/{key}": value.half()
        for name in PUBLISHED
        for key, value in nets[name].state_dict().items()
    }


def published_own() -> dict[str, nn.Module]:
    """The published transformers of seed 0, {name: network}, and w0, which its seed gives.

    Empty if they were never published.
    """
    if published("own-networks") is None:
        return {}
    config = OWN["full"]["transformer"]
    nets = {"init": config.initial(0).eval()}
    for name, state in published_arrays("own-networks").items():
        nets[name] = config.initial(0).eval()
        nets[name].load_state_dict({key: value.float() for key, value in state.items()})
    return nets
