"""The commands: what is wrong is said in one line."""

import re
import subprocess
import sys

import pytest

from fpbook.__main__ import COMMANDS, main
from fpbook.build import chapters
from fpbook.build import execute as book

pytestmark = pytest.mark.filterwarnings("ignore")  # of papermill and the Jupyter clients, not ours


def test_command_line_says_what_is_wrong_in_one_line():
    says = "no command 'exceute': python -m fpbook execute | opening | validate | build | pdf"
    command = [sys.executable, "-m", "fpbook", "exceute"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=chapters.ROOT)
    assert done.returncode != 0
    assert says in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["execute", "validate"])
def test_a_wrong_value_is_told_in_one_line(command):
    """In this process: another takes seconds to begin."""
    with pytest.raises(SystemExit, match=r"^[^\n]*tiny[^\n]*$"):
        main([command, "--profile", "tiny"])


def test_the_list_of_commands_is_the_commands(capsys):
    main([])
    listed = re.findall(r"^python -m fpbook ([\w-]+) ", capsys.readouterr().out, re.M)
    assert listed == [*COMMANDS]


def test_a_value_that_cannot_be_read_is_an_error_of_one_line():
    with pytest.raises(
        SystemExit, match=r"^-p seed \[: not a value \(.*\); quote it as YAML does$"
    ):
        main(["execute", "-p", "seed", "["])


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(book, "work_in_lanes", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(["execute"])
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "\nstopped; the same command goes on where it was\n"


def test_without_data_or_results_a_command_ends_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("FPCORE_RESULTS", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match="nowhere is not there: published results are in"):
        main(["evaluation"])
    monkeypatch.delenv("FPCORE_RESULTS")
    monkeypatch.setenv("FPCORE_DATA", str(tmp_path / "nothing"))
    with pytest.raises(SystemExit, match="nothing"):
        main(["evaluation"])
