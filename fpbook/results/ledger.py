"""The claims ledger: what the paper claims, and what the published results say of it.

The claims are data, in claims.toml beside this module.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpbook.results.columns import ABSCISSAE
from fpbook.results.files import check_name
from fpbook.results.intervals import Interval
from fpbook.results.quantities import known
from fpbook.results.store import Published, check_folder, published
from fpbook.results.summaries import Pick, pick
from fpbook.results.tables import markdown_table, show

CLAIMS = Path(__file__).with_name("claims.toml")
_OF_A_CLAIM = ("id", "statement", "chapter", "figures")
_BOUNDS = {"above": ">", "below": "<"}
_OF_A_FIGURE = ("result", "quantity", "network", "layer", "seeds", *ABSCISSAE, *_BOUNDS)


@dataclass(frozen=True)
class Evidence:
    """A number that a claim rests on.

    result: the published result that holds it
    pick:   which of its numbers
    sign:   ">" or "<" if the claim bounds it, else ""
    bound:  what it must be above or below
    """

    result: str
    pick: Pick
    sign: str = ""
    bound: float = 0.0

    @property
    def required(self) -> str:
        """The bound as text, such as "> 0.9"; "" if there is none."""
        return f"{self.sign} {self.bound:g}" if self.sign else ""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the numbers that would confirm it."""

    id: str
    statement: str
    chapter: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Entry:
    """A claim as the published results have it.

    claim:      what is claimed
    numbers:    one for each number of its evidence; None where it is not published
    provenance: {result: where its numbers come from}, of the results that any was found in
    """

    claim: Claim
    numbers: tuple[Interval | None, ...]
    provenance: Mapping[str, Mapping[str, Any]]

    @property
    def verdict(self) -> str:
        """What the numbers say of the claim.

        "holds" if the unfavourable end of each interval meets its bound, "fails" if even the
        favourable end of one misses it, otherwise "undecided"; "not yet measured" while a number
        that has a bound is missing, or none has one.
        """
        bounded = [(e, n) for e, n in zip(self.claim.evidence, self.numbers) if e.sign]
        if not bounded or any(found is None for _, found in bounded):
            return "not yet measured"
        met = [found.meets(evidence.sign, evidence.bound) for evidence, found in bounded if found]
        return "fails" if False in met else "undecided" if None in met else "holds"


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
    found = {e.result: read(e.result) for claim in stated for e in claim.evidence}
    summaries = {name: result.summary for name, result in found.items() if result}
    return [_entry(claim, found, summaries) for claim in stated]


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
    return Entry(claim=claim, numbers=tuple(numbers), provenance=sources)


def stated_claims(path: Path | None = None) -> list[Claim]:
    """The claims of a TOML file; ValueError that names file and claim if one is not sound."""
    path = path or CLAIMS
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no TOML ({error}): correct it") from error
    stated = content.get("claim", [])
    if (
        content.keys() - {"claim"}
        or not isinstance(stated, list)
        or not all(isinstance(one, dict) for one in stated)
    ):
        raise ValueError(f"{path}: give claims as [[claim]], and nothing else")
    found: dict[str, Claim] = {}
    for place, one in enumerate(stated, 1):
        try:
            claim = _claim(one)
            if claim.id in found:
                raise ValueError("its id is given to two claims")
        except ValueError as error:
            raise ValueError(f"{path}, claim {one.get('id', place)}: {error}") from error
        found[claim.id] = claim
    return [*found.values()]


def _claim(stated: Mapping[str, Any]) -> Claim:
    _check_keys(stated, _OF_A_CLAIM)
    for name in _OF_A_CLAIM[:-1]:
        if not isinstance(stated.get(name), str) or not stated[name]:
            raise ValueError(f"{name} = {stated.get(name)!r}: give a text")
    figures = stated.get("figures", [])
    if not isinstance(figures, list) or not all(isinstance(one, dict) for one in figures):
        raise ValueError("give its figures as a list of tables")
    evidence = tuple(_evidence(one) for one in figures)
    return Claim(**{name: stated[name] for name in _OF_A_CLAIM[:-1]}, evidence=evidence)


def _evidence(stated: Mapping[str, Any]) -> Evidence:
    _check_keys(stated, _OF_A_FIGURE)
    for name in ("result", "quantity"):
        if name not in stated:
            raise ValueError(f"a figure without its {name}: {dict(stated)}")
    result = check_name(stated["result"])
    bounds = [
        {"sign": sign, "bound": stated[word]} for word, sign in _BOUNDS.items() if word in stated
    ]
    if len(bounds) > 1:
        raise ValueError(f"{stated['quantity']}: give one bound, above or below")
    for given in bounds:
        if isinstance(given["bound"], bool) or not isinstance(given["bound"], int | float):
            raise ValueError(f"{stated['quantity']}: a bound of {given['bound']!r} is no number")
    chosen = pick(**{k: v for k, v in stated.items() if k != "result" and k not in _BOUNDS})
    return Evidence(result=result, pick=chosen, **(bounds[0] if bounds else {}))


def _check_keys(stated: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in stated:
        known("key", name, names)


def ledger_table(entries: Iterable[Entry]) -> str:
    """The ledger as a Markdown table: verdict, claim, figures, those with a bound first."""
    rows = []
    for entry in entries:
        pairs = [*zip(entry.claim.evidence, entry.numbers)]
        bounded_first = sorted(pairs, key=lambda pair: not pair[0].sign)
        figures = [
            _shown(evidence, number)
            for evidence, number in bounded_first
            if number or evidence.sign
        ]
        link = f"[{entry.claim.statement}]({Path(entry.claim.chapter).name})"
        verdict = entry.verdict if entry.verdict == "not yet measured" else f"**{entry.verdict}**"
        rows.append((entry.claim.id, verdict, link, "<br>".join(figures) or "-"))
    return markdown_table(("id", "verdict", "claim", "measured, **required**"), rows)


def _shown(evidence: Evidence, number: Interval | None) -> str:
    """A figure of the table, such as "`cos_to_clean` purified, lowest layer: 0.870, **> 0.85**"."""
    named = evidence.pick.columns()
    quantity = named.pop("quantity")
    words = ", ".join(_in_words(name, value) for name, value in named.items())
    required = f", **{evidence.required}**" if evidence.sign else ""
    return f"{f'`{quantity}` {words}'.strip()}: {show(number, percent=False)}{required}"


def _in_words(column: str, value: Any) -> str:
    """One column of a pick in words, such as "lowest layer", "held-out seeds" or "rank 16"."""
    if column == "seeds":
        return f"{value.replace(' ', '-')} seeds"
    if value in ("lowest", "highest"):
        return f"{value} layer"
    return (
        f"{column.replace('_', ' ')} {value}"
        if column in ABSCISSAE and column != "threat"
        else f"{value}"
    )


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
