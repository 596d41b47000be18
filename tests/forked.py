"""Processes that tests start to be killed: forks of one, without threads, that has imported all."""

import multiprocessing
import os
from multiprocessing import forkserver
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
IMPORTED = ["killed", "publishers", "site_builds", "pytest"]  # each takes seconds to import


def start(target, *arguments):
    """A process that calls `target`, started."""
    before = os.environ.get("PYTHONPATH")
    here = str(Path(__file__).parent)  # Python 3.11 tells the one that forks nothing of sys.path
    os.environ["PYTHONPATH"] = os.pathsep.join([here, before] if before else [here])
    CONTEXT.set_forkserver_preload(IMPORTED)
    forkserver.ensure_running()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process
