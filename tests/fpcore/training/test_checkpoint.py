"""The state on disk: what a run that finds it does, and what it refuses."""

import copy
import dataclasses
import json
import os
import time

import pytest
import torch
from counting import count
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from trainings import (
    HARD,
    QUICK,
    D,
    Stopped,
    Stopping,
    measure,
    network,
    same_history,
    same_state,
)

from fpcore.checkpoint import write_atomically
from fpcore.models.convnet import ConvNet
from fpcore.models.two_layer import TwoLayer
from fpcore.training import Schedule, train


def test_a_finished_run_is_read_and_not_repeated(data, tmp_path):
    first, second = network(), network(seed=9)
    history = train(first, data, QUICK, measure=measure, every=5, checkpoint=tmp_path / "c")
    again = train(second, Stopping(data, 0), QUICK, every=5, checkpoint=tmp_path / "c")
    assert torch.equal(first.weight, second.weight) and same_history(history, again)


def finished(path, data, config=QUICK):
    train(network(), data, config, every=5, checkpoint=path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "change", [{"lr": 1.0}, {"steps": 11}, {"seed": 2}, {"radius": 0.1}, {"lr": Schedule((0, 2.0))}]
)
def test_a_checkpoint_of_another_configuration_is_an_error_and_stays(change, data, tmp_path):
    path, net = tmp_path / "c", network(seed=3)
    content, before = finished(path, data), copy.deepcopy(net)
    with pytest.raises(ValueError, match="another configuration") as error:
        train(net, Stopping(data, 0), dataclasses.replace(QUICK, **change), checkpoint=path)
    assert str(path) in str(error.value) and "delete it" in str(error.value)
    named = [name for name in dataclasses.asdict(QUICK) if f"{name} = " in str(error.value)]
    assert named == [*change]
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["c"]
    assert same_state(net, before)


@pytest.mark.parametrize(
    "other", [lambda: network(m=17), lambda: TwoLayer(D + 1, 16), lambda: ConvNet(1 / 8)]
)
def test_a_checkpoint_of_another_shape_is_an_error_and_stays(other, data, tmp_path):
    path, net = tmp_path / "c", other()
    content, before = finished(path, data), copy.deepcopy(net)
    with pytest.raises(ValueError, match="another model") as error:
        train(net, Stopping(data, 0), QUICK, checkpoint=path)
    assert str(path) in str(error.value) and "delete it" in str(error.value)
    assert path.read_bytes() == content and same_state(net, before)


def test_a_buffer_that_could_not_be_read_back_is_an_error_before_the_first_step(data, tmp_path):
    net = network()
    net.register_buffer("mask", torch.ones(1).expand(D))
    with pytest.raises(ValueError, match=r"mask is an expanded tensor.*\.clone\(\)"):
        train(net, Stopping(data, 0), QUICK, checkpoint=tmp_path / "c")
    assert not os.listdir(tmp_path)
    train(net, data, dataclasses.replace(QUICK, steps=1))  # without a checkpoint it may be


def test_the_error_names_both_shapes(data, tmp_path):
    finished(tmp_path / "c", data)
    with pytest.raises(ValueError, match=r"weight is \(16, 32\), the model's is \(17, 32\)"):
        train(network(m=17), data, QUICK, checkpoint=tmp_path / "c")


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b"not a checkpoint", lambda b: b[:-7], lambda b: b[:20]]
)
def test_a_corrupt_checkpoint_is_an_error_and_stays(damage, data, tmp_path):
    path = tmp_path / "c"
    path.write_bytes(damage(finished(path, data)))
    content = path.read_bytes()
    with pytest.raises(ValueError, match="cannot be read") as error:
        train(network(), Stopping(data, 0), QUICK, checkpoint=path)
    assert str(path) in str(error.value) and "delete it" in str(error.value)
    assert path.read_bytes() == content


def test_a_checkpoint_is_a_safetensors_file_with_its_configuration_and_momentum(data, tmp_path):
    net = network()
    history = train(net, data, HARD, every=5, checkpoint=tmp_path / "c")
    with safe_open(tmp_path / "c", "pt") as file:
        keys, metadata, weight = set(file.keys()), file.metadata(), file.get_tensor("model.weight")
    assert keys == {"model.weight", "model.threshold", "momentum.0"}
    assert torch.equal(weight, net.weight) and metadata["step"] == "10"
    assert json.loads(metadata["config"])["radius"] == {"points": [[0.0, 0.05], [1.0, 0.2]]}
    assert same_history(json.loads(metadata["history"]), history)


def test_nothing_but_the_checkpoint_is_left_in_its_new_folder(data, tmp_path):
    finished(tmp_path / "a" / "b" / "c", data)
    assert os.listdir(tmp_path / "a" / "b") == ["c"]


def test_a_run_killed_while_it_writes_leaves_the_old_checkpoint(data, tmp_path, monkeypatch):
    path = tmp_path / "c"
    with pytest.raises(Stopped):
        train(network(), Stopping(data, 7), QUICK, every=5, checkpoint=path)
    content = path.read_bytes()

    def killed(*_):
        raise Stopped

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(Stopped):
        train(network(), data, QUICK, every=5, checkpoint=path)
    monkeypatch.undo()
    assert path.read_bytes() == content
    unbroken, resumed = network(), network()
    train(unbroken, data, QUICK, every=5)
    train(resumed, data, QUICK, every=5, checkpoint=path)
    assert same_state(unbroken, resumed)


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "new" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and os.listdir(path.parent) == ["file"]
    with pytest.raises(TypeError):
        write_atomically(path, "no bytes")
    assert path.read_bytes() == b"two" and os.listdir(path.parent) == ["file"]


def bits(path, data):
    """The content of a checkpoint with momentum, and where its tensors begin."""
    train(network(), data, HARD, every=5, checkpoint=path)
    content = path.read_bytes()
    return content, 8 + int.from_bytes(content[:8], "little")


@pytest.mark.counted
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_in_a_tensor_is_an_error_and_stays(share, bit, data, tmp_path):
    path = tmp_path / "c"
    content, start = bits(path, data)
    damaged, net = bytearray(content), network(seed=3)
    damaged[start + round(share * (len(content) - 1 - start))] ^= 1 << bit
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"is damaged .*checksum.*delete it"):
        train(net, Stopping(data, 0), HARD, checkpoint=path)
    assert path.read_bytes() == damaged and same_state(net, network(seed=3))
    count("flipped bits")


@pytest.mark.parametrize("word", [b'step":"10', b"loss", b"momentum.0"])
def test_a_changed_word_in_the_header_is_an_error(word, data, tmp_path):
    path = tmp_path / "c"
    content, start = bits(path, data)
    at = content.index(word) + len(word) - 1
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert at < start
    with pytest.raises(ValueError, match=r"is damaged|cannot be read"):
        train(network(), Stopping(data, 0), HARD, checkpoint=path)


def test_a_file_without_a_checksum_is_read(data, tmp_path):
    path = tmp_path / "c"
    unbroken, resumed = network(), network()
    train(unbroken, data, HARD, every=5)
    with pytest.raises(Stopped):
        train(network(), Stopping(data, 7), HARD, every=5, checkpoint=path)
    with safe_open(path, "pt") as file:
        metadata = {name: text for name, text in file.metadata().items() if name != "sha256"}
    assert set(metadata) == {"config", "step", "history"}
    save_file(load_file(path), path, metadata)
    train(resumed, data, HARD, every=5, checkpoint=path)
    assert same_state(unbroken, resumed)


def test_the_configuration_in_a_file_is_that_of_the_version_before():
    """Fields that came later are there only where they are set: such files go on."""
    before = (
        '{"attack_steps": 1, "batch": 16, "box": null, "clip": null, "lr": 2.0, "momentum": 0.0, '
        '"norm": "l2", "radius": 0.0, "seed": 1, "steps": 10, "threshold": null, '
        '"weight_decay": 0.0}'
    )
    assert QUICK.text() == before
    later = dataclasses.replace(QUICK, random_start=True, precision="float32")
    assert json.loads(later.text()) == json.loads(before) | {
        "random_start": True,
        "precision": "float32",
    }


def test_saving_sweeps_what_dead_runs_left_of_this_file_alone(data, tmp_path):
    path, day = tmp_path / "c", 24 * 3600
    names = {f".c.{'0' * 32}": 2, f".c.{'1' * 32}": 0, ".c.txt": 2, f".d.{'0' * 32}": 2, "e": 2}
    for name, days in names.items():
        (tmp_path / name).write_bytes(b"")
        then = time.time() - days * day - 60
        os.utime(tmp_path / name, (then, then))
    finished(path, data)
    assert {*os.listdir(tmp_path)} == {"c", *names} - {f".c.{'0' * 32}"}


def test_the_file_is_read_once(data, tmp_path, monkeypatch):
    """A file that another run writes meanwhile is the old one or the new one, never both."""
    path, reads = tmp_path / "c", []
    finished(path, data)
    read = type(path).read_bytes
    monkeypatch.setattr(type(path), "read_bytes", lambda self: reads.append(self) or read(self))
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("it is opened again"))
    train(network(), Stopping(data, 0), QUICK, checkpoint=path)
    assert reads == [path]


def test_a_folder_in_the_place_of_the_file_is_an_error(data, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be read .* or give another path"):
        train(network(), Stopping(data, 0), QUICK, checkpoint=tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta.pop("step"),
        lambda meta: meta.update(step="x"),
        lambda meta: meta.update(step="99"),
        lambda meta: meta.update(history="["),
        lambda meta: meta.update(history="[]"),
        lambda meta: meta.update(config="{"),
        lambda meta: meta.update(config="[]"),
    ],
)
def test_a_damaged_header_of_a_file_without_a_checksum_is_an_error(change, data, tmp_path):
    path = tmp_path / "run.safetensors"
    finished(path, data)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    del metadata["sha256"]
    change(metadata)
    save_file(load_file(path), path, metadata)
    with pytest.raises(ValueError, match=r"checkpoint .*run\.safetensors .*: delete it"):
        finished(path, data)


def test_a_pipe_in_the_place_of_the_file_is_an_error_and_is_not_waited_for(data, tmp_path):
    path = tmp_path / "run.safetensors"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="it is no file"):
        finished(path, data)


def test_the_users_folder_is_meant_by_its_sign(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    train(network(), data, QUICK, checkpoint="~/run.safetensors")
    assert (tmp_path / "run.safetensors").is_file()


@pytest.mark.parametrize("path", ["a\0b", 300 * "a", "~nobody-of-this-name/run", 3, ""])
def test_what_no_file_can_be_called_is_named(path, data):
    with pytest.raises(ValueError, match=r"checkpoint = .*give a path"):
        finished(path, data)
