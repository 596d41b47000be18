"""Labelled images, held on the device as tensors in [0, 1]; CIFAR-10 among them."""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from platformdirs import user_cache_path
from torch import Tensor

from fpcore import checks, seeding
from fpcore.data_checksums import check_data_file

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
COUNTS = {"train": 50_000, "test": 10_000}
PARQUET = "{split}-00000-of-00001.parquet"
WAYS = """Ways to get CIFAR-10:
  1. with a network: fpcore.load_cifar10() downloads it (170 MB, checksum verified) to {cache};
  2. a folder that torchvision.datasets.CIFAR10 made (it holds cifar-10-batches-py);
  3. a folder with the Hugging Face parquet files of the dataset "cifar10"
     (plain_text/train-00000-of-00001.parquet and test-00000-of-00001.parquet).
Name the folder of 2 or 3 by the argument `folder` or the environment variable FPCORE_DATA."""


class DataNotFoundError(FileNotFoundError):
    """CIFAR-10 is not there; the message lists the ways to get it."""


class DataCorruptError(ValueError):
    """A data file is wrong or truncated; the message names it."""


@dataclass(frozen=True, repr=False)
class Images:
    """Labelled images on one device.

    x      images (n, 3, 32, 32), float32 in [0, 1], channels last
    y      their class numbers (n,), int64
    name   which data it is: "CIFAR-10", or "CIFAR-10 (JPEG)" for a JPEG re-encoding
    shift  of the augmentation in `batch`: a random translation by up to so many pixels
    flip   of the augmentation as well: half of the images are mirrored
    """

    x: Tensor
    y: Tensor
    name: str
    shift: int = 3
    flip: bool = True

    def __post_init__(self):
        x, y = checks.tensor("x", self.x), checks.tensor("y", self.y, "(n,)")
        checks.whole("shift", self.shift)
        if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point() or not x.numel():
            found = f"x is {tuple(x.shape)} {x.dtype}"
            raise ValueError(f"{found}: give images (n, 3, h, w), floats in [0, 1]")
        low, high = (value.item() for value in x.aminmax())
        if not 0 <= low <= high <= 1:
            advice = "give pixels in [0, 1] (x / 255, if they are bytes)"
            raise ValueError(f"x spans {low:g} to {high:g}: {advice}")
        if y.shape != x.shape[:1] or y.dtype != torch.int64:
            found = f"y is {tuple(y.shape)} {y.dtype}"
            advice = f"give class numbers ({len(x)},), torch.int64, one for each of x"
            raise ValueError(f"{found}: {advice}")
        if y.min() < 0:
            raise ValueError(f"y holds the class {int(y.min())}: give class numbers from 0")

    def __repr__(self) -> str:
        what = f"{self.name}, {len(self)} images, digest={self.digest}"
        return f"Images({what}, shift={self.shift}, flip={self.flip}, device={self.x.device})"

    @cached_property
    def digest(self) -> str:
        """A short name for the images and labels: checkpoints, say, are named by it."""
        return digest([self.x, self.y])

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Mini-batch `step`, augmented: a pure function of (seed, step).

        Every epoch visits a new permutation. Raises ValueError for a shift as large as an image.
        """
        checks.positive_int("size", size)
        smallest = min(self.x.shape[2:])
        if self.shift >= smallest:
            advice = "give a smaller one, Images(..., shift=0) for none"
            raise ValueError(f"shift = {self.shift}, images of {smallest} pixels: {advice}")
        checks.whole("seed", seed)
        checks.whole("step", step)
        per_epoch = max(1, len(self) // size)
        epoch, position = divmod(step, per_epoch)
        shuffled = seeding.generator(seed, "epoch", epoch)
        order = torch.randperm(len(self), generator=shuffled, device="cpu")
        index = order[position * size : (position + 1) * size].to(self.x.device)
        rng = seeding.generator(seed, "augment", step, device=self.x.device)
        return augment(self.x[index], rng, self.shift, self.flip), self.y[index]

    def steps(self, epochs: int, size: int) -> int:
        """Number of mini-batches in so many epochs."""
        checks.positive_int("size", size)
        return checks.positive_int("epochs", epochs) * max(1, len(self) // size)


def digest(tensors: list[Tensor]) -> str:
    """A short name for the contents of tensors."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().numpy().data)
    return found.hexdigest()[:16]


def augment(x: Tensor, rng: torch.Generator, shift: int, flip: bool) -> Tensor:
    """Translate each image, with a reflected border, and mirror half of them.

    x      images (n, c, h, w)
    rng    of the draw, on the same device
    shift  the largest translation, in pixels
    flip   whether images are mirrored
    """
    n, channels, h, w = x.shape
    rows = torch.arange(h, device=x.device).expand(n, h)
    columns = torch.arange(w, device=x.device).expand(n, w)
    if flip:
        mirrored = torch.rand(n, 1, generator=rng, dtype=torch.float32, device=x.device) < 0.5
    if shift:
        dy, dx = torch.randint(0, 2 * shift + 1, (2, n, 1), generator=rng, device=x.device)
        rows, columns = _reflected(rows + dy - shift, h), _reflected(columns + dx - shift, w)
    if flip:
        columns = torch.where(mirrored, w - 1 - columns, columns)
    # Where each pixel comes from, so that all is one copy, pixel by pixel.
    image = torch.arange(n, device=x.device)[:, None, None]
    pixel = (image * h + rows[:, :, None]) * w + columns[:, None]  # (n, h, w)
    pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
    return pixels.index_select(0, pixel.flatten()).view(n, h, w, channels).permute(0, 3, 1, 2)


def _reflected(index: Tensor, size: int) -> Tensor:
    """Indices beyond 0 and size - 1, by less than `size`, mirrored back at these."""
    return size - 1 - (size - 1 - index.abs()).abs()


def load_cifar10(
    folder: str | Path | None = None,
    train_images: int = 50_000,
    test_images: int = 10_000,
    device: str | torch.device = "cpu",
    download: bool = True,
) -> tuple[Images, Images]:
    """The training set and the test set of CIFAR-10.

    folder        holds the data, as `WAYS` lists them; None: $FPCORE_DATA, else `download_folder`
    train_images  the first so many of the training set
    test_images   the first so many of the test set
    device        as in `checks.resolve_device`
    download      the original, where no folder is named and the download folder does not hold it

    Raises DataNotFoundError with the ways to get the data, or DataCorruptError naming the file.
    """
    target = checks.resolve_device(device)
    counts = {
        "train": checks.positive_int("train_images", train_images),
        "test": checks.positive_int("test_images", test_images),
    }
    for split, count in counts.items():
        if count > COUNTS[split]:
            raise ValueError(f"{split}_images = {count}: CIFAR-10 has {COUNTS[split]}")
    root = find_cifar10(folder, download)
    read = _read_parquet if _parquet(root, "train") else _read_torchvision
    train, test = (_to_images(*read(root, split, counts[split]), target) for split in counts)
    return train, test


def download_folder() -> Path:
    """Where downloads go: the user's cache folder, on Linux $XDG_CACHE_HOME or ~/.cache, fpcore."""
    return user_cache_path("fpcore", appauthor=False)


def find_cifar10(folder: str | Path | None = None, download: bool = False) -> Path:
    """The folder that holds CIFAR-10, or DataNotFoundError.

    With `download`, files in the download folder that are missing or wrong are fetched anew.
    """
    if folder is not None:
        checks.path("folder", folder)
    named = folder or os.environ.get("FPCORE_DATA")
    name = "FPCORE_DATA" if folder is None else "folder"
    root = checks.path(name, named) if named else download_folder()
    ours = not named and download
    if _parquet(root, "train"):
        return root
    reason = f"no CIFAR-10 in {root.absolute()}"
    if (root / "cifar-10-batches-py").is_dir():
        damaged = _damaged(root) if ours else []
        if not damaged:
            return root
        reason = f"{damaged[0]} is missing, wrong or truncated"
        for path in damaged:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # it is a folder, or may not be changed
                found = f"{reason}, and {path} cannot be deleted ({error.strerror})"
                advice = f"delete the folder {path.parent} yourself, it is downloaded again"
                raise DataCorruptError(f"{found}: {advice}") from error
    if ours:
        from torchvision.datasets import CIFAR10

        try:
            CIFAR10(root, download=True)
            return root
        except Exception as error:
            reason += f", and the download failed ({error})"
    raise DataNotFoundError(f"{reason}.\n{WAYS.format(cache=download_folder())}")


def _parquet(root: Path, split: str) -> Path | None:
    """The parquet file of a split in a folder, None if it is not there."""
    name = PARQUET.format(split=split)
    return next((p for p in (root / name, root / "plain_text" / name) if p.is_file()), None)


def _read_parquet(root: Path, split: str, count: int) -> tuple[np.ndarray, list[int], str]:
    """The first `count` images of a split (count, 32, 32, 3), bytes; labels; which data it is."""
    import pyarrow.parquet as pq
    from PIL import Image

    path = _parquet(root, split)
    if path is None:
        missing = PARQUET.format(split=split)
        raise DataCorruptError(f"{root} holds no {missing}: fetch both parquet files")
    try:
        check_data_file(path)
        table = pq.read_table(path, columns=["img", "label"], page_checksum_verification=True)
        if len(table) != COUNTS[split]:
            raise ValueError(f"it has {len(table)} rows, not {COUNTS[split]}")
        encoded = stored_images(table["img"], range(count))
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(b)).convert("RGB")) for b in encoded])
        labels = table["label"].slice(0, count).to_pylist()
        if pixels.shape[1:] != (32, 32, 3) or not set(labels) <= set(range(10)):
            raise ValueError(f"images of shape {pixels.shape[1:]}, labels {sorted(set(labels))}")
    except Exception as error:
        raise DataCorruptError(f"{path} is wrong or truncated ({error}): fetch it again") from error
    return pixels, labels, "CIFAR-10 (JPEG)" if encoded[0][:2] == b"\xff\xd8" else "CIFAR-10"


def stored_images(column: Any, rows: Sequence[int]) -> list[bytes]:
    """The bytes of images in a column of a parquet file; None in a row that has none.

    column  of pyarrow, bytes or, as Hugging Face writes it, structs with a field "bytes"
    rows    which rows

    Raises ValueError for a column of another kind.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise ValueError(f"the images are {column.type}: store the bytes of PNG or JPEG files")
    return column.take(pa.array(rows, pa.int64())).to_pylist()


def _read_torchvision(root: Path, split: str, count: int) -> tuple[np.ndarray, list[int], str]:
    """What `_read_parquet` gives, of the original."""
    from torchvision.datasets import CIFAR10

    # torchvision wants all files, whatever the split.
    if damaged := _damaged(root):
        found = f"{damaged[0]} is missing, wrong or truncated (checksum)"
        advice = f"delete the folder {damaged[0].parent} and download again"
        raise DataCorruptError(f"{found}: {advice}")
    data = CIFAR10(root, train=split == "train", download=False)
    return data.data[:count], data.targets[:count], "CIFAR-10"


def _damaged(root: Path) -> list[Path]:
    """The files of the original that are missing or of another checksum."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    files = [*CIFAR10.train_list, *CIFAR10.test_list, meta]
    paths = {root / CIFAR10.base_folder / cast(str, name): cast(str, md5) for name, md5 in files}
    return [path for path, md5 in paths.items() if not check_integrity(str(path), md5)]


def _to_images(pixels: np.ndarray, labels: list[int], name: str, device: torch.device) -> Images:
    """What was read, pixels (n, h, w, 3) as bytes, as `Images` on a device."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)
    x = (x.float() / 255).contiguous(memory_format=torch.channels_last)
    return Images(x, torch.tensor(labels, dtype=torch.int64, device=device), name)
