"""The claims ledger: what the paper claims, and what the published results say of it.

The claims are data, in claims.toml beside this module.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpbook.results.claim import (
    NULLS,
    Claim,
    Evidence,
    Null,
    check_null,
    parse_claim,
    parse_recipe,
)
from fpbook.results.intervals import Interval
from fpbook.results.quantities import PERCENT, quantity_of
from fpbook.results.store import Published, check_folder, published
from fpbook.results.tables import markdown_table

CLAIMS = Path(__file__).with_name("claims.toml")
MILD = "holds, mild"
VERDICTS = ("holds", MILD, "undecided", "fails", "not yet measured")


@dataclass(frozen=True)
class NullTest:
    """What a stand-in scores where a claim has bounds.

    null:    the stand-in
    claim:   what it is tested on
    numbers: one for each number of the claim's evidence: its own, or the claim's where it does not
             stand in; None where it is not published
    """

    null: Null
    claim: Claim
    numbers: tuple[Interval | None, ...]

    @property
    def passes(self) -> bool | None:
        """False if it clearly misses a bound of the claim; None while that is not measured.

        Conditions do not count, nor do bounds on what it does not stand in for.
        """
        met = [
            found and found.meets(evidence.sign, evidence.bound)
            for evidence, found in self.scores()
            if not evidence.condition
        ]
        if any(one is False for one in met):
            return False
        missing = any(found is None for evidence, found in self.scores() if not evidence.condition)
        return None if missing else True

    def scores(self) -> list[tuple[Evidence, Interval | None]]:
        """What it scores where it stands in and the claim has a bound."""
        pairs = zip(self.claim.evidence, self.numbers)
        return [(one, found) for one, found in pairs if one.sign and self.null.stands_in(one)]


@dataclass(frozen=True)
class Entry:
    """A claim as the published results have it.

    claim:      what is claimed
    numbers:    one for each number of its evidence; None where it is not published
    provenance: {result: where its numbers come from}, of the results that any was found in
    nulls:      its null tests
    """

    claim: Claim
    numbers: tuple[Interval | None, ...]
    provenance: Mapping[str, Mapping[str, Any]]
    nulls: tuple[NullTest, ...] = ()

    @property
    def verdict(self) -> str:
        """What the numbers say of the claim.

        "holds" if the unfavourable end of each interval meets its bound, "fails" if even the
        favourable end of one misses it, otherwise "undecided", as on fewer seeds than were planned;
        "not yet measured" while a number that has a bound is missing, or none has one.
        """
        bounded = self.bounded()
        if not bounded or any(found is None for _, found in bounded):
            return "not yet measured"
        met = [found.meets(evidence.sign, evidence.bound) for evidence, found in bounded if found]
        if False in met:
            return "fails"
        return "undecided" if None in met or self.lacks_seeds else "holds"

    @property
    def lacks_seeds(self) -> bool:
        """Whether some of the seeds that were planned are missing."""
        return self.claim.planned > 1 and self.seeds < self.claim.planned

    @property
    def seeds(self) -> int:
        """On how many seeds its bounds are tested: the fewest of its numbers; 0 where none is.

        Exponents are fitted over sizes, and do not tell.
        """
        counts = [
            found.n
            for evidence, found in self.bounded()
            if found and evidence.pick.quantity != "exponent"
        ]
        return min(counts, default=0)

    @property
    def mild(self) -> bool:
        """Whether it holds, and so it would of a stand-in that knows nothing of it."""
        return self.verdict == "holds" and any(test.passes for test in self.nulls)

    @property
    def judged(self) -> str:
        """The verdict, one of VERDICTS: a claim that is mild "holds, mild"."""
        return MILD if self.mild else self.verdict

    def bounded(self) -> list[tuple[Evidence, Interval | None]]:
        """The numbers that have a bound."""
        return [pair for pair in zip(self.claim.evidence, self.numbers) if pair[0].sign]

    def deciding(self) -> tuple[Evidence, Interval] | None:
        """The number that decides: the one that misses its bound furthest, or is nearest to it.

        In shares of the room that the bound leaves, from it to the best that can be. A condition
        only where it is not met; None while nothing with a bound is measured.
        """
        found = [(evidence, number) for evidence, number in self.bounded() if number]
        if not found:
            return None
        return min(found, key=lambda pair: _nearness(*pair))


def _nearness(evidence: Evidence, number: Interval) -> tuple[int, bool, float]:
    """What sorts numbers by how little they meet their bounds, conditions after the others."""
    met = number.meets(evidence.sign, evidence.bound)
    pessimistic, optimistic = number.slack(evidence.sign, evidence.bound)
    slack = (optimistic if met is False else pessimistic) / _room(evidence)
    return [False, None, True].index(met), evidence.condition, slack


def _room(evidence: Evidence) -> float:
    """From a bound to the best that can be: 1 for shares and cosines, 0 for what is bounded above.

    What has no best is measured by its bound, and by 1 if that is 0.
    """
    if isinstance(evidence.bound, tuple):
        return (evidence.bound[1] - evidence.bound[0]) / 2
    quantity = evidence.pick.quantity
    at_most_one = quantity_of(quantity).unit == PERCENT or quantity.startswith("cos_")
    if evidence.sign == ">" and at_most_one and evidence.bound < 1:
        return 1 - evidence.bound
    return abs(evidence.bound) or 1.0


def verdict_on(bounds: Sequence[Evidence], summary: Any) -> str:
    """The verdict, as of an `Entry`, on bounds by themselves, also where no claim has them.

    bounds:  numbers with their bounds
    summary: a table of summaries, in which they are looked for; those of one seed do not count
    """
    claim = Claim(id="-", statement="-", chapter="-", evidence=tuple(bounds))
    found = [one.pick.find(summary) for one in bounds]
    numbers = tuple(number if number and number.n > 1 else None for number in found)
    return Entry(claim=claim, numbers=numbers, provenance={}).verdict


def bounds_of(name: str) -> tuple[Evidence, ...]:
    """The figures of a claim that have bounds, by its id; ValueError if there is no such claim."""
    found = [one.evidence for one in stated_claims() if one.id == name]
    if not found:
        raise ValueError(f"claims.toml has no claim {name}: give it, with its bounds")
    return tuple(one for one in found[0] if one.sign)


def verdict_counts(entries: Iterable[Entry]) -> dict[str, int]:
    """How many claims have each verdict of VERDICTS, {verdict: count}, those of none left out."""
    found = [entry.judged for entry in entries]
    return {verdict: found.count(verdict) for verdict in VERDICTS if verdict in found}


def claims(
    read: Callable[[str], Published | None] | None = None, path: Path | None = None
) -> list[Entry]:
    """The ledger: one entry a claim, from published results only.

    read: how a result is read by its name (None: from the results folder)
    path: the claims (None: claims.toml)
    """
    if read is None:
        check_folder()
        read = published
    stated = stated_claims(path)
    found = {name: read(name) for name in results_of(stated)}
    summaries = {name: result.summary for name, result in found.items() if result}
    return [_entry(claim, found, summaries) for claim in stated]


def results_of(stated: Sequence[Claim]) -> list[str]:
    """The names of the published results that decide claims, each once."""
    return [*dict.fromkeys(name for claim in stated for name in claim.results)]


def _entry(
    claim: Claim, found: Mapping[str, Published | None], summaries: Mapping[str, Any]
) -> Entry:
    numbers, sources = [], {}
    for evidence in claim.evidence:
        result = found[evidence.result]
        number = evidence.pick.find(summaries[evidence.result]) if result else None
        if result and number:
            sources[evidence.result] = result.provenance
        numbers.append(number)
    tests = [_tested(claim, null, numbers, summaries) for null in claim.nulls]
    return Entry(claim=claim, numbers=tuple(numbers), provenance=sources, nulls=tuple(tests))


def _tested(
    claim: Claim, null: Null, numbers: Sequence[Interval | None], summaries: Mapping[str, Any]
) -> NullTest:
    """What a stand-in scores: in the claim's own result if it is there, else among the nulls."""
    found = []
    for evidence, number in zip(claim.evidence, numbers):
        if null.stands_in(evidence):
            places = (
                (evidence.result, null.pick(evidence)),
                (NULLS, null.pick(evidence, experiment=evidence.result)),
            )
            scores = [one.find(summaries[name]) for name, one in places if name in summaries]
            number = next((score for score in scores if score), None)
        found.append(number)
    return NullTest(null=null, claim=claim, numbers=tuple(found))


def stated_claims(path: Path | None = None) -> list[Claim]:
    """The claims of a TOML file; ValueError that names file and claim if one is not sound."""
    path = path or CLAIMS
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no TOML ({error}): correct it") from error
    stated = content.get("claim", [])
    if (
        content.keys() - {"claim", "recipe", "null"}
        or not isinstance(stated, list)
        or not all(isinstance(one, dict) for one in stated)
    ):
        raise ValueError(
            f"{path}: give claims as [[claim]], with [recipe.name] and [null.name], "
            "and nothing else"
        )
    try:
        recipes = {name: parse_recipe(name, one) for name, one in content.get("recipe", {}).items()}
        nulls = {name: check_null(name, one) for name, one in content.get("null", {}).items()}
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from error
    found: dict[str, Claim] = {}
    for place, one in enumerate(stated, 1):
        try:
            claim = parse_claim(one, recipes, nulls)
            if claim.id in found:
                raise ValueError("its id is given to two claims")
        except ValueError as error:
            raise ValueError(f"{path}, claim {one.get('id', place)}: {error}") from error
        found[claim.id] = claim
    return [*found.values()]


def ledger_sources(entries: Iterable[Entry]) -> str:
    """Where the ledger's figures come from: a Markdown row for each run, with its claims."""
    runs: dict[tuple[str, ...], dict[str, None]] = {}
    for entry in entries:
        for source in entry.provenance.values():
            runs.setdefault(_run(source), {})[entry.claim.id] = None  # once, in the ledger's order
    heading = ("claims", "setting", "device", "seeds", "versions", "date", "commit")
    return markdown_table(heading, [(", ".join(ids), *run) for run, ids in runs.items()])


def _run(source: Mapping[str, Any]) -> tuple[str, ...]:
    versions = ", ".join(f"{name} {number}" for name, number in source["versions"].items())
    setting = source.get("setting", source["profile"])
    if "amended" in source:  # figures measured again by themselves, after the rest
        setting += f"; amended {source['amended']}"
    seeds = ", ".join(map(str, source["seeds"]))
    return setting, source["device"], seeds, versions, source["date"], f"`{source['commit']}`"
