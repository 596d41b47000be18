"""What a stranger's file may do: nothing but be read, or be one error that names it."""

import argparse
import functools
import os
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fpcore.loading import read_weights
from fpcore.loading.tensor_files import read_tensor_file

OLD = functools.partial(torch.save, _use_new_zipfile_serialization=False)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


class Claims:
    """A tensor of more entries than its storage has."""

    def __reduce__(self):
        storage = torch.ones(1).untyped_storage()
        typed = torch.storage.TypedStorage(
            wrap_storage=storage, dtype=torch.float32, _internal=True
        )
        shape = (5 * 10**9,)
        return torch._utils._rebuild_tensor_v2, (typed, 0, shape, (1,), False, OrderedDict())


def pickled(content, path):
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("save", [torch.save, OLD, pickled])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
def test_a_malicious_pickle_is_not_run(save, suffix, tmp_path):
    path, made = tmp_path / f"evil{suffix}", tmp_path / "made"
    save({"state_dict": {"weight": torch.ones(3)}, "extra": Malicious(made)}, path)
    says = "cannot be read" if save is pickled else r"wants to run \w+\.mkdir .*torch\.save\(model"
    with pytest.raises(ValueError, match=rf"evil{suffix} {says}"):
        read_weights(path)
    assert not made.exists()
    if save is not pickled:
        torch.load(path, weights_only=False)
        assert made.exists()  # else the test would pass whatever is loaded


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ({"a": torch.ones(1), "args": argparse.Namespace(lr=1)}, "argparse.Namespace"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_a_file_that_needs_code_says_which_and_the_fix(content, wanted, tmp_path):
    torch.save(content, tmp_path / "whole.pt")
    with pytest.raises(ValueError, match=rf"whole.pt wants to run {wanted}.*state_dict\(\)") as e:
        read_weights(tmp_path / "whole.pt")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_files_that_are_damaged_are_named_in_one_line(suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    state = {"weight": torch.arange(1000.0)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    half, beginning, end = whole[: len(whole) // 2], whole[:6], whole[100:]
    for content in (half, beginning, end, whole[:-1], b"\0" * 2000, b"<!doctype html>" * 50):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"w{suffix} cannot be read .*again") as error:
            read_weights(path)
        assert "\n" not in str(error.value) and "weights_only" not in str(error.value)


def test_what_is_no_file_of_tensors_is_named(tmp_path):
    (tmp_path / "empty.pt").touch()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"empty.pt is empty"):
        read_weights(tmp_path / "empty.pt")
    with pytest.raises(ValueError, match=r"ends in '.txt': give a file of tensors, .safetensors"):
        read_weights(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match="is a folder: give a file in it"):
        read_weights(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none.pt is not there"):
        read_weights(str(tmp_path / "none.pt"))


def test_a_script_is_not_run(tmp_path):
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as file:
        file.writestr("script/constants.pkl", pickle.dumps(()))
        file.writestr("script/data.pkl", pickle.dumps({}))
        file.writestr("script/version", "3\n")
    with pytest.raises(ValueError, match="is a TorchScript program"):
        read_weights(tmp_path / "script.pt")


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    torch.save({"weight": torch.zeros(10**6)}, tmp_path / "fair.pt")
    with (
        zipfile.ZipFile(tmp_path / "fair.pt") as fair,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for record in fair.infolist():
            bomb.writestr(record.filename, fair.read(record))
    assert (tmp_path / "bomb.pt").stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"bomb.pt cannot be read \(its records unpack to 4,0"):
        read_weights(tmp_path / "bomb.pt")


@pytest.mark.parametrize("save", [torch.save, OLD])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.ones(1).expand(10**10), "larger than the file"),
        (Claims(), "cannot be read"),
        (torch.ones(10**10, device="meta"), "without values"),
        (torch.eye(3).to_sparse(), "sparse"),
    ],
)
def test_tensors_that_the_file_does_not_hold_are_refused(save, value, says, tmp_path):
    save({"weight": value}, tmp_path / "claims.pt")
    with pytest.raises(ValueError, match=f"claims.pt .*{says}"):
        read_weights(tmp_path / "claims.pt")


def test_a_header_that_claims_more_than_the_file_is_refused(tmp_path):
    header = b'{"w":{"dtype":"F32","shape":[10000000000],"data_offsets":[0,40000000000]}}'
    content = len(header).to_bytes(8, "little") + header + b"\0" * 100
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"w.safetensors cannot be read"):
        read_weights(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes((10**12).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match=r"w.safetensors cannot be read"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("save", [torch.save, OLD])
def test_a_dict_that_holds_itself_ends(save, tmp_path):
    circle = {"epoch": 3}
    circle["model"] = circle
    save(circle, tmp_path / "circle.pt")
    with pytest.raises(ValueError, match="holds no state dict but epoch, model"):
        read_weights(tmp_path / "circle.pt")


def test_both_formats_of_torch_come_out_as_they_went_in(tmp_path):
    state = {"a": torch.randn(3, 4), "b": torch.arange(3), "c": torch.randn(2).bfloat16()}
    for save in (torch.save, OLD):
        save(state, tmp_path / "state.pt")
        content, metadata = read_tensor_file(tmp_path / "state.pt")
        assert content.keys() == state.keys() and metadata == {}
        assert all(
            torch.equal(content[k], v) and content[k].dtype == v.dtype for k, v in state.items()
        )
