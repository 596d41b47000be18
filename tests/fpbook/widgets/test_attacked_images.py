import dataclasses

import pytest
import torch

from fpbook.widgets.attacked_images import SHOWN_RADII, examples, image_explorer, portrait
from fpcore.images import Images
from fpcore.models.convnet import ConvNet


@pytest.fixture
def nets():
    torch.manual_seed(0)
    return {"clean": ConvNet(1 / 8), "purified": ConvNet(1 / 8)}


@pytest.fixture
def images(nets):
    """Random images, with the labels that the clean network gives them."""
    x = torch.rand(30, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return Images(x, nets["clean"].eval()(x).argmax(1), "noise")


def test_examples_are_right_and_of_different_classes(nets, images):
    same = {"clean": nets["clean"], "purified": nets["clean"]}
    shown = examples(images, same, count=3)
    assert 1 <= len(shown) <= 3 and len({*shown.y.tolist()}) == len(shown)
    assert torch.equal(nets["clean"](shown.x).argmax(1), shown.y)
    wrong = dataclasses.replace(images, y=(images.y + 1) % 10)
    with pytest.raises(ValueError, match="trained networks"):
        examples(wrong, same)


def test_every_image_and_radius_has_its_panel(nets, images):
    shown = dataclasses.replace(images, x=images.x[:3], y=images.y[:3])
    which, radius, stack = image_explorer(nets, shown).children
    texts = [child.value for inner in stack.children for child in inner.children]
    assert len(which.options) == 3 and len(radius.options) == len(SHOWN_RADII)
    assert len({*texts}) == len(texts) == 3 * len(SHOWN_RADII)
    assert all(text.count("<img alt=") == 2 for text in texts)


def test_a_portrait_says_what_it_shows(nets, images):
    x, label = images.x[0], int(images.y[0])
    figure, text = portrait(nets["clean"], "clean", x, x, label)
    assert "length 0.00" in text and len(figure.axes) == 8
    nets["clean"].train()
    portrait(nets["clean"], "clean", x, x + 0.1, label)
    assert nets["clean"].training


def test_bad_radii_are_refused(nets, images):
    with pytest.raises(ValueError, match="radius"):
        image_explorer(nets, images, radii=(0.0, -1.0))
