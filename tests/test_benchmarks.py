"""What the report's page says of times is what the benchmark measured."""

import json
import re

import pytest

from fpbook.results.files import ROOT

MEASURED = json.loads((ROOT / "benchmarks" / "report.json").read_text())
PAGE = (ROOT / "pages" / "how-to" / "report.md").read_text()
SECTION = PAGE.split("## How long it takes", 1)[1]


def cells(row):
    """The line of the page's table that speaks of a row."""
    numbers = [f"{row[key]:.0f}" for key in ("wall_s", "cpu_s")]
    numbers += [f"{row[key]:.1f}" for key in ("peak_gb", "load")]
    return [f"`{row['subject']}`", f"`{row['tool']}`", str(row["images"]), *numbers]


def table():
    """The cells of the page's first table of times, without what a subject is in words."""
    lines = re.findall(r"^\| (`\w+-\w+`) \|(.*)\|$", SECTION, re.MULTILINE)
    return [[name, *(cell.strip() for cell in rest.split("|")[1:])] for name, rest in lines]


def test_the_table_is_what_was_measured():
    done = [row for row in MEASURED["rows"] if row["wall_s"] is not None]
    assert done and table() == [cells(row) for row in done]


@pytest.mark.parametrize("package", ["pytorch-cka", "torch"])
def test_the_page_and_the_requirements_name_the_version_that_was_measured(package):
    pinned = (ROOT / "requirements-bench.txt").read_text()
    version = MEASURED["versions"][package].partition("+")[0]
    assert f"{package}=={version}" in pinned.splitlines()
    assert f"{package} {version}" in SECTION or package == "torch"
