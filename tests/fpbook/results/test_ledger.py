import json
import tomllib

import pytest

from fpbook.results.ledger import (
    CLAIMS,
    claims,
    ledger_sources,
    ledger_table,
    stated_claims,
)
from fpbook.results.ledger_file import ledger_content, published_claims
from fpbook.results.store import load

STATED = stated_claims()
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
    "P1-transformer",
    "P1-mlp",
    "E1",
    "E2",
    "E3",
]
ONE = """
[[claim]]
id = "X"
statement = "a statement"
chapter = "chapters/x"
figures = [{ result = "synthetic", quantity = "radius", above = 0.5 }]
"""


def around(bound, shift):
    """An interval of half-width 0.001 about bound + shift."""
    return {
        "value": bound + shift,
        "low": bound + shift - 0.001,
        "high": bound + shift + 0.001,
        "n": 3,
    }


def favourable(claim):
    """{evidence: number}: what meets each bound with its whole interval."""
    shifts = {">": 0.002, "<": -0.002}
    return {
        e: around(e.bound, shifts[e.sign]) if e.sign else {"value": 0.123, "n": 1}
        for e in claim.evidence
    }


@pytest.fixture
def publish_all(put):
    """A function that publishes {evidence: number}, each in its result."""

    def publish(numbers, **source):
        for name in {evidence.result for evidence in numbers}:
            rows = {
                e.pick: {**e.pick.columns(), **n} for e, n in numbers.items() if e.result == name
            }
            put(name, *rows.values(), **source)

    return publish


def entry_of(id):
    return next(entry for entry in claims() if entry.claim.id == id)


def claim_of(id):
    return next(claim for claim in STATED if claim.id == id)


def test_the_ledger_has_an_entry_for_every_claim_of_the_paper(results):
    entries = claims()
    assert [entry.claim.id for entry in entries] == IDS
    for entry in entries:
        assert entry.claim.statement and entry.claim.chapter.startswith("chapters/")
        assert any(evidence.sign for evidence in entry.claim.evidence)


def test_without_results_nothing_is_measured_and_nothing_holds(results):
    for entry in claims():
        assert (
            not any(entry.numbers)
            and entry.verdict == "not yet measured"
            and entry.provenance == {}
        )


@pytest.mark.parametrize("claim", STATED, ids=lambda c: c.id)
def test_a_claim_is_decided_when_both_ends_of_each_interval_agree(claim, publish_all, source):
    numbers = favourable(claim)
    publish_all(numbers)
    entry = entry_of(claim.id)
    assert entry.verdict == "holds" and [*entry.provenance.values()] == [source] * len(
        entry.provenance
    )
    for evidence in claim.evidence:
        if not evidence.sign:
            continue
        bound, direction = evidence.bound, 1 if evidence.sign == ">" else -1
        for number, expected in (
            (
                around(bound, 0.0005 * direction),
                "undecided",
            ),  # the value meets the bound, the interval's end does not
            ({"value": bound + 0.0005 * direction}, "holds"),  # a single seed: the value decides
            ({"value": bound}, "fails"),  # the bound itself is not met
            (around(bound, -0.0005 * direction), "undecided"),  # the favourable end meets it
            (around(bound, -0.1 * direction), "fails"),
        ):
            publish_all(numbers | {evidence: number})
            assert entry_of(claim.id).verdict == expected, (evidence, number)


@pytest.mark.parametrize("claim", STATED, ids=lambda c: c.id)
def test_a_claim_waits_for_every_figure_that_it_bounds(claim, publish_all):
    for evidence in claim.evidence:
        numbers = favourable(claim)
        del numbers[evidence]
        publish_all(numbers)
        assert entry_of(claim.id).verdict == ("not yet measured" if evidence.sign else "holds")


@pytest.mark.parametrize("claim", STATED, ids=lambda c: c.id)
def test_the_ledger_shows_the_published_figures_and_no_others(claim, publish_all, results):
    numbers = {
        e: {"value": i / 7, "low": i / 8, "high": i / 6, "n": 3}
        for i, e in enumerate(claim.evidence)
    }
    publish_all(numbers)
    shown = entry_of(claim.id).numbers
    assert [(n.value, n.low, n.high) for n in shown] == [
        (n["value"], n["low"], n["high"]) for n in numbers.values()
    ]
    for evidence in claim.evidence:
        (results / f"{evidence.result}.json").unlink(missing_ok=True)
    assert not any(entry_of(claim.id).numbers)


def test_a_claim_without_a_bound_is_neither_true_nor_false(tmp_path, put):
    put("synthetic", {"quantity": "radius", "value": 0.7})
    path = tmp_path / "claims.toml"
    for text, verdict in ((ONE, "holds"), (ONE.replace(", above = 0.5", ""), "not yet measured")):
        path.write_text(text)
        [entry] = claims(path=path)
        assert entry.verdict == verdict and entry.numbers[0].value == 0.7


def test_a_claim_may_rest_on_several_results(tmp_path, put):
    path = tmp_path / "claims.toml"
    path.write_text(
        ONE.replace("}]", '}, { result = "interventions", quantity = "loss", below = 1 }]')
    )
    put("interventions", {"quantity": "loss", "value": 0.6})
    [entry] = claims(path=path)
    assert entry.verdict == "not yet measured" and [*entry.provenance] == ["interventions"]
    put("synthetic", {"quantity": "radius", "value": 0.9})
    [entry] = claims(path=path)
    assert entry.verdict == "holds" and [n.value for n in entry.numbers] == [0.9, 0.6]
    assert [*entry.provenance] == ["synthetic", "interventions"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("radius", "raduis", "claim X: quantity = 'raduis' is unknown: did you mean 'radius'"),
        ("above = 0.5", "abve = 0.5", "claim X: key = 'abve' is unknown: did you mean 'above'"),
        ("above = 0.5", 'above = "0.5"', "claim X: radius: a bound of '0.5' is no number"),
        ("above = 0.5", "above = 0.5, below = 1", "claim X: radius: give one bound"),
        ("above = 0.5", 'seeds = "some"', "claim X: seeds = 'some' is unknown"),
        ('result = "synthetic", ', "", "claim X: a figure without its result"),
        ('"synthetic"', '"../synthetic"', "claim X: name = '../synthetic'"),
        ("statement", "statment", "claim X: key = 'statment' is unknown: did you mean 'statement'"),
        ('"a statement"', '""', "claim X: statement = ''"),
        ('id = "X"', "id = 3", "claim 3: id = 3: give a text"),
        ('id = "X"\n', "", "claim 1: id = None"),
        ("figures = [", "figures = 3 #", "claim X: give its figures as a list of tables"),
        ("[[claim]]", "[[clam]]", r"give claims as \[\[claim\]\]"),
        ("[[claim]]", "[claim]", r"give claims as \[\[claim\]\]"),
        ("[[claim]]", "[[claim", "is no TOML"),
    ],
)
def test_an_unsound_claim_is_named_with_its_file(old, new, message, tmp_path):
    path = tmp_path / "claims.toml"
    assert ONE.count(old) >= 1
    path.write_text(ONE.replace(old, new))
    with pytest.raises(ValueError, match=message) as error:
        stated_claims(path)
    assert str(path) in str(error.value)


def test_an_id_is_given_once(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text(ONE + ONE)
    with pytest.raises(ValueError, match="claim X: its id is given to two claims"):
        stated_claims(path)


def test_a_claims_file_is_plain_toml_that_any_program_reads():
    content = tomllib.loads(CLAIMS.read_text(encoding="utf-8"))
    assert [claim["id"] for claim in content["claim"]] == IDS


def test_the_ledger_table_shows_figures_bounds_and_verdicts(publish_all):
    t2, p2, p3 = (claim_of(id) for id in ("T2", "P2", "P3"))
    numbers = favourable(t2) | favourable(p3) | {e: {"value": 0.987} for e in p2.evidence}
    numbers |= {
        e: {"value": 0.95, "low": 0.85, "high": 1.0, "n": 3}
        for e in p3.evidence
        if e.pick.quantity == "same_feature"
    }
    publish_all(numbers)
    rows = dict(zip(IDS, ledger_table(claims()).splitlines()[2:]))
    assert "**holds**" in rows["T2"] and "**fails**" in rows["P2"]
    assert "`cos_to_init` clean: 0.987, **< 0.2**" in rows["P2"]
    assert (
        "**undecided**" in rows["P3"]
        and "`certified_accuracy` purified, held-out seeds: 0.992" in rows["T2"]
    )
    assert "not yet measured" in rows["L1"] and "not yet measured" in rows["E1"]
    assert all(row.startswith(f"| {id} | ") and row.count("|") == 5 for id, row in rows.items())


def test_the_ledger_sources_name_each_run_and_its_claims(publish_all):
    numbers = favourable(claim_of("P1-layers")) | favourable(claim_of("E1"))
    of = {
        name: {e: n for e, n in numbers.items() if e.result == name}
        for name in ("cifar10", "cifar10-robustness")
    }
    publish_all(of["cifar10"], amended="one figure, later")
    publish_all(of["cifar10-robustness"])
    rows = ledger_sources(claims()).splitlines()[2:]
    # E1 takes figures from both; one of them is of P2-layers as well
    assert [row.split(" | ")[0].strip("| ") for row in rows] == ["P1-layers, P2-layers, E1", "E1"]
    assert all(
        text in rows[1]
        for text in ("| E1 |", "quick", "cpu", "| 0, 1 |", "torch 2", "2025-01-01", "`abc`")
    )
    assert "quick; amended one figure, later" in rows[0] and "amended" not in rows[1]


def test_a_claim_that_takes_two_results_of_one_run_is_named_there_once(publish_all):
    publish_all(favourable(claim_of("P4")))
    [row] = [row for row in ledger_sources(claims()).splitlines()[2:] if "P4" in row]
    assert row.count("P4") == 1


def test_the_content_of_the_ledger_says_what_each_figure_is(publish_all):
    claim = claim_of("T1")
    numbers = favourable(claim)
    publish_all(numbers)
    [found] = [one for one in ledger_content(claims()) if one["id"] == "T1"]
    json.dumps(found, allow_nan=False)
    assert found["verdict"] == "holds" and found["provenance"].keys() == {"synthetic"}
    held_out = {
        "quantity": "robust_accuracy",
        "network": "clean",
        "seeds": "held out",
        "bound": "< 0.01",
    }
    [figure] = [figure for figure in found["figures"] if "seeds" in figure]
    assert figure == {
        "result": "synthetic",
        **held_out,
        **{k: figure[k] for k in ("value", "low", "high")},
    }


def test_the_published_ledger_is_that_of_the_published_results(monkeypatch):
    monkeypatch.delenv("FPCORE_RESULTS", raising=False)
    assert published_claims() == ledger_content(claims())
    for claim in STATED:
        for evidence in claim.evidence:
            assert evidence.pick.find(load(evidence.result).summary), (claim.id, evidence)
