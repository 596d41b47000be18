"""Kernels that are forked: what they have, whose they are, and that none outlives its starter."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest

from fpbook.build import execute, forked
from fpbook.build.chapters import read_chapter
from fpbook.build.kernels import LONGEST, OwnKernel, SyncOwnKernel

pytestmark = [
    pytest.mark.skipif(not forked.can_fork(), reason="kernels are forked on Linux alone"),
    pytest.mark.filterwarnings("ignore"),  # of papermill and the Jupyter clients, not ours
]
KILLED = """
import asyncio, os, signal
from fpbook.build.kernels import KERNEL, OwnKernel

async def start():
    manager = OwnKernel(kernel_name=KERNEL["name"])
    await manager.start_kernel()
    return manager.provisioner.pid

if __name__ == "__main__":
    print(asyncio.run(start()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def said(root, quick, write_notebook, cell):
    """What a cell of a chapter prints."""
    write_notebook(root / "chapters" / "one.ipynb", cell)
    (output,) = execute.execute(quick, root=root)
    code = [one for one in nbformat.read(output, 4).cells if cell in one.source]
    return "".join(output.text for output in code[0].outputs)


def test_a_kernel_has_imported_what_chapters_need(root, quick, write_notebook):
    cell = "import sys\nprint('torch._dynamo' in sys.modules, 'fpbook.synthetic' in sys.modules)"
    assert said(root, quick, write_notebook, cell) == "True True\n"


def test_a_kernel_has_the_environment_and_the_folder_of_its_chapter(
    root, quick, write_notebook, monkeypatch
):
    cell = "import os\nprint(os.environ.get('SAID_LATE'), os.getcwd(), os.getpid())"
    for word in ("one", "two"):  # the process that forks them was started before the second
        monkeypatch.setenv("SAID_LATE", word)
        told, folder, pid = said(root, quick, write_notebook, f"{cell}  # {word}").split()
        assert told == word and folder == str(root / "chapters") and int(pid) != os.getpid()


def test_a_kernel_may_start_processes(root, quick, write_notebook):
    cell = (
        "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "    print(pool.map(abs, [-2]))"
    )
    assert said(root, quick, write_notebook, cell) == "[2]\n"


def test_a_kernel_that_dies_is_told_from_one_that_fails(root, quick, write_notebook, tmp_path):
    path = root / "chapters" / "one.ipynb"
    write_notebook(path, "import os\nos._exit(7)")
    with pytest.raises(RuntimeError, match="died"):
        papermill.execute_notebook(
            read_chapter(path),
            str(tmp_path / "out.ipynb"),
            quick,
            kernel_name=execute.KERNEL["name"],
            kernel_manager_class=execute.OwnKernel,
            progress_bar=False,
        )


def gone(pid):
    """Whether a process has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_no_kernel_outlives_a_starter_that_is_killed(tmp_path):
    (script := tmp_path / "killed.py").write_text(KILLED)
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    pid = int(done.stdout)
    end = time.monotonic() + 60
    while not gone(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert gone(pid)


def test_a_signal_to_a_kernel_that_has_ended_is_no_error():
    async def killed_twice():
        manager = OwnKernel()
        await manager.start_kernel()
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        await manager.shutdown_kernel(now=True)

    asyncio.run(killed_twice())


def test_no_port_is_looked_for_which_another_kernel_may_take(monkeypatch):
    def no_port(self, *arguments):
        raise AssertionError("a port was looked for")

    monkeypatch.setattr("socket.socket.bind", no_port)
    for manager in (OwnKernel(), SyncOwnKernel()):
        manager.write_connection_file()
        told = json.loads(Path(manager.connection_file).read_text())
        assert told["transport"] == "ipc" and len(told["ip"]) < LONGEST
        manager.cleanup_connection_file()


def test_a_folder_too_long_for_a_socket_leaves_ports(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 100)))
    assert OwnKernel().transport == SyncOwnKernel().transport == "tcp"
