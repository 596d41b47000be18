"""Two lanes: which chapters are in which, whose threads are whose, what a failure says."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from fpbook.build import chapters, execute, lanes
from fpbook.build.chapters import BookError


def test_chapters_that_share_trainings_are_in_one_lane_and_none_is_lost():
    book = chapters.chapters()
    synthetic, others = lanes.lanes_of(book)
    assert sorted([*synthetic, *others]) == sorted(book)
    assert {path.stem for path in synthetic} >= {"clean-training", "certificate", "scaling", "ntk"}
    assert {path.stem for path in others} >= {"cifar10", "cifar10-layers", "your-own-networks"}
    assert others == [path for path in book if path in others]  # in the book's order


def test_chapters_of_one_kind_are_one_lane():
    book = [path for path in chapters.chapters() if path.stem in ("sparse-coding", "cifar10")]
    assert lanes.lanes_of(book) == [book]


def test_a_lane_has_its_share_of_the_cores_unless_told(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    lanes.share_threads()
    assert os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    lanes.share_threads()
    assert os.environ["OMP_NUM_THREADS"] == "5"


def leave_a_mark(chapter: Path) -> str | None:
    """What a lane does in these tests: as the chapter's name says."""
    if "slow" in chapter.stem:
        while len(list(chapter.parent.glob("*.done"))) < 3:  # the others are done meanwhile
            time.sleep(0.01)
    if "fails" in chapter.stem:
        raise BookError(f"{chapter.stem} failed")
    if "dies" in chapter.stem:
        os.kill(os.getpid(), signal.SIGKILL)
    chapter.with_name(f"{chapter.stem} {os.getpid()}.done").touch()
    return f"{chapter.stem}: done"


def marks(folder: Path) -> dict[str, str]:
    """Which process did which chapter."""
    return dict(path.stem.split() for path in folder.glob("*.done"))


def test_a_lane_that_has_ended_takes_the_last_chapters_of_the_other(tmp_path, capsys):
    first, second = [tmp_path / name for name in ("slow", "b", "c")], [tmp_path / "d"]
    lanes.work_in_lanes([first, second], leave_a_mark)
    by = marks(tmp_path)
    assert by["b"] == by["c"] == by["d"] != by["slow"] != str(os.getpid())
    assert "slow: done" in capsys.readouterr().out


def test_one_lane_works_in_this_process(tmp_path):
    lanes.work_in_lanes([[tmp_path / "a", tmp_path / "b"]], leave_a_mark)
    assert marks(tmp_path) == {"a": str(os.getpid()), "b": str(os.getpid())}


def test_a_chapter_that_fails_is_named_when_the_others_are_done(tmp_path, capsys):
    with pytest.raises(BookError, match=r"^not executed, as said above: fails$"):
        lanes.work_in_lanes([[tmp_path / "fails", tmp_path / "b"], [tmp_path / "c"]], leave_a_mark)
    assert {*marks(tmp_path)} == {"b", "c"}
    assert "fails failed" in capsys.readouterr().out


def test_a_process_that_dies_loses_its_chapter_alone(tmp_path, capsys):
    with pytest.raises(BookError, match=r"^not executed, as said above: dies$"):
        lanes.work_in_lanes([[tmp_path / "dies", tmp_path / "b"], [tmp_path / "c"]], leave_a_mark)
    assert {*marks(tmp_path)} == {"b", "c"}
    assert "dies: the process that executed it ended (exit status -9)" in capsys.readouterr().out


def test_when_all_processes_die_each_chapter_that_is_left_is_named(tmp_path):
    book = [[tmp_path / "dies", tmp_path / "b"], [tmp_path / "dies2", tmp_path / "c"]]
    with pytest.raises(BookError) as caught:
        lanes.work_in_lanes(book, leave_a_mark)
    assert all(name in str(caught.value) for name in ("dies", "dies2"))
    assert set(re.findall(r"\w+", str(caught.value).split(":")[1])) == {"dies", "dies2", "b", "c"}


@pytest.mark.filterwarnings("ignore")  # of papermill and the Jupyter clients, not ours
def test_chapters_of_both_kinds_are_executed_and_a_failure_stops_no_other(
    root, quick, write_notebook, capsys
):
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: chapters/one\nchapters:\n"
        "- file: chapters/two\n- file: chapters/three\n"
    )
    write_notebook(root / "chapters" / "two.ipynb", "# run_synthetic", "1 / 0")
    write_notebook(root / "chapters" / "three.ipynb", "# run_synthetic")
    with pytest.raises(BookError, match=r"^not executed, as said above: two$"):
        execute.execute(quick, root=root)
    assert "two.ipynb failed" in (said := capsys.readouterr().out) and "ZeroDivisionError" in said
    write_notebook(root / "chapters" / "two.ipynb", "# run_synthetic")
    outputs = execute.execute(quick, root=root)
    assert [path.stem for path in outputs] == ["one", "two", "three"]
    assert all("0.67" in path.read_text() for path in outputs)
    assert capsys.readouterr().out.count("unchanged since it was executed") == 2
