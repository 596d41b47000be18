"""Data of any container: the same samples, or an error that names what is wrong."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from fpcore.images import Images
from fpcore.loading import LabelledData, labelled
from fpcore.loading.labelled_data import in_turn

X = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 5
BYTES = (255 * X).byte()


class Samples(Dataset):
    """Samples one by one, their images of any kind; it says which were read."""

    def __init__(self, image=lambda i: X[i], label=lambda i: int(Y[i]), count=12):
        self.image, self.label, self.count, self.read = image, label, count, []

    def __len__(self):
        return self.count

    def __getitem__(self, i):  # as many datasets: no IndexError at the end
        self.read.append(i)
        return self.image(i), self.label(i)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y))

    def __len__(self):
        return 12


def endless():
    for i in itertools.count():
        yield X[i : i + 4], Y[i : i + 4]


KINDS = {
    "pair": lambda: (X, Y),
    "list of two": lambda: [X, Y],
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "Images": lambda: Images(X, Y, "mine"),
    "LabelledData": lambda: LabelledData(X, Y, "mine"),
    "TensorDataset": lambda: TensorDataset(X, Y),
    "Dataset": Samples,
    "stream": Stream,
    "DataLoader": lambda: DataLoader(TensorDataset(X, Y), batch_size=5),
    "batches": lambda: [(X[:5], Y[:5]), (X[5:], Y[5:])],
    "generator": lambda: ((X[i : i + 4], Y[i : i + 4]) for i in (0, 4, 8)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [None, 1, 7, 12])
def test_the_first_samples_come_out_as_they_went_in(kind, count):
    data = labelled(KINDS[kind](), count)
    assert torch.equal(data.x, X[:count]) and torch.equal(data.y, Y[:count])
    assert data.x.dtype == torch.float32 and data.y.dtype == torch.int64
    assert data.notes == () and len(data) == len(data.x)


def test_data_with_a_name_keeps_it_and_its_notes():
    assert labelled(Images(X, Y, "mine"), 3).name == "mine"
    assert labelled(LabelledData(X, Y, "mine", ("cut",)), 3).notes == ("cut",)


def test_no_more_is_read_than_asked_for():
    data = Samples()
    labelled(data, 3)
    assert data.read == [0, 1, 2]
    stream = endless()
    labelled(stream, 6)
    assert torch.equal(next(stream)[0], X[2:6])


def test_fewer_samples_than_asked_for_are_said():
    assert labelled((X, Y), 20).notes == ("12 samples are all there are, 20 were asked for",)


@pytest.mark.parametrize(
    "images",
    [
        (BYTES, Y),
        [(BYTES[:5], Y[:5]), (BYTES[5:], Y[5:])],
        Samples(lambda i: BYTES[i]),
        Samples(lambda i: Image.fromarray(BYTES[i].permute(1, 2, 0).numpy())),
        Samples(lambda i: BYTES[i].permute(1, 2, 0).numpy()),
    ],
)
def test_bytes_are_divided_by_255_and_it_is_said(images):
    data = labelled(images)
    assert torch.equal(data.x, BYTES / 255) and data.notes == ("bytes were divided by 255",)


def test_grey_pictures_have_one_channel():
    data = labelled(Samples(lambda i: Image.fromarray(BYTES[i, 0].numpy())))
    assert torch.equal(data.x, BYTES[:, :1] / 255)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_labels_of_any_whole_kind_become_int64(dtype):
    assert torch.equal(labelled((X, Y.to(dtype))).y, Y)


def spoiled(value):
    x = X.clone()
    x[3, 0, 0, 0] = value
    return x


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ((spoiled(float("nan")), Y), r"not finite .* in 1 of 12 samples: leave"),
        ((spoiled(float("inf")), Y), r"not finite .* in 1 of 12 samples: leave"),
        ((spoiled(1.5), Y), r"x spans .* to 1.5: give x / 255"),
        ((255 * X, Y), r"x spans .* to 25\d.*give x / 255"),
        (((X - 0.5) / 0.25, Y), r"x spans -.*in front of the network"),
        ((X.long(), Y), r"x is torch.int64: give floats in \[0, 1\], or bytes"),
        ((X, Y.float()), r"y is \(12,\) torch.float32: give class numbers, y.long"),
        ((X, Y > 2), r"y is \(12,\) torch.bool: give class numbers"),
        ((X, torch.eye(12)), r"y is \(12, 12\) torch.float32: give class numbers, y.argmax\(1\)"),
        ((X, Y - 1), r"y holds the class -1: number the classes from 0"),
        ((X, Y[:5]), r"x \(12, 3, 8, 8\), y \(5,\): give .* a label each"),
        ((X[:0], Y[:0]), "holds 0 samples"),
        ([], "holds 0 samples"),
        (Samples(count=0), "holds 0 samples"),
        (Samples(lambda i: X[i, :, : 8 - i // 4]), r"sample 4 is \(3, 7, 8\).* first \(3, 8, 8\)"),
        (Samples(lambda i: X[i, : 3 - i // 4]), r"sample 4 is \(2, 8, 8\).* of one size and mode"),
        (Samples(lambda i: X[i] if i else BYTES[i]), r"sample 1 .*float32.* first .*uint8"),
        ([(X, Y), (X[:, :, :4], Y)], r"batch 1 is x \(12, 3, 4, 8\).* of one size"),
        (DataLoader(X, batch_size=4), "item 0 is a Tensor: give pairs"),
        ([{"image": X, "label": Y}], "item 0 is a dict: give pairs"),
        (X, "images is a Tensor: give"),
        (3, "images is a int: give"),
        (None, "images is a NoneType: give"),
    ],
)
def test_what_is_no_labelled_data_is_named_with_the_fix(images, says):
    with pytest.raises(ValueError, match=says):
        labelled(images)


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_a_count_that_is_none_is_named(count):
    with pytest.raises(ValueError, match="count = "):
        labelled((X, Y), count)


def drawn(y, count, seed=0):
    return in_turn(torch.as_tensor(y), count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
@pytest.mark.parametrize("count", [4, 10, 39])
def test_of_data_sorted_by_class_each_has_its_turn(order, count):
    y = torch.tensor(order).repeat_interleave(10)
    rows, (note,) = drawn(y, count)
    assert len({*rows.tolist()}) == count
    assert y[rows].tolist() == [i % 4 for i in range(count)]
    assert note == f"sorted by class: {count} of 40 were drawn, 4 classes in turn"
    assert torch.equal(drawn(y, count)[0], rows)
    assert not torch.equal(drawn(y, count, seed=1)[0], rows)


def test_a_small_class_is_used_up():
    y = torch.tensor([0] * 2 + [1] * 30)
    rows, _ = drawn(y, 10)
    assert (y[rows] == 0).sum() == 2 and (y[rows] == 1).sum() == 8


@pytest.mark.parametrize("y", [torch.randint(0, 10, (500,)), np.arange(500) % 10, [3] * 500])
def test_data_in_any_other_order_stays_in_it(y):
    rows, notes = drawn(y, 20)
    assert rows.tolist() == [*range(20)] and notes == []


def test_all_there_is_stays_in_order():
    rows, notes = drawn([0, 0, 1, 1], 9)
    assert rows.tolist() == [0, 1, 2, 3] and notes == []
