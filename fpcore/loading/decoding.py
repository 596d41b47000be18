"""Pictures as tensors of bytes, of one size and mode; what had to be changed is said."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

EIGHT_BIT = ("RGB", "L", "P", "1", "CMYK", "YCbCr")  # 8 bits hold all of them, none is transparent


def decoded(pictures: Sequence[tuple[str, Any]], size: int | None) -> tuple[Tensor, list[str]]:
    """Pictures as bytes (n, c, h, w), and notes that say how they were changed.

    pictures  each a name for errors, and an image of PIL or what PIL opens
    size      they are resized to it (the shorter side) and cut to a square around the centre;
              None: to the first one's size

    If all are grey, c = 1, else 3. Raises ValueError that names a picture which is damaged, is
    transparent or has more than 8 bits a channel.
    """
    from PIL import Image, ImageOps

    images, resized, modes = [], 0, Counter[str]()
    target = (size, size) if size else None
    for name, content in pictures:
        try:
            image = content if isinstance(content, Image.Image) else Image.open(content)
            image.load()
        except Exception as error:
            what = f"{name} is no picture, or a damaged one ({type(error).__name__})"
            raise ValueError(f"{what}: leave it out, or copy it again") from error
        if image.mode not in EIGHT_BIT or "transparency" in image.info:
            found = f"{name} has the mode {image.mode}, with transparency or more than 8 bits"
            raise ValueError(f"{found}: save it as RGB or L")
        modes[image.mode] += 1
        image = image if image.mode == "L" else image.convert("RGB")
        target = target or image.size
        if image.size != target:
            resized += 1
            image = ImageOps.fit(image, target, Image.Resampling.BILINEAR)
        images.append(image)
    if not images:
        raise ValueError("there are 0 pictures: give one at least")
    notes = []
    if resized and target:
        what = f"{resized} of {len(images)} images were resized and cut around the centre"
        notes.append(f"{what} to {target[0]} x {target[1]} pixels")
    if modes.keys() not in ({"RGB"}, {"L"}):
        notes.append(f"made RGB of the modes {', '.join(sorted(modes))}")
        images = [image.convert("RGB") for image in images]
    return torch.stack([pixels(image) for image in images]), notes


def pixels(image: Any) -> Tensor:
    """A tensor, or an image of PIL or numpy (h, w), (h, w, c), as a tensor (c, h, w)."""
    if isinstance(image, Tensor):
        return image
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0).copy())
