"""The ledger as a page shows it: one card a claim, in HTML that needs no script."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fpbook.results.axis import interval_axis
from fpbook.results.claim import Evidence
from fpbook.results.intervals import Interval
from fpbook.results.ledger import MILD, VERDICTS, Entry, NullTest, verdict_counts
from fpbook.results.words import (
    bound_kind,
    bound_words,
    capitalised,
    figure_words,
    number_words,
)

RULE = (
    "<b>Holds</b>: even the pessimistic end of every interval passes. "
    "<b>Fails</b>: even the optimistic end of one misses. "
    "<b>Undecided</b>: neither, or planned seeds are missing. "
    "<b>Mild</b>: it holds, and would of something that knows nothing of it."
)
MET = {True: "met", False: "missed", None: "open"}
_SHAPES = {  # of each verdict: told apart without colours
    "holds": '<circle cx="10" cy="10" r="9" class="filled"/><path d="M5.5 10.5l3 3 6-7"/>',
    MILD: '<circle cx="10" cy="10" r="8" class="hollow"/><path class="thin" d="M6 10.5l3 3 5-6"/>',
    "undecided": '<path class="filled" d="M10 .5L19.5 10 10 19.5.5 10z"/>'
    '<path d="M6 10h1M9.5 10h1M13 10h1"/>',
    "fails": '<rect x="1" y="1" width="18" height="18" class="filled"/>'
    '<path d="M6 6l8 8M14 6l-8 8"/>',
    "not yet measured": '<circle cx="10" cy="10" r="8" class="hollow dashed"/>',
}


def ledger_cards(entries: Iterable[Entry], data: str = "../results") -> str:
    """All claims as HTML: a strip that counts and filters by verdict, then a card for each.

    entries: the ledger
    data:    the folder of published results, from the page that shows the cards

    A card's id is its claim's, so that `claims.html#T2` leads to it.
    """
    listed = [*entries]
    cards = "\n".join(_card(entry, data) for entry in listed)
    head = f'{_strip(listed)}\n<p class="ledger-rule">{RULE}</p>'
    return f'<div class="ledger">\n{head}\n{cards}\n</div>'


def verdict_badge(verdict: str) -> str:
    """A verdict of VERDICTS in word, colour and shape, as HTML."""
    shape = f'<svg viewBox="0 0 20 20" aria-hidden="true">{_SHAPES[verdict]}</svg>'
    return f'<span class="verdict {_slug(verdict)}">{shape}{verdict}</span>'


def _slug(verdict: str) -> str:
    return verdict.replace(",", "").replace(" ", "-")


def _strip(entries: Sequence[Entry]) -> str:
    """How many claims have each verdict; as many radio buttons, which show those alone."""
    counts = verdict_counts(entries)
    chosen = [("all", f"all {len(entries)}")]
    chosen += [(_slug(v), f"{verdict_badge(v)} {counts[v]}") for v in VERDICTS if v in counts]
    buttons = "".join(
        f'<label><input type="radio" name="ledger-show" value="{value}"'
        f"{' checked' * (value == 'all')}> {text}</label>"
        for value, text in chosen
    )
    return f'<fieldset class="ledger-strip"><legend>Claims by verdict</legend>{buttons}</fieldset>'


def _card(entry: Entry, data: str) -> str:
    claim = entry.claim
    id, chapter = escape(claim.id), Path(claim.chapter).name
    return (
        f'<article class="claim" id="{id}" data-verdict="{_slug(entry.judged)}">\n'
        f'<h3><a href="#{id}" aria-label="Link to claim {id}">{id}</a> '
        f"{verdict_badge(entry.judged)}</h3>\n"
        f'<p class="plain">{escape(claim.plain or claim.statement)}</p>\n'
        f"{_deciding(entry)}{_seeds_line(entry)}{_null_line(entry)}"
        f"<details><summary>All figures, where they come from, how to make them again"
        f'<span class="hidden-words"> ({id})</span></summary>\n'
        f"<p><b>In the words of {escape(claim.source or 'its source')}:</b> "
        f"{escape(claim.statement)} "
        f'<a href="{chapter}.html">The chapter that measures it</a>.</p>\n'
        f"{_figures(entry)}{_null_tests(entry)}{_notes(claim.notes)}{_recipe(entry)}"
        f"{_provenance(entry, data)}</details>\n</article>"
    )


def _deciding(entry: Entry) -> str:
    """The number that decides, on an axis, and in words."""
    decisive = entry.deciding()
    if decisive is None:
        return "<p>Not yet measured.</p>\n"
    evidence, number = decisive
    scores = {
        test.null.words: score
        for test in entry.nulls
        for one, score in test.scores()
        if one is evidence and score
    }
    axis = interval_axis(evidence, number, scores)
    return f"<figure>{axis}<figcaption>{_figure(evidence, number)}</figcaption></figure>\n"


def _figure(evidence: Evidence, number: Interval | None) -> str:
    """A figure: what it is, its value and interval, of how many, its bound and if that is met."""
    kind = bound_kind(evidence)
    words = escape(capitalised(figure_words(evidence)))
    words += f" <small>({kind})</small>" if kind else ""
    if number is None:
        value = "not yet measured"
    else:
        of = "sizes" if evidence.pick.quantity == "exponent" else "seeds"
        count = f"{number.n} {of}" if number.n > 1 else f"one of {of}" if of == "sizes" else "n = 1"
        value = f"<b>{number_words(number, evidence)}</b> <small>{count}</small>"
    if not evidence.sign:
        return f"<span>{words}</span> <span>{value}</span>"
    says = MET[number.meets(evidence.sign, evidence.bound) if number else None]
    asked = f"required{' as a condition' * evidence.condition}: {bound_words(evidence)}"
    return (
        f"<span>{words}</span> <span>{value}</span> "
        f'<span class="asked {says}">{asked}: {says}</span>'
    )


def _figures(entry: Entry) -> str:
    pairs = [*zip(entry.claim.evidence, entry.numbers)]
    pairs.sort(key=lambda pair: not pair[0].sign)  # those with a bound first
    rows = "".join(
        f"<li>{_figure(evidence, number)} <code>{evidence.pick.quantity}</code></li>"
        for evidence, number in pairs
    )
    return f'<h4>All figures</h4>\n<ul class="figures">{rows}</ul>\n'


def _seeds_line(entry: Entry) -> str:
    """How many seeds are there, while some of those that were planned are missing."""
    if not entry.seeds or not entry.lacks_seeds:
        return ""
    count = f"{entry.seeds} of the {entry.claim.planned} seeds planned"
    return f'<p class="null-line">So far {count}.</p>\n'


def _null_line(entry: Entry) -> str:
    """The null test in one sentence."""
    passing = _listed(test for test in entry.nulls if test.passes)
    missing = _listed(test for test in entry.nulls if test.passes is False)
    if passing:
        text = f"<b>{'Mild' if entry.mild else 'Null test'}:</b> {passing} would pass"
        text += " as well." if entry.mild else "."
    elif missing:
        text = f"<b>Null test:</b> {missing} would not pass."
    elif entry.nulls:
        text = "<b>Null test:</b> not yet measured."
    else:
        return ""
    return f'<p class="null-line">{text}</p>\n'


def _listed(tests: Iterable[NullTest]) -> str:
    words = [escape(test.null.words) for test in tests]
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _null_tests(entry: Entry) -> str:
    if not entry.nulls:
        return ""
    rows = "".join(f"<li>{_null_test(test)}</li>" for test in entry.nulls)
    title = "Null tests: what would something score that knows nothing of it?"
    return f"<h4>{title}</h4>\n<ul>{rows}</ul>\n"


def _null_test(test: NullTest) -> str:
    says = {True: "misses no bound", False: "misses a bound", None: "not measured in full"}
    scores = [
        f"<code>{evidence.pick.quantity}</code> {number_words(score, evidence)} "
        f"({bound_words(evidence)}: {MET[score.meets(evidence.sign, evidence.bound)]})"
        for evidence, score in test.scores()
        if score
    ]
    shown = f": {'; '.join(dict.fromkeys(scores))}" if scores else ""
    return f"<b>{escape(test.null.words)}</b> {says[test.passes]}{shown}."


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    rows = "".join(f"<li>{_coded(note)}</li>" for note in notes)
    return f"<h4>Reading the verdict</h4>\n<ul>{rows}</ul>\n"


def _coded(text: str) -> str:
    """Text as HTML, what stands between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _recipe(entry: Entry) -> str:
    claim, recipe = entry.claim, entry.claim.recipe
    facts = list(recipe.facts) if recipe else []
    if claim.fixed:
        facts.append(("Bounds fixed", claim.fixed))
    command = f"<pre>{escape(recipe.command)}</pre>" if recipe else ""
    listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts)
    if not command and not listed:
        return ""
    return f"<h4>The recipe</h4>\n{command}<dl>{listed}</dl>\n"


def _provenance(entry: Entry, data: str) -> str:
    if not entry.provenance:
        return ""
    rows = "".join(
        f"<li>{_source(source)} Data: "
        + ", ".join(
            f'<a href="{data}/{name}.{kind}" download>{name}.{kind}</a>' for kind in ("json", "csv")
        )
        + "</li>"
        for name, source in entry.provenance.items()
    )
    return f"<h4>Where the figures come from</h4>\n<ul>{rows}</ul>\n"


def _source(source: Mapping[str, Any]) -> str:
    """A provenance in words."""
    versions = ", ".join(f"{name} {number}" for name, number in source["versions"].items())
    parts = [
        source.get("setting", source["profile"]),
        source["device"],
        f"seeds {', '.join(map(str, source['seeds']))}",
        versions,
        f"{source['date']}, commit {source['commit']}",
    ]
    if "amended" in source:
        parts.append(f"amended {source['amended']}")
    return escape("; ".join(parts)) + "."
