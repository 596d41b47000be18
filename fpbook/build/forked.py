"""Kernels forked from a process that has imported what chapters need.

To start Python, torch and matplotlib takes seconds of a core, once a chapter; a fork takes none.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

# Imported once, and not one thread started: what most chapters import, or import as they go.
PRELOADED = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "torch._dynamo",  # which the first step of an optimiser imports
    "scipy.stats",
    "fpbook.cifar10",
    "fpbook.figures.cifar10",
    "fpbook.figures.mechanism",
    "fpbook.figures.words",
    "fpbook.synthetic",
)


def can_fork() -> bool:
    """Whether kernels can be forked: elsewhere than on Linux, system libraries forbid it."""
    return sys.platform == "linux"


class ForkedProvisioner(LocalProvisioner):
    """Starts this Python's kernel as a fork of a process that has imported `PRELOADED`.

    That process is started with the first kernel, does nothing else, and ends with this one.
    """

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start it; the rest of its command is what follows `-f`, the file of its connection.

        cmd: of the kernel
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*PRELOADED])
        arguments = cmd[cmd.index("-f") :]
        folder = os.path.abspath(kwargs.get("cwd") or os.getcwd())
        # A daemon: whatever happens here, nothing waits for it to end.
        process = context.Process(
            target=_become_kernel, args=(arguments, dict(kwargs["env"]), folder), daemon=True
        )
        process.start()
        self.process = _Forked(process)  # type: ignore[assignment]  # asked by name alone
        self.pid = self.pgid = process.pid
        self.cwd = folder
        return self.connection_info


class _Forked:
    """A forked process under the names of subprocess.Popen that a provisioner calls."""

    stdin = stdout = stderr = None

    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(self._process.pid or 0, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _become_kernel(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Run a kernel in this process, which was forked for it, as its command would."""
    os.setsid()  # Ctrl-C reaches it through whoever started it
    multiprocessing.current_process().daemon = False  # it may start processes of its own
    threading.Thread(target=_end_with_starter, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["ipykernel_launcher", *arguments]
    from ipykernel.kernelapp import IPKernelApp
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # not a semaphore of the system: one that is killed leaves it
    kernel = IPKernelApp.instance(parent_handle=os.getppid())
    kernel.initialize(arguments)
    # Each kernel is interrupted before it is told to end: nothing to be told of.
    kernel.log.addFilter(lambda record: "KeyboardInterrupt" not in record.getMessage())
    try:
        kernel.start()
    finally:
        kernel.close()


def _end_with_starter() -> None:
    starter = multiprocessing.parent_process()
    if starter is not None:
        starter.join()
        os._exit(1)
