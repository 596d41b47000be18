"""What pages are made from: statements and measurements, docstrings; when a site is built anew."""

import json
import re

import matplotlib.pyplot as plt
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from fpbook.build import pages, rooms, site
from fpbook.figures.style import describe

STATED = """# One
:::{prf:theorem} First
:label: thm-first
Text.
:::
Measured in: {ref}`right
here <measure-here>`, {ref}`not a measurement <other>`.

:::{prf:lemma} Second
:label: lem-second
:::
## Next
Measured in: {ref}`too late <measure-late>`.
"""
USING = """# Two
{prf:ref}`thm-first` before any target.

(measure-here)=
## Here
By {prf:ref}`lem-second`.

(measure-there)=
## There
By {prf:ref}`thm-first`.
"""


def test_a_statement_is_listed_with_the_sections_that_measure_or_cite_it():
    _, _, first, second = pages.theorems(
        {"chapters/one": STATED, "chapters/two": USING}
    ).splitlines()
    links = "{ref}`right here <measure-here>`; {ref}`measure-there`"
    assert first == f"| {{prf:ref}}`thm-first`: First | [](/chapters/one) | {links} |"
    assert second == "| {prf:ref}`lem-second`: Second | [](/chapters/one) | {ref}`measure-here` |"


def test_every_statement_of_the_book_is_listed():
    texts = {
        file: (rooms.ROOT / f"{file}.md").read_text()
        for file in ("chapters/theory-model", "chapters/theory-purification")
    }
    rows = pages.theorems(texts).splitlines()[2:]
    assert (
        len(rows)
        == sum(
            text.count(f"{{prf:{kind}}}") for text in texts.values() for kind in pages.STATEMENTS
        )
        > 10
    )
    assert sum("<measure-" in row or "<check-" in row for row in rows) > 5


def test_the_status_adds_up():
    source = {
        "profile": "quick",
        "device": "cpu",
        "versions": {"torch": "2"},
        "date": "2026-01-02",
        "commit": "abc",
    }
    text = pages.status({name: {"seconds": 90, "provenance": source} for name in ("one", "two")})
    assert (
        "| [](/chapters/two) | 1.5 | 2026-01-02 | abc |" in text and "together: 3 minutes" in text
    )
    assert text.count("- profile quick, cpu, torch 2\n") == 1


def test_docstrings_are_plain_text_in_which_code_is_marked():
    lines = ["`a_b`: |w| <= w*_j"]
    pages.escape("fpcore.attacks.fgm", lines)
    assert lines == ["``a_b``: \\|w\\| <= w\\*\\_j"]


def test_columns_of_a_docstring_become_a_list():
    lines = [
        "Train.",
        "",
        "lr         step size",
        "low, high  the range,",
        "           in pixels",
        "",
    ]
    pages.escape("fpcore.training.train", lines)
    listed = ["- **lr**: step size", "- **low, high**: the range,", "  in pixels"]
    assert lines == ["Train.", "", *listed]


@pytest.mark.parametrize(
    ("lines", "listed"),
    [
        (
            ["share:  cut,", "        to one", "unit: %"],
            ["- **share**: cut,", "  to one", "- **unit**: %"],
        ),
        (["(1) a = b", "    for all;", "(3) c"], ["- \\(1) a = b", "  for all;", "- \\(3) c"]),
        (["Note: this", "is prose"], ["Note: this", "is prose"]),
    ],
)
def test_arguments_and_equations_become_lists_and_prose_does_not(lines, listed):
    pages.escape("fpcore.training.train", lines)
    assert lines == listed


def test_the_table_of_contents_of_the_package_keeps_its_columns():
    lines = ["Data     SparseCoding   *samples*", "", "Models   TwoLayer"]
    pages.escape("fpcore", lines)
    assert lines[:3] == [".. code-block:: text", "", "  Data     SparseCoding   *samples*"]


def test_the_reference_has_every_module_of_both_packages_once_room_by_room():
    text = pages.reference()
    listed = re.findall(r"^\.\. automodule:: (\S+)$", text, re.M)
    files = [path for name in ("fpcore", "fpbook") for path in (rooms.ROOT / name).rglob("*.py")]
    dotted = {".".join(path.relative_to(rooms.ROOT).with_suffix("").parts) for path in files}
    apart = {"fpcore.moved"}  # which holds no more than errors
    assert sorted(listed) == sorted(n for n in dotted - apart if not n.endswith("__init__"))
    assert re.findall(r"^## (.+)$", text, re.M) == [*rooms.ROOMS]


def test_the_reference_lists_a_module_after_those_of_its_room_that_it_imports():
    for room in rooms.ROOMS:
        listed = rooms.modules(room)
        for i, module in enumerate(listed):
            assert not rooms.imports()[module] & {*listed[i:]}, module


def test_a_figure_is_described_by_what_is_written_in_it():
    figure, axes = plt.subplots(1, 3)
    axes[0].plot([1, 2], label="clean")
    axes[0].legend()
    axes[0].set(title="accuracy", xlabel=r"radius $\tau$")
    axes[1].text(0, 0, "w")
    assert describe(figure) == "Figure: accuracy: values over radius tau: clean; w"
    plt.close(figure)


def test_each_picture_gets_its_text_as_alternative():
    cell = new_code_cell(
        outputs=[new_output("display_data", {"image/png": "", "text/plain": text}) for text in "ab"]
    )
    silent = new_code_cell(outputs=[new_output("display_data", {"text/plain": "c"})])
    site.describe_figures(new_notebook(cells=[cell, silent]))
    assert cell.metadata["mystnb"]["image"]["alt"] == "a; b" and "mystnb" not in silent.metadata


@pytest.fixture
def root(tmp_path):
    """A book of one page, with what npm needs."""
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "one.md").write_text("# One")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: chapters/one\n")
    (tmp_path / "package.json").write_text(
        json.dumps({"dependencies": {"mathjax": "3.2.2", "@jupyter-widgets/html-manager": "1.0"}})
    )
    (tmp_path / "package-lock.json").write_text("{}")
    return tmp_path


def test_the_site_is_built_again_only_when_something_changed(root):
    first = site.site_key("quick", True, root)
    assert site.site_key("quick", True, root) == first
    assert len({first, site.site_key("full", True, root), site.site_key("quick", False, root)}) == 3
    for file in ("chapters/one.md", "package-lock.json"):
        before = site.site_key("quick", True, root)
        (root / file).write_text("{ }")
        assert site.site_key("quick", True, root) != before


def test_without_npm_pages_load_pinned_versions_from_the_cdn_and_say_so(root, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert site.fetch(root) is None
    assert "CDN" in capsys.readouterr().out
    settings = site.scripts(root / "extra", None, root)
    assert settings["mathjax_path"].endswith("/mathjax@3.2.2/es5/tex-svg.js")
    assert next(iter(settings["nb_ipywidgets_js"])).endswith(
        "/@jupyter-widgets/html-manager@1.0/dist/embed.js"
    )


def test_packages_are_fetched_once_for_each_lock_file(root):
    (root / "_build" / "npm").mkdir(parents=True)
    (root / "_build" / "npm" / ".fetched").write_text("{}")
    assert site.fetch(root) == root / "_build" / "npm" / "node_modules"
