"""The command `train` on random images, of a tiny experiment: torchrun ... FILE."""

import dataclasses

import torch
from cifar10_networks import TINY, random_images

from fpbook.cifar10 import CifarExperiment, together


class Exact(CifarExperiment):
    """In bfloat16 the rows of a part are not rounded as those of the whole are."""

    def _training(self, *settings):
        return dataclasses.replace(super()._training(*settings), precision="float32")


SMALL = Exact(**dataclasses.asdict(TINY) | {"batch": 31})  # the parts differ in size
if __name__ == "__main__":
    torch.set_num_threads(1)
    together.CIFAR["quick"] = SMALL
    together.load_cifar10 = lambda _, train, test, device: (
        random_images(train),
        random_images(test, 1),
    )
    together.main(["--device", "cpu", "--networks", "purified"])
