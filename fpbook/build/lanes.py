"""Two lanes of work side by side, each with its share of the cores.

Two processes that each use all cores wait for each other's threads; with a share each they do not.
"""

import contextlib
import itertools
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from tqdm import tqdm

from fpbook.build.chapters import BookError, read_chapter

LANES = 2
TRAIN = ("run_synthetic", "measure_networks")  # train on the sparse coding model, once for all
Work = Callable[[Path], str | None]  # executes a chapter; says a line about it, or nothing


def share_threads() -> None:
    """Give each process that is started from here a lane's share of the cores, unless told."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // LANES)))


def lanes_of(notebooks: Sequence[Path]) -> list[list[Path]]:
    """Chapters in two lanes whose trainings do not depend on each other.

    notebooks: chapters, in the order of the book, which each lane keeps

    What several chapters need is trained once: those that call one of `TRAIN` share its trainings,
    and those on images theirs, so each kind is in one lane. The rest goes with the images.
    """
    synthetic = [notebook for notebook in notebooks if _has_synthetic_runs(notebook)]
    others = [notebook for notebook in notebooks if notebook not in synthetic]
    return [lane for lane in (synthetic, others) if lane]


def _has_synthetic_runs(notebook: Path) -> bool:
    cells = read_chapter(notebook).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return any(name in code for name in TRAIN)


def work_in_lanes(lanes: Sequence[Sequence[Path]], work: Work) -> None:
    """Do the work of each lane in a process of its own; one that has ended takes from the others.

    lanes: chapters, each lane's in their order
    work:  what is done with each, a function (or a partial of one) at the top level of a module

    A lane that has nothing left takes the last chapter of the longest other one: by then what the
    chapters share is trained. One lane needs no process. Raises BookError for the first chapter
    that fails there, and for all that failed when the others are done.
    """
    if len(lanes) < 2:
        with _bar(lanes) as bar:
            for chapter in itertools.chain(*lanes):
                bar.set_postfix_str(chapter.stem)
                if line := work(chapter):
                    tqdm.write(line)
                bar.update()
        return
    left = [deque(lane) for lane in lanes]
    failed: list[Path] = []
    with _processes(len(lanes), work) as workers, _bar(lanes) as bar:
        busy: dict[Connection, Path] = {}
        own = dict(zip(workers, left, strict=True))
        for connection in workers:
            _give(connection, own, busy)
        while busy:
            bar.set_postfix_str(", ".join(chapter.stem for chapter in busy.values()))
            answered = wait([*busy])
            for connection in [one for one in busy if one in answered]:
                chapter = busy.pop(connection)
                if not _answer(connection, workers[connection], chapter):
                    failed.append(chapter)
                bar.update()
                if workers[connection].is_alive():
                    _give(connection, own, busy)
        failed += [chapter for lane in left for chapter in lane]  # if all processes died
    if failed:
        raise BookError(f"not executed, as said above: {', '.join(c.stem for c in failed)}")


def _bar(lanes: Sequence[Sequence[Path]]) -> tqdm:
    return tqdm(total=sum(map(len, lanes)), desc="book", unit="chapter")


@contextlib.contextmanager
def _processes(number: int, work: Work) -> Iterator[dict[Connection, BaseProcess]]:
    """So many processes that wait for chapters, by the connection that each is told them through.

    They end when the connection is closed: when this is left, or when this process is killed.
    """
    # Not forked: that would hold the other ends of all connections, so that none was ever closed.
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(number):
            ours, theirs = context.Pipe()
            worker: BaseProcess = context.Process(target=_serve, args=(theirs, work))
            worker.start()
            theirs.close()
            workers[ours] = worker
        yield workers
    finally:
        for connection, worker in workers.items():
            connection.close()
            worker.join()


def _serve(orders: Connection, work: Work) -> None:
    """Do the work on each chapter that is sent, and answer (whether done, a line or None)."""
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            chapter = orders.recv()
            try:
                answer = True, work(chapter)
            except (BookError, ValueError, OSError) as error:
                answer = False, str(error)
            orders.send(answer)


def _give(
    connection: Connection, own: Mapping[Connection, deque[Path]], busy: dict[Connection, Path]
) -> None:
    """Send the next chapter of its lane to a process, or the last one of the longest other lane."""
    longest = max(own.values(), key=len)
    if own[connection] or longest:
        busy[connection] = own[connection].popleft() if own[connection] else longest.pop()
        connection.send(busy[connection])


def _answer(connection: Connection, worker: BaseProcess, chapter: Path) -> bool:
    """Whether a chapter is done; what there is to say of it is shown."""
    try:
        done, line = connection.recv()
    except EOFError:
        worker.join()
        said = f"{chapter.stem}: the process that executed it ended (exit status {worker.exitcode})"
        done, line = False, f"{said}; if it was killed, mostly for want of memory, close other ones"
    if line:
        tqdm.write(line)
    return done
