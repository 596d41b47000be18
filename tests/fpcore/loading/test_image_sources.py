"""Images by a name on the command line: CIFAR-10, torchvision's, folders, files."""

import gzip
import io
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fpcore.images import DataNotFoundError
from fpcore.loading import load_images


def picture(seed=0, size=(8, 8), mode="RGB"):
    """A random picture of (width, height)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def as_tensor(image):
    array = np.array(image)
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return torch.from_numpy(array.copy()) / 255


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A function that writes a folder of three classes, four pictures each."""

    def write(change=lambda image, i: image, classes=("ant", "bee", "cat"), suffix="png"):
        root = tmp_path / "pets"
        for k, name in enumerate(classes):
            (root / name).mkdir(parents=True)
            for i in range(4):
                image = change(picture(4 * k + i), 4 * k + i)
                image.save(root / name / f"{i}.{suffix}")
        return root

    return write


def test_cifar10_is_the_test_split(fake_cifar, tmp_path, monkeypatch):
    images, labels = fake_cifar(tmp_path)["test"]
    monkeypatch.setenv("FPCORE_DATA", str(tmp_path))
    data = load_images("cifar10", 4)
    wanted = torch.stack([as_tensor(Image.open(io.BytesIO(b))) for b in images[:4]])
    assert torch.equal(data.x, wanted) and data.y.tolist() == labels[:4]
    assert data.name == "CIFAR-10" and data.notes == ()
    with pytest.raises(ValueError, match="size = 16: CIFAR-10 holds tensors"):
        load_images("cifar10", 4, size=16)


def write_mnist(root, labels, size=28):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), size, size), dtype=np.uint8)
    images = struct.pack(">IIII", 2051, len(labels), size, size) + pixels.tobytes()
    numbers = struct.pack(">II", 2049, len(labels)) + bytes(labels)
    for split in ("train", "t10k"):
        for kind, content in (("images-idx3", images), ("labels-idx1", numbers)):
            (raw / f"{split}-{kind}-ubyte").write_bytes(content)
            (raw / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    return torch.from_numpy(pixels)[:, None] / 255


def test_torchvisions_data_is_the_test_split(tmp_path, monkeypatch):
    x = write_mnist(tmp_path, [3, 1, 4, 1, 5])
    monkeypatch.setenv("FPCORE_DATA", str(tmp_path))
    data = load_images("torchvision:MNIST", 3, classes=10)
    assert torch.equal(data.x, x[:3]) and data.y.tolist() == [3, 1, 4]
    assert data.name == "MNIST, test"


def test_torchvisions_data_is_not_downloaded_but_the_way_is_said(no_data_anywhere, tmp_path):
    with pytest.raises(DataNotFoundError, match=rf"no CIFAR100 in {no_data_anywhere} .*download=T"):
        load_images("torchvision:CIFAR100", 3)
    with pytest.raises(FileNotFoundError, match=r"datasets.SVHN\(.*'split': 'test'"):
        load_images("torchvision:SVHN", 3)
    with pytest.raises(ValueError, match=r"did you mean .*CIFAR10"):
        load_images("torchvision:CIFAR", 3)
    assert not no_data_anywhere.exists()


def test_a_folder_gives_each_class_its_turn_seeded_and_says_so(folder):
    root = folder()
    data = load_images(root, 6)
    assert data.y.tolist() == [0, 1, 2, 0, 1, 2] and data.name == "pets"
    assert data.notes[:2] == (
        "classes from 0 by name: ant, bee, cat",
        "sorted by class: 6 of 12 were drawn, 3 classes in turn",
    )
    there = [as_tensor(picture(i)) for i in range(12)]
    for x, y in zip(data.x, data.y):
        (i,) = (i for i, each in enumerate(there) if torch.equal(x, each))
        assert i // 4 == y
    again = load_images(str(root), 6)
    assert torch.equal(again.x, data.x)
    assert torch.equal(load_images(root, 12).x, torch.stack(there))


def test_pictures_take_the_size_given_or_that_of_the_first(folder):
    root = folder(lambda image, i: image.resize((8, 8) if i % 2 else (16, 10)))
    data = load_images(root, 12)
    assert data.x.shape == (12, 3, 10, 16)
    assert "6 of 12 images were resized and cut around the centre to 16 x 10 pixels" in data.notes
    data = load_images(root, 12, size=8)
    assert data.x.shape == (12, 3, 8, 8)
    assert "6 of 12 images were resized and cut around the centre to 8 x 8 pixels" in data.notes
    odd = torch.stack([as_tensor(picture(i)) for i in range(1, 12, 2)])
    assert torch.equal(data.x[1::2], odd)


def test_a_cut_is_around_the_centre(folder):
    def halves(image, i):
        wide = Image.new("RGB", (16, 8), (255, 0, 0))
        wide.paste((0, 0, 255), (4, 0, 12, 8))
        return wide

    data = load_images(folder(halves), 3, size=8)
    assert torch.equal(data.x[:, 2], torch.ones(3, 8, 8)) and not data.x[:, 0].any()


def test_grey_pictures_stay_grey_and_some_grey_become_rgb(folder, tmp_path):
    data = load_images(folder(lambda image, i: image.convert("L")), 12)
    assert torch.equal(data.x[0], as_tensor(picture(0).convert("L"))) and data.x.shape[1] == 1
    picture(0).save(tmp_path / "pets" / "ant" / "0.png")
    data = load_images(tmp_path / "pets", 12)
    assert data.x.shape[1] == 3 and "made RGB of the modes L, RGB" in data.notes
    assert torch.equal(data.x[1], as_tensor(picture(1).convert("L")).expand(3, -1, -1))


@pytest.mark.parametrize(
    "mode", [lambda i: i.convert("RGBA"), lambda i: i.convert("LA"), lambda i: i.convert("I;16")]
)
def test_a_mode_that_would_lose_something_is_an_error(mode, folder):
    root = folder(lambda image, i: mode(image.convert("L")) if i == 5 else image)
    with pytest.raises(ValueError, match=r"bee/1.png has the mode .*save it as RGB or L"):
        load_images(root, 12)


@pytest.mark.parametrize("change", [lambda b: b[:-30], lambda b: b"no picture", lambda b: b""])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_damaged_picture_is_named(change, suffix, folder):
    path = folder(suffix=suffix) / "bee" / f"2.{suffix}"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"bee/2.{suffix} is no picture, or a damaged one"):
        load_images(path.parent.parent, 12)


def test_folders_that_are_no_classes_are_named(folder, tmp_path):
    root = folder(classes=("test", "train"))
    with pytest.raises(ValueError, match=r"holds the folder test, which is no class: give .*/test"):
        load_images(root, 3)
    for each in (tmp_path / "pets" / "test", tmp_path / "none"):
        each.mkdir(exist_ok=True)
        with pytest.raises(ValueError, match="give a folder with one of images a class"):
            load_images(each, 3)


@pytest.fixture
def parquet(tmp_path):
    """A function that writes six pictures to a parquet file."""

    def write(columns=("image", "label"), labels=(0, 1, 2, 1, 0, 2), wrap=None, contents=None):
        contents = contents or [png(picture(i)) for i in range(6)]
        wrap = wrap or (lambda content: {"bytes": content, "path": "/etc/passwd"})
        table = {columns[0]: pa.array([wrap(c) for c in contents])}
        table |= {name: pa.array(list(labels)) for name in columns[1:]}
        pq.write_table(pa.table(table), tmp_path / "data.parquet", row_group_size=4)
        return tmp_path / "data.parquet"

    return write


@pytest.mark.parametrize("wrap", [None, lambda content: content])
@pytest.mark.parametrize(
    "columns", [("image", "label"), ("img", "labels"), ("img", "coarse_label", "fine_label")]
)
def test_a_parquet_file_gives_its_first_pictures(columns, wrap, parquet):
    data = load_images(parquet(columns, wrap=wrap), 4)
    assert torch.equal(data.x, torch.stack([as_tensor(picture(i)) for i in range(4)]))
    assert data.y.tolist() == [0, 1, 2, 1]
    assert data.notes[0] == f"columns {columns[0]} and {columns[-1]}"


def test_a_parquet_file_sorted_by_class_gives_each_its_turn(parquet):
    data = load_images(parquet(labels=(0, 0, 0, 0, 1, 1)), 4)
    assert data.y.tolist() == [0, 1, 0, 1]
    assert torch.equal(data.x[1], as_tensor(picture(4))) or torch.equal(
        data.x[1], as_tensor(picture(5))
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"wrap": lambda c: {"bytes": None, "path": "/etc/passwd"}},
            r"store the bytes|row 0 has no",
        ),
        ({"wrap": lambda c: {"path": "/etc/passwd"}}, "store the bytes"),
        ({"wrap": lambda c: "/etc/passwd"}, "store the bytes"),
        ({"contents": [png(picture())] * 2 + [None] * 4}, r"row 2 has no bytes.*not followed"),
        ({"contents": [b"no picture"] * 6}, "row 0 is no picture, or a damaged one"),
        ({"columns": ("picture", "label")}, "holds picture, label: call .* one of x, images"),
        ({"columns": ("image", "class")}, "holds image, class: call .* one of y, labels"),
        ({"labels": "abcdef"}, "row 0 has label 'a': give whole numbers"),
        ({"labels": (0, 1, None, 0, 1, 0)}, "row 2 has label None: give whole numbers"),
        ({"labels": (0, 1, 0.5, 0, 1, 0)}, "row 0 has label 0.0: give whole numbers"),
        ({"labels": [-1] * 6}, "y holds the class -1"),
        ({"labels": [3, 1, 10, 2, 1, 0]}, "y holds the class 10: the network has 10, 0 to 9"),
    ],
)
def test_a_wrong_parquet_file_is_named_with_the_fix(options, says, parquet):
    with pytest.raises(ValueError, match=rf"data.parquet.*({says})"):
        load_images(parquet(**options), 6, classes=10)


@pytest.mark.parametrize("change", [lambda b: b[:-50], lambda b: b[:50], lambda b: b""])
def test_a_damaged_parquet_file_is_named(change, parquet):
    path = parquet()
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"data.parquet cannot be read .*again"):
        load_images(path, 3)


X = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 1, 0, 2])


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("data", "targets")])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_of_tensors_gives_its_first(names, suffix, tmp_path):
    path = tmp_path / f"data.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(dict(zip(names, (X, Y))), path)
    data = load_images(path, 4)
    assert torch.equal(data.x, X[:4]) and torch.equal(data.y, Y[:4])
    assert data.name == path.name and data.notes == ()


def test_a_pair_of_tensors_in_a_file_is_data_too(tmp_path):
    torch.save(((255 * X).byte(), Y.int()), tmp_path / "data.pt")
    data = load_images(tmp_path / "data.pt", 9)
    assert torch.equal(data.x, (255 * X).byte() / 255) and torch.equal(data.y, Y)
    assert data.notes == (
        "bytes were divided by 255",
        "6 samples are all there are, 9 were asked for",
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"x": X}, r"holds x: call what is meant one of y, labels"),
        ({"a": X, "b": Y}, r"holds a, b: call what is meant one of x, images"),
        ({"x": X, "y": Y[:5]}, r"x and y are .*6, 3, 8, 8.*5.*: give tensors"),
        ({"x": X, "y": [0, 1]}, r"x and y are .*list: give tensors"),
        ({"x": X, "y": Y.float()}, "y is .*float32: give class numbers"),
        ({"x": X * torch.nan, "y": Y}, "x is not finite"),
        ({"x": X - 1, "y": Y}, "x spans -"),
        ({"x": X, "y": Y + 1}, "y holds the class 3: the network has 3, 0 to 2"),
        (X, "holds a Tensor: save"),
    ],
)
def test_a_wrong_file_of_tensors_is_named_with_the_fix(content, says, tmp_path):
    torch.save(content, tmp_path / "data.pt")
    with pytest.raises(ValueError, match=rf"data.pt.*{says}"):
        load_images(tmp_path / "data.pt", 6, classes=3)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("nowhere/data.parquet", FileNotFoundError),
        ("nowhere/data.pt", FileNotFoundError),
        ("cifar100", ValueError),
        ("torchvision:", ValueError),
        ("nowhere", ValueError),
    ],
)
def test_a_name_of_nothing_says_what_there_is(spec, kind):
    with pytest.raises(kind, match=r"nowhere.*is not there|data = .*: give cifar10, torchvision"):
        load_images(spec, 3)


@pytest.mark.parametrize(("count", "size"), [(0, None), (2.0, None), (3, 0), (3, "8")])
def test_counts_and_sizes_are_checked_first(count, size):
    with pytest.raises(ValueError, match=r"(count|size) = "):
        load_images("nowhere", count, size=size)
