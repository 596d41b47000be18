"""The how-to pages: their code runs, from top to bottom, and prints what the text says."""

import re

import pytest
import torch

from fpbook.results.files import ROOT
from fpcore import alerts

PAGES = sorted((ROOT / "pages" / "how-to").glob("*.md"))


def executed(page, folder, patch):
    """What the code of a page defines, executed block by block in an empty folder."""
    names = {}
    patch.chdir(folder)
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    with torch.random.fork_rng():
        names = executed(page, tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    assert names and printed and "nan" not in printed.lower()
    if page.stem == "add-a-layer-type":
        assert "left out: {'0.table': 48}" in printed
        assert "['0.gate', '0.value', '1']" in printed
    if page.stem == "attack-your-model":
        after_pgd, worst = re.findall(r"(?:after PGD|worst of all) +([\d.]+)", printed)
        assert float(worst) <= float(after_pgd) < 1
    if page.stem == "report":
        assert "['report.html', 'report.json']" in printed


def test_every_page_is_listed_and_there_is_one_for_each_task():
    stems = {page.stem for page in PAGES}
    assert stems >= {"report", "attack-your-model", "decompose-by-hand", "add-a-layer-type"}
    contents = (ROOT / "_toc.yml").read_text()
    assert all(f"pages/how-to/{stem}" in contents for stem in stems)


def test_every_warning_of_an_evaluation_has_its_section():
    text = (ROOT / f"{alerts.PAGE}.md").read_text()
    kinds = [kind for kind in vars(alerts).values() if isinstance(kind, type)]
    assert len(kinds) >= 9
    for kind in kinds:
        if kind is not alerts.EvaluationWarning:
            assert f"\n## {kind.__name__}\n" in text, kind
