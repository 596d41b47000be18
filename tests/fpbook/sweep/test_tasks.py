"""A task makes one file, whoever computes it; a file is what its name says, or an error."""

import dataclasses
import json
import resource
import signal

import pytest

from fpbook.results.checksums import encode_sealed, is_sealed
from fpbook.sweep import tasks as sweep
from fpbook.sweep.tasks import Task, attempt, existing


@pytest.fixture
def task(tiny, cache):
    return Task("limits", tiny, 0, varied=(("width", 80),))


def test_a_file_holds_recipe_settings_and_records_and_no_trace_of_who_made_it(task, tmp_path):
    one, other = (attempt(task, task.recipe, tmp_path / name) for name in "ab")
    assert one.content == other.content == (tmp_path / "a" / f"{task.recipe}.json").read_bytes()
    assert one.seconds > 0 and not one.error and is_sealed(one.content)
    held = json.loads(one.content)
    assert held["recipe"] == task.recipe and held["settings"]["width"] == 80
    assert {row["seed"] for row in held["records"]} == {0}


def test_what_is_there_is_not_computed_again(task, tmp_path, no_batches, monkeypatch):
    first = attempt(task, task.recipe, tmp_path)
    monkeypatch.setattr(Task, "content", None)
    assert attempt(task, task.recipe, tmp_path) == dataclasses.replace(first, seconds=0.0)


DAMAGES = {
    "cut": lambda content: content[:-9],
    "changed": lambda content: content.replace(b"0", b"1"),
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=[*DAMAGES])
def test_a_damaged_file_is_computed_anew_with_a_warning(task, tmp_path, damage):
    whole = attempt(task, task.recipe, tmp_path).content
    path = tmp_path / f"{task.recipe}.json"
    path.write_bytes(damage(whole))
    with pytest.warns(UserWarning, match="it is computed anew"):
        assert attempt(task, task.recipe, tmp_path).content == whole
    assert path.read_bytes() == whole


def test_a_file_of_another_recipe_is_an_error_and_stays(task, tmp_path):
    path = tmp_path / f"{task.recipe}.json"
    other = encode_sealed({"recipe": "limits-0", "records": []})
    path.write_bytes(other)
    says = "is of another recipe, 'limits-0': move it away, or name another folder by --into"
    with pytest.raises(ValueError, match=says):
        existing(path, task.recipe)
    assert says in attempt(task, task.recipe, tmp_path).error
    assert path.read_bytes() == other


def test_other_code_on_the_worker_is_an_error(task, tmp_path):
    found = attempt(task, "limits-0", tmp_path)
    assert "give all machines the same code and the same torch" in found.error
    assert [*tmp_path.glob("*.json")] == []


def test_what_a_task_raises_is_its_outcome(task, tmp_path, monkeypatch):
    def fails(self):
        raise MemoryError("no memory for 3 numbers\nmore")

    monkeypatch.setattr(Task, "content", fails)
    error = attempt(task, task.recipe, tmp_path).error
    assert error.startswith("MemoryError on ") and error.endswith(": no memory for 3 numbers")


def test_a_disk_on_which_nothing_more_fits_is_one_error(task, tmp_path, monkeypatch):
    """As a full one: the file is not written, and no part of it is left."""
    monkeypatch.setattr(Task, "content", lambda self: b"x" * 5000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    task.recipe  # looks for its folder
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        found = attempt(task, task.recipe, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert found.error.startswith("OSError on ") and "File too large" in found.error
    assert str(tmp_path / "full") in found.error
    assert [*(tmp_path / "full").iterdir()] == []


def test_every_experiment_has_a_measure_and_the_profiles_of_the_book():
    for kind, sweepable in sweep.SWEEPABLE.items():
        assert {"quick", "full"} <= sweepable.profiles.keys(), kind
        assert all(isinstance(p, sweepable.configuration) for p in sweepable.profiles.values())
