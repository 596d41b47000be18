"""The command: a file, a table at the end, failures in one line; again, it goes on."""

import pytest

from fpbook.sweep import command
from fpbook.sweep.tasks import Outcome, Task

SWEEP = """
experiment = "limits"
seeds = [0, 1]
[settings]
d = 40
k = 4
margin = 1.2
width = [40, 80]
clean_steps = 6
adversarial_steps = 9
batch = 32
test_samples = 60
first_threshold = 1.0
"""


@pytest.fixture
def file(tmp_path, cache):
    path = tmp_path / "one.toml"
    path.write_text(SWEEP)
    return str(path)


def test_a_sweep_ends_with_a_table_and_again_goes_on_where_it_was(file, tmp_path, capsys, cache):
    command.main([file, "--dry-run"])
    assert capsys.readouterr().out.count("to do limits-") == 4
    command.main([file, "--workers", "1"])
    printed = capsys.readouterr().out
    assert f"4 of 4 tasks are in {cache / 'sweeps'}" in printed
    table = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    assert table[0][0] == "| width" and "robust accuracy, purified" in table[0]
    assert [line[0] for line in table[2:]] == ["| 40", "| 80"]
    files = {path: path.stat().st_mtime_ns for path in (cache / "sweeps").iterdir()}
    command.main([file, "--dry-run"])
    assert capsys.readouterr().out.count("there limits-") == 4
    command.main([file])
    assert capsys.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_what_failed_is_said_at_the_end_in_one_line_and_the_rest_is_kept(
    file, tmp_path, capsys, monkeypatch
):
    content = Task.content

    def fails(self):
        if self.seed == 1:
            raise OSError(28, "No space left on device")
        return content(self)

    monkeypatch.setattr(Task, "content", fails)
    with pytest.raises(ValueError) as stopped:
        command.main([file, "--workers", "1", "--into", str(tmp_path / "here")])
    said = str(stopped.value)
    assert said.startswith(
        "2 of 4 tasks failed, run it again for these; the first: limits: width ="
    )
    assert f"No space left on device ({tmp_path / 'here'}" in said and "\n" not in said
    assert len([*(tmp_path / "here").iterdir()]) == 2
    assert f"2 of 4 tasks are in {tmp_path / 'here'}" in capsys.readouterr().out


def test_the_table_has_a_dash_where_nothing_is_known(tiny):
    def held(network):
        return {"records": [{"quantity": "clean_accuracy", "network": network, "value": 0.5}]}

    tasks = [Task("limits", tiny, 0, varied=(("d", d),)) for d in (1, 2)]
    table = command.swept_table([(tasks[0], held("clean")), (tasks[1], held("purified"))])
    assert table.splitlines()[2:] == ["| 1 | 50.0% | - |", "| 2 | - | 50.0% |"]
    assert command.swept_table([]) and Outcome().error == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [(["--workers", "0"], "workers = 0"), (["--gpus", "-1"], "gpus = -1")],
)
def test_a_number_that_cannot_be_is_an_error_before_any_work(options, says, file):
    with pytest.raises(ValueError, match=says):
        command.main([file, *options])
