"""Where results are kept: under names that nothing else has, and that nothing changes in vain."""

import dataclasses
import math
import random
import re
from pathlib import Path

import counting
import numpy as np
import pytest
import torch
from torch import nn

from fpbook.results import cache, files
from fpbook.results.cache import cache_folder, cache_path, kept
from fpbook.results.code import ROOT, Code

CALLS = []


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A configuration."""

    steps: int = 1
    radius: object = 0.0


class Data:
    """An argument that says what it is."""

    def __init__(self, seed):
        self.seed = seed

    def __repr__(self):
        return f"Data({self.seed})"


class Net(nn.Module):
    """A network of this module."""

    def __init__(self, seed=0):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        nn.init.constant_(self.layer.weight, seed)
        nn.init.zeros_(self.layer.bias)


class Outer(nn.Module):
    """A network that holds another."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(Net())


def train(net):
    return net


def watch(net):
    return net


def divide(a, b):
    CALLS.append((a, b))
    return {"share": a / b, "steps": None}


def count(*_):
    CALLS.append(())
    return len(CALLS)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A cache folder of its own for each test."""
    monkeypatch.setenv("FPCORE_CACHE", str(tmp_path / "cache"))
    CALLS.clear()
    return tmp_path / "cache"


def frozen(net):
    return net.requires_grad_(False)


# --- Names


def test_a_checkpoint_lies_in_the_cache_folder(place):
    path = cache_path("name", Recipe(), 3, code=train)
    assert path.parent == place and re.fullmatch(r"name-[0-9a-f]{16}\.safetensors", path.name)


LINEAGES = [
    (),
    (1,),
    (1.0,),
    (True,),
    ("1",),
    (None,),
    (1, 2),
    (2, 1),
    ((1, 2),),
    ([1, 2],),
    ({1: 2},),
    ({2: 1},),
    ({1, 2},),
    (Recipe(),),
    (Recipe(2),),
    (Recipe(radius=torch.zeros(2)),),
    (Recipe(radius=torch.ones(2)),),
    (Data(0),),
    (Data(1),),
    (torch.zeros(2000),),
    (torch.cat([torch.zeros(1000), torch.ones(1), torch.zeros(999)]),),
    (torch.zeros(2000).double(),),
    (torch.zeros(2000).bfloat16(),),
    (torch.zeros(20, 100),),
    (np.ones(3),),
    (torch.tensor(1),),
    (torch.empty(0),),
    (Net(),),
    (Net(1),),
    (Net().eval(),),
    (frozen(Net()),),
    (Outer(),),
    (torch.device("cpu"),),
]


def test_no_two_lineages_labels_or_codes_share_a_name():
    paths = [cache_path("a", *lineage, code=train) for lineage in LINEAGES]
    paths += [cache_path("b", code=train), cache_path("a", code=watch)]
    paths += [cache_path("a", code=(train, watch)), cache_path("a", code="fpcore.attacks")]
    assert len({*paths}) == len(paths) == len(LINEAGES) + 4


def test_equal_lineages_have_the_same_name():
    def path():
        parts = Recipe(3, torch.ones(2)), Net(2), [Data(1), {"a": np.ones(2)}], {"x", "y", "z"}
        return cache_path("a", *parts, code=(train, watch))

    assert path() == path()


@pytest.mark.parametrize("part", [object(), len, lambda: 0, torch.Generator(), [object()]])
def test_an_argument_that_does_not_say_what_it_is_is_an_error(part):
    with pytest.raises(ValueError, match="does not say what it is"):
        cache_path("a", part, code=train)


def test_the_arithmetic_and_torchs_version_are_in_the_name(monkeypatch):
    paths = set()
    for dtype in (torch.float32, torch.bfloat16, torch.float32):
        monkeypatch.setattr(cache, "arithmetic", lambda _, dtype=dtype: dtype)
        paths.add(cache_path("a", code=train))
    assert len(paths) == 2
    monkeypatch.setattr(torch, "__version__", "0")
    assert cache_path("a", code=train) not in paths


def test_the_code_of_functions_and_of_all_that_arguments_hold_is_in_the_name(monkeypatch):
    reached = []

    class Spy(Code):
        def reach(self, *things):
            reached.append(super().reach(*things))
            return reached[-1]

    monkeypatch.setattr(cache, "_loaded", lambda: Spy())
    cache_path("a", nn.Sequential(Net()), [Recipe(radius=Data(0))], code=(train, divide))
    names = {part.name for part in reached[0]}
    assert names == {"Net", "Recipe", "Data", "train", "divide", "CALLS"}


def test_a_change_of_what_is_called_renames_and_no_other_does(monkeypatch, tmp_path):
    def named(source):
        (tmp_path / "fpcore").mkdir(exist_ok=True)
        (tmp_path / "fpcore" / "training.py").write_text(source)
        monkeypatch.setattr(cache, "_loaded", lambda: Code(tmp_path))
        return cache_path("a", 1, code="fpcore.training.train")

    one = named("def train():\n    return step()\ndef step():\n    return 1\n")
    same = named("def other(): pass\ndef train():  # a\n    return step()\ndef step(): return 1\n")
    other = named("def train():\n    return step()\ndef step():\n    return 2\n")
    assert one == same != other


def test_how_results_are_kept_is_no_part_of_what_they_are():
    parts = Code(ROOT).reach(uses_the_cache)
    assert {part.name for part in parts} == {"uses_the_cache", "divide", "CALLS"}


def uses_the_cache():
    return kept(divide, 1, 2), cache_path("a", code=divide)


# --- Folders


def test_the_folder_is_absolute_and_does_not_follow_the_process(tmp_path, monkeypatch):
    monkeypatch.setenv("FPCORE_CACHE", "some/where")
    before = cache_folder()
    monkeypatch.chdir(tmp_path)
    assert before == cache_folder() == files.STARTED_IN / "some" / "where"
    assert before.is_absolute()


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("FPCORE_CACHE", "~/kept")
    assert cache_folder() == (Path.home() / "kept").resolve()


@pytest.mark.parametrize("setting", ["", None])
def test_the_folder_is_in_the_clone_else_the_users(tmp_path, monkeypatch, setting):
    monkeypatch.delenv("FPCORE_CACHE")
    if setting is not None:
        monkeypatch.setenv("FPCORE_CACHE", setting)
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert cache_folder() == cache.user_cache_path("fpcore")
    (tmp_path / "_toc.yml").touch()
    assert cache_folder() == tmp_path / "_build" / "cache"


# --- Measurements


def test_what_was_measured_is_kept_and_not_measured_again(place):
    for _ in range(2):
        assert kept(divide, 1, 2) == {"share": 0.5, "steps": None}
    assert CALLS == [(1, 2)]
    kept(divide, 2, 1)
    assert CALLS == [(1, 2), (2, 1)] and len([*place.glob("divide-*.json")]) == 2


@pytest.mark.parametrize("content", ["", "[1, 2", "\udcff", '{"measured": 7}'])
def test_a_damaged_measurement_is_measured_anew_with_a_warning(content, place):
    kept(count)
    (path,) = place.glob("count-*.json")
    path.write_text(content, errors="surrogateescape")
    with pytest.warns(UserWarning, match=f"{path} .*: it is measured anew"):
        assert kept(count) == 2
    assert kept(count) == 2


@pytest.mark.counted
def test_a_flipped_bit_of_what_was_measured_is_noticed(place):
    kept(count)
    (path,) = place.glob("count-*.json")
    rng = random.Random(0)
    for flip in range(20):
        content = bytearray(path.read_bytes())
        bit = rng.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(content))
        with pytest.warns(UserWarning, match="it is measured anew"):
            assert kept(count) == flip + 2
    counting.count("flipped bits", 20)


def test_a_folder_that_cannot_be_written_is_an_error_before_any_work(place, monkeypatch):
    def refuse(**_):
        raise PermissionError("Read-only file system")

    kept(count)
    monkeypatch.setattr(cache.tempfile, "TemporaryFile", refuse)
    kept(count)  # reading needs no permission
    message = f"nothing can be kept in {place} .*: give another folder by FPCORE_CACHE"
    with pytest.raises(ValueError, match=message):
        kept(count, 1)
    assert len(CALLS) == 1


def test_a_measurement_that_fails_leaves_nothing_behind(place):
    for bad, message in ((0, "division"), (math.inf, "JSON")):
        with pytest.raises((ZeroDivisionError, ValueError), match=message):
            kept(divide, 1 if bad == 0 else bad, bad)
    assert not [*place.glob("*.json")]


@pytest.mark.parametrize("measure", [lambda: 1, Data(0).__repr__, len, Data])
def test_only_a_function_that_hides_no_arguments_can_be_kept(measure):
    with pytest.raises(ValueError, match="top level of a module"):
        kept(measure)
