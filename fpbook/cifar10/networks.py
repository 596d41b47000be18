"""The five CIFAR-10 networks of a seed, trained or published, and what they are called."""

from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from fpbook.cifar10.experiment import CIFAR, CifarExperiment
from fpbook.cifar10.runs import SECOND_STAGES, run_cifar
from fpbook.results import joined, table
from fpbook.results.files import folder
from fpbook.results.store import publish_arrays, published_arrays
from fpcore import checks
from fpcore.images import DataNotFoundError, Images, load_cifar10

SYMBOLS = {
    "init": "$w^0$",
    "clean": "$w$",
    "purified": "$w'$",
    "control": "$w_c$",
    "scratch": "$w''$",
}
TRAINED = ("clean", "purified", "control", "scratch")  # all but w0, which knows nothing


@dataclass(frozen=True)
class Variant:
    """What a network that is made from w is called in records.

    network: how it is made
    layer:   the only layer that was changed; None for all
    alpha:   the share of a vector that was taken out
    rank:    of an update
    """

    network: str
    layer: str | None = None
    alpha: float | None = None
    rank: int | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """Its columns in a record, those that are not empty."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Counted(Protocol):
    """What an experiment says of how many images it takes."""

    @property
    def train_images(self) -> int: ...
    @property
    def test_images(self) -> int: ...


def open_cifar10(config: Counted, device: torch.device) -> tuple[Images | None, Images | None]:
    """The experiment's training and test images.

    (None, None), and a message, on a machine without CIFAR-10.
    """
    try:
        train, test = load_cifar10(None, config.train_images, config.test_images, device)
    except DataNotFoundError as error:
        print(f"No CIFAR-10 here: what follows is PUBLISHED networks and results alone.\n{error}")
        return None, None
    print(f"{train.name}: {len(train):,} training and {len(test):,} test images")
    return train, test


def needed_cifar10(train_images: int, test_images: int) -> tuple[Images, Images]:
    """The first so many training and test images, for a command that is nothing without them.

    train_images: how many of training
    test_images:  how many of the test

    ValueError, with the ways to get CIFAR-10, on a machine without it.
    """
    try:
        return load_cifar10(None, train_images, test_images, "cpu")
    except DataNotFoundError as error:
        raise ValueError(f"{error}") from None


def check_published_seeds(seeds: Sequence[int], config: CifarExperiment) -> None:
    """ValueError for a seed of which the experiment has published no networks."""
    for seed in seeds:
        if checks.whole("seed", seed) >= config.seeds:
            raise ValueError(f"seed = {seed}: networks of 0 to {config.seeds - 1} are published")


def cifar_runs(
    config: CifarExperiment,
    data: Images | None,
    seed: int,
    few: bool = False,
    names: Collection[str] = SECOND_STAGES,
) -> list[dict[str, nn.Module]]:
    """The networks of the experiment's seeds.

    config  sizes and schedules
    data    what they are trained on; without any there are no networks
    seed    the first
    few     whether to take but `few_seeds` of the seeds
    names   of the networks, as in `run_cifar`
    """
    if data is None:
        return []
    count = config.few_seeds if few else config.seeds
    return [run_cifar(config, data, s, names) for s in range(seed, seed + count)]


def setting(data: Images | None, runs: Sized) -> str:
    """Data and sizes in a few words, as published with what was measured; "" without data."""
    return f"{data.name}, {len(data):,} images, {len(runs)} seeds" if data else ""


def of_each_seed(
    measure: Callable[..., list[dict[str, Any]]],
    runs: Sequence[Mapping[str, nn.Module]],
    seed: int,
    *arguments: Any,
) -> pd.DataFrame:
    """A table of what a measure finds of the networks of each seed.

    measure    returns records
    runs       the networks, seed by seed
    seed       the first
    arguments  of the measure, after the networks
    """
    found = (measure(nets, *arguments) for nets in runs)
    return joined(*(table(rows, seed=s) for s, rows in enumerate(found, seed)))


def _file(config: CifarExperiment, seed: int) -> str:
    """The name under which a seed's networks are published."""
    name = f"cifar10-seed{seed}"
    if config.architecture == "convnet":  # the book's main network needs no mention
        return name
    return f"{name}-{config.architecture}-width{config.width:g}"


def publish_networks(
    nets: dict[str, nn.Module], seed: int, config: CifarExperiment = CIFAR["full"]
) -> None:
    """Write a seed's networks to results/, atomically, as float16 arrays "network/parameter"."""
    states = {
        f"{name}/{key}": v for name, net in nets.items() for key, v in net.state_dict().items()
    }
    publish_arrays(
        _file(config, seed), {key: v.half() for key, v in states.items() if v.is_floating_point()}
    )


def published_networks(
    device: torch.device | str = "cpu", seed: int = 0, config: CifarExperiment = CIFAR["full"]
) -> dict[str, nn.Module]:
    """The networks published of a seed, {name: network}, rebuilt from their float16 arrays."""
    name, nets = _file(config, seed), {}
    for network, state in published_arrays(name).items():
        net = config.initial(0)
        if wrong := _mismatch(net, {key: v.float() for key, v in state.items()}):
            path = folder() / f"{name}.safetensors"
            raise ValueError(f"{path} holds another network ({wrong}): publish it again")
        nets[network] = net.eval().to(device)
    return nets


def _mismatch(net: nn.Module, state: Mapping[str, Tensor]) -> str:
    """Load a state into a network, which may lack counts of batches; what does not fit, or ""."""
    try:
        kept = net.load_state_dict(state, strict=False)
    except RuntimeError as error:  # another width
        return str(error)
    keys = (*kept.missing_keys, *kept.unexpected_keys)
    wrong = [key for key in keys if not key.endswith("num_batches_tracked")]
    return f"of {wrong[0]}" if wrong else ""


def absent(nets: Mapping[str, nn.Module]) -> set[str]:
    """Of w0, the control and w'' those that are not given; an error if w or w' is not."""
    missing = SYMBOLS.keys() - nets.keys()
    if needed := missing & {"clean", "purified"}:
        raise ValueError(f"networks = {[*nets]}: give {sorted(needed)} as well")
    return missing


def first_images(test: Images, name: str, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` images and labels.

    ValueError, in which the count is called `name`, if there are fewer.
    """
    if checks.positive_int(name, count) > len(test):
        raise ValueError(f"{name} = {count}: there are {len(test)} images, give at most so many")
    return test.x[:count], test.y[:count]
