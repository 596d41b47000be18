"""The pictures and numbers of the explorer of images: python -m fpbook frames --help."""

import argparse
import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from fpbook.cifar10 import CIFAR, open_cifar10, published_networks
from fpbook.results.explorers import read_explorer, write_explorer
from fpbook.results.provenance import provenance
from fpbook.widgets.attacked_images import BARS, SHOWN_RADII, examples, first_layer, strongest
from fpbook.widgets.sizes import Page, image_page
from fpcore import checks
from fpcore.attacks import pgd
from fpcore.ball import Ball
from fpcore.images import CLASSES, Images
from fpcore.models.convnet import ConvNet
from fpcore.models.outputs import evaluating

SIDE = 32  # pixels of an image
ORIGINAL_AT = 4 * SIDE  # where the unchanged image lies in a row of the picture of all
SHEET = 5 * SIDE  # its width: attacked, changed by, four maps of half the side, original
SHEET_QUALITY = 92  # of the WebP picture that holds all others


@torch.no_grad()
def frames(
    nets: Mapping[str, ConvNet], shown: Images, radii: Sequence[float] = SHOWN_RADII
) -> dict[str, Any]:
    """What the page's explorer of images shows: numbers, and one picture that holds all others.

    nets   names of NETWORK_COLORS to networks
    shown  the images that are attacked
    radii  of the attacks, l2, pixels in [0, 1]

    A place in the picture is (x, y, side) in its pixels. Raises ValueError for bad radii.
    """
    for radius in radii:
        checks.finite("radius", radius)
    each = len(radii) * len(nets)
    sheet = torch.zeros(3, SIDE * each * len(shown), SHEET, dtype=torch.float32, device="cpu")
    found: list[list[dict[str, Any]]] = []
    for i, x in enumerate(shown.x):
        found.append([])
        _paste(sheet, x.cpu(), ORIGINAL_AT, i * each * SIDE)
        for j, radius in enumerate(radii):
            both = {}
            for n, (name, net) in enumerate(nets.items()):
                row = (i * each + j * len(nets) + n) * SIDE
                both[name] = _frame(net, x, int(shown.y[i]), radius, sheet, row)
            found[-1].append(both)
    packed = io.BytesIO()
    pixels = (255 * sheet.permute(1, 2, 0)).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(packed, "webp", quality=SHEET_QUALITY, method=6)
    names = [CLASSES[label] for label in shown.y.tolist()]
    texts = [f"{radius:.2f}" for radius in radii]
    return {
        "sliders": [
            {"name": "image", "label": "image", "keys": [*range(len(names))], "start": 0}
            | dict.fromkeys(("shown", "spoken"), names),
            {"name": "radius", "label": "attack radius ε", "keys": texts, "shown": texts}
            | {"spoken": [f"l2 radius {text}" for text in texts], "start": len(texts) // 2},
        ],
        "networks": [*nets],
        "originals": [[ORIGINAL_AT, i * each * SIDE, SIDE] for i in range(len(shown))],
        "frames": found,
        "size": [sheet.shape[2], sheet.shape[1]],
        "sprite": f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}",
    }


def _frame(
    net: ConvNet, x: Tensor, label: int, radius: float, sheet: Tensor, row: int
) -> dict[str, Any]:
    """One network on one image at one radius: numbers, and the places of its pictures.

    net     the network
    x       the image, (3, 32, 32)
    label   the index of its class
    radius  of the attack, l2
    sheet   the picture into which they are pasted, (3, height, SHEET)
    row     from where on
    """
    ball, target = (
        Ball("l2", radius, (0.0, 1.0)),
        torch.tensor([label], dtype=torch.int64, device=x.device),
    )
    with torch.enable_grad():
        adversarial = pgd(net, x[None], target, ball, steps=40)
    with evaluating(net):
        share = net(adversarial).float().softmax(1)[0].cpu()
    delta = (adversarial[0] - x).float().cpu()
    _paste(sheet, adversarial[0].float().cpu(), 0, row)
    _paste(sheet, 0.5 + 0.5 * delta / delta.abs().max().clamp(min=1e-12), SIDE, row)
    maps = first_layer(net, adversarial)[0].float().cpu()
    chosen = strongest(maps[None])[0].tolist()
    places = []
    for m, neuron in enumerate(chosen):
        scaled = maps[neuron] / maps[neuron].max().clamp(min=1e-12)
        side = scaled.shape[-1]
        _paste(sheet, scaled.expand(3, -1, -1), 2 * SIDE + m * side, row)
        places.append([neuron, [2 * SIDE + m * side, row, side]])
    others = [c for c in share.argsort(descending=True).tolist() if c != label]
    predicted = CLASSES[int(share.argmax())]
    return {
        "sees": f"{predicted} ({share.max():.0%})",
        "right": int(share.argmax()) == label,
        "classes": [
            [CLASSES[c], round(100 * share[c].item()), c == label] for c in [label, *others][:BARS]
        ],
        "image": [0, row, SIDE],
        "delta": [SIDE, row, SIDE],
        "maps": places,
    }


def _paste(sheet: Tensor, image: Tensor, x: int, y: int) -> None:
    """Put an image (3, h, w) into the picture of all."""
    sheet[:, y : y + image.shape[1], x : x + image.shape[2]] = image.clamp(0, 1)


def published_frames() -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What is published for the explorer of images: (frames, provenance); None if nothing is."""
    if (content := read_explorer("images")) is None:
        return None
    return content["shown"], content["provenance"]


def shown_frames(
    nets: Mapping[str, Any], shown: Images | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is published for the explorer of images; else made now, (frames, provenance).

    nets   names of NETWORK_COLORS to networks
    shown  the images to attack if nothing is published; None if there are none

    Raises ValueError if there is neither.
    """
    if (found := published_frames()) is not None:
        return found
    if shown is None:
        raise ValueError("no frames are published and no images are here: set FPCORE_DATA")
    return frames(nets, shown), {"data": shown.name}


def frames_page(content: Mapping[str, Any]) -> Page:
    """The explorer of images for the page, from what `frames` gives."""
    said = "; ".join(
        f"{shown}: "
        + ", ".join(f"the {name} network sees {one['sees']}" for name, one in at.items())
        for shown, image in zip(content["sliders"][0]["shown"], content["frames"])
        for at in [image[content["sliders"][1]["start"]]]
    )
    radius = content["sliders"][1]["shown"][content["sliders"][1]["start"]]
    words = f"Images attacked at radius {radius}. {said}."
    # Without the script all pictures are seen, unsorted.
    fallback = f'<img src="{content["sprite"]}" alt="{html.escape(words)}" height="400">'
    return image_page(
        content, f"<figure>{fallback}<figcaption>{html.escape(words)}</figcaption></figure>", words
    )


def main(arguments: list[str]) -> None:
    """The command `frames`: attack test images with the published networks, and publish."""
    what = "Make the pictures and numbers behind the explorer of images."
    parser = argparse.ArgumentParser(prog="python -m fpbook frames", description=what)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    device = checks.resolve_device(parser.parse_args(arguments).device)
    _, test = open_cifar10(CIFAR["quick"], device)
    if not test:
        raise ValueError("there are no images here: name the folder of CIFAR-10 by FPCORE_DATA")
    kept = published_networks(device)
    nets: dict[str, Any] = {name: kept[name] for name in ("clean", "purified")}
    source = provenance("explorer", device, [0], data=test.name)
    shown = frames(nets, examples(test, nets))
    print(f"published: {write_explorer('images', {'provenance': source, 'shown': shown})}")
