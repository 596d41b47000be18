"""The benchmark runs at toy sizes, and what it measures is well formed."""

import json
import subprocess
import sys

import pytest
import torch

import fpcore as fp
from fpbook.results import published, rows
from fpbook.results.files import ROOT
from fpbook.results.timings import TIMED_KEYS, timing, timings_table

PARTS = (
    "step_timings",
    "attack_timings",
    "certificate_timings",
    "growth_timings",
    "engine_timings",
)
BENCHMARKS = ROOT / "benchmarks"
ROW = {"name": "a step", "value": 2.0, "unit": "s", "low": 1.0, "high": 3.0, "repeats": 5}
GOOD = ROW | {"settings": {"d": 4, "m": 8}}


@pytest.fixture
def bench(module):
    return module("bench")


@pytest.fixture
def parts(bench, monkeypatch, tmp_path, results):
    """A function that makes parts of some texts, and runs them with arguments: its exit status."""

    def run(texts, *arguments):
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(bench, "PARTS", dict.fromkeys(texts, 100.0))
        monkeypatch.setattr(bench, "find_cifar10", lambda: None)  # no part here needs it
        return bench.main([*arguments])

    return run


def test_a_timing_keeps_value_spread_repeats_and_settings():
    assert timing(GOOD) == {
        "quantity": "wall_time",
        "timed": "a step",
        "settings": "d = 4, m = 8",
        "size": None,
        "value": 2.0,
        "low": 1.0,
        "high": 3.0,
        "n": 5,
    }


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"unit": "miles"}, "unit = 'miles' of a step: give one of"),
        ({"low": 2.5}, "it is not in its interval"),
        ({"value": float("nan")}, "value = nan: give a finite number"),
        ({"repeats": 0}, "n = 0"),
        ({"colour": "red"}, "has colour: give name, value"),
    ],
)
def test_what_is_no_timing_is_one_error(change, error):
    with pytest.raises(ValueError, match=error):
        timings_table([GOOD | change])


@pytest.mark.parametrize("key", TIMED_KEYS)
def test_a_timing_without_one_of_its_parts_is_an_error(key):
    with pytest.raises(ValueError, match=f"lacks {key}"):
        timing({name: value for name, value in GOOD.items() if name != key})


def test_a_part_that_fails_has_a_row_that_says_so_and_the_others_go_on(parts, capsys):
    texts = {
        "sound": f"def measure(quick):\n    return [{GOOD!r}]\n",
        "broken": "def measure(quick):\n    raise RuntimeError('no such peer')\n",
        "lost": "import a_library_that_is_nowhere\n",
    }
    assert parts(texts, "--publish") == 1
    found = published("bench")
    one, broken, lost = rows(found.summary)
    assert one["timed"] == "a step" and one["value"] == 2.0
    assert (broken["quantity"], broken["timed"]) == ("unmeasured", "broken")
    assert "RuntimeError: no such peer" in broken["settings"]
    assert "a_library_that_is_nowhere" in lost["settings"]
    assert "ray " in found.provenance["setting"] and "cores" in found.provenance["setting"]
    assert "a step: 2 s (d = 4, m = 8)" in capsys.readouterr().out


def test_what_a_part_could_not_measure_is_no_failure(parts):
    row = {**GOOD, **dict.fromkeys(("value", "low", "high")), "settings": "ray is not installed"}
    assert parts({"partly": f"def measure(quick):\n    return [{row!r}]\n"}, "--publish") == 0
    (lost,) = rows(published("bench").summary)
    assert (lost["quantity"], lost["settings"]) == ("unmeasured", "ray is not installed")


def test_a_part_of_a_run_is_not_published(bench, results, capsys):
    for arguments in (["--quick"], ["--only", "growth_timings"]):
        with pytest.raises(SystemExit):
            bench.main(["--publish", *arguments])
    assert "is of one whole run" in capsys.readouterr().err
    assert not results.exists()


def test_timings_on_random_images_are_not_published(bench, results, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "run", None)  # an error comes before any work
    monkeypatch.setenv("FPCORE_DATA", str(tmp_path))
    with pytest.raises(SystemExit):
        bench.main(["--publish"])
    assert "would be timed on random images; no CIFAR-10" in capsys.readouterr().err
    assert not results.exists()


def test_every_part_is_there_and_all_take_ten_minutes_at_most(bench):
    assert sum(bench.PARTS.values()) <= 600
    assert {*bench.PARTS} == {*PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_runs_at_toy_sizes_and_its_rows_are_well_formed(part):
    command = [sys.executable, str(BENCHMARKS / "bench.py"), "--measure", part, "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1].removeprefix("rows: "))
    table = timings_table(found)
    assert len(table) == len(found) > 0
    lost = table.loc[table["quantity"] == "unmeasured", "settings"]
    assert all("not installed" in reason for reason in lost)  # but for libraries of others


def test_peers_are_pinned(bench):
    pinned = (ROOT / "requirements-bench.txt").read_text()
    for package in bench.PEERS:
        assert f"\n{package}==" in pinned


def test_the_plain_alpha_crown_is_sound_and_knows_the_exact_minimum_of_what_is_linear(module):
    timings = module("certificate_timings")
    net, x, y, radius = timings.subject(32, 40)
    bound = timings.alpha_crown(net, x, y, radius)
    exact = fp.certify(net, x, y, radius, branches=50)
    assert (bound <= exact.attained.double() + 1e-5).all()
    assert (bound > 0).double().mean() >= 0.5
    net.threshold.fill_(0.0)  # f is linear: y f - radius |gradient|
    total = net.weight.detach().double().sum(0)
    wanted = y.double() * (x.double() @ total) - radius * total.norm()
    torch.testing.assert_close(timings.alpha_crown(net, x, y, radius), wanted)
