import base64
import io

import pytest
import torch
from PIL import Image

from fpbook.results.explorers import explorer_path
from fpbook.widgets.attacked_images import SHOWN_RADII
from fpbook.widgets.image_frames import (
    SHEET,
    SIDE,
    frames,
    frames_page,
    published_frames,
    shown_frames,
)
from fpcore.images import CLASSES, Images
from fpcore.models.convnet import ConvNet


@pytest.fixture(scope="module")
def made():
    torch.manual_seed(0)
    nets = {"clean": ConvNet(1 / 8), "purified": ConvNet(1 / 8)}
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    x = torch.nn.functional.interpolate(x, size=32, mode="bilinear")
    return frames(nets, Images(x, torch.tensor([3, 5]), "noise"), radii=(0.0, 0.5)), x


def sheet(content):
    data = base64.b64decode(content["sprite"].split(",")[1])
    return Image.open(io.BytesIO(data)).convert("RGB")


def test_every_image_radius_and_network_has_a_frame(made):
    content, _ = made
    assert len(content["frames"]) == 2 and all(len(image) == 2 for image in content["frames"])
    for image in content["frames"]:
        for at in image:
            assert [*at] == ["clean", "purified"]
            for frame in at.values():
                label, share, right = frame["classes"][0]
                assert right and label in CLASSES and 0 <= share <= 100
                assert len(frame["maps"]) == 4


def test_places_lie_in_the_picture_and_show_the_images(made):
    content, x = made
    picture = sheet(content)
    assert list(picture.size) == content["size"] == [SHEET, 8 * SIDE]
    left, top, side = content["originals"][1]
    cut = picture.crop((left, top, left + side, top + side))
    shown = torch.tensor([*cut.tobytes()]).view(32, 32, 3) / 255
    assert (shown - x[1].permute(1, 2, 0)).abs().mean() < 0.03  # WebP loses a little
    for image in content["frames"]:
        for frame in (frame for at in image for frame in at.values()):
            for x0, y0, side in (frame["image"], frame["delta"], *(m[1] for m in frame["maps"])):
                assert x0 + side <= SHEET and y0 + side <= content["size"][1]


def test_the_page_says_in_words_what_it_shows(made):
    page = frames_page(made[0])
    assert "the clean network sees" in repr(page) and "data-kind" in page.markup
    assert made[0]["sprite"] in page.markup


def test_what_is_published_needs_no_images():
    content, source = shown_frames({}, None)
    assert content == published_frames()[0] and "CIFAR-10" in source["data"]
    assert len(content["frames"][0]) == len(SHOWN_RADII)
    assert explorer_path("images").stat().st_size < 400_000
    for image in content["frames"]:
        assert image[0]["clean"]["right"] and image[0]["purified"]["right"]


def test_without_images_and_frames_it_is_said_what_is_missing(results):
    with pytest.raises(ValueError, match="FPCORE_DATA"):
        shown_frames({}, None)
