"""How measured numbers are shown: as text, in tables, this run's beside the published ones."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from fpbook.results.columns import rows
from fpbook.results.intervals import Interval
from fpbook.results.quantities import PERCENT
from fpbook.results.store import Published, published
from fpbook.results.summaries import Pick


def show(number: Interval | None, percent: bool = True) -> str:
    """An interval as text: "98.2% [97.9%, 98.5%]"; "98.2%" if all seeds agree, "-" for none.

    In its unit: fractions in percent, unless `percent` is False, counts as whole numbers.
    """
    if number is None:
        return "-"
    form = _form(number, percent)
    text = form.format(number.value)
    low, high = number.ends
    return text if high - low < 1e-9 else f"{text} [{form.format(low)}, {form.format(high)}]"


def _form(number: Interval, percent: bool) -> str:
    if number.unit == PERCENT and percent:
        return "{:.1%}"
    counted = number.unit in ("pairs", "steps") and all(
        one.is_integer() for one in (number.value, *number.ends)
    )
    return "{:,.0f}" if counted else "{:.3f}"


def markdown_table(heading: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """A Markdown table of text."""
    lines = [heading, ["---"] * len(heading), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def on_click(label: str, text: str) -> str:
    """A long table, or other Markdown, shown on a click."""
    return f"<details>\n<summary>{label}</summary>\n\n{text}\n\n</details>"


def measured_where(result: Published, how: str = "Measured") -> str:
    """When, on what and in which setting a result was measured, as a line in italics."""
    source = result.provenance
    versions = ", ".join(f"{name} {number}" for name, number in source["versions"].items())
    where = f"{source['date']}, commit {source['commit']}, {source['device']}, {versions}"
    return f"*{how} on {where}; {source['setting']}.*"


def beside(name: str, here: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """This run's summary, unless it is empty, and the published one, if it is another: by title.

    For panels side by side.
    """
    found = published(name)
    shown = {"this run": here} if len(here) else {}
    return shown | (
        {"published": found.summary} if found and rows(found.summary) != rows(here) else {}
    )


def comparison(
    name: str, here: pd.DataFrame, picks: Mapping[str, Pick], percent: bool = True
) -> str:
    """A Markdown table: each labelled number as measured in this run, beside the published one.

    name:    of the published result
    here:    this run's summary; it may be empty
    picks:   {label: which number}
    percent: whether fractions are shown in percent

    Rows and columns without a number are left out; if all are, a line says so.
    """
    found = published(name)
    columns = {"this run": _found(here, picks)}
    if found:
        title = found.provenance.get("setting", found.provenance["profile"])
        columns[f"published ({title})"] = _found(found.summary, picks)
    columns = {title: numbers for title, numbers in columns.items() if numbers}
    if not columns:
        return "*Not measured in this profile, and not yet published: a full run does both.*"
    labels = [label for label in picks if any(label in numbers for numbers in columns.values())]
    cells = [
        [label, *(show(numbers.get(label), percent) for numbers in columns.values())]
        for label in labels
    ]
    return markdown_table(("", *columns), cells)


def _found(summary: pd.DataFrame, picks: Mapping[str, Pick]) -> dict[str, Interval]:
    numbers = {label: one.find(summary) for label, one in picks.items()}
    return {label: number for label, number in numbers.items() if number}
