import json
import math
import os
import subprocess

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy import stats
from shared import SOURCE, number

from fpbook.first import (
    _commit,
    beside,
    claims,
    comparison,
    folder,
    interval,
    provenance,
    publish,
    publish_figure,
    published,
    published_arrays,
    show,
)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8))
def test_the_interval_is_students(values):
    found = interval(values)
    n, mean = len(values), math.fsum(values) / len(values)
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    assert found["n"] == n and found["value"] == pytest.approx(mean, abs=1e-9)
    if error > 1e-6:
        low, high = stats.t.interval(0.95, n - 1, loc=mean, scale=error)
        assert (found["low"], found["high"]) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


def test_an_interval_computed_by_hand():
    found = interval([1.0, 2.0, 3.0])
    assert found["value"] == 2.0
    assert found["high"] - 2.0 == pytest.approx(
        4.3027 / math.sqrt(3), rel=1e-4
    )  # t(0.975, 2) = 4.3027
    assert 2.0 - found["low"] == pytest.approx(found["high"] - 2.0)


def test_a_single_seed_has_no_interval():
    assert interval([0.25]) == {"value": 0.25, "low": None, "high": None, "n": 1}


def test_the_interval_of_a_share_is_cut_to_0_and_1():
    assert (interval([0.9, 1.0], share=True)["high"], interval([0.0, 0.1], share=True)["low"]) == (
        1.0,
        0.0,
    )
    assert interval([0.9, 1.0])["high"] > 1 and interval([0.0, 0.1])["low"] < 0
    inner = [0.5, 0.52, 0.51]
    assert interval(inner, share=True) == interval(inner)
    assert interval([-0.3, -0.1], share=True) == interval([-0.3, -0.1])  # no share after all


@pytest.mark.parametrize("values", [[], [math.nan], [0.5, math.nan], [0.5, math.inf]])
def test_values_that_are_no_numbers_are_an_error(values):
    with pytest.raises(ValueError, match=r"values = .*at least one finite number"):
        interval(values)


def test_the_folder_is_that_of_the_environment_or_beside_the_package(results, monkeypatch):
    assert folder() == results
    monkeypatch.delenv("FPCORE_RESULTS")
    assert folder().name == "results" and (folder().parent / "fpcore").is_dir()


def test_what_is_published_is_read_again(results):
    figures, layers = (
        {"radius": number(0.2)},
        {"clean": {"conv1": torch.rand(3, 4), "linear": torch.rand(2, 2)}},
    )
    assert published("synthetic") is None
    publish(
        "synthetic", figures, SOURCE, {f"clean/{name}": w for name, w in layers["clean"].items()}
    )
    assert published("synthetic") == {"measured": figures, "provenance": SOURCE}
    again = published_arrays("synthetic")
    assert again.keys() == {"clean"} and all(
        torch.equal(again["clean"][k], v) for k, v in layers["clean"].items()
    )
    assert sorted(os.listdir(results)) == ["claims.json", "synthetic.json", "synthetic.safetensors"]


def test_the_same_figures_keep_the_provenance_of_the_run_that_found_them_first(results):
    publish("synthetic", {"radius": number(0.2)}, SOURCE)
    content = (results / "synthetic.json").read_bytes()
    publish("synthetic", {"radius": number(0.2)}, {**SOURCE, "commit": "def"})
    assert (results / "synthetic.json").read_bytes() == content
    publish("synthetic", {"radius": number(0.3)}, {**SOURCE, "commit": "def"})
    assert published("synthetic")["provenance"]["commit"] == "def"


def test_a_figure_that_is_no_number_is_an_error_and_nothing_is_overwritten(results):
    publish("synthetic", {"radius": number(0.2)}, SOURCE, {"clean/hidden": torch.zeros(2)})
    before = {path.name: path.read_bytes() for path in results.iterdir()}
    with pytest.raises(ValueError):
        publish("synthetic", {"radius": number(math.nan)}, SOURCE, {"clean/hidden": torch.ones(2)})
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before


@pytest.mark.parametrize(
    "content", ["", "{", '{"measured": {}}', '{"provenance": {}}', "[1]", "null", "3", "\udcff"]
)
def test_a_corrupt_result_is_named(content, results):
    results.mkdir()
    path = results / "synthetic.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    for read in (lambda: published("synthetic"), claims):
        with pytest.raises(ValueError) as error:
            read()
        assert str(path) in str(error.value) and "delete it" in str(error.value)


def test_missing_and_corrupt_weights_are_named(results):
    with pytest.raises(FileNotFoundError, match=r"cifar10\.safetensors is not there"):
        published_arrays("cifar10")
    publish("cifar10", {}, SOURCE, {"clean/conv1": torch.zeros(2, 2)})
    path = results / "cifar10.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError) as error:
        published_arrays("cifar10")
    assert str(path) in str(error.value)


def test_a_published_figure_is_a_picture_and_the_same_twice(results):
    contents = []
    for _ in range(2):
        figure = Figure()
        figure.subplots().plot([0, 1], [0, 1])
        publish_figure("headline", figure)
        contents.append((results / "headline.png").read_bytes())
    assert (
        contents[0] == contents[1]
        and contents[0].startswith(b"\x89PNG")
        and os.listdir(results) == ["headline.png"]
    )


def test_the_provenance_says_where_a_number_comes_from():
    source = provenance("quick", torch.device("cpu"), [0, 1], setting="tiny")
    assert (
        source["profile"] == "quick" and source["seeds"] == [0, 1] and source["setting"] == "tiny"
    )
    assert source["device"].startswith("cpu") and source["versions"]["torch"] == torch.__version__
    assert source.keys() >= {"date", "commit"} and source["commit"]
    json.dumps(source)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_provenance_says_what_networks_are_trained_in(dtype, monkeypatch):
    monkeypatch.setattr("fpcore.results.arithmetic", lambda device: getattr(torch, dtype))
    assert provenance("quick", torch.device("cpu"), [0])["device"].endswith(f", {dtype})")


def test_a_commit_is_dirty_when_code_differs_but_not_when_results_do(tmp_path, monkeypatch):
    monkeypatch.setattr("fpcore.results.ROOT", tmp_path)
    assert _commit() == "unknown"
    (tmp_path / ".git").mkdir()
    with monkeypatch.context() as patch:  # no git on this machine
        patch.setenv("PATH", str(tmp_path))
        assert _commit() == "unknown"
    (tmp_path / ".git").rmdir()
    files = tmp_path / "code.py", tmp_path / "results" / "x.json"
    files[1].parent.mkdir()
    for file in files:
        file.write_text("1")
    name = ["-c", "user.name=a", "-c", "user.email=b"]
    for order in (["init", "-q"], ["add", "-A"], [*name, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *order], check=True)
        assert order[-1] == "one" or _commit() == "unknown"  # nothing is committed yet
    clean = _commit()
    assert len(clean) >= 4 and clean.isalnum()
    files[1].write_text("2")
    assert _commit() == clean
    files[0].write_text("2")
    assert _commit() == f"{clean}-dirty"
    files[0].write_text("1")
    assert _commit() == clean
    (tmp_path / "new.py").write_text("1")
    assert _commit() == f"{clean}-dirty"


def test_figures_are_shown_with_their_interval():
    assert show(number(0.9821, 0.979, 0.985)) == "98.2% [97.9%, 98.5%]"
    assert show(number(0.9821)) == show(number(0.9821, 0.9821, 0.9821)) == "98.2%"
    assert show(number(0.16), percent=False) == "0.160"
    assert show(None) == "-"


def test_a_comparison_stands_beside_what_is_published(results):
    here, labels = {"a": number(0.5), "b": number(0.25)}, {"a": "first", "c": "third"}
    assert comparison("synthetic", here, labels).splitlines() == [
        "|  | this run |",
        "| --- | --- |",
        "| first | 50.0% |",
    ]
    publish("synthetic", {"a": number(0.75, 0.7, 0.8), "c": number(0.1)}, SOURCE)
    title, _, first, third = comparison("synthetic", here, labels).splitlines()
    assert (
        title == "|  | this run | published (quick) |"
        and first == "| first | 50.0% | 75.0% [70.0%, 80.0%] |"
    )
    assert third == "| third | - | 10.0% |"
    assert comparison("synthetic", {}, labels).splitlines()[0] == "|  | published (quick) |"
    assert "not yet published" in comparison("synthetic", here, {"x": "measured nowhere"})


def test_what_is_published_stands_beside_this_run_unless_it_is_this_run(results):
    here, there = {"a": number(0.5)}, {"a": number(0.75)}
    assert beside("synthetic", here) == {"this run": here}
    publish("synthetic", there, SOURCE)
    assert beside("synthetic", here) == {"this run": here, "published": there}
    assert beside("synthetic", there) == {"this run": there}
    assert beside("synthetic", {}) == {"published": there}
