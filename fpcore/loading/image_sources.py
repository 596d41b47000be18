"""Labelled images by a name on the command line: CIFAR-10, torchvision's, a folder, a file."""

import inspect
import io
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fpcore import checks, seeding
from fpcore.images import DataNotFoundError, download_folder, load_cifar10, stored_images
from fpcore.loading.architectures import named_among
from fpcore.loading.decoding import decoded
from fpcore.loading.labelled_data import LabelledData, assembled, in_turn, labelled
from fpcore.loading.tensor_files import TENSOR_SUFFIXES, read_tensor_file
from fpcore.loading.wrappings import listed

SOURCES = (
    "cifar10, torchvision:NAME, a folder with one of images for each class, or a .parquet, "
    "or a file of tensors x and y"
)
X_NAMES = ("x", "images", "image", "img", "data")
Y_NAMES = ("y", "labels", "label", "fine_label", "targets", "target")
SPLITS = ("train", "test", "val", "valid", "validation")


def load_images(
    spec: str | Path, count: int, classes: int | None = None, size: int | None = None
) -> LabelledData:
    """The first `count` labelled images of what `spec` names, in [0, 1]; no code in it is run.

    spec     "cifar10"; "torchvision:SVHN", the test split in $FPCORE_DATA, else in
             `download_folder`; a folder with a subfolder of images for each class; a Hugging Face
             .parquet file; or a file of tensors x and y (`read_tensor_file`)
    count    the number of images; fewer there are is a note. Of data sorted by class they are
             drawn, seeded, each class in turn
    classes  how many classes the network has: a larger label is an error
    size     images are resized to it (the shorter side) and cut to a square around the centre;
             None: to the first image's size, if they differ

    Raises FileNotFoundError, or ValueError that names the file and the fix.
    """
    checks.positive_int("count", count)
    if classes is not None:
        checks.positive_int("classes", classes)
    if size is not None:
        checks.positive_int("size", size)
    data = _read(str(checks.path("spec", spec) and spec), count, size)
    if classes is not None and data.y.max() >= classes:
        found = f"{data.name}: y holds the class {int(data.y.max())}"
        raise ValueError(f"{found}: the network has {classes}, 0 to {classes - 1}")
    return data


def _read(spec: str, count: int, size: int | None) -> LabelledData:
    """What `load_images` gives, by the kind of source."""
    kind, _, name = spec.partition(":")
    path = Path(spec).expanduser()
    if kind == "torchvision" and name:
        return _from_torchvision(name, count, size)
    if path.is_dir() and spec != "cifar10":
        return _from_folder(path, count, size)
    if path.suffix.lower() == ".parquet" and path.is_file():
        return _from_parquet(path, count, size)
    if spec == "cifar10":
        _, test = load_cifar10(train_images=1, test_images=min(count, 10_000))
        data = labelled(test, count)
    elif path.suffix.lower() in TENSOR_SUFFIXES:
        data = _from_tensors(path, count)
    elif path.suffix and not path.exists():
        raise FileNotFoundError(f"data = {spec!r} is not there: give {SOURCES}")
    else:
        raise ValueError(f"data = {spec!r}: give {SOURCES}")
    if size is not None and data.x.shape[2:] != (size, size):
        found = f"size = {size}: {data.name} holds tensors {tuple(data.x.shape)}"
        raise ValueError(f"{found}, which are not resized: leave the size out")
    return data


def _from_torchvision(name: str, count: int, size: int | None) -> LabelledData:
    from torchvision import datasets

    splits = {}
    for each in datasets.__all__:
        options = inspect.signature(getattr(datasets, each)).parameters
        if "download" in options and {"train", "split"} & options.keys():
            test = "val" if each in ("Imagenette", "Places365") else "test"
            splits[each] = {"train": False} if "train" in options else {"split": test}
    named_among("torchvision", name, splits)
    root = checks.path("FPCORE_DATA", os.environ.get("FPCORE_DATA") or download_folder())
    try:
        data = getattr(datasets, name)(str(root), download=False, **splits[name])
    except Exception as error:
        call = f"torchvision.datasets.{name}({str(root)!r}, download=True, **{splits[name]})"
        what = f"no {name} in {root} ({' '.join(str(error).split())})"
        raise DataNotFoundError(f"{what}: download it, in Python, by {call}") from error
    places = (name for name in ("targets", "labels", "_labels") if hasattr(data, name))
    labels = getattr(data, next(places, ""), None)
    if labels is None:
        rows = torch.randperm(len(data), generator=_rng(), device="cpu")[:count]
        notes = [f"{len(rows)} of {len(data)} were drawn at random"]
    else:
        rows, notes = in_turn(torch.as_tensor(labels, device="cpu"), count, _rng())
    pictures, y = [], []
    for i in rows.tolist():
        try:
            image, label = data[i]
        except Exception as error:
            what = f"{name} in {root}: image {i} cannot be read ({error})"
            raise ValueError(f"{what}: delete it and download it again") from error
        pictures.append((f"{name}[{i}]", image))
        y.append(label)
    x, changes = decoded(pictures, size)
    return assembled(f"{name}, test", x, torch.as_tensor(y, device="cpu"), notes + changes, count)


def _from_folder(path: Path, count: int, size: int | None) -> LabelledData:
    from torchvision.datasets import ImageFolder

    try:
        data = ImageFolder(str(path))
    except FileNotFoundError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} ({reason}): give a folder with one of images a class") from error
    if odd := [c for c in data.classes if c in SPLITS or c.startswith(".")]:
        fix = f"give {path / odd[0]} if it is a split, else move it away"
        raise ValueError(f"{path} holds the folder {odd[0]}, which is no class: {fix}")
    rows, notes = in_turn(torch.as_tensor(data.targets, device="cpu"), count, _rng())
    files = [data.samples[i][0] for i in rows.tolist()]
    x, changes = decoded([(file, file) for file in files], size)
    y = torch.as_tensor(data.targets, device="cpu")[rows]
    notes = [f"classes from 0 by name: {listed(data.classes, 10)}", *notes]
    return assembled(path.resolve().name, x, y, notes + changes, count)


def _from_parquet(path: Path, count: int, size: int | None) -> LabelledData:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_schema(path).names
        image, label = _one_of(X_NAMES, columns), _one_of(Y_NAMES, columns)
        labels = pq.read_table(path, columns=[label])[label].to_pylist()
        odd = [i for i, value in enumerate(labels) if type(value) is not int]
        if odd:
            raise ValueError(f"row {odd[0]} has {label} {labels[odd[0]]!r}: give whole numbers")
        rows, notes = in_turn(torch.tensor(labels, dtype=torch.int64, device="cpu"), count, _rng())
        stored = stored_images(pq.read_table(path, columns=[image])[image], rows.tolist())
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}): copy or download it again") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    contents = []
    for i, content in zip(rows.tolist(), stored):
        if content is None:
            found = f"{path}: row {i} has no bytes of an image"
            raise ValueError(f"{found}: store the images in the file, paths are not followed")
        contents.append((f"{path}, row {i}", io.BytesIO(content)))
    x, changes = decoded(contents, size)
    notes = [f"columns {image} and {label}", *notes, *changes]
    return assembled(
        path.name, x, torch.tensor(labels, dtype=torch.int64, device="cpu")[rows], notes, count
    )


def _from_tensors(path: Path, count: int) -> LabelledData:
    content, _ = read_tensor_file(path)
    if isinstance(content, tuple | list) and len(content) == 2:
        content = dict(zip("xy", content))
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}: save {{'x': x, 'y': y}}")
    try:
        x, y = (content[_one_of(names, content)] for names in (X_NAMES, Y_NAMES))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if (
        not isinstance(x, Tensor)
        or not isinstance(y, Tensor)
        or x.shape[:1] != y.shape
        or not x.ndim
    ):
        found = ", ".join(str(getattr(v, "shape", type(v).__name__)) for v in (x, y))
        raise ValueError(f"{path}: x and y are {found}: give tensors (n, ...) and (n,)")
    rows, notes = in_turn(y, count, _rng())
    return assembled(path.name, x[rows], y[rows], notes, count)


def _rng() -> torch.Generator:
    return seeding.generator(0, "images")


def _one_of(names: Sequence[str], there: Collection[str]) -> str:
    """The first of `names` that is there, else ValueError."""
    found = next((name for name in names if name in there), None)
    if found is None:
        has = listed(map(str, there))
        raise ValueError(f"it holds {has}: call what is meant one of {', '.join(names)}")
    return found
