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

from fpcore import (
    beside,
    claims,
    comparison,
    interval,
    ledger_sources,
    ledger_table,
    provenance,
    publish,
    publish_figure,
    published,
    published_arrays,
)
from fpcore.results import CLAIMS, Claim, _commit, folder, show

IDS = [
    "P1",
    "P2",
    "P3",
    "P4",
    "T1",
    "T2",
    "L1",
    "L2",
    "L3",
    "P1-layers",
    "P2-layers",
    "P3-layers",
    "P1-residual",
    "E1",
    "E2",
    "E3",
]
SOURCE = {
    "profile": "quick",
    "device": "cpu",
    "versions": {"torch": "2"},
    "seeds": [0, 1],
    "date": "2025-01-01",
    "commit": "abc",
}
MEASURED = [claim for claim in CLAIMS if claim.threshold]


def number(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "n": 1 if low is None else 3}


def favourable(claim):
    """Figures for all that a claim asks for, each of which meets its bound with its whole interval."""
    figures = {source: number(0.123) for source in claim.rename.values()}
    for name, (sign, bound) in claim.threshold.items():
        figures[claim.rename[name]] = around(bound, 0.002 if sign == ">" else -0.002)
    return figures


def around(bound, shift):
    """An interval of half-width 0.001 about bound + shift."""
    return number(bound + shift, bound + shift - 0.001, bound + shift + 0.001)


def entry_of(id):
    return next(entry for entry in claims() if entry["id"] == id)


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
    assert found["high"] - 2.0 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)  # t(0.975, 2) = 4.3027
    assert 2.0 - found["low"] == pytest.approx(found["high"] - 2.0)


def test_a_single_seed_has_no_interval():
    assert interval([0.25]) == {"value": 0.25, "low": None, "high": None, "n": 1}


def test_the_interval_of_a_share_is_cut_to_0_and_1():
    assert (interval([0.9, 1.0], share=True)["high"], interval([0.0, 0.1], share=True)["low"]) == (1.0, 0.0)
    assert interval([0.9, 1.0])["high"] > 1 and interval([0.0, 0.1])["low"] < 0
    inner = [0.5, 0.52, 0.51]
    assert interval(inner, share=True) == interval(inner)


@pytest.mark.parametrize("values", [[], [math.nan], [0.5, math.nan], [0.5, math.inf]])
def test_values_that_are_no_numbers_are_an_error(values):
    with pytest.raises(ValueError, match=r"values = .*at least one finite number"):
        interval(values)


def test_the_folder_is_that_of_the_environment_or_beside_the_package(results, monkeypatch):
    assert folder() == results
    monkeypatch.delenv("FPCORE_RESULTS")
    assert folder().name == "results" and (folder().parent / "fpcore").is_dir()


def test_what_is_published_is_read_again(results):
    figures, layers = {"radius": number(0.2)}, {"clean": {"conv1": torch.rand(3, 4), "linear": torch.rand(2, 2)}}
    assert published("synthetic") is None
    publish("synthetic", figures, SOURCE, {f"clean/{name}": w for name, w in layers["clean"].items()})
    assert published("synthetic") == {"measured": figures, "provenance": SOURCE}
    again = published_arrays("synthetic")
    assert again.keys() == {"clean"} and all(torch.equal(again["clean"][k], v) for k, v in layers["clean"].items())
    assert sorted(os.listdir(results)) == ["claims.json", "synthetic.json", "synthetic.safetensors"]


def test_the_same_figures_keep_the_provenance_of_the_run_that_found_them_first(results):
    publish("synthetic", {"radius": number(0.2)}, SOURCE)
    content = (results / "synthetic.json").read_bytes()
    publish("synthetic", {"radius": number(0.2)}, {**SOURCE, "commit": "def"})
    assert (results / "synthetic.json").read_bytes() == content
    publish("synthetic", {"radius": number(0.3)}, {**SOURCE, "commit": "def"})
    assert published("synthetic")["provenance"]["commit"] == "def"


def test_publishing_the_same_figures_still_refreshes_the_ledger(results):
    for _ in range(2):
        publish("synthetic", {"radius": number(0.2)}, SOURCE)
        assert json.loads((results / "claims.json").read_text()) == claims()
        (results / "claims.json").write_text("[]")


def test_a_figure_that_is_no_number_is_an_error_and_nothing_is_overwritten(results):
    publish("synthetic", {"radius": number(0.2)}, SOURCE, {"clean/hidden": torch.zeros(2)})
    before = {path.name: path.read_bytes() for path in results.iterdir()}
    with pytest.raises(ValueError):
        publish("synthetic", {"radius": number(math.nan)}, SOURCE, {"clean/hidden": torch.ones(2)})
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before


@pytest.mark.parametrize("content", ["", "{", '{"measured": {}}', '{"provenance": {}}', "[1]", "null", "3", "\udcff"])
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
    assert contents[0] == contents[1] and contents[0].startswith(b"\x89PNG") and os.listdir(results) == ["headline.png"]


def test_the_provenance_says_where_a_number_comes_from():
    source = provenance("quick", torch.device("cpu"), [0, 1], setting="tiny")
    assert source["profile"] == "quick" and source["seeds"] == [0, 1] and source["setting"] == "tiny"
    assert source["device"].startswith("cpu") and source["versions"]["torch"] == torch.__version__
    assert source.keys() >= {"date", "commit"} and source["commit"]
    json.dumps(source)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_provenance_says_what_networks_are_trained_in(dtype, monkeypatch):
    monkeypatch.setattr("fpcore.results.arithmetic", lambda device: getattr(torch, dtype))
    assert provenance("quick", torch.device("cpu"), [0])["device"].endswith(f", {dtype})")


def test_the_ledger_has_an_entry_for_every_claim_of_the_mission(results):
    entries = claims()
    assert [entry["id"] for entry in entries] == IDS
    for entry in entries:
        assert set(entry) == {"id", "statement", "chapter", "measured", "threshold", "verdict", "provenance"}
        assert entry["statement"] and entry["chapter"].startswith("chapters/")


def test_without_results_nothing_is_measured_and_nothing_holds(results):
    for entry in claims():
        assert entry["measured"] == {} and entry["verdict"] == "not yet measured" and entry["provenance"] == []


def test_every_bound_is_on_a_figure_that_its_claim_measures():
    assert {claim.id for claim in MEASURED} >= {"P1", "P2", "P4", "T1", "T2", "E1"}
    for claim in MEASURED:
        assert claim.experiment and claim.threshold.keys() <= claim.rename.keys()
        assert all(sign in "<>" for sign, _ in claim.threshold.values())


@pytest.mark.parametrize("claim", MEASURED, ids=lambda c: c.id)
def test_a_claim_is_decided_when_both_ends_of_each_interval_agree(claim, results):
    publish(claim.experiment, favourable(claim), SOURCE)
    entry = entry_of(claim.id)
    assert entry["verdict"] == "holds" and entry["provenance"] == [SOURCE]
    for name, (sign, bound) in claim.threshold.items():
        source, direction = claim.rename[name], 1 if sign == ">" else -1
        for figure, expected in (
            (around(bound, 0.0005 * direction), "undecided"),  # the value meets the bound, the interval's end does not
            (number(bound + 0.0005 * direction), "holds"),  # a single seed: the value decides
            (number(bound), "fails"),  # the bound itself is not met
            (around(bound, -0.0005 * direction), "undecided"),  # the favourable end meets it
            (around(bound, -0.1 * direction), "fails"),
        ):
            publish(claim.experiment, {**favourable(claim), source: figure}, SOURCE)
            assert entry_of(claim.id)["verdict"] == expected, (name, figure)


@pytest.mark.parametrize("claim", MEASURED, ids=lambda c: c.id)
def test_a_claim_waits_for_every_figure_that_its_bounds_name(claim, results):
    for name in claim.threshold:
        figures = favourable(claim)
        del figures[claim.rename[name]]
        publish(claim.experiment, figures, SOURCE)
        assert entry_of(claim.id)["verdict"] == "not yet measured"


@pytest.mark.parametrize("claim", MEASURED, ids=lambda c: c.id)
def test_the_ledger_shows_the_published_figures_and_no_others(claim, results):
    figures = {source: number(i / 7, i / 8, i / 6) for i, source in enumerate(sorted(set(claim.rename.values())))}
    publish(claim.experiment, figures, SOURCE)
    entry = entry_of(claim.id)
    expected = {name: {k: figures[source][k] for k in ("value", "low", "high")} for name, source in claim.rename.items()}
    assert entry["measured"] == expected
    (results / f"{claim.experiment}.json").unlink()
    assert entry_of(claim.id)["measured"] == {}


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


def test_the_ledger_file_is_the_ledger(results):
    publish("synthetic", favourable(next(c for c in CLAIMS if c.id == "T2")), SOURCE)
    assert json.loads((results / "claims.json").read_text()) == claims()
    publish("cifar10", favourable(next(c for c in CLAIMS if c.id == "P1-layers")), SOURCE)
    publish("cifar10-robustness", favourable(next(c for c in CLAIMS if c.id == "E1")), SOURCE)
    assert json.loads((results / "claims.json").read_text()) == claims()
    assert [entry["id"] for entry in claims() if entry["verdict"] == "holds"] == ["T2", "P1-layers", "E1"]


def test_a_claim_without_a_bound_is_neither_true_nor_false(results):
    publish("synthetic", {"radius": number(0.1)}, SOURCE)
    entry = Claim("X", "a statement", "chapters/x", "synthetic", {"radius": "radius"}).entry()
    assert entry["verdict"] == "not yet measured" and entry["measured"]["radius"]["value"] == 0.1


def test_publishing_the_same_again_restores_a_lost_file_and_replaces_uncommitted_code(results):
    dirty, arrays = {**SOURCE, "commit": "abc-dirty"}, {"clean/weight": torch.ones(2)}
    publish("synthetic", {"radius": number(0.1)}, dirty, arrays)
    (results / "synthetic.safetensors").write_bytes(b"damaged")
    publish("synthetic", {"radius": number(0.1)}, SOURCE, arrays)
    assert published_arrays("synthetic")["clean"]["weight"].tolist() == [1, 1]
    publish("synthetic", {"radius": number(0.1)}, {**SOURCE, "commit": "later"})
    found = published("synthetic")
    assert found and found["provenance"]["commit"] == "abc"


def test_a_claim_takes_from_a_second_result_what_its_own_does_not_hold(results):
    claim = Claim("X", "", "chapters/x", "own", {"a": "a", "b": "b"}, {"a": (">", 0.5), "b": (">", 0.5)}, also="other")
    publish("other", {"a": number(0.1), "b": number(0.6)}, SOURCE)
    assert claim.entry()["measured"] == {} and claim.entry()["verdict"] == "not yet measured"
    publish("own", {"a": number(0.9)}, SOURCE)
    entry = claim.entry()
    assert entry["verdict"] == "holds" and [entry["measured"][name]["value"] for name in ("a", "b")] == [0.9, 0.6]


def test_the_ledger_table_shows_figures_bounds_and_verdicts(results):
    t2, p2, p3 = (next(c for c in CLAIMS if c.id == id) for id in ("T2", "P2", "P3"))
    figures = {**favourable(t2), **favourable(p3), **{source: number(0.987) for source in p2.rename.values()}}
    figures["same_feature"] = number(0.95, 0.85, 1.0)
    publish("synthetic", figures, SOURCE)
    rows = dict(zip(IDS, ledger_table(claims()).splitlines()[2:]))
    assert "**holds**" in rows["T2"] and "**fails**" in rows["P2"] and "0.987" in rows["P2"]
    assert "**undecided**" in rows["P3"]
    assert "not yet measured" in rows["L1"] and "not yet measured" in rows["E1"]
    assert all(row.startswith(f"| {id} | ") and row.count("|") == 5 for id, row in rows.items())


def test_the_ledger_sources_name_each_run_and_its_claims(results):
    later = SOURCE | {"amended": "one figure, later"}
    publish("cifar10", favourable(next(c for c in CLAIMS if c.id == "P1-layers")), later)
    publish("cifar10-robustness", favourable(next(c for c in CLAIMS if c.id == "E1")), SOURCE)
    rows = ledger_sources(claims()).splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == ["P1-layers, E1", "E1"]  # E1 takes figures from both
    assert all(text in rows[1] for text in ("| E1 |", "quick", "cpu", "| 0, 1 |", "torch 2", "2025-01-01", "`abc`"))
    assert "quick; amended one figure, later" in rows[0] and "amended" not in rows[1]


def test_a_claim_that_takes_two_results_of_one_run_is_named_there_once(results):
    p4 = next(c for c in CLAIMS if c.id == "P4")
    publish(p4.experiment, favourable(p4), SOURCE)
    publish(p4.also, {"other": number(0.5)}, SOURCE)
    [row] = [row for row in ledger_sources(claims()).splitlines()[2:] if "P4" in row]
    assert row.count("P4") == 1


def test_figures_are_shown_with_their_interval():
    assert show(number(0.9821, 0.979, 0.985)) == "98.2% [97.9%, 98.5%]"
    assert show(number(0.9821)) == show(number(0.9821, 0.9821, 0.9821)) == "98.2%"
    assert show(number(0.16), percent=False) == "0.160"
    assert show(None) == "-"


def test_a_comparison_stands_beside_what_is_published(results):
    here, labels = {"a": number(0.5), "b": number(0.25)}, {"a": "first", "c": "third"}
    assert comparison("synthetic", here, labels).splitlines() == ["|  | this run |", "| --- | --- |", "| first | 50.0% |"]
    publish("synthetic", {"a": number(0.75, 0.7, 0.8), "c": number(0.1)}, SOURCE)
    title, _, first, third = comparison("synthetic", here, labels).splitlines()
    assert title == "|  | this run | published (quick) |" and first == "| first | 50.0% | 75.0% [70.0%, 80.0%] |"
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
