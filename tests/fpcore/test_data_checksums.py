"""A data file that is not what it was is an error that names it."""

import hashlib
import random

import pyarrow.parquet as pq
import pytest
from counting import count

from fpcore import data_checksums
from fpcore import images as cifar
from fpcore.data_checksums import check_data_file
from fpcore.images import DataCorruptError, load_cifar10

pytestmark = pytest.mark.counted
COUNTS = {"train_images": 20, "test_images": 10}


def flip(content, place):
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


@pytest.fixture
def parquet(fake_cifar, tmp_path):
    """The training set's file, of JPEG images, which have no checksum of their own."""
    fake_cifar(tmp_path, "JPEG")
    return tmp_path / cifar.PARQUET.format(split="train")


def check_each_flip(path, times):
    """Each of some flipped bits makes loading an error that names the file."""
    good, rng = path.read_bytes(), random.Random(0)
    for _ in range(times):
        path.write_bytes(flip(good, rng.randrange(8 * len(good))))
        with pytest.raises(DataCorruptError, match=rf"{path} is wrong .*fetch it again"):
            load_cifar10(path.parent, **COUNTS)
    path.write_bytes(good)
    load_cifar10(path.parent, **COUNTS)
    count("flipped bits", times)


def test_a_checksum_beside_the_file_is_checked(parquet):
    digest = hashlib.sha256(parquet.read_bytes()).hexdigest()
    beside = parquet.with_name(f"{parquet.name}.sha256")
    beside.write_text(f"{digest}  {parquet.name}\n")
    assert check_data_file(parquet) == f"as {beside.name} says"
    check_each_flip(parquet, 50)
    for text in ("", "no digest\n", f"{'0' * 64}  {parquet.name}\n"):
        beside.write_text(text)
        with pytest.raises(DataCorruptError, match=beside.name):
            load_cifar10(parquet.parent, **COUNTS)


def test_a_file_of_the_length_of_a_known_one_is_that_one_or_damaged(parquet, monkeypatch):
    content = parquet.read_bytes()
    known = {len(content): (hashlib.sha256(content).hexdigest(), "a known file")}
    monkeypatch.setattr(data_checksums, "KNOWN_FILES", known)
    assert check_data_file(parquet) == "a known file"
    check_each_flip(parquet, 50)
    parquet.write_bytes(content + b"x")
    assert check_data_file(parquet) == ""


def test_the_checksums_of_pages_are_checked_where_a_file_has_them(parquet):
    table = pq.read_table(parquet)
    pq.write_table(table, parquet, write_page_checksum=True, compression="none")
    content, good = parquet.read_bytes(), table["img"][3].as_py()["bytes"]
    at = content.index(good) + len(good) // 2
    parquet.write_bytes(flip(content, 8 * at))
    with pytest.raises(DataCorruptError, match=str(parquet)):
        load_cifar10(parquet.parent, **COUNTS)
    count("flipped bits")


def test_verify_says_what_is_known_of_the_data(parquet, monkeypatch):
    from fpbook.results.verify import data_files

    monkeypatch.setenv("FPCORE_DATA", str(parquet.parent))
    assert len(data_files()) == 2 and "no checksum is known" in data_files()[0]
    parquet.with_name(f"{parquet.name}.sha256").write_text("0" * 64)
    with pytest.raises(ValueError, match=rf"{parquet} is damaged"):
        data_files()
    monkeypatch.setenv("FPCORE_DATA", str(parquet.parent / "nothing"))
    assert data_files() == []
