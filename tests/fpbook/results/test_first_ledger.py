import json

import pytest
import torch
from shared import SOURCE, number

from fpbook.first import (
    CLAIMS,
    Claim,
    claims,
    ledger_sources,
    ledger_table,
    publish,
    published,
    published_arrays,
)

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
MEASURED = [claim for claim in CLAIMS if claim.threshold]


def favourable(claim):
    """Figures for all that a claim asks for, each of which meets its bound with its whole interval."""
    figures = {source: number(0.123) for source in claim.figures.values()}
    for name, (sign, bound) in claim.threshold.items():
        figures[claim.figures[name]] = around(bound, 0.002 if sign == ">" else -0.002)
    return figures


def around(bound, shift):
    """An interval of half-width 0.001 about bound + shift."""
    return number(bound + shift, bound + shift - 0.001, bound + shift + 0.001)


def entry_of(id):
    return next(entry for entry in claims() if entry["id"] == id)


def test_publishing_the_same_figures_still_refreshes_the_ledger(results):
    for _ in range(2):
        publish("synthetic", {"radius": number(0.2)}, SOURCE)
        assert json.loads((results / "claims.json").read_text()) == claims()
        (results / "claims.json").write_text("[]")


def test_the_ledger_has_an_entry_for_every_claim_of_the_mission(results):
    entries = claims()
    assert [entry["id"] for entry in entries] == IDS
    for entry in entries:
        assert set(entry) == {
            "id",
            "statement",
            "chapter",
            "measured",
            "threshold",
            "verdict",
            "provenance",
        }
        assert entry["statement"] and entry["chapter"].startswith("chapters/")


def test_without_results_nothing_is_measured_and_nothing_holds(results):
    for entry in claims():
        assert (
            entry["measured"] == {}
            and entry["verdict"] == "not yet measured"
            and entry["provenance"] == []
        )


def test_every_bound_is_on_a_figure_that_its_claim_measures():
    assert {claim.id for claim in MEASURED} >= {"P1", "P2", "P4", "T1", "T2", "E1"}
    for claim in MEASURED:
        assert claim.experiment and claim.threshold.keys() <= claim.figures.keys()
        assert all(sign in "<>" for sign, _ in claim.threshold.values())


@pytest.mark.parametrize("claim", MEASURED, ids=lambda c: c.id)
def test_a_claim_is_decided_when_both_ends_of_each_interval_agree(claim, results):
    publish(claim.experiment, favourable(claim), SOURCE)
    entry = entry_of(claim.id)
    assert entry["verdict"] == "holds" and entry["provenance"] == [SOURCE]
    for name, (sign, bound) in claim.threshold.items():
        source, direction = claim.figures[name], 1 if sign == ">" else -1
        for figure, expected in (
            (
                around(bound, 0.0005 * direction),
                "undecided",
            ),  # the value meets the bound, the interval's end does not
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
        del figures[claim.figures[name]]
        publish(claim.experiment, figures, SOURCE)
        assert entry_of(claim.id)["verdict"] == "not yet measured"


@pytest.mark.parametrize("claim", MEASURED, ids=lambda c: c.id)
def test_the_ledger_shows_the_published_figures_and_no_others(claim, results):
    figures = {
        source: number(i / 7, i / 8, i / 6)
        for i, source in enumerate(sorted(set(claim.figures.values())))
    }
    publish(claim.experiment, figures, SOURCE)
    entry = entry_of(claim.id)
    expected = {
        name: {k: figures[source][k] for k in ("value", "low", "high")}
        for name, source in claim.figures.items()
    }
    assert entry["measured"] == expected
    (results / f"{claim.experiment}.json").unlink()
    assert entry_of(claim.id)["measured"] == {}


def test_the_ledger_file_is_the_ledger(results):
    publish("synthetic", favourable(next(c for c in CLAIMS if c.id == "T2")), SOURCE)
    assert json.loads((results / "claims.json").read_text()) == claims()
    publish("cifar10", favourable(next(c for c in CLAIMS if c.id == "P1-layers")), SOURCE)
    publish("cifar10-robustness", favourable(next(c for c in CLAIMS if c.id == "E1")), SOURCE)
    assert json.loads((results / "claims.json").read_text()) == claims()
    assert [entry["id"] for entry in claims() if entry["verdict"] == "holds"] == [
        "T2",
        "P1-layers",
        "E1",
    ]


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
    claim = Claim(
        "X",
        "",
        "chapters/x",
        "own",
        {"a": "a", "b": "b"},
        {"a": (">", 0.5), "b": (">", 0.5)},
        also="other",
    )
    publish("other", {"a": number(0.1), "b": number(0.6)}, SOURCE)
    assert claim.entry()["measured"] == {} and claim.entry()["verdict"] == "not yet measured"
    publish("own", {"a": number(0.9)}, SOURCE)
    entry = claim.entry()
    assert entry["verdict"] == "holds" and [
        entry["measured"][name]["value"] for name in ("a", "b")
    ] == [0.9, 0.6]


def test_the_ledger_table_shows_figures_bounds_and_verdicts(results):
    t2, p2, p3 = (next(c for c in CLAIMS if c.id == id) for id in ("T2", "P2", "P3"))
    figures = {
        **favourable(t2),
        **favourable(p3),
        **{source: number(0.987) for source in p2.figures.values()},
    }
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
    assert [row.split(" | ")[0].strip("| ") for row in rows] == [
        "P1-layers, E1",
        "E1",
    ]  # E1 takes figures from both
    assert all(
        text in rows[1]
        for text in ("| E1 |", "quick", "cpu", "| 0, 1 |", "torch 2", "2025-01-01", "`abc`")
    )
    assert "quick; amended one figure, later" in rows[0] and "amended" not in rows[1]


def test_a_claim_that_takes_two_results_of_one_run_is_named_there_once(results):
    p4 = next(c for c in CLAIMS if c.id == "P4")
    publish(p4.experiment, favourable(p4), SOURCE)
    publish(p4.also, {"other": number(0.5)}, SOURCE)
    [row] = [row for row in ledger_sources(claims()).splitlines()[2:] if "P4" in row]
    assert row.count("P4") == 1
