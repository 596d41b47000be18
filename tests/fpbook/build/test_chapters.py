"""The chapters: which there are, by what names they go, what they must declare."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from fpbook.__main__ import main
from fpbook.build import chapters, kernels
from fpbook.build import execute as book
from fpbook.build.chapters import BookError
from fpbook.results.store import read_result

pytestmark = pytest.mark.filterwarnings("ignore")  # of papermill and the Jupyter clients, not ours


def test_real_book_lists_every_notebook_once():
    found = chapters.chapters()
    assert {n.name for n in found} == {n.name for n in (chapters.ROOT / "chapters").glob("*.ipynb")}
    assert len(found) == len(set(found)) >= 6


@pytest.mark.parametrize("notebook", chapters.chapters(), ids=lambda n: n.stem)
def test_committed_notebooks_are_clean_and_parametrised(notebook, quick):
    content = nbformat.read(notebook, 4)
    nbformat.validate(content)
    code = [c for c in content.cells if c.cell_type == "code"]
    assert all(c.execution_count is None and not c.outputs for c in code), (
        f"{notebook.name}: nbstripout {notebook}"
    )
    assert content.metadata["kernelspec"] == kernels.KERNEL
    chapters.check_parameters(notebook, quick)
    assert any("nbval-check-output" in c.metadata.get("tags", []) for c in code)


def test_unknown_chapter_is_refused(root, quick):
    with pytest.raises(BookError, match=r"tow.*one"):
        book.execute(quick, only=["tow"], root=root)
    for names in (["tow"], ["intro", "tow"]):
        with pytest.raises(SystemExit, match=r"no chapter \['tow'\]"):
            main(["validate", "--only", *names])


@pytest.mark.parametrize("name", ["one", "one.ipynb", "chapters/one.ipynb"])
def test_a_chapter_goes_by_its_name_and_by_its_path(name, root):
    assert chapters.chosen([name], root) == [root / "chapters" / "one.ipynb"]


def test_a_page_of_the_contents_without_a_file_is_named(root):
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: chapters/one\nchapters:\n  - file: chapters/two\n"
    )
    with pytest.raises(BookError, match=r"_toc.yml lists \['chapters/two'\]"):
        chapters.chapters(root)


def test_a_notebook_without_parameters_says_how_to_have_them(root, quick):
    notebook = root / "chapters" / "one.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), notebook)
    with pytest.raises(BookError, match="tag a cell `parameters` that sets profile, device, seed"):
        book.execute(quick, root=root)


def test_data_that_are_not_there_are_an_error_before_any_work(tmp_path, monkeypatch):
    for name in ("FPCORE_CACHE", "FPCORE_RESULTS"):  # what is handed down is set for good
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("FPCORE_DATA", str(tmp_path / "typo"))
    with pytest.raises(BookError, match=rf"FPCORE_DATA = .*no folder {tmp_path / 'typo'}"):
        chapters.hand_down_folders()
    (tmp_path / "typo").mkdir()
    chapters.hand_down_folders()


def test_results_of_the_first_edition_are_read_from_a_converted_copy(tmp_path, capsys):
    old, where = tmp_path / "old", tmp_path / "build"
    shutil.copytree(Path(__file__).parents[1] / "results" / "first_edition", old)
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    copied = chapters.in_todays_layout(old, where)
    assert copied.parent == where and f"{old} is of the first edition" in capsys.readouterr().err
    path = copied / "synthetic.json"
    assert len(read_result(path.read_bytes(), path).summary) > 20
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    assert chapters.in_todays_layout(copied, where) == copied
    (copied / "later.json").write_text("{}")  # as a full run would publish
    assert chapters.in_todays_layout(old, where) == copied and (copied / "later.json").exists()
