"""The chapters as text: each opens and closes alike, and its figures and links follow the rules."""

import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import nbformat
import pytest
import yaml

from fpbook.build import chapters as book
from fpbook.build import pages
from fpbook.results import number, published
from fpbook.synthetic.protocol import SYNTHETIC

APART = {
    "chapters/intro",
    "chapters/claims",
    "chapters/references",
}  # the opening page, the ledger, the bibliography
CHAPTERS = [
    file for file in pages.table_of_contents() if file.startswith("chapters/") and file not in APART
]

LANGUAGE = {  # what JupyterLab writes about the kernel
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
    "version": "3.11.7",
}


@pytest.fixture(scope="module")
def notebooks():
    return {path: nbformat.read(path, 4) for path in book.chapters()}


@pytest.mark.parametrize("file", CHAPTERS)
def test_a_chapter_says_what_it_shows_and_closes_with_summary_exercises_next_and_sources(
    file, notebooks
):
    text = pages.markdown(file, notebooks)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    assert re.match(r"# .+\n\n\*\*What this chapter shows\.\*\* ", text)
    assert headings[-2:] == ["Summary", "Exercises"]
    assert re.search(
        r"^\*\*Next:\*\* .*\*\*Sources:\*\* ", text.split("## Exercises")[1], re.M | re.S
    )
    exercises = re.findall(r"^:{3,}\{exercise\}.*\n:label: (\S+)", text, re.M)
    hidden = re.findall(r"^:{3,}\{solution(?:-start)?\} (\S+)\n:class: dropdown", text, re.M)
    assert exercises and hidden == exercises


def test_what_is_committed_is_what_the_hook_leaves_of_a_notebook_that_was_run(tmp_path):
    (local,) = yaml.safe_load((book.ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (entry,) = [hook["entry"] for hook in local["hooks"] if hook["id"] == "notebooks"]
    _, *options = shlex.split(entry)
    copies = [tmp_path / path.name for path in book.chapters()]
    for path, copy in zip(book.chapters(), copies):
        notebook = nbformat.read(path, 4)
        notebook.metadata["language_info"] |= LANGUAGE
        notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
        for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
            cell.execution_count, cell.outputs = (
                1,
                [nbformat.v4.new_output("stream", text="an output")],
            )
            cell.metadata["execution"] = {"shell.execute_reply": "2026-01-01T00:00:00Z"}
        nbformat.write(notebook, copy)
    subprocess.run([Path(sys.executable).with_name("nbstripout"), *options, *copies], check=True)
    for path, copy in zip(book.chapters(), copies):
        assert nbformat.read(copy, 4) == nbformat.read(path, 4), path.name


def test_no_folder_of_tests_is_passed_over(pytestconfig):
    passed_over = pytestconfig.getini("norecursedirs")
    for path in (book.ROOT / "tests").rglob("test_*.py"):
        folders = path.relative_to(book.ROOT).parts[:-1]
        assert not any(fnmatch(name, one) for name in folders for one in passed_over), path


def workflow_jobs():
    return yaml.safe_load((book.ROOT / ".github" / "workflows" / "book.yml").read_text())["jobs"]


def test_workflows_run_what_the_makefile_and_continuous_integration_run():
    jobs = workflow_jobs()
    commands = {
        name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()
    }
    audits = "make audit sbom"
    assert commands == {
        "quick": [".ci/run", audits],
        "torch": ["make torch TORCH=${{ matrix.torch }} VISION=${{ matrix.vision }}"],
        "full": ["make gpu", "make full", audits],
    }
    assert {"self-hosted", "gpu"} <= set(jobs["full"]["runs-on"])


def test_the_torch_of_the_book_is_between_those_that_are_tested_and_the_oldest_is_the_floor():
    oldest, newest = workflow_jobs()["torch"]["strategy"]["matrix"]["include"]
    for name, key in (("torch", "torch"), ("torchvision", "vision")):
        floor = re.search(rf'"{name}>=([\d.]+)"', (book.ROOT / "pyproject.toml").read_text())[1]
        pin = re.search(rf"^{name}==(.+)$", (book.ROOT / "requirements.txt").read_text(), re.M)[1]
        assert oldest[key] == f"{floor}.0"
        assert numbers(floor) <= numbers(pin) <= numbers(newest[key])
        makefile = (book.ROOT / "Makefile").read_text()
        assert re.search(rf"^{key.upper()} +\?= (.+)$", makefile, re.M)[1] == oldest[key]
        trust = (book.ROOT / "pages" / "trust.md").read_text()
        assert f"{name} {oldest[key]}" in trust and f"{name} {newest[key]}" in trust


def numbers(version):
    return [int(part) for part in version.split(".")]


def test_the_page_on_how_to_run_it_names_the_repository():
    url = yaml.safe_load((book.ROOT / "_config.yml").read_text())["repository"]["url"]
    assert url in (book.ROOT / "pages" / "how-to-read.md").read_text()


def test_the_readme_shows_the_published_headline():
    found, text = published("synthetic"), (book.ROOT / "README.md").read_text()
    assert (
        f"({SYNTHETIC['full'].d:,} of them" in text
        and len(found.provenance["seeds"]) == 5
        and "five seeds" in text
    )
    table = [row.strip("| ").split(" | ")[1:] for row in re.findall(r"^\| clean.*$", text, re.M)]
    kinds = ("clean_accuracy", "robust_accuracy", "certified_accuracy")
    figures = [
        [f"{number(found.summary, kind, network).value:.1%}" for kind in kinds]
        for network in ("clean", "control", "purified")
    ]
    assert table == figures
