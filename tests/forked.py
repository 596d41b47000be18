"""Processes that tests start to be killed: forks of one, without threads, that has imported all."""

import multiprocessing
import os
from multiprocessing import forkserver
from pathlib import Path

import pytest

CONTEXT = multiprocessing.get_context("forkserver")
IMPORTED = ["killed", "publishers", "site_builds", "pytest"]  # each takes seconds to import
# Not the one that there is for all: kernels are forked from that, and it has imported other things.
SERVER = forkserver.ForkServer()
SERVER.set_forkserver_preload(IMPORTED)


def start(target, *arguments):
    """A process that calls `target`, started."""
    here = str(Path(__file__).parent)  # Python 3.11 tells the one that forks nothing of sys.path
    before = os.environ.get("PYTHONPATH")
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("PYTHONPATH", os.pathsep.join([here, before] if before else [here]))
        SERVER.ensure_running()
    process = CONTEXT.Process(target=target, args=arguments)
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(forkserver, "connect_to_new_process", SERVER.connect_to_new_process)
        process.start()
    return process
