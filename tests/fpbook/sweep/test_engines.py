"""Whoever computes: the same files, nothing lost, nothing computed twice; and who cannot."""

import contextlib
import functools
import importlib.util
import os
import re
import signal
import socket
import sys
import threading
import time

import pytest

from fpbook.sweep import engines
from fpbook.sweep.command import swept
from fpbook.sweep.tasks import Outcome, Task, attempt

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray and submitit, not ours


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed: an extra of the book")


ENGINES = [
    pytest.param("local", 2, None, id="joblib"),
    pytest.param("slurm", 4, "local", id="submitit", marks=needs("submitit")),
    pytest.param("ray", 2, None, id="ray", marks=needs("ray")),
]


@pytest.fixture(scope="module")
def tasks(tiny):
    return [Task("limits", tiny, seed) for seed in range(4)]


@pytest.fixture(scope="module")
def alone(tasks, tmp_path_factory):
    """The files that this process makes, {name: content}."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(folder / "cache"))
        outcomes = dict(swept(tasks, folder / "files"))
    assert not any(outcome.error for outcome in outcomes.values())
    return contents(folder / "files")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def noted(log):
    return sorted(path.name.split(".")[0] for path in log.iterdir())


def hunt(log):
    """Kill the worker that says which process it is, once, from outside."""
    while not (told := [*log.glob("kill-me.*")]):
        time.sleep(0.02)
    os.kill(int(told[0].suffix[1:]), signal.SIGKILL)


@pytest.mark.parametrize(("engine", "workers", "address"), ENGINES)
def test_any_engine_makes_the_same_files_though_workers_are_killed(
    engine, workers, address, tasks, alone, tmp_path, cache, monkeypatch
):
    """One is killed from outside once it has computed, another kills its worker every time."""
    monkeypatch.setattr(engines, "RETRIES", 1)
    folder, log = tmp_path / "files", tmp_path / "log"
    log.mkdir()

    def work(pair):
        task, recipe = pair
        if task.seed == 3:
            (log / f"died-3.{time.time_ns()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if task.seed == 1 and not [*log.glob("kill-me.*")]:
            task.content()
            (log / f"kill-me.{os.getpid()}").touch()
            time.sleep(600)
        outcome = attempt(task, recipe, folder)
        if outcome.seconds:
            (log / f"computed-{task.seed}.{time.time_ns()}").touch()
        return outcome

    hunter = threading.Thread(target=hunt, args=(log,), daemon=True)
    hunter.start()
    pairs = [(task, task.recipe) for task in tasks]
    found = dict(engines.ENGINES[engine](work, pairs, workers, address=address))
    hunter.join()
    errors = {task.seed: outcome.error for (task, _), outcome in found.items() if outcome.error}
    assert errors.keys() == {3} and errors[3].startswith("its worker died 2 times")
    computed = [name for name in noted(log) if name.startswith("computed")]
    assert computed == ["computed-0", "computed-1", "computed-2"]
    assert 2 <= noted(log).count("died-3") <= 3  # with the first time, when it was not known who
    last = f"{tasks[3].recipe}.json"
    assert contents(folder) == {name: held for name, held in alone.items() if name != last}
    # Finished tasks stay: the same sweep computes the one that is left.
    again = swept(tasks, folder, engine, workers, address=address)
    assert [task.seed for task, outcome in again if outcome.seconds] == [3]
    assert contents(folder) == alone


def test_a_worker_that_shares_no_folder_sends_what_it_wrote(tasks, alone, tmp_path, monkeypatch):
    def elsewhere(work, pairs, workers, **_):
        for task, recipe in pairs:
            yield (task, recipe), Outcome(alone[f"{recipe}.json"], seconds=1.0)

    monkeypatch.setitem(engines.ENGINES, "local", elsewhere)
    assert len([*swept(tasks, tmp_path)]) == 4
    assert contents(tmp_path) == alone


def test_a_file_of_another_recipe_stops_the_sweep_before_any_work(tasks, alone, tmp_path):
    one, other = sorted(alone)[:2]
    (tmp_path / one).write_bytes(alone[other])
    with pytest.raises(ValueError, match=f"{one} is of another recipe"):
        next(swept(tasks, tmp_path))


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_that_is_not_installed_is_named_with_the_command(engine, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    says = f"{package} is not installed: .venv/bin/python -m pip install {package}"
    with pytest.raises(ValueError, match=re.escape(says)):
        next(engines.ENGINES[engine](functools.partial, [1], 1))


@needs("ray")
@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_no_cluster_answers_is_one_error(form):
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = form.format(free.getsockname()[1])
    with pytest.raises(ValueError, match=f"address = '{address}': no cluster answers"):
        next(engines.on_ray(functools.partial, [1], 1, address))


@needs("ray")
@pytest.mark.parametrize(("reply", "says"), [(b"", "timed out"), (b"HTTP/1.1 400", "is no Ray")])
def test_what_listens_there_and_is_no_cluster_is_one_error(reply, says, monkeypatch):
    monkeypatch.setattr(engines, "ANSWER_WITHIN", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(reply), daemon=True).start()
        with pytest.raises(ValueError, match=f"no cluster answers .*{says}"):
            next(engines.on_ray(functools.partial, [1], 1, f"127.0.0.1:{server.getsockname()[1]}"))


@needs("ray")
@pytest.mark.parametrize("address", ["here", "host:port", ":", "127.0.0.1:99999"])
def test_what_is_no_address_is_one_error(address):
    with pytest.raises(ValueError, match=f"address = '{address}': no cluster answers"):
        next(engines.on_ray(functools.partial, [1], 1, address))


@needs("submitit")
def test_a_machine_without_slurm_is_one_error(monkeypatch, cache):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=r"engine = 'slurm': .* run it where sbatch is found"):
        next(engines.on_slurm(functools.partial, [1], 1))
