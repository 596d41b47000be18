"""A few test images that are published with the results: pages have pictures without the data."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fpbook.results.store import publish_arrays, published_arrays
from fpcore import checks
from fpcore.images import Images

FILE = "cifar10-images"
COUNT = 64


def publish_images(test: Images, count: int = COUNT) -> None:
    """Write the first `count` test images to results/, atomically, as bytes, with their labels.

    test   the test images
    count  how many, at most all of them

    ValueError if there are fewer.
    """
    if checks.positive_int("count", count) > len(test):
        raise ValueError(f"count = {count}: there are {len(test)} images, give at most so many")
    pixels = (255 * test.x[:count]).round().to(torch.uint8)
    publish_arrays(FILE, {f"{test.name}/x": pixels, f"{test.name}/y": test.y[:count]})


def published_images(device: torch.device | str = "cpu") -> Images:
    """The published test images, on a device: the first 64, as the data set has them."""
    ((name, found),) = published_arrays(FILE).items()
    x = (found["x"].to(device).float() / 255).contiguous(memory_format=torch.channels_last)
    return Images(x, found["y"].to(device), name)


def few_images(test: Images | None, device: torch.device | str = "cpu") -> Images:
    """The first 64 test images: of `test`, or the published ones on a machine without the data.

    test    the test images, or None
    device  where published ones go
    """
    if test is None:
        return published_images(device)
    return Images(test.x[:COUNT], test.y[:COUNT], test.name)


def publish_pictures(name: str, rows: Mapping[str, Tensor]) -> None:
    """Write rows of pictures to results/, atomically, as bytes.

    name  of the file
    rows  {network: pictures (n, 3, h, w), pixels in [0, 1]}
    """
    publish_arrays(name, {f"{label}/x": (255 * x).round().byte() for label, x in rows.items()})


def published_pictures(name: str) -> dict[str, Tensor]:
    """The rows of pictures published under a name, as `publish_pictures` takes them."""
    return {label: found["x"].float() / 255 for label, found in published_arrays(name).items()}
