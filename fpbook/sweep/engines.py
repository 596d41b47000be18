"""Who computes tasks: worker processes of this machine (joblib), Ray, or SLURM (submitit).

Each engine yields every task with its outcome, in the order in which they end. A worker that dies
costs what it was doing, and nothing else: its task is begun again, at most RETRIES times.
"""

import importlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from fpbook.results.cache import cache_folder
from fpbook.results.files import ROOT
from fpbook.sweep.tasks import Outcome

# How a client of HTTP/2 begins, and the type of the frame with which a server does: RFC 9113, 3.4
SETTINGS = b"\x04"
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + b"\0" * 5
RETRIES = 3  # of a task whose worker died
ANSWER_WITHIN = 10  # seconds to wait for a cluster to answer
Work = Callable[[Any], Outcome]
Outcomes = Iterator[tuple[Any, Outcome]]


def on_local(work: Work, tasks: Sequence[Any], workers: int, **_: Any) -> Outcomes:
    """By processes of this machine; by this one alone if there is one worker.

    work     makes an outcome of a task
    tasks    in the order in which they begin
    workers  how many
    """
    left = [*tasks]
    while left:
        begun: list[Any] = []

        def calls(some: list[Any], begun: list[Any] = begun) -> Iterator[Any]:
            for task in some:
                begun.append(task)
                yield delayed(_named)(work, task, len(begun) - 1)

        together = Parallel(
            workers, batch_size=1, pre_dispatch=workers, return_as="generator_unordered"
        )
        done = set()
        try:
            for number, outcome in together(calls([*left])):
                done.add(number)
                yield begun[number], outcome
        except TerminatedWorkerError:
            # One of those under way kills its worker: alone, each shows whether it was that one.
            for number in {*range(len(begun))} - done:
                yield begun[number], _alone(work, begun[number])
        left = left[len(begun) :]


def _called(work: Work, task: Any) -> Outcome:
    return work(task)


def _named(work: Work, task: Any, number: int) -> tuple[int, Outcome]:
    return number, work(task)


def _alone(work: Work, task: Any) -> Outcome:
    """A task in a worker while no other one is at work; again up to RETRIES times."""
    for _ in range(RETRIES + 1):
        try:
            ((_, outcome),) = Parallel(2)([delayed(_named)(work, task, 0)])  # 1: this very process
            return outcome
        except TerminatedWorkerError:
            pass
    return _died(RETRIES + 1)


def _died(times: int, why: str = "as without memory, or killed") -> Outcome:
    return Outcome(error=f"its worker died {times} times, {why}")


def on_ray(
    work: Work,
    tasks: Sequence[Any],
    workers: int,
    address: str | None = None,
    gpus: float = 0.0,
) -> Outcomes:
    """By the workers of a Ray cluster, or of one that is started on this machine for the while.

    work     makes an outcome of a task
    tasks    in the order in which they begin
    workers  of a cluster that is started here; one that is there has its own number
    address  "auto", "HOST:PORT", "ray://HOST:PORT"; None: start one here
    gpus     that each task takes, or a share of one
    """
    ray = _installed("ray")
    if address and address != "auto":
        _check_answers(address)
    variables = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "FPCORE_CACHE": str(cache_folder()),
        "OMP_NUM_THREADS": "1",
    }
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    here = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(
            runtime_env={"env_vars": variables},
            **settings,
            **({"address": address} if address else here),
        )
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        said = f"{error}".strip().split("\n")[0]
        raise ValueError(f"address = {address!r}: Ray does not start there ({said})") from error
    try:
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_called)
        shared = ray.put(work)
        pending = {remote.remote(shared, task): task for task in tasks}
        while pending:
            (ready, *_), _ = ray.wait([*pending])
            task = pending.pop(ready)
            try:
                yield task, ray.get(ready)
            except ray.exceptions.RayError as error:
                said = f"{error}".strip().split("\n")[0]
                yield task, _died(RETRIES + 1, said)
    finally:
        ray.shutdown()


def on_slurm(
    work: Work,
    tasks: Sequence[Any],
    workers: int,
    address: str | None = None,
    gpus: float = 0.0,
) -> Outcomes:
    """By jobs of a SLURM cluster, whose machines share the folder of the results.

    work     makes an outcome of a task
    tasks    in the order in which they begin
    workers  the most jobs at once
    address  the partition; "local": processes of this machine, to rehearse; None: SLURM's default
    gpus     whole ones, for each job
    """
    submitit = _installed("submitit")
    cluster = "local" if address == "local" else "slurm"
    with tempfile.TemporaryDirectory(prefix="sweep-", dir=_shared()) as logs:
        try:
            executor = submitit.AutoExecutor(logs, cluster=cluster)
        except RuntimeError as error:
            raise ValueError(f"engine = 'slurm': {error}; run it where sbatch is found") from error
        executor.update_parameters(cpus_per_task=1, gpus_per_node=int(gpus), timeout_min=24 * 60)
        if cluster == "slurm":
            executor.update_parameters(slurm_array_parallelism=workers, slurm_partition=address)
        # An array for all; here, where all jobs would begin at once, one for each round.
        size = workers if cluster == "local" else max(1, len(tasks))
        for start in range(0, len(tasks), size):
            left = tasks[start : start + size]
            for times in range(RETRIES + 1):
                again = []
                jobs = dict(zip(executor.map_array(work, left), left)) if left else {}
                for job in submitit.helpers.as_completed([*jobs], poll_frequency=0.5):
                    if job.exception() is None:
                        yield jobs[job], job.result()
                    elif times < RETRIES:
                        again.append(jobs[job])
                    else:
                        yield jobs[job], _died(RETRIES + 1)
                left = again


def _shared() -> Path:
    """Where jobs find what they are to do: beside the cache."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


ENGINES: dict[str, Callable[..., Outcomes]] = {
    "local": on_local,
    "ray": on_ray,
    "slurm": on_slurm,
}


def _installed(package: str) -> Any:
    """A package that only those have who asked for it; ValueError with the command otherwise."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        asked = f"{package} is not installed"
        raise ValueError(f"{asked}: .venv/bin/python -m pip install {package}") from error


def _check_answers(address: str) -> None:
    """ValueError unless a server of gRPC, as Ray's are, answers at HOST:PORT; Ray waits minutes."""
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        if not parts.hostname or not (parts.port or parts.scheme):
            raise ValueError("it is no HOST:PORT")
        where = parts.hostname, parts.port or 10001
        with socket.create_connection(where, ANSWER_WITHIN) as line:
            if os.environ.get("RAY_USE_TLS") != "1":
                line.sendall(HELLO)
                if line.recv(9)[3:4] != SETTINGS:
                    raise ValueError("what listens there is no Ray")
    except (OSError, ValueError) as error:
        advice = "start one there by ray start --head, or leave --address out"
        found = f"address = {address!r}: no cluster answers ({error})"
        raise ValueError(f"{found}; {advice}") from error
