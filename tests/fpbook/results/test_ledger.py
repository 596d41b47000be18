import json
import re
import tomllib

import pytest

from fpbook.__main__ import COMMANDS
from fpbook.cifar10.experiment import CIFAR
from fpbook.results.cards import ledger_cards
from fpbook.results.files import ROOT
from fpbook.results.ledger import (
    CLAIMS,
    MILD,
    VERDICTS,
    bounds_of,
    claims,
    ledger_sources,
    stated_claims,
    verdict_counts,
    verdict_on,
)
from fpbook.results.ledger_file import ledger_content, published_claims
from fpbook.results.store import load
from fpbook.results.summaries import summary_table
from fpbook.synthetic.narrow import NARROW_SIZE, narrow_experiment
from fpbook.synthetic.protocol import SYNTHETIC

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
    "L1-size",
    "L2-noise",
    "P1-layers",
    "P1-dose",
    "P2-layers",
    "P3-layers",
    "P4-layers",
    "P1-residual",
    "P1-transformer",
    "P1-mlp",
    "E1",
    "E2",
    "E2-kernel",
    "E3",
    "P4-removal",
    "T-narrow",
    "P3-border",
    "S-breaking",
    "S-dense",
    "S-certified",
    "S-active",
    "E-sparse",
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
        "n": 5,
    }


def bound_of(evidence):
    """A bound, of a range its lower end; and the direction in which it is met."""
    low = evidence.bound[0] if evidence.sign == "in" else evidence.bound
    return low, -1 if evidence.sign == "<" else 1


def favourable(claim):
    """{evidence: number}: what meets each bound with its whole interval."""
    found = {}
    for e in claim.evidence:
        bound, direction = bound_of(e)
        found[e] = around(bound, 0.002 * direction) if e.sign else {"value": 0.123, "n": 1}
    return found


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
        bound, direction = bound_of(evidence)
        for number, expected in (
            (
                around(bound, 0.0005 * direction),
                "undecided",
            ),  # the value meets the bound, the interval's end does not
            (  # a single seed: the value decides, where no more were planned
                {"value": bound + 0.0005 * direction},
                "holds" if claim.planned == 1 else "undecided",
            ),
            ({"value": bound}, "fails"),  # the bound itself is not met
            (around(bound, -0.0005 * direction), "undecided"),  # the favourable end meets it
            (around(bound, -0.1 * direction), "fails"),
        ):
            publish_all(numbers | {evidence: number})
            assert entry_of(claim.id).verdict == expected, (evidence, number)


def test_a_claim_of_several_seeds_holds_once_they_are_there(publish_all):
    claim = claim_of("T-narrow")
    numbers = favourable(claim)
    for n, verdict in ((4, "undecided"), (5, "holds"), (6, "holds")):
        some = {one: number | {"n": n} for one, number in numbers.items() if one.sign}
        publish_all(some)
        assert entry_of(claim.id).verdict == verdict and entry_of(claim.id).seeds == n
        assert (f"So far {n} of the 5 seeds" in ledger_cards([entry_of(claim.id)])) == (n < 5)
    one = next(one for one in claim.evidence if one.sign)
    publish_all(some | {one: around(one.bound, -0.1) | {"n": 1}})
    assert entry_of(claim.id).verdict == "fails"  # no further seed is waited for


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
        e: {"value": i / 70, "low": i / 80, "high": i / 60, "n": 3}  # shares among them
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
        ("above = 0.5", "within = [1]", r"claim X: radius: within = \[1\]: give its two ends"),
        ("above = 0.5", "within = [1, 0]", r"claim X: radius: within = \[1, 0\]: give its two"),
        ("above = 0.5", 'within = ["0", 1]', "claim X: radius: a bound of .* is no number"),
        ("above = 0.5", "condition = true", "claim X: radius: condition = True: give true, beside"),
        ("figures", 'recipe = "r"\nfigures', "claim X: recipe = 'r' is unknown"),
        ("figures", 'nulls = { n = ["a"] }\nfigures', "claim X: null = 'n' is unknown"),
        ("figures", "notes = 3\nfigures", "claim X: notes = 3: give a list"),
        ("figures", 'plain = ""\nfigures', "claim X: plain = '': give a text"),
        ("[[claim]]", '[null.n]\nwrds = "a"\n[[claim]]', "key = 'wrds' is unknown"),
        ("[[claim]]", "[null]\nn = 3\n[[claim]]", "null n: give it as a table"),
        (
            "[[claim]]",
            '[null.n]\nwords = "a"\nwithout = ["rnk"]\n[[claim]]',
            "null n: column = 'rnk' is unknown: did you mean 'rank'",
        ),
        (
            "[[claim]]",
            '[null.n]\nwords = "a"\nwithout = "k"\n[[claim]]',
            "null n: without = 'k': give a list of columns",
        ),
        (
            "[[claim]]",
            '[null.n]\nwords = "a"\nwithout = true\n[[claim]]',
            "null n: without = True: give a list of columns",
        ),
        (
            "[[claim]]",
            '[null.n]\nwords = "a"\nrank = 2\nwithout = ["rank"]\n[[claim]]',
            "null n: rank is given, and without it: give one of them",
        ),
        ("figures", "planned = 0\nfigures", "claim X: planned = 0"),
        ("figures", "planned = true\nfigures", "claim X: planned = True"),
        ("[[claim]]", "[recipe.r]\n[[claim]]", "command = None: give a text"),
        ("[[claim]]", "[recipe]\nr = 3\n[[claim]]", "recipe r: give it as a table"),
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
    assert found["mild"] is False and found["plain"] and found["recipe"]["command"]
    assert {test["name"]: test["passes"] for test in found["nulls"]} == dict.fromkeys(
        ("init", "constant")
    )
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
        **{k: figure[k] for k in ("value", "low", "high", "n")},
    }


def test_the_published_ledger_is_that_of_the_published_results(monkeypatch):
    monkeypatch.delenv("FPCORE_RESULTS", raising=False)
    assert published_claims() == ledger_content(claims())
    for claim in STATED:
        for evidence in claim.evidence:
            assert evidence.pick.find(load(evidence.result).summary), (claim.id, evidence)


NULLED = """
[null.control]
words = "the control"
[null."rank 0"]
words = "rank 0"
network = "purified"
rank = 0
[[claim]]
id = "X"
statement = "a statement"
chapter = "chapters/x"
nulls = { control = ["purified"], "rank 0" = ["purified"] }
figures = [
  { result = "synthetic", quantity = "share_dominant", network = "purified", above = 0.5 },
  { result = "synthetic", quantity = "purity", network = "purified", below = 1 },
  { result = "synthetic", quantity = "loss", network = "purified", above = 0, condition = true },
  { result = "synthetic", quantity = "purity", network = "clean", above = 0 },
]
"""


@pytest.fixture
def nulled(tmp_path, put):
    """A function: the entry of a claim that holds, given what its stand-ins score."""
    path = tmp_path / "claims.toml"
    path.write_text(NULLED)

    def build(scores, nulls=()):
        own = [
            {"quantity": e.pick.quantity, "network": e.pick.network, "seeds": e.pick.seeds}
            | {"value": 0.6}
            for e in stated_claims(path)[0].evidence
        ]
        put("synthetic", *own, *scores)
        if nulls:
            put("nulls", *({"experiment": "synthetic", **row} for row in nulls))
        [entry] = claims(path=path)
        assert entry.verdict == "holds"
        return entry

    return build


def score(value, network="control", quantity="share_dominant", **more):
    return {"quantity": quantity, "network": network, "value": value, **more}


def test_a_claim_that_holds_of_a_stand_in_is_mild_and_counted_apart(nulled):
    passing = [score(0.9), score(0.9, quantity="purity")]
    entry = nulled(passing)
    assert entry.mild and entry.judged == MILD and entry.nulls[0].passes is True
    assert verdict_counts([entry, entry]) == {MILD: 2}
    # a condition is not asked of it, and its own numbers are looked for among the nulls as well
    assert nulled([score(0.9)], [score(0.9, quantity="purity")]).mild
    assert nulled([*passing, score(0.0, quantity="loss")]).mild


def test_a_stand_in_that_clearly_misses_a_bound_does_not_make_a_claim_mild(nulled):
    entry = nulled([score(0.3), score(0.9, quantity="purity")])
    assert not entry.mild and entry.judged == "holds" and entry.nulls[0].passes is False
    assert nulled([score(0.3)]).nulls[0].passes is False  # whatever the others are
    assert verdict_counts([entry]) == {"holds": 1}


def test_a_stand_in_whose_interval_reaches_over_a_bound_is_not_told_from_the_claim(nulled):
    wide = score(0.4, low=0.3, high=0.6, n=3)
    assert nulled([wide, score(0.9, quantity="purity")]).mild


def test_a_stand_in_that_is_not_measured_decides_nothing(nulled):
    for scores in ([], [score(0.9)], [score(0.9, quantity="purity")]):
        entry = nulled(scores)
        assert entry.nulls[0].passes is None and not entry.mild


def test_a_stand_in_may_be_the_same_network_at_another_rank(nulled):
    rows = [score(0.9, "purified", q, rank=0) for q in ("share_dominant", "purity")]
    entry = nulled(rows)
    assert [test.passes for test in entry.nulls] == [None, True] and entry.mild


def test_a_stand_in_may_lack_what_the_claim_is_measured_over(tmp_path, put):
    path = tmp_path / "claims.toml"
    stated = ONE.replace('quantity = "radius"', 'quantity = "purity", network = "a", rank = 2')
    stated = stated.replace("figures", 'nulls = { wide = ["a"] }\nfigures')
    path.write_text('[null.wide]\nwords = "wide"\nwithout = ["rank"]' + stated)
    for value, passes in ((0.9, True), (0.3, False)):
        put("synthetic", score(0.6, "a", "purity", rank=2), score(value, "wide", "purity"))
        [entry] = claims(path=path)
        assert entry.verdict == "holds" and entry.nulls[0].passes is passes


def test_a_stand_in_stands_in_for_a_network_that_is_bounded(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text(NULLED.replace('control = ["purified"]', 'control = ["scratch"]'))
    with pytest.raises(ValueError, match="claim X: null control: no figure of 'scratch' has"):
        stated_claims(path)


def test_the_number_that_decides_misses_its_bound_furthest_or_is_nearest_to_it(publish_all):
    assert entry_of("T2").deciding() is None
    numbers = favourable(claim_of("P3"))
    first, *_, last = [e for e in claim_of("P3").evidence if e.sign]
    for evidence, number in (
        (first, around(first.bound, 0.0011)),  # holds, nearest to its bound
        (last, around(last.bound, 0.1)),  # misses it
        (first, around(first.bound, -0.2)),  # misses it further
        (last, around(last.bound, 0.0)),  # open, and no other is
    ):
        publish_all(numbers | {evidence: number})
        assert entry_of("P3").deciding()[0] == evidence


def test_a_condition_decides_only_where_it_is_not_met(publish_all):
    claim = claim_of("P1-mlp")
    condition = next(e for e in claim.evidence if e.condition)
    numbers = favourable(claim)
    publish_all(numbers | {condition: around(condition.bound, 0.0011)})
    assert entry_of("P1-mlp").deciding()[0] != condition
    publish_all(numbers | {condition: around(condition.bound, 0.0)})
    assert entry_of("P1-mlp").deciding()[0] == condition


def test_every_claim_is_said_in_plain_words_and_has_a_recipe():
    for claim in STATED:
        assert 5 <= len(claim.plain.split()) <= 25 and claim.plain.endswith("."), claim.id
        assert claim.recipe and claim.recipe.facts and claim.fixed and claim.source, claim.id
        command, *chapters = claim.recipe.command.split(" --only ")
        assert command == ".venv/bin/python -m fpbook execute --profile full" or (
            re.fullmatch(r"\.venv/bin/python -m fpbook (\w+) --publish", command)[1] in COMMANDS
        )
        assert (ROOT / f"{claim.chapter}.ipynb").exists()
        for chapter in " ".join(chapters).split():
            assert (ROOT / "chapters" / f"{chapter}.ipynb").exists(), chapter
        for sentence in (claim.plain, *claim.notes):
            assert "$" not in sentence, claim.id  # cards are HTML, without formulas


def test_the_recipes_state_the_constants_of_the_experiments():
    full, facts = SYNTHETIC["full"], {c.recipe.name: dict(c.recipe.facts) for c in STATED}
    two_layer = facts["two-layer"]
    assert f"at least {full.margin:g} standard" in two_layer["Data kept"]
    assert f"at {full.reach:g}/√k; FGM trains at {full.training_reach:g}/√k" in two_layer["Radius"]
    assert f"after {full.clean_steps} steps" in two_layer["Stopped"] and full.tuned_seeds == 1
    narrow = narrow_experiment(NARROW_SIZE)
    radii = f"{narrow.reach:.3f}/√k in the test, {narrow.training_reach:.3f}/√k in training"
    assert radii in facts["narrow-margin"]["Radius"] and claim_of("T-narrow").planned == 5
    cifar = CIFAR["full"]
    assert f"rate, {cifar.adversarial_lr:g}, on seeds 0 and 1" in facts["convnet"]["Tuned"]
    assert (
        cifar.tuned_seeds == 2 and f"{cifar.weight_decay:g} in" in facts["convnet"]["Weight decay"]
    )
    for name in ("convnet", "narrow-resnet", "own-networks", "tangent-kernel", "low-rank"):
        assert f"{cifar.norm.replace('l', 'ℓ')} {cifar.radius:g}" in facts[name]["Radius"]
    assert f"{cifar.low_rank_lr:g} for updates, five times" in facts["low-rank"]["Learning rate"]
    assert cifar.low_rank_lr == 5 * cifar.adversarial_lr


def test_as_published_each_claim_that_holds_has_a_null_test_that_is_measured(monkeypatch):
    monkeypatch.delenv("FPCORE_RESULTS", raising=False)
    entries = {entry.claim.id: entry for entry in claims()}
    assert set(verdict_counts(entries.values())) <= {*VERDICTS[:-1]}
    for entry in entries.values():
        if entry.verdict == "holds":
            assert {test.passes for test in entry.nulls} & {True, False}, entry.claim.id
    # what the chapter says in prose
    for verdict, ids in {
        "holds": ("T1", "T2", "P4", "P4-layers", "E1"),
        MILD: ("P1-layers", "P2-layers", "P3-layers", "E2"),
        "undecided": ("P1",),
        "fails": ("L2", "L3", "S-breaking"),
    }.items():
        assert {entries[id].judged for id in ids} == {verdict}, ids


def test_bounds_in_the_code_are_judged_as_claims_are_but_never_on_one_seed():
    bounds = claim_of("E1").evidence
    favour = favourable(claim_of("E1"))

    def verdict(n):
        rows = [{**e.pick.columns(), **number, "n": n} for e, number in favour.items()]
        return verdict_on(bounds, summary_table(rows))

    assert verdict(3) == "holds"
    assert verdict(1) == "not yet measured" == verdict_on(bounds, summary_table([]))


def test_bounds_are_those_of_a_claim_and_another_name_is_an_error():
    dose = next(one for one in STATED if one.id == "P1-dose")
    asked = [one.required for one in bounds_of("P1-dose")]
    assert asked == [one.required for one in dose.evidence[:5]] and len(dose.evidence) == 8
    with pytest.raises(ValueError, match=r"claims.toml has no claim P0: give it"):
        bounds_of("P0")
