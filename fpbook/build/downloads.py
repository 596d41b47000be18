"""All published results to take away: the files, and tables of them for spreadsheets."""

import shutil
from pathlib import Path

import pandas as pd

from fpbook.results.files import LEDGER, folder
from fpbook.results.store import load
from fpbook.results.tables import markdown_table


def copy_results(target: Path) -> None:
    """Copy each published JSON file into a folder, with its tables as CSV.

    `NAME.csv` has a row for each mean with its interval, `NAME-seeds.csv` one for each seed, where
    seeds were kept. A file that cannot be read as a result is copied as it is.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder().glob("*.json")):
        shutil.copy(path, target)
        for name, table in tables(path.stem).items():
            table.to_csv(target / f"{name}.csv", index=False, lineterminator="\n")


def tables(name: str) -> dict[str, pd.DataFrame]:
    """The tables of a result, by the names of their files; none if it is no readable result."""
    if name == LEDGER:
        return {}
    try:
        found = load(name)
    except ValueError:  # of another edition, say
        return {}
    if found is None:
        return {}
    kept = {name: found.summary, f"{name}-seeds": found.records}
    return {name: table.dropna(axis=1, how="all") for name, table in kept.items() if len(table)}


def results_table() -> str:
    """A Markdown table of the files that `copy_results` writes, with what each result is of."""
    rows = []
    for path in sorted(folder().glob("*.json")):
        name = path.stem
        links = [_link(f"{name}.json", "JSON")]
        for table in tables(name):
            links.append(_link(f"{table}.csv", "each seed" if table != name else "means"))
        rows.append((f"`{name}`", _setting(name), ", ".join(links)))
    if not rows:
        return "*No results are published in this copy of the book.*"
    return markdown_table(("result", "of", "files"), rows)


def _setting(name: str) -> str:
    if name == LEDGER:
        return "[the claims ledger](../chapters/claims)"
    try:
        found = load(name)
    except ValueError:
        return "a file that this edition cannot read: `python -m fpbook convert` may convert it"
    source = found.provenance if found else {}
    return f"{source.get('setting', source.get('profile', ''))}; {source.get('date', '')}"


def _link(file: str, words: str) -> str:
    return f'<a href="../results/{file}" download>{words}</a>'
