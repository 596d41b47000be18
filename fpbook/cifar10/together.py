"""Train the CIFAR-10 networks of a seed, on one device or on several together.

torchrun --standalone --nproc-per-node 2 -m fpbook train --profile full --seed 0

Each process takes its rows of every batch. What is trained is kept where the chapters look for it.
"""

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence

import torch
from torch import distributed as dist

from fpbook.cifar10.experiment import CIFAR
from fpbook.cifar10.runs import SECOND_STAGES, run_cifar
from fpbook.results.cache import cache_folder
from fpcore import checks
from fpcore.images import load_cifar10
from fpcore.models.outputs import accuracy


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[tuple[torch.device, int]]:
    """The device and the rank of this process, one of those that torchrun started, or alone.

    device: of all; "cuda" becomes the GPU that torchrun gave this process
    """
    if "WORLD_SIZE" not in os.environ:
        yield device, 0
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device, dist.get_rank()
    finally:
        dist.destroy_process_group()


def main(arguments: Sequence[str]) -> None:
    """The command `train`: networks of a seed, trained unless they are kept; their accuracies."""
    parser = argparse.ArgumentParser(
        prog="python -m fpbook train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", choices=[*CIFAR], default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    parser.add_argument("--networks", nargs="*", choices=SECOND_STAGES, default=SECOND_STAGES)
    given = parser.parse_args(arguments)
    config, seed = CIFAR[given.profile], checks.whole("seed", given.seed)
    with process_group(checks.resolve_device(given.device)) as (device, rank):
        sizes = config.train_images, config.test_images
        train, test = load_cifar10(None, *sizes, device)
        nets = run_cifar(config, train, seed, given.networks, progress=rank == 0)
        if rank == 0:
            for name, net in nets.items():
                print(f"{name}: clean accuracy {accuracy(net, test.x, test.y):.1%}")
            print(f"kept in {cache_folder()}")
