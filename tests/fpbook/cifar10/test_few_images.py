import pytest
import torch

from fpbook.cifar10.few_images import (
    COUNT,
    few_images,
    publish_images,
    publish_pictures,
    published_images,
    published_pictures,
)
from fpcore.images import Images


def images(count):
    """Images whose pixels are bytes, as those of a data set are."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=rng)
    return Images(pixels / 255, torch.arange(count) % 10, "CIFAR-10 (JPEG)")


def test_published_images_are_the_first_ones_to_the_last_bit(results):
    results.mkdir()
    test = images(70)
    publish_images(test)
    for found in (published_images(), few_images(None), few_images(test)):
        assert found.name == test.name
        assert len(found) == COUNT
        assert torch.equal(found.x, test.x[:COUNT])
        assert torch.equal(found.y, test.y[:COUNT])


def test_fewer_images_than_are_to_be_published_are_refused(results):
    with pytest.raises(ValueError, match="count = 64: there are 3 images"):
        publish_images(images(3))


def test_the_repository_has_images_small_enough_to_be_carried_along():
    assert len(published_images()) == COUNT


def test_pictures_come_back_by_network_as_bytes_have_them(results):
    results.mkdir()
    rows = {"clean": torch.rand(3, 3, 32, 32), "purified": torch.rand(3, 3, 32, 32)}
    publish_pictures("some", rows)
    found = published_pictures("some")
    assert found.keys() == rows.keys()
    for name, x in found.items():
        assert (x - rows[name]).abs().max() <= 0.5 / 255 + 1e-6
