"""Executing: what runs again and what does not, what is refused first, how it fails."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from counting import count
from jupyter_client.manager import AsyncKernelManager

from fpbook.build import chapters, kernels, validate
from fpbook.build import execute as book
from fpbook.build.chapters import BookError
from fpcore import images

DRIVERS = int(os.environ.get("FPCORE_FAULTS", "0")) // 20  # killed at random moments
pytestmark = pytest.mark.filterwarnings("ignore")  # of papermill and the Jupyter clients, not ours


def test_execute_skips_what_is_unchanged_and_repeats_what_is_not(root, quick, write_notebook):
    (output,) = book.execute(quick, root=root)
    first = output.stat().st_mtime_ns
    book.execute(quick, root=root)
    assert output.stat().st_mtime_ns == first
    book.execute(quick | {"seed": 1}, root=root)
    assert output.stat().st_mtime_ns != first
    assert "1.67" in output.read_text()
    second = output.stat().st_mtime_ns
    write_notebook(root / "chapters" / "one.ipynb", "x = 1")
    book.execute(quick | {"seed": 1}, root=root)
    assert output.stat().st_mtime_ns != second


def test_key_follows_the_packages_code_and_the_results_that_a_chapter_reads(
    root, monkeypatch, quick, write_notebook
):
    chapter = root / "chapters" / "one.ipynb"
    monkeypatch.setattr(book, "ROOT", root)
    monkeypatch.setenv("FPCORE_RESULTS", str(root / "results"))
    for folder in ("fpcore", "results"):
        (root / folder).mkdir()

    def changes(file, text):
        before = book.chapter_key(chapter, quick)
        (root / file).write_text(text)
        return book.chapter_key(chapter, quick) != before

    cell = 'from fpcore.models import x\npublished("synthetic"), published_networks("cpu")'
    write_notebook(chapter, cell)
    assert changes("fpcore/models.py", "x = 1") and changes("fpcore/models.py", "x = 2")
    assert not changes("fpcore/models.py", "x = 2  # a comment")
    assert not changes("fpcore/attacks.py", "x = 3")  # which it does not import
    assert changes("results/synthetic.json", "{}") and changes(
        "results/cifar10-seed0.safetensors", "weights"
    )
    assert not changes("results/limits.json", "{}")
    write_notebook(chapter, "claims()")
    assert changes("results/limits.json", "{ }")


def test_a_chapter_that_publishes_is_not_executed_again_for_it(
    root, monkeypatch, quick, write_notebook
):
    monkeypatch.setenv("FPCORE_RESULTS", str(root / "results"))
    (root / "results").mkdir()
    write_notebook(
        root / "chapters" / "one.ipynb",
        'open("../results/one.json", "w").write(str(seed)); name = "one"',
    )
    (output,) = book.execute(quick, root=root)
    first = output.stat().st_mtime_ns
    assert (root / "results" / "one.json").read_text() == "0"
    book.execute(quick, root=root)
    assert output.stat().st_mtime_ns == first
    (root / "results" / "one.json").write_text("1")
    book.execute(quick, root=root)
    assert output.stat().st_mtime_ns != first


def test_key_follows_data(root, tmp_path, monkeypatch, quick, write_notebook):
    chapter = root / "chapters" / "one.ipynb"
    write_notebook(chapter, "# load_cifar10")
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("FPCORE_DATA", str(data))
    without = book.chapter_key(chapter, quick)
    (data / images.PARQUET.format(split="train")).write_bytes(b"images")
    with_data = book.chapter_key(chapter, quick)
    (data / images.PARQUET.format(split="train")).write_bytes(b"other images")
    assert len({without, with_data, book.chapter_key(chapter, quick)}) == 3


def test_a_failing_chapter_is_an_error_and_leaves_the_old_one(root, quick, write_notebook):
    (output,) = book.execute(quick, root=root)
    before = output.read_bytes()
    write_notebook(root / "chapters" / "one.ipynb", "raise RuntimeError('broken cell')")
    with pytest.raises(BookError, match="broken cell"):
        book.execute(quick, root=root)
    assert output.read_bytes() == before


def test_a_figure_that_lacks_letters_is_an_error(root, quick, write_notebook):
    told = "findfont: Font family ['STIXGeneral'] not found. Falling back to DejaVu Sans."
    write_notebook(root / "chapters" / "one.ipynb", f"import sys; print({told!r}, file=sys.stderr)")
    with pytest.raises(BookError, match=r"one\.ipynb: findfont: .*install matplotlib anew"):
        book.execute(quick, root=root)


def test_kernels_have_a_list_of_fonts_of_their_own(root, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", "/somebody/else's")
    chapters.hand_down_fonts(root)
    (found,) = (root / "_build" / "matplotlib").glob("fontlist-*.json")
    listed = json.loads(found.read_text())["ttflist"]
    assert {"STIXGeneral", "DejaVu Sans"} <= {font["name"] for font in listed}


def kernel_that_ends(folder):
    """A folder for $JUPYTER_PATH, in which the kernel of our name ends as it starts."""
    spec = folder / "kernels" / kernels.KERNEL["name"] / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [sys.executable, "-c", "raise SystemExit('no kernel')", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Mine", "language": "julia"}))
    return str(folder)


def test_a_chapter_saved_with_another_kernel_runs_in_the_kernel_of_this_environment(
    root, quick, write_notebook, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("JUPYTER_PATH", kernel_that_ends(tmp_path / "jupyter"))
    chapter = root / "chapters" / "one.ipynb"
    write_notebook(chapter, "import sys; print(sys.executable)")
    notebook = nbformat.read(chapter, 4)
    julia = {"name": "julia-1.11", "display_name": "Julia 1.11", "language": "julia"}
    for kernelspec in ({"name": "fpenv", "display_name": "My environment"}, julia, None):
        notebook.metadata.pop("kernelspec", None)
        if kernelspec:
            notebook.metadata["kernelspec"] = kernelspec
        nbformat.write(notebook, chapter)
        (output,) = book.execute(quick, root=root)
        result = nbformat.read(output, 4)
        assert result.metadata["kernelspec"] == kernels.KERNEL
        assert sys.executable in output.read_text()
        output.unlink()
    assert "encryption" not in capfd.readouterr().err  # a warning of each kernel, were there none


def test_a_kernel_that_ends_as_it_starts_is_an_error_that_says_so(
    root, quick, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("JUPYTER_PATH", kernel_that_ends(tmp_path / "jupyter"))
    monkeypatch.setattr(book, "OwnKernel", AsyncKernelManager)
    with pytest.raises(BookError, match=r"one\.ipynb: its kernel ended as it started.*ipykernel"):
        book.execute(quick, root=root)
    assert "no kernel" in capfd.readouterr().err


def test_without_a_kernel_the_error_names_the_chapter_and_what_to_install(root, monkeypatch, quick):
    monkeypatch.setattr(book, "KERNEL", kernels.KERNEL | {"name": "fpenv"})
    with pytest.raises(BookError, match=r"one\.ipynb needs .* 'fpenv', .*pip install ipykernel"):
        book.execute(quick, root=root)


def test_a_kernel_that_dies_is_an_error_that_names_the_chapter_and_the_way_out(
    root, quick, write_notebook
):
    write_notebook(root / "chapters" / "one.ipynb", "import os, signal; os.kill(os.getpid(), 9)")
    with pytest.raises(
        BookError, match=r"one\.ipynb lost its kernel .*memory.*same command"
    ) as died:
        book.execute(quick, root=root)
    partial = root / "_build" / "executed" / "quick" / "chapters" / ".partial-one.ipynb"
    assert str(partial) in str(died.value) and partial.exists()
    assert not chapters.executed(root / "chapters" / "one.ipynb", "quick", root).exists()


def test_a_cell_that_takes_too_long_is_an_error_that_names_the_chapter(
    root, monkeypatch, quick, write_notebook
):
    monkeypatch.setattr(book, "CELL_TIMEOUT", 1)
    write_notebook(root / "chapters" / "one.ipynb", "import time; time.sleep(60)")
    with pytest.raises(BookError, match=r"one\.ipynb: a cell took over"):
        book.execute(quick, root=root)


@pytest.mark.counted
@pytest.mark.skipif(DRIVERS == 0, reason="FPCORE_FAULTS=200 kills drivers at random moments")
def test_killed_at_random_moments_then_run_again_gives_the_same_book(root, quick):
    code = (
        "from pathlib import Path; from fpbook.build.execute import execute; "
        f"execute({quick!r}, root=Path({str(root)!r}))"
    )
    command = [sys.executable, "-c", code]
    began = time.monotonic()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    (output,) = book.execute(quick, root=root)
    expected, rng = _cells(output), random.Random(0)
    for _ in range(DRIVERS):
        output.unlink(missing_ok=True)
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(rng.uniform(0.2, 1) * seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not output.exists() or _cells(output) == expected
    book.execute(quick, root=root)
    assert _cells(output) == expected and not [*root.rglob(".partial-*")]
    count("drivers killed", DRIVERS)


def _cells(output):
    return [
        [entry.get("text") for entry in cell.get("outputs", [])]
        for cell in nbformat.read(output, 4).cells
    ]


def test_killed_half_way_then_run_again_gives_the_same_book(root, quick, write_notebook):
    slow = "import time; time.sleep(0 if __import__('os').environ.get('FAST') else 60)"
    write_notebook(root / "chapters" / "one.ipynb", slow)
    code = (
        "from pathlib import Path; from fpbook.build.execute import execute; "
        f"execute({quick!r}, root=Path({str(root)!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True
    )
    partial = root / "_build" / "executed" / "quick" / "chapters" / ".partial-one.ipynb"
    deadline = time.monotonic() + 300  # on a machine that is busy
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert partial.exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    output = chapters.executed(root / "chapters" / "one.ipynb", "quick", root)
    assert not output.exists()
    os.environ["FAST"] = "1"
    try:
        book.execute(quick, root=root)
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
def test_unknown_names_and_values_are_refused_before_any_work(root, given, says, quick):
    with pytest.raises(BookError, match=says):
        book.execute(quick | given, root=root)
    assert not (root / "_build").exists()


def test_recorded_key_of_a_broken_file_is_none(tmp_path):
    path = tmp_path / "n.ipynb"
    assert book.recorded_key(path) is None
    path.write_text(json.dumps({"metadata": {}})[:-3])
    assert book.recorded_key(path) is None


@pytest.mark.counted
def test_a_damaged_executed_notebook_is_executed_again_with_a_line(root, quick, capsys):
    (output,) = book.execute(quick, root=root)
    good, rng = output.read_bytes(), random.Random(0)
    for _ in range(100):
        place, changed = rng.randrange(8 * len(good)), bytearray(good)
        changed[place // 8] ^= 1 << place % 8
        output.write_bytes(bytes(changed))
        assert book.recorded_key(output) is None
    count("flipped bits", 100)
    assert f"{output} is damaged" in capsys.readouterr().out
    book.execute(quick, root=root)
    assert book.recorded_key(output) and nbformat.read(output, 4).cells[-1].outputs


def test_of_two_runs_at_once_one_waits_and_finds_the_chapter_unchanged(root, quick, write_notebook):
    count = root / "count"
    write_notebook(
        root / "chapters" / "one.ipynb",
        f"import time; time.sleep(1.5); print('once', file=open({str(count)!r}, 'a'))",
    )
    code = (
        "from pathlib import Path; from fpbook.build.execute import execute; "
        f"execute({quick!r}, root=Path({str(root)!r}))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert count.read_text() == "once\n"
    assert sum("waiting: another process executes one (quick)" in text for text in said) <= 1
    assert not [*root.rglob(".partial-*")]
