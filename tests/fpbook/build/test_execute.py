"""Executing: what runs again and what does not, what is refused before any work, how it fails."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fpbook.__main__ import COMMANDS, main
from fpbook.build import chapters, validate
from fpbook.build import execute as book
from fpbook.build.chapters import BookError
from fpcore import images

pytestmark = pytest.mark.filterwarnings("ignore")  # of papermill and the Jupyter clients, not ours
QUICK = {"profile": "quick", "device": "cpu", "seed": 0}
PARAMETERS = 'profile: str = "quick"\ndevice: str = "auto"\nseed: int = 0'


def write_notebook(path, *cells, checked="print(f'{2 / 3 + seed:.2f}')"):
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# A chapter"),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            *map(new_code_cell, cells),
            new_code_cell(checked, metadata={"tags": ["nbval-check-output"]}),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, path)


@pytest.fixture
def root(tmp_path):
    """A book of one chapter."""
    (tmp_path / "chapters").mkdir()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: chapters/one\n")
    write_notebook(tmp_path / "chapters" / "one.ipynb")
    return tmp_path


def test_real_book_lists_every_notebook_once():
    found = chapters.chapters()
    assert {n.name for n in found} == {n.name for n in (book.ROOT / "chapters").glob("*.ipynb")}
    assert len(found) == len(set(found)) >= 6


@pytest.mark.parametrize("notebook", chapters.chapters(), ids=lambda n: n.stem)
def test_committed_notebooks_are_clean_and_parametrised(notebook):
    content = nbformat.read(notebook, 4)
    nbformat.validate(content)
    code = [c for c in content.cells if c.cell_type == "code"]
    assert all(c.execution_count is None and not c.outputs for c in code), (
        f"{notebook.name}: nbstripout {notebook}"
    )
    assert content.metadata["kernelspec"] == chapters.KERNEL
    chapters.check_parameters(notebook, QUICK)
    assert any("nbval-check-output" in c.metadata.get("tags", []) for c in code)


def test_execute_skips_what_is_unchanged_and_repeats_what_is_not(root):
    (output,) = book.execute(QUICK, root=root)
    first = output.stat().st_mtime_ns
    book.execute(QUICK, root=root)
    assert output.stat().st_mtime_ns == first
    book.execute(QUICK | {"seed": 1}, root=root)
    assert output.stat().st_mtime_ns != first
    assert "1.67" in output.read_text()
    second = output.stat().st_mtime_ns
    write_notebook(root / "chapters" / "one.ipynb", "x = 1")
    book.execute(QUICK | {"seed": 1}, root=root)
    assert output.stat().st_mtime_ns != second


def test_key_follows_the_packages_code_and_the_results_that_a_chapter_reads(root, monkeypatch):
    chapter = root / "chapters" / "one.ipynb"
    monkeypatch.setattr(book, "ROOT", root)
    monkeypatch.setenv("FPCORE_RESULTS", str(root / "results"))
    for folder in ("fpcore", "results"):
        (root / folder).mkdir()

    def changes(file, text):
        before = book.chapter_key(chapter, QUICK)
        (root / file).write_text(text)
        return book.chapter_key(chapter, QUICK) != before

    write_notebook(chapter, 'fp.published("synthetic"), fp.published_networks("cpu")')
    assert changes("fpcore/models.py", "x = 1") and changes("fpcore/models.py", "x = 2")
    assert changes("results/synthetic.json", "{}") and changes(
        "results/cifar10-seed0.safetensors", "weights"
    )
    assert not changes("results/limits.json", "{}")
    write_notebook(chapter, "fp.claims()")
    assert changes("results/limits.json", "{ }")


def test_a_chapter_that_publishes_is_not_executed_again_for_it(root, monkeypatch):
    monkeypatch.setenv("FPCORE_RESULTS", str(root / "results"))
    (root / "results").mkdir()
    write_notebook(
        root / "chapters" / "one.ipynb",
        'open("../results/one.json", "w").write(str(seed)); name = "one"',
    )
    (output,) = book.execute(QUICK, root=root)
    first = output.stat().st_mtime_ns
    assert (root / "results" / "one.json").read_text() == "0"
    book.execute(QUICK, root=root)
    assert output.stat().st_mtime_ns == first
    (root / "results" / "one.json").write_text("1")
    book.execute(QUICK, root=root)
    assert output.stat().st_mtime_ns != first


def test_key_follows_data(root, tmp_path, monkeypatch):
    chapter = root / "chapters" / "one.ipynb"
    write_notebook(chapter, "# load_cifar10")
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("FPCORE_DATA", str(data))
    without = book.chapter_key(chapter, QUICK)
    (data / images.PARQUET.format(split="train")).write_bytes(b"images")
    with_data = book.chapter_key(chapter, QUICK)
    (data / images.PARQUET.format(split="train")).write_bytes(b"other images")
    assert len({without, with_data, book.chapter_key(chapter, QUICK)}) == 3


def test_validate_passes_on_the_very_notebook_and_fails_on_one_changed_number(root):
    (output,) = book.execute(QUICK, root=root)
    validate.validate([output])
    notebook = nbformat.read(output, 4)
    assert notebook.cells[-1].outputs[0].text == "0.67\n"
    notebook.cells[-1].outputs[0].text = "0.68\n"
    nbformat.write(notebook, output)
    with pytest.raises(BookError, match="differs"):
        validate.validate([output])


def test_validate_fails_when_the_notebook_computes_something_else(root):
    (output,) = book.execute(QUICK, root=root)
    notebook = nbformat.read(output, 4)
    notebook.cells[-1].source = "print(f'{3 / 4:.2f}')"
    nbformat.write(notebook, output)
    with pytest.raises(BookError, match="differs"):
        validate.validate([output])


def test_stripped_unexecuted_or_unchecked_notebooks_are_errors(root):
    (output,) = book.execute(QUICK, root=root)
    good = nbformat.read(output, 4)

    stripped = nbformat.from_dict(good)
    for cell in stripped.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
    nbformat.write(stripped, output)
    with pytest.raises(BookError, match="not executed"):
        validate.validate([output])

    book.execute(QUICK | {"seed": 2}, root=root)
    unchecked = nbformat.read(output, 4)
    unchecked.cells[-1].metadata["tags"] = []
    nbformat.write(unchecked, output)
    with pytest.raises(BookError, match="nothing would be compared"):
        validate.validate([output])

    output.unlink()
    with pytest.raises(BookError, match="make book"):
        validate.validate([output])


def test_a_failing_chapter_is_an_error_and_leaves_the_old_one(root):
    (output,) = book.execute(QUICK, root=root)
    before = output.read_bytes()
    write_notebook(root / "chapters" / "one.ipynb", "raise RuntimeError('broken cell')")
    with pytest.raises(BookError, match="broken cell"):
        book.execute(QUICK, root=root)
    assert output.read_bytes() == before


def test_a_chapter_saved_with_another_kernel_runs_in_the_kernel_of_this_environment(root):
    chapter = root / "chapters" / "one.ipynb"
    write_notebook(chapter, "import sys; print(sys.executable)")
    notebook = nbformat.read(chapter, 4)
    for kernelspec in ({"name": "fpenv", "display_name": "My environment"}, None):
        notebook.metadata.pop("kernelspec", None)
        if kernelspec:
            notebook.metadata["kernelspec"] = kernelspec
        nbformat.write(notebook, chapter)
        (output,) = book.execute(QUICK, root=root)
        result = nbformat.read(output, 4)
        assert result.metadata["kernelspec"] == chapters.KERNEL
        assert sys.executable in output.read_text()
        output.unlink()


def test_without_a_kernel_the_error_names_the_chapter_and_what_to_install(root, monkeypatch):
    monkeypatch.setattr(book, "KERNEL", chapters.KERNEL | {"name": "fpenv"})
    with pytest.raises(BookError, match=r"one\.ipynb needs .* 'fpenv', .*pip install ipykernel"):
        book.execute(QUICK, root=root)


def test_a_kernel_that_dies_is_an_error_that_names_the_chapter_and_the_way_out(root):
    write_notebook(root / "chapters" / "one.ipynb", "import os, signal; os.kill(os.getpid(), 9)")
    with pytest.raises(
        BookError, match=r"one\.ipynb lost its kernel .*memory.*same command"
    ) as died:
        book.execute(QUICK, root=root)
    partial = root / "_build" / "executed" / "quick" / "chapters" / ".partial-one.ipynb"
    assert str(partial) in str(died.value) and partial.exists()
    assert not chapters.executed(root / "chapters" / "one.ipynb", "quick", root).exists()


def test_a_cell_that_takes_too_long_is_an_error_that_names_the_chapter(root, monkeypatch):
    monkeypatch.setattr(book, "CELL_TIMEOUT", 1)
    write_notebook(root / "chapters" / "one.ipynb", "import time; time.sleep(60)")
    with pytest.raises(BookError, match=r"one\.ipynb: a cell took over"):
        book.execute(QUICK, root=root)


def test_killed_half_way_then_run_again_gives_the_same_book(root):
    slow = "import time; time.sleep(0 if __import__('os').environ.get('FAST') else 60)"
    write_notebook(root / "chapters" / "one.ipynb", slow)
    code = (
        "from pathlib import Path; from fpbook.build.execute import execute; "
        f"execute({QUICK!r}, root=Path({str(root)!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True
    )
    partial = root / "_build" / "executed" / "quick" / "chapters" / ".partial-one.ipynb"
    deadline = time.monotonic() + 60
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert partial.exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    output = chapters.executed(root / "chapters" / "one.ipynb", "quick", root)
    assert not output.exists()
    os.environ["FAST"] = "1"
    try:
        book.execute(QUICK, root=root)
        validate.validate([output])
    finally:
        del os.environ["FAST"]
    assert not partial.exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"profile": "huge"}, "huge.*quick"),
        ({"device": "cuda:99"}, "cuda:99.*auto"),
        ({"seed": -1}, "-1.*at least 0"),
        ({"widht": 3}, "widht.*profile, device, seed"),
        ({"seed": "zero"}, "zero"),
    ],
)
def test_unknown_names_and_values_are_refused_before_any_work(root, given, says):
    with pytest.raises(BookError, match=says):
        book.execute(QUICK | given, root=root)
    assert not (root / "_build").exists()


def test_unknown_chapter_is_refused(root):
    with pytest.raises(BookError, match=r"tow.*one"):
        book.execute(QUICK, only=["tow"], root=root)
    for names in (["tow"], ["intro", "tow"]):
        with pytest.raises(SystemExit, match=r"no chapter \['tow'\]"):
            main(["validate", "--only", *names])


def test_command_line_says_what_is_wrong_in_one_line():
    for arguments, says in (
        (["execute", "--profile", "tiny"], "tiny"),
        (["validate", "--profile", "tiny"], "tiny"),
        (["exceute"], "no command 'exceute': python -m fpbook execute | validate | build | pdf"),
    ):
        command = [sys.executable, "-m", "fpbook", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=chapters.ROOT)
        assert done.returncode != 0
        assert says in done.stderr and done.stderr.count("\n") == 1


def test_the_list_of_commands_is_the_commands(capsys):
    main([])
    listed = re.findall(r"^python -m fpbook (\w+) ", capsys.readouterr().out, re.M)
    assert listed == [*COMMANDS]


@pytest.mark.parametrize("name", ["one", "one.ipynb", "chapters/one.ipynb"])
def test_a_chapter_goes_by_its_name_and_by_its_path(name, root):
    assert chapters.chosen([name], root) == [root / "chapters" / "one.ipynb"]


def test_a_page_of_the_contents_without_a_file_is_named(root):
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: chapters/one\nchapters:\n  - file: chapters/two\n"
    )
    with pytest.raises(BookError, match=r"_toc.yml lists \['chapters/two'\]"):
        chapters.chapters(root)


def test_a_notebook_without_parameters_says_how_to_have_them(root):
    notebook = root / "chapters" / "one.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), notebook)
    with pytest.raises(BookError, match="tag a cell `parameters` that sets profile, device, seed"):
        book.execute(QUICK, root=root)


def test_a_value_that_cannot_be_read_is_an_error_of_one_line():
    with pytest.raises(
        SystemExit, match=r"^-p seed \[: not a value \(.*\); quote it as YAML does$"
    ):
        main(["execute", "-p", "seed", "["])


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(book, "execute", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(["execute"])
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "\nstopped; the same command goes on where it was\n"


def test_recorded_key_of_a_broken_file_is_none(tmp_path):
    path = tmp_path / "n.ipynb"
    assert book.recorded_key(path) is None
    path.write_text(json.dumps({"metadata": {}})[:-3])
    assert book.recorded_key(path) is None
