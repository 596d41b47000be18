"""The command `train` on random images, of a tiny experiment: torchrun ... FILE."""

import torch
from cifar10_networks import TINY, random_images

from fpbook.cifar10 import together

torch.set_num_threads(1)
together.CIFAR["quick"] = TINY
together.load_cifar10 = lambda folder, train, test, device: (
    random_images(train),
    random_images(test, 1),
)
if __name__ == "__main__":
    together.main(["--device", "cpu", "--networks", "purified"])
