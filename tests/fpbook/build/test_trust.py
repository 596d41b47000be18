"""The page *How far to trust this* has the numbers that were counted, and no others."""

import json
import re

import pytest
import torch
from counting import count

from fpbook.build import trust
from fpbook.build.chapters import BookError
from fpbook.build.trust_tables import CHECKS, SEEDS_OF_A_RESULT, trust_page
from fpbook.results import publish, published, record, table
from fpbook.results.arithmetics import (
    COMPARISONS,
    arithmetics_table,
    bounded_figures,
    conclusions,
    not_compared,
    published_conclusions,
)
from fpbook.results.coverage import SYNTHETIC_DATA
from fpbook.results.files import ROOT

CPU = torch.device("cpu")


@pytest.fixture
def numerics(results):
    """Published: one figure on two seeds, which bfloat16 concludes otherwise on one of them."""
    values = {"float64": (0.7, 0.6), "float32": (0.69, 0.61), "bfloat16": (0.68, 0.45)}
    measured = [
        record("share_dominant", value, "purified", precision=name, threads=1, seed=seed)
        for name, some in values.items()
        for seed, value in enumerate(some)
    ]
    for quantity, number in (("certified", 90.0), ("broken", 0.0), ("margin_over_rounding", 5e4)):
        measured.append(
            record(quantity, number, "purified", precision="float64", threads=1, seed=0)
        )
    publish("numerics", table(measured), "full", CPU, "small")
    return published("numerics").records


def test_conclusions_are_compared_seed_by_seed_with_those_of_the_first_arithmetic(numerics):
    assert conclusions(numerics) == (4, 1)
    shown = arithmetics_table(numerics)
    assert "`share_dominant`, purified | > 0.5 | 0.6500 | 0.6500 | 0.5650" in shown
    assert "float64, 1 thread |" in shown


def test_published_networks_are_compared_beside_and_counted_with_the_others(numerics):
    of = {"experiment": "cifar10", "threads": 1}
    values = {"float64": 0.91, "bfloat16": 0.89}  # on either side of the bound
    measured = [
        record("share_dominant", value, "purified", layer, precision=name, seed=seed, **of)
        for name, value in values.items()
        for seed in range(2)
        for layer in (None, "lowest")
    ]
    measured.append(  # which no claim bounds
        record("share_dominant", 0.5, "purified", "conv1", precision="float64", seed=0, **of)
    )
    before = not_compared()
    publish("numerics-cifar10", table(measured), "full", CPU, "published networks")
    assert conclusions(published("numerics-cifar10").records) == (4, 4)
    assert published_conclusions() == (8, 5)
    assert not_compared()["cifar10"] == before["cifar10"] - 2
    publish("trust", table(trust.trust_records({}, trials=50)), "full", CPU, "a test", seeds=[0])
    page = trust_page()
    assert "| conclusions, compared with those of float64 | 8 | 5 |" in page
    assert "not trained again: published networks. Conclusions compared: 4; 4 differ." in page
    assert "| `cifar10`: `share_dominant`, purified, lowest layer | > 0.9 | 0.9100 |" in page
    assert re.search(r"In neither comparison are the bounded figures of .*`scaling` \(\d+\)", page)


def test_a_figure_is_compared_once_however_many_claims_bound_it(numerics):
    found = bounded_figures()
    assert len({*found}) == len(found)
    assert "numerics" in COMPARISONS and {one.pick.seeds for one in found} == {"all"}


def test_what_is_counted_is_added_up_and_a_name_counts_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FPCORE_COUNTS", str(tmp_path))
    for name in ("a", "a", "b"):
        count("properties", 1, name)
    count("flipped bits", 60)
    count("flipped bits")
    found = trust.collected(tmp_path)
    assert found["properties"] == 2 and found["flipped bits"] == 61 and found["disks"] == 0
    assert [*found] == [*CHECKS]
    with pytest.raises(ValueError, match="check = 'miracles'"):
        count("miracles")
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text().splitlines()[0])["check"] == "properties"


def test_the_page_shows_what_was_counted(numerics):
    assert "Not yet counted" in trust_page()
    measured = trust.trust_records({"writers killed": 1234, "disks": 0}, trials=50)
    publish("trust", table(measured), "full", CPU, "as a test", seeds=[0])
    page = trust_page()
    assert f"| {CHECKS['writers killed']} | 1,234 | 0 |" in page and CHECKS["disks"] not in page
    assert "| samples certified, then attacked | 90 | 0 |" in page
    assert "| conclusions, compared with those of float64 | 4 | 1 |" in page
    assert "| `numerics` | 50,000 |" in page
    for data in SYNTHETIC_DATA:
        (line,) = re.findall(rf"^\| {re.escape(data)} \|.*", page, re.M)
        assert line.count("%") == len(SEEDS_OF_A_RESULT)


def test_tests_that_fail_are_an_error_and_nothing_is_counted(tmp_path, monkeypatch):
    class Failed:
        returncode = 1

    asked = []
    monkeypatch.setattr(trust.subprocess, "run", lambda *a, **k: asked.append(k) or Failed)
    with pytest.raises(BookError, match="a test failed, so nothing is counted"):
        trust.run_checks(tmp_path, 7, 11, 1)
    settings = asked[0]["env"]
    assert (settings["FPCORE_FAULTS"], settings["FPCORE_EXAMPLES"]) == ("7", "11")


def test_what_counts_is_run_alone_or_with_all_other_tests(tmp_path, monkeypatch):
    class Passed:
        returncode = 0

    asked = []
    monkeypatch.setattr(
        trust.subprocess, "run", lambda command, **_: asked.append(command) or Passed
    )
    for everything in (False, True):
        trust.run_checks(tmp_path, 7, 11, 3, everything)
    alone, whole = asked
    assert "hypothesis or counted" in alone and "-m" not in whole[3:]
    assert all(command[command.index("-n") + 1] == "3" for command in asked)


def test_the_published_certificate_is_on_the_page_with_what_is_too_large(monkeypatch):
    monkeypatch.delenv("FPCORE_RESULTS", raising=False)
    page = trust_page()
    (text,) = re.findall(r"## A certificate to check again\n\n(.*?)\n\n## ", page, re.S)
    assert re.search(r"published whole, 1\.\d MB: that of the quick profile, d = 400", text)
    assert re.search(r"covers 9\d\d of 1000 test samples at radius 0\.2086", text)
    assert "networks of d = 1536 have 11.8 million weights each, 24 MB in half precision" in text


def test_each_check_is_counted_by_some_test():
    text = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for check in CHECKS:
        assert f'count("{check}"' in text, check


def test_the_page_types_no_number_itself():
    page = (ROOT / "pages" / "trust.md").read_text()
    assert page.count("% generated: trust") == 1
    # Which versions were tried is no count: it is said there, with its date.
    page = re.sub(r"## With which versions\n.*?(?=\n## )", "", page, flags=re.S)
    prose = page.replace("200 kills of each kind, 200 examples", "").replace("3 to 5 seeds", "")
    prose = prose.replace("fpbook numerics-cifar10", "")
    assert not re.search(r"\d", prose)
