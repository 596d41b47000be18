"""Files published together: a reader has all of them or none, at whatever moment a writer dies.

They are written into a folder beside their places. Its renaming publishes them, at once. Then they
are moved into place; whoever comes next, to publish or to read, moves what a killed process left.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from fpbook.results.files import DamagedError
from fpcore.checkpoint import write_atomically

LOCK = ".lock"
STAGED = ".staged"  # files that are being written
COMMITTED = ".committed"  # files that are published, and wait to be moved into place
PATIENCE = 3.0  # seconds before a message says what is waited for
_MEND = "free space, or name a folder that can be written by FPCORE_RESULTS"
Found = TypeVar("Found")


@contextlib.contextmanager
def held(path: Path, waiting: str) -> Iterator[None]:
    """Hold a lock that one process at a time can hold; the system frees it if that process dies.

    path     the lock's file, which stays there, empty
    waiting  the line that says, after some seconds, what is waited for

    Raises OSError if the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, poll_interval=0.01)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        print(waiting, file=sys.stderr, flush=True)
        lock.acquire(poll_interval=0.1)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def publishing(where: Path) -> Iterator[None]:
    """Be the only process that publishes in a folder; what a killed one began is finished first.

    Raises ValueError if nothing can be written there.
    """
    with contextlib.ExitStack() as stack:
        try:
            waiting = f"waiting: another process publishes in {where}"
            stack.enter_context(held(where / LOCK, waiting))
            _finish(where)
        except OSError as error:
            raise ValueError(f"nothing is published in {where} ({error}): {_MEND}") from error
        yield


def write_together(where: Path, contents: Mapping[str, bytes]) -> None:
    """Write files of a folder, all of them or none; only while `publishing` there.

    where     the folder
    contents  {name: what the file shall hold}

    Raises ValueError if not all can be written; then nothing has changed.
    """
    staged = where / STAGED
    try:
        shutil.rmtree(staged, ignore_errors=True)  # of a process that was killed
        staged.mkdir()
        for name, content in contents.items():
            write_atomically(staged / name, content)
        staged.rename(where / COMMITTED)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise ValueError(f"nothing is published in {where} ({error}): {_MEND}") from error
    try:
        _finish(where)
    except OSError as error:
        raise ValueError(
            f"what is published waits in {where / COMMITTED} ({error}): "
            "mend this; the next reading or publishing moves it into place"
        ) from error


def _finish(where: Path) -> None:
    """Move into place what is published and is not there yet."""
    committed = where / COMMITTED
    if committed.is_dir():
        for path in sorted(committed.iterdir()):
            os.replace(path, where / path.name)
        committed.rmdir()


def settled(where: Path, read: Callable[[], Found]) -> Found:
    """What `read` finds in a folder, in one state of it, whoever publishes there meanwhile.

    where  the folder
    read   raises DamagedError or FileNotFoundError for files that do not belong together

    If it does, or if something waits to be moved into place, it reads while nobody publishes.
    """
    if not (where / COMMITTED).exists():
        with contextlib.suppress(DamagedError, FileNotFoundError):
            return read()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ValueError):  # a folder in which nobody can publish
            stack.enter_context(publishing(where))
        return read()
