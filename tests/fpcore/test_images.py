import hashlib
import io
import math
import os
import pickle
import shutil
import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.datasets import CIFAR10

from fpcore import images as cifar
from fpcore.images import DataCorruptError, DataNotFoundError, Images, load_cifar10

COUNTS = {"train_images": 20, "test_images": 10}


def decode(data: bytes) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data)))).permute(2, 0, 1) / 255


@pytest.fixture
def torchvision_files(tmp_path, monkeypatch, no_data_anywhere):
    """A folder in torchvision's layout with 20 + 10 random images, and their bytes in order."""
    root, rng, pixels = tmp_path / "original", np.random.default_rng(1), []
    base = root / CIFAR10.base_folder
    base.mkdir(parents=True)

    def write(name, content):
        (base / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((base / name).read_bytes()).hexdigest()]

    def batch(name):
        data = rng.integers(0, 256, (10, 3072), dtype=np.uint8)
        pixels.append(data.reshape(10, 3, 32, 32))
        return write(name, {"data": data, "labels": list(range(10))})

    monkeypatch.setattr(cifar, "COUNTS", {"train": 20, "test": 10})
    monkeypatch.setattr(CIFAR10, "train_list", [batch("data_batch_1"), batch("data_batch_2")])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    name, md5 = write("batches.meta", {"label_names": list(cifar.CLASSES)})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return root, torch.from_numpy(np.concatenate(pixels))


@pytest.fixture
def downloads(monkeypatch):
    """The folders that torchvision was asked to download to; every download fails."""
    asked = []

    def download(root, download):
        asked.append((root, download))
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", download)
    return asked


@pytest.mark.parametrize(("kind", "name"), [("PNG", "CIFAR-10"), ("JPEG", "CIFAR-10 (JPEG)")])
@pytest.mark.parametrize("below", ["", "plain_text"])
def test_parquet_images_come_out_as_they_went_in(kind, name, below, fake_cifar, tmp_path):
    written = fake_cifar(tmp_path / below, kind)
    for images, (encoded, labels) in zip(load_cifar10(tmp_path, **COUNTS), written.values()):
        assert images.name == name
        assert torch.equal(images.x, torch.stack([decode(b) for b in encoded]))
        assert images.y.tolist() == labels
        assert images.x.dtype == torch.float32 and images.y.dtype == torch.int64
        assert images.x.min() >= 0 and 0.9 < images.x.max() <= 1
        assert images.x.is_contiguous(memory_format=torch.channels_last)


def test_the_first_so_many_images_are_loaded(fake_cifar, tmp_path):
    written = fake_cifar(tmp_path)
    train, test = load_cifar10(tmp_path, train_images=3, test_images=1)
    assert (len(train), len(test)) == (3, 1)
    assert torch.equal(train.x, torch.stack([decode(b) for b in written["train"][0][:3]]))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"train_images": 0, "test_images": 1}, "train_images = 0"),
        ({"train_images": 1, "test_images": 2.5}, "test_images = 2.5"),
        ({"train_images": 21, "test_images": 1}, "train_images = 21: CIFAR-10 has 20"),
        ({"train_images": 1, "test_images": 11}, "test_images = 11: CIFAR-10 has 10"),
        ({"train_images": 1, "test_images": 1, "device": "tpu"}, "device = 'tpu'"),
    ],
)
def test_bad_counts_and_devices_are_named(arguments, named, fake_cifar, tmp_path):
    fake_cifar(tmp_path)
    with pytest.raises(ValueError) as error:
        load_cifar10(tmp_path, **arguments)
    assert named in str(error.value)


def test_a_truncated_file_is_named(fake_cifar, tmp_path):
    fake_cifar(tmp_path)
    path = tmp_path / cifar.PARQUET.format(split="test")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataCorruptError) as error:
        load_cifar10(tmp_path, **COUNTS)
    assert str(path) in str(error.value) and "fetch it again" in str(error.value)


@pytest.mark.parametrize(
    "wrong", [{"label": 10}, {"label": -1}, {"size": (28, 28)}, {"rows": 9}, {"kind": "bytes"}]
)
def test_a_wrong_file_is_named(wrong, fake_cifar, tmp_path, monkeypatch):
    def no_image(self, file, kind):
        file.write(b"no image")

    if wrong.get("kind"):
        monkeypatch.setattr(Image.Image, "save", no_image)
    fake_cifar(tmp_path, **wrong)
    with pytest.raises(DataCorruptError) as error:
        load_cifar10(tmp_path, **COUNTS)
    assert str(tmp_path / cifar.PARQUET.format(split="train")) in str(error.value)


def test_a_folder_with_half_of_the_files_is_an_error_that_names_the_other(fake_cifar, tmp_path):
    fake_cifar(tmp_path, splits=("train",))
    with pytest.raises(DataCorruptError, match=cifar.PARQUET.format(split="test")):
        load_cifar10(tmp_path, **COUNTS)


def test_missing_data_is_an_error_that_lists_the_three_ways(no_data_anywhere, downloads, tmp_path):
    with pytest.raises(DataNotFoundError) as error:
        load_cifar10(tmp_path, train_images=1, test_images=1)
    message = str(error.value)
    ways = ("1.", "2.", "3.", "cifar-10-batches-py", "parquet", "FPCORE_DATA")
    for part in (str(tmp_path), str(no_data_anywhere), *ways):
        assert part in message
    assert isinstance(error.value, FileNotFoundError)
    assert downloads == []


def test_the_argument_goes_before_the_environment_and_that_before_the_cache(
    fake_cifar, tmp_path, monkeypatch, no_data_anywhere
):
    folders = tmp_path / "argument", tmp_path / "environment", no_data_anywhere
    for folder in folders:
        fake_cifar(folder)
    assert cifar.find_cifar10() == folders[2]
    monkeypatch.setenv("FPCORE_DATA", str(folders[1]))
    assert cifar.find_cifar10() == folders[1]
    assert cifar.find_cifar10(folders[0]) == folders[0]
    assert cifar.find_cifar10(str(folders[0])) == folders[0]


def test_a_tilde_is_the_home_folder(fake_cifar, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fake_cifar(tmp_path / "data")
    assert cifar.find_cifar10("~/data") == tmp_path / "data"
    monkeypatch.setenv("FPCORE_DATA", "~/data")
    assert cifar.find_cifar10() == tmp_path / "data"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other cache folders")
def test_downloads_go_to_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cifar.download_folder() == tmp_path / ".cache" / "fpcore"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert cifar.download_folder() == tmp_path / "elsewhere" / "fpcore"


def test_a_folder_that_the_environment_names_is_not_downloaded_to(
    no_data_anywhere, downloads, tmp_path, monkeypatch
):
    monkeypatch.setenv("FPCORE_DATA", str(tmp_path / "nothing"))
    with pytest.raises(DataNotFoundError, match="nothing"):
        load_cifar10(train_images=1, test_images=1)
    assert downloads == []


def test_without_leave_nothing_is_downloaded(no_data_anywhere, downloads):
    with pytest.raises(DataNotFoundError):
        load_cifar10(train_images=1, test_images=1, download=False)
    assert downloads == []


def test_a_failed_download_is_an_error_that_says_why(no_data_anywhere, downloads):
    error = r"download failed \(no route to host\)(.|\n)*Ways to get"
    with pytest.raises(DataNotFoundError, match=error):
        load_cifar10(train_images=1, test_images=1)
    assert downloads == [(no_data_anywhere, True)]


def test_torchvision_files_come_out_as_they_went_in(torchvision_files):
    root, pixels = torchvision_files
    train, test = load_cifar10(root, **COUNTS)
    assert torch.equal(torch.cat([train.x, test.x]), pixels / 255)
    assert train.y.tolist() == list(range(10)) * 2
    assert train.name == "CIFAR-10"
    assert train.x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_torchvision_file_of_another_checksum_is_named(name, damage, torchvision_files):
    root, _ = torchvision_files
    path = root / CIFAR10.base_folder / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataCorruptError) as error:
        load_cifar10(root, **COUNTS)
    assert str(path) in str(error.value)
    assert f"delete the folder {path.parent} and download again" in str(error.value)


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_download_is_repaired_where_downloads_are_allowed(
    damage, torchvision_files, no_data_anywhere, monkeypatch
):
    root, pixels = torchvision_files
    shutil.copytree(root, no_data_anywhere)
    path = no_data_anywhere / CIFAR10.base_folder / "data_batch_2"
    intact = path.read_bytes()

    def break_it():
        path.unlink() if damage == "missing" else path.write_bytes(intact[:-1])

    asked = []

    def fetch(dataset):
        assert not path.exists()
        asked.append(str(dataset.root))
        path.write_bytes(intact)

    monkeypatch.setattr(CIFAR10, "download", fetch)
    break_it()
    with pytest.raises(DataCorruptError, match=r"delete the folder .*cifar-10-batches-py"):
        load_cifar10(**COUNTS, download=False)
    assert asked == []
    train, _ = load_cifar10(**COUNTS)
    assert torch.equal(train.x, pixels[:20] / 255) and asked == [str(no_data_anywhere)]
    load_cifar10(**COUNTS)
    assert len(asked) == 1
    break_it()
    with pytest.raises(DataCorruptError, match="delete the folder"):
        load_cifar10(no_data_anywhere, **COUNTS)  # a folder that was named is not written to
    assert len(asked) == 1


def test_a_damaged_download_that_cannot_be_deleted_is_an_error_that_says_what_to_do(
    torchvision_files, no_data_anywhere
):
    shutil.copytree(torchvision_files[0], no_data_anywhere)
    path = no_data_anywhere / CIFAR10.base_folder / "data_batch_2"
    path.unlink()
    path.mkdir()
    with pytest.raises(DataCorruptError, match=rf"{path} cannot be deleted .*{path.parent}"):
        load_cifar10(**COUNTS)
    assert path.is_dir()


@pytest.mark.parametrize("given", ["mine", "./mine/"])
def test_the_error_says_where_a_relative_folder_was_looked_for(given, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataNotFoundError, match=f"no CIFAR-10 in {tmp_path / 'mine'}"):
        load_cifar10(given, **COUNTS)


@pytest.mark.skipif(
    "FPCORE_DATA" not in os.environ, reason="FPCORE_DATA names no folder with the real CIFAR-10"
)
def test_the_real_images_load():
    train, test = load_cifar10(train_images=100, test_images=10)
    assert train.x.shape == (100, 3, 32, 32) and test.x.shape == (10, 3, 32, 32)
    assert set(train.y.tolist()) == set(range(10)) and len(cifar.CLASSES) == 10
    assert 0 <= train.x.min() < 0.05 and 0.95 < train.x.max() <= 1
    assert train.name in ("CIFAR-10", "CIFAR-10 (JPEG)")


def random_images(n, size=8, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def augment(x, seed=0, **options):
    return cifar.augment(x, torch.Generator().manual_seed(seed), **options)


def test_without_shift_and_flip_nothing_changes():
    x = random_images(5)
    assert torch.equal(augment(x, shift=0, flip=False), x)


def test_flip_mirrors_about_half_of_the_images():
    x = random_images(400)
    out = augment(x, shift=0, flip=True)
    same, mirrored = ((out == other).flatten(1).all(1) for other in (x, x.flip(3)))
    assert (same ^ mirrored).all()
    assert 150 < mirrored.sum() < 250


def test_shifted_images_are_crops_of_the_reflected_originals_and_every_shift_occurs():
    x = random_images(500)
    out = augment(x, shift=1, flip=False)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    crops = torch.stack([padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)])
    matches = (crops == out).flatten(2).all(2)  # (9, n)
    assert (matches.sum(0) == 1).all()
    assert matches.sum(1).min() > 25
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shift", [0, 3, 7])
def test_images_are_mirrored_first_and_then_shifted(layout, shift):
    x = torch.rand(40, 3, 8, 11, generator=torch.Generator().manual_seed(1))
    out = augment(x.contiguous(memory_format=layout), shift=shift, flip=True)
    rng = torch.Generator().manual_seed(0)
    mirrored = torch.rand(40, generator=rng) < 0.5
    dy, dx = (
        torch.randint(0, 2 * shift + 1, (2, 40), generator=rng) if shift else torch.zeros(2, 40)
    )
    for i, image in enumerate(x):
        image = image.flip(2) if mirrored[i] else image
        padded = torch.nn.functional.pad(image[None], (shift,) * 4, mode="reflect")[0]
        top, left = int(dy[i]), int(dx[i])
        assert torch.equal(out[i], padded[:, top : top + 8, left : left + 11])


def test_a_shift_as_large_as_the_images_is_refused():
    with pytest.raises(ValueError, match="shift = 8, images of 8 pixels: give a smaller one"):
        numbered(shift=8).batch(4, 0, 0)
    numbered(shift=7).batch(4, 0, 0)


def numbered(n=12, **options):
    """Images whose pixels all hold the image's label."""
    y = torch.arange(n)
    x = (y / n).view(n, 1, 1, 1).expand(n, 3, 8, 8).contiguous()
    return Images(x, y, "numbered", **options)


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (lambda x: x[0], lambda y: y, r"x is \(3, 8, 8\)"),
        (lambda x: x[:, :1], lambda y: y, r"x is \(12, 1, 8, 8\)"),
        (lambda x: x[:0], lambda y: y[:0], r"x is \(0, 3, 8, 8\)"),
        (lambda x: x[:, :, :0], lambda y: y, r"x is \(12, 3, 0, 8\)"),
        (lambda x: (255 * x).byte(), lambda y: y, r"torch.uint8: give images .* floats"),
        (lambda x: 255 * x, lambda y: y, r"x spans 0 to 2.*x / 255"),
        (lambda x: x * math.nan, lambda y: y, r"x spans nan"),
        (lambda x: x, lambda y: y[:5], r"y is \(5,\) torch.int64: give class numbers \(12,\)"),
        (lambda x: x, lambda y: y[:, None], r"y is \(12, 1\)"),
        (lambda x: x, lambda y: y.float(), r"torch.float32: give class numbers"),
    ],
)
def test_what_are_no_labelled_images_is_named(x, y, says):
    data = numbered()
    with pytest.raises(ValueError, match=says):
        Images(x(data.x), y(data.y), "wrong")


def test_an_epoch_visits_every_image_once_with_its_label_in_a_new_order():
    data, orders = numbered(), []
    for epoch in range(2):
        batches = [data.batch(4, seed=1, step=3 * epoch + i) for i in range(3)]
        x, y = (torch.cat(parts) for parts in zip(*batches))
        assert sorted(y.tolist()) == list(range(12))
        assert torch.equal(x[:, 0, 0, 0], y / 12)
        orders.append(y.tolist())
    assert orders[0] != orders[1]
    assert orders[0] != torch.cat([data.batch(4, seed=2, step=i)[1] for i in range(3)]).tolist()


def test_an_image_batch_is_a_pure_function_of_seed_and_step():
    data = Images(random_images(12), torch.arange(12), "random")
    x, y = data.batch(4, seed=1, step=5)
    torch.manual_seed(0)
    data.batch(4, seed=1, step=2)
    again, labels = data.batch(4, seed=1, step=5)
    assert torch.equal(x, again) and torch.equal(y, labels)


def test_every_step_augments_anew():
    data = Images(random_images(1), torch.zeros(1, dtype=torch.long), "one")
    assert len({data.batch(1, seed=0, step=step)[0].sum().item() for step in range(10)}) > 5


def test_a_batch_keeps_to_the_shift_and_flip_of_its_data():
    data = Images(random_images(6), torch.arange(6), "plain", shift=0, flip=False)
    x, y = data.batch(6, seed=0, step=0)
    assert torch.equal(x, data.x[y])


def test_steps_count_whole_batches():
    assert numbered(12).steps(epochs=3, size=4) == 9
    assert numbered(13).steps(epochs=3, size=4) == 9
    assert numbered(3).steps(epochs=2, size=4) == 2
    with pytest.raises(ValueError, match="epochs = 0"):
        numbered().steps(epochs=0, size=4)
