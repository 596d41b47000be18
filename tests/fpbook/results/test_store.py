import json
import math
import subprocess
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from fpbook.results import files
from fpbook.results.checksums import sealed
from fpbook.results.columns import rows
from fpbook.results.files import ROOT, decode, encode, folder
from fpbook.results.ledger import claims
from fpbook.results.ledger_file import ledger_content, published_claims
from fpbook.results.provenance import provenance
from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpbook.results.store import publish_figure, published, published_arrays
from fpbook.results.summaries import number, summary_table
from fpbook.results.transaction import LOCK

CPU = torch.device("cpu")
OLD = {"measured": {"radius": {"value": 0.2, "low": None, "high": None, "n": 1}}}


def radius(value=0.2, seed=0):
    return table([record("radius", value, seed=seed)])


def full(name, measured, **more):
    return publish(name, measured, "full", CPU, "tiny", **more)


def contents(where):
    return {path.name: path.read_bytes() for path in where.iterdir() if path.name != LOCK}


def test_the_folder_is_that_of_the_environment_or_beside_the_packages(
    results, monkeypatch, tmp_path
):
    assert folder() == results
    monkeypatch.delenv("FPCORE_RESULTS")
    assert folder() == ROOT / "results" and (ROOT / "fpbook").is_dir()
    monkeypatch.setenv("FPCORE_RESULTS", "~/kept")
    assert folder() == Path.home() / "kept"


def test_a_relative_folder_stays_the_same_when_the_process_goes_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "STARTED_IN", tmp_path)
    monkeypatch.setenv("FPCORE_RESULTS", "mine/of-this-test")
    expected = tmp_path / "mine" / "of-this-test"
    assert folder() == expected
    monkeypatch.chdir(tmp_path.parent)
    assert folder() == expected


def test_a_file_has_one_record_a_line_and_no_nan(tmp_path):
    content = {
        "a": [1, 2],
        "b": [{"c": 1, "d": "β"}, {"c": 2}],
        "e": {"f": {"g": 1}},
        "h": [],
        "i": {},
    }
    text = encode(content).decode()
    assert json.loads(text) == content
    assert '\n  {"c": 1, "d": "β"},\n  {"c": 2}\n' in text and '"a": [1, 2]' in text
    with pytest.raises(ValueError):
        encode({"a": [math.nan]})
    assert decode(encode(content), tmp_path / "x.json", "") == content


def test_what_is_published_is_read_again(results):
    measured = table([record("radius", value, seed=seed) for seed, value in ((3, 0.1), (4, 0.7))])
    layers = {"clean": {"conv1": torch.rand(3, 4), "linear": torch.rand(2, 2)}}
    assert published("synthetic") is None
    summary = full(
        "synthetic", measured, arrays={f"clean/{name}": w for name, w in layers["clean"].items()}
    )
    found = published("synthetic")
    assert rows(found.records) == rows(measured) and rows(found.summary) == rows(summary)
    assert found.provenance["seeds"] == [3, 4] and found.provenance["setting"] == "tiny"
    again = published_arrays("synthetic")
    assert again.keys() == {"clean"} and all(
        torch.equal(again["clean"][k], v) for k, v in layers["clean"].items()
    )
    files = ["claims.json", "synthetic.json", "synthetic.safetensors"]
    assert sorted(contents(results)) == [*files, "synthetic.safetensors.sha256"]


def test_a_reader_can_recompute_an_interval_from_the_published_records(results):
    full(
        "synthetic",
        table([record("radius", value, seed=seed) for seed, value in enumerate((0.1, 0.2, 0.6))]),
    )
    read = json.loads((results / "synthetic.json").read_text())["records"]
    values = [row["value"] for row in read]
    assert number(published("synthetic").summary, "radius").value == pytest.approx(
        sum(values) / 3, rel=1e-15
    )


def test_a_fit_is_published_as_a_summary_with_the_seeds_that_are_given(results):
    row = {
        "quantity": "exponent",
        "fitted": "broken_radius",
        "value": 1.0,
        "low": 0.5,
        "high": 1.5,
        "n": 7,
    }
    full("scaling", summary_table([row]), seeds=[0, 1, 2])
    found = published("scaling")
    assert found.provenance["seeds"] == [0, 1, 2] and found.records.empty
    assert rows(found.summary) == [
        {"quantity": "exponent", "fitted": "broken_radius", "seeds": "all"} | row
    ]


def test_nothing_is_written_in_another_profile_or_if_nothing_was_measured(results):
    found = publish("synthetic", radius(), "quick", CPU, "tiny")
    assert number(found, "radius").value == 0.2
    assert len(full("synthetic", table([]))) == 0
    assert not [*results.iterdir()]


def test_the_provenance_says_which_seeds_were_tuned_on(results):
    measured = table([record("radius", float(seed), seed=seed) for seed in (5, 6, 7)])
    summary = full("synthetic", measured, tuned=1)
    assert published("synthetic").provenance["tuned"] == [5]
    for found in (summary, published("synthetic").summary):
        assert (
            number(found, "radius").value == 6.0
            and number(found, "radius", seeds="held out").value == 6.5
        )


def test_the_same_numbers_keep_the_provenance_of_the_run_that_found_them_first(
    results, monkeypatch
):
    commits = iter(["abc", "def", "ghi"])
    monkeypatch.setattr("fpbook.results.provenance._commit", lambda: next(commits))
    full("synthetic", radius())
    content = (results / "synthetic.json").read_bytes()
    full("synthetic", radius())
    assert (results / "synthetic.json").read_bytes() == content
    full("synthetic", radius(0.3))
    assert published("synthetic").provenance["commit"] == "ghi"


def test_publishing_the_same_again_restores_lost_arrays_and_replaces_uncommitted_code(
    results, monkeypatch
):
    commits = iter(["abc-dirty", "def", "ghi"])
    monkeypatch.setattr("fpbook.results.provenance._commit", lambda: next(commits))
    full("synthetic", radius(), arrays={"clean/weight": torch.ones(2)})
    (results / "synthetic.safetensors").write_bytes(b"damaged")
    full("synthetic", radius(), arrays={"clean/weight": torch.ones(2)})
    assert published_arrays("synthetic")["clean"]["weight"].tolist() == [1, 1]
    full("synthetic", radius())
    assert published("synthetic").provenance["commit"] == "def"


def test_publishing_refreshes_the_ledger_in_whatever_state_it_is(results):
    for stale in ("[]", json.dumps([{"id": "P1", "measured": {}, "provenance": []}]), "damaged"):
        (results / "claims.json").write_text(stale)
        full("synthetic", radius())
        assert published_claims() == ledger_content(claims())


@pytest.mark.parametrize(
    "wrong",
    [
        {"measured": radius().assign(value=math.nan)},
        {"arrays": {"clean/hidden": "no tensor"}},
        {"measured": radius().assign(value=math.inf)},
        {"measured": radius().assign(value=0.1, low=0.9, high=0.95, n=3)},
        {"measured": radius().assign(value=0.1, low=0.9, n=3)},
        {"measured": radius().assign(value=0.7, n=0)},
        {"measured": radius().drop(columns="value")},
        {"measured": {"share_dominant": {"value": 0.7}}},
        {"measured": None},
        {"arrays": {"hidden": torch.ones(2)}},
        {"arrays": {"clean/": torch.ones(2)}},
        {"name": None},
        {"measured": radius().assign(quantity="unheard of")},
        {"name": "../synthetic"},
        {"name": ".synthetic"},
        {"name": ""},
    ],
)
def test_what_cannot_be_published_is_an_error_and_nothing_is_overwritten(wrong, results):
    full("synthetic", radius(), arrays={"clean/hidden": torch.zeros(2)})
    before = contents(results)
    with pytest.raises(ValueError):
        full(
            **{
                "name": "synthetic",
                "measured": radius(0.3),
                "arrays": {"clean/hidden": torch.ones(2)},
                **wrong,
            }
        )
    assert contents(results) == before


def test_nothing_is_published_if_the_ledger_cannot_be_made(results):
    (results / "cifar10.json").write_text("{")
    before = contents(results)
    with pytest.raises(ValueError, match=r"cifar10\.json cannot be read"):
        full("synthetic", radius())
    assert contents(results) == before


def test_a_missing_folder_is_an_error_that_says_where_results_are(monkeypatch, tmp_path):
    monkeypatch.setenv("FPCORE_RESULTS", str(tmp_path / "nowhere"))
    for read in (
        lambda: published("synthetic"),
        claims,
        published_claims,
        lambda: published_arrays("cifar10"),
    ):
        with pytest.raises(
            FileNotFoundError, match=r"nowhere is not there: .*results/.*FPCORE_RESULTS"
        ):
            read()
    full("synthetic", radius())  # makes it
    assert published("synthetic")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[1]",
        "null",
        "3",
        "\udcff",
        '{"format": 2, SEAL}',
        '{"format": 3, SEAL, "provenance": {}}',
        '{"format": 2, SEAL, "provenance": {"seeds": [0]}}',
        '{"format": 2, SEAL, SOURCE, "records": [{"quantity": "unheard of", "value": 1}]}',
        '{"format": 2, SEAL, SOURCE, "records": [{"quantity": "radius", "value": null}]}',
        '{"format": 2, SEAL, SOURCE, "records": [3]}',
        '{"format": 2, SEAL, SOURCE, "summaries": [{"quantity": "radius", "value": 1}]}',
        '{"format": 2, SOURCE, "records": [{"quantity": "radius", "value": 1}]}',
    ],
)
def test_a_corrupt_result_is_named(content, results, source):
    path = results / "synthetic.json"
    text = content.replace("SOURCE", f'"provenance": {json.dumps(source)}')
    written = text.replace("SEAL", '"content_sha256": ""').encode(errors="surrogateescape")
    path.write_bytes(sealed(written) if "SEAL" in content else written)
    before = path.read_bytes()
    for read in (lambda: published("synthetic"), claims, lambda: full("synthetic", radius())):
        with pytest.raises(ValueError) as error:
            read()
        assert str(path) in str(error.value) and "delete it" in str(error.value)
    assert path.read_bytes() == before


def test_a_result_of_the_first_edition_is_named_with_the_way_out_and_not_overwritten(
    results, source
):
    path = results / "synthetic.json"
    path.write_text(json.dumps(OLD | {"provenance": source}))
    before = contents(results)
    for read in (
        lambda: published("synthetic"),
        claims,
        lambda: full("synthetic", radius()),
        lambda: full("cifar10", radius()),
    ):
        with pytest.raises(
            ValueError,
            match=r"synthetic\.json is in the layout of the first edition.*fpbook convert",
        ):
            read()
    assert contents(results) == before


def test_a_ledger_of_the_first_edition_is_named_with_the_way_out(results):
    (results / "claims.json").write_text(
        json.dumps([{"id": "P1", "measured": {}, "provenance": []}])
    )
    with pytest.raises(
        ValueError,
        match=r"claims\.json is in the layout of the first edition.*python -m fpbook convert",
    ):
        published_claims()


def test_missing_and_corrupt_arrays_are_named(results):
    with pytest.raises(FileNotFoundError, match=r"cifar10\.safetensors is not there"):
        published_arrays("cifar10")
    full("cifar10", radius(), arrays={"clean/conv1": torch.zeros(2, 2)})
    path = results / "cifar10.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError) as error:
        published_arrays("cifar10")
    assert str(path) in str(error.value)


def test_a_published_figure_is_a_picture_and_the_same_twice(results):
    pictures = []
    for _ in range(2):
        figure = Figure()
        figure.subplots().plot([0, 1], [0, 1])
        publish_figure("headline", figure)
        pictures.append((results / "headline.png").read_bytes())
    assert (
        pictures[0] == pictures[1]
        and pictures[0].startswith(b"\x89PNG")
        and sorted(contents(results)) == ["headline.png", "headline.png.sha256"]
    )


def test_the_provenance_says_where_a_number_comes_from():
    found = provenance("quick", CPU, [0, 1], setting="tiny")
    assert found["profile"] == "quick" and found["seeds"] == [0, 1] and found["setting"] == "tiny"
    assert found["device"].startswith("cpu") and found["versions"]["torch"] == torch.__version__
    assert found.keys() >= {"date", "commit"} and found["commit"]
    json.dumps(found)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_provenance_says_what_networks_are_trained_in(dtype, monkeypatch):
    monkeypatch.setattr(
        "fpbook.results.provenance.arithmetic", lambda device: getattr(torch, dtype)
    )
    assert provenance("quick", CPU, [0])["device"].endswith(f", {dtype})")


def test_a_commit_is_dirty_when_code_differs_but_not_when_results_do(tmp_path, monkeypatch):
    monkeypatch.setattr("fpbook.results.provenance.ROOT", tmp_path)

    def commit():
        return provenance("quick", CPU, [0])["commit"]

    assert commit() == "unknown"
    (tmp_path / ".git").mkdir()
    with monkeypatch.context() as patch:  # no git on this machine
        patch.setenv("PATH", str(tmp_path))
        assert commit() == "unknown"
    (tmp_path / ".git").rmdir()
    code, result = tmp_path / "code.py", tmp_path / "results" / "x.json"
    result.parent.mkdir()
    for file in (code, result):
        file.write_text("1")
    name = ["-c", "user.name=a", "-c", "user.email=b"]
    for order in (["init", "-q"], ["add", "-A"], [*name, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *order], check=True)
        assert order[-1] == "one" or commit() == "unknown"  # nothing is committed yet
    clean = commit()
    assert len(clean) >= 4 and clean.isalnum()
    result.write_text("2")
    assert commit() == clean
    code.write_text("2")
    assert commit() == f"{clean}-dirty"
    code.write_text("1")
    assert commit() == clean
    (tmp_path / "new.py").write_text("1")
    assert commit() == f"{clean}-dirty"
