"""The five CIFAR-10 networks of a seed: trained here, read from checkpoints, or read from what was published."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from fpbook.cifar10.protocol import CIFAR, CifarExperiment, run_cifar
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


SUFFIXES = {"clean": "", "purified": "_adv", "control": "_control", "scratch": "_scratch"}


def open_cifar10(
    config: CifarExperiment, device: torch.device
) -> tuple[Images | None, Images | None]:
    """The experiment's training and test images; (None, None), and a message, on a machine without CIFAR-10."""
    try:
        train, test = load_cifar10(None, config.train_images, config.test_images, device)
    except DataNotFoundError as error:
        print(f"No CIFAR-10 here: what follows is PUBLISHED networks and results alone.\n{error}")
        return None, None
    print(f"{train.name}: {len(train):,} training and {len(test):,} test images")
    return train, test


def cifar_runs(
    config: CifarExperiment,
    data: Images | None,
    seed: int,
    few: bool = False,
    names: Collection[str] = ("purified", "control", "scratch"),
) -> list[dict[str, nn.Module]]:
    """The networks (`names`, as in `run_cifar`) of the experiment's seeds (its `few_seeds`, with `few`) from `seed` on.

    Without data, an empty list.
    """
    if data is None:
        return []
    count = config.few_seeds if few else config.seeds
    return [run_cifar(config, data, s, names) for s in range(seed, seed + count)]


def _file(config: CifarExperiment, seed: int) -> str:
    """The name under which a seed's networks are published; the ConvNet, the book's main network, needs no mention."""
    return f"cifar10-seed{seed}" + (
        "" if config.architecture == "convnet" else f"-{config.architecture}-width{config.width:g}"
    )


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
        try:
            kept = net.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
        except RuntimeError as error:  # another width
            raise ValueError(
                f"results/{name}.safetensors holds another network ({error}): publish it again"
            ) from error
        wrong = [
            k
            for k in (*kept.missing_keys, *kept.unexpected_keys)
            if not k.endswith("num_batches_tracked")
        ]
        if wrong:
            raise ValueError(
                f"results/{name}.safetensors holds another network (of {wrong[0]}): publish it again"
            )
        nets[network] = net.eval().to(device)
    return nets


def absent(nets: Mapping[str, nn.Module]) -> set[str]:
    """Of the control and w'' those that are not given; an error if w0, w or w' is not."""
    absent = {"init", *SUFFIXES} - nets.keys()
    if needed := absent - {"control", "scratch"}:
        raise ValueError(f"networks = {[*nets]}: give {sorted(needed)} as well")
    return absent


def first_images(test: Images, name: str, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` images and labels; an error, in which the count is called `name`, if there are fewer."""
    if checks.positive_int(name, count) > len(test):
        raise ValueError(f"{name} = {count}: there are {len(test)} images, give at most so many")
    return test.x[:count], test.y[:count]
