"""Two processes train what one does."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes

import fpcore
from fpcore.training.processes import Processes

NAMES = ["adversarial", "stopped", "loss", "list", "not wrapped", "batch norm", "convnet"]
TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The states and histories of both ranks, and the folder of their checkpoints."""
    folder = tmp_path_factory.mktemp("both")
    places = [str(Path(fpcore.__file__).parents[1]), str(Path(two_processes.__file__).parent)]
    settings = os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, two_processes.__file__, str(rank), folder], env=settings)
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=400) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    states = [torch.load(folder / f"states-{rank}") for rank in range(2)]
    histories = [json.loads((folder / f"histories-{rank}").read_text()) for rank in range(2)]
    return states, histories, folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The networks and histories of one process with the whole batches."""
    return two_processes.runs(lambda net: net, 0, tmp_path_factory.mktemp("alone"))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("name", NAMES)
def test_both_ranks_end_with_the_same_network_and_history(name, both):
    (first, second), histories, _ = both
    assert same(first[name], second[name])
    assert json.dumps(histories[0][name]) == json.dumps(histories[1][name])


@pytest.mark.parametrize("name", NAMES)
def test_they_train_what_one_process_does(name, both, alone):
    states, histories, _ = both
    networks, expected = alone
    for key, value in networks[name].state_dict().items():
        found = states[0][name]
        torch.testing.assert_close(found.get(key, found.get(f"module.{key}")), value, **TOLERANCE)
    for entry, wanted in zip(histories[0][name], expected[name], strict=True):
        assert entry == pytest.approx(wanted, rel=1e-4, nan_ok=True)
    starts = {
        "batch norm": two_processes.batch_normed,
        "convnet": lambda: two_processes.images()[1],
    }
    before, now = (
        torch.cat([parameter.detach().flatten() for parameter in net.parameters()])
        for net in (starts.get(name, two_processes.network)(), networks[name])
    )
    assert (now - before).norm() > 100 * TOLERANCE["rtol"] * before.norm()


def test_a_run_that_stops_repeats_an_unbroken_one_on_all_ranks(both):
    (first, _), histories, folder = both
    assert same(first["adversarial"], first["stopped"])
    assert json.dumps(histories[0]["adversarial"]) == json.dumps(histories[0]["stopped"])
    assert (folder / "stopped.safetensors").exists()


def test_one_process_reads_what_two_have_written(both):
    (first, _), histories, folder = both
    net = two_processes.network(seed=4)
    history = fpcore.train(
        net,
        two_processes.DATA,
        two_processes.CONFIG,
        every=3,
        checkpoint=folder / "stopped.safetensors",
    )
    assert torch.equal(net.weight, first["stopped"]["module.weight"])
    assert json.dumps(history) == json.dumps(histories[0]["stopped"])


@pytest.mark.parametrize(("n", "count"), [(17, 2), (16, 4), (5, 3), (3, 3)])
def test_the_parts_make_the_whole_and_their_weighted_means_its_mean(n, count):
    x, y = torch.rand(n, 4), torch.arange(n)
    parts = [Processes(rank, count).part(x, y) for rank in range(count)]
    assert sorted(torch.cat([labels for _, labels, _ in parts]).tolist()) == list(range(n))
    assert all(torch.equal(x[labels], rows) for rows, labels, _ in parts)
    mean = sum(share * rows.mean() for rows, _, share in parts) / count
    assert mean.item() == pytest.approx(x.mean().item(), rel=1e-6)


def test_a_batch_of_fewer_samples_than_processes_is_an_error():
    with pytest.raises(ValueError, match="a batch holds 2 samples: give one at least for each of"):
        Processes(0, 3).part(torch.rand(2, 4), torch.arange(2))
    assert math.isclose(Processes().part(torch.rand(1, 4), torch.arange(1))[2], 1.0)
