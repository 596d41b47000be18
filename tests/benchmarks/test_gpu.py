"""All that a GPU is for runs at toy sizes on the CPU, ends in time, goes on where it stopped."""

import inspect

import pytest
import torch

import fpcore as fp
from fpbook.results import rows
from fpbook.results.store import read_result

CPU = torch.device("cpu")
NAMES = ("tests", "speed", "headline", "resnet18", "largest", "numerics")


@pytest.fixture
def pieces(module, tmp_path, monkeypatch):
    monkeypatch.setenv("FPCORE_CACHE", str(tmp_path / "cache"))
    return module("gpu_pieces")


@pytest.fixture
def gpu(pieces, module, monkeypatch):
    """The driver, whose pieces do nothing but note that they were asked for: {name: statuses}."""
    found = module("gpu")
    found.asked, found.status = [], {}

    def make(name, folder, seconds, rehearse):
        found.asked.append(name)
        return found.status.get(name, 0)

    monkeypatch.setattr(found, "make", make)
    return found


def published(folder, name):
    path = folder / f"gpu-{name}.json"
    return read_result(path.read_bytes(), path)


def judged_at_once(net, x, y, ball, chunk=250, seed=0, keep=None):
    """In the place of `fp.autoattack`, which takes its 5000 queries however small the network."""
    assert 0 < chunk <= len(x) and ball.box == (0.0, 1.0) and keep.suffix == ".json"
    return fp.correct(net(x), y)


@pytest.mark.parametrize("name", NAMES)
def test_a_piece_is_rehearsed_and_publishes_what_it_measured(pieces, name, tmp_path, monkeypatch):
    whole = inspect.signature(fp.autoattack).parameters
    assert [*inspect.signature(judged_at_once).parameters] == [*whole]
    monkeypatch.setattr(fp, "autoattack", judged_at_once)
    assert pieces.run(name, CPU, tmp_path / "out", 300.0, toy=True) == 0
    found = published(tmp_path / "out", name)
    assert found.provenance["setting"].startswith("toy sizes: ")
    measured = rows(found.summary)
    quantities = {row["quantity"] for row in measured}
    wanted = {
        "tests": {"tried", "wrong"},
        "speed": {"product_rate", "rate_share", "bandwidth", "throughput", "wall_time"},
        "headline": {"robust_accuracy", "certified_accuracy", "share_dominant", "wall_time"},
        "resnet18": {"clean_accuracy", "autoattack_accuracy", "cos_to_clean", "wall_time"},
        "largest": {"robust_accuracy", "certified_accuracy", "share_dominant", "wall_time"},
        "numerics": {"tried", "wrong", "share_dominant"},
    }
    assert wanted[name] <= quantities
    if name == "tests":
        assert {row["quantity"]: row["value"] for row in measured}["wrong"] == 0
    if name == "resnet18":
        networks = {r.get("network") for r in measured if r["quantity"] == "autoattack_accuracy"}
        assert networks == {"clean", "purified", "control"}


def test_a_piece_that_runs_out_of_time_leaves_what_it_has(pieces, tmp_path, monkeypatch):
    def slow(device, toy):
        yield [pieces.record("wall_time", 1.0, seed=0)]
        while True:
            pass

    monkeypatch.setitem(pieces.PIECES, "headline", pieces.Piece(slow, 1.0, "a slow one"))
    assert pieces.run("headline", CPU, tmp_path, 1.0, toy=True) == pieces.PARTIAL
    (row,) = rows(published(tmp_path, "headline").summary)
    assert row["value"] == 1.0


def test_a_training_that_collapses_is_a_result_and_the_next_seed_goes_on(
    pieces, tmp_path, monkeypatch
):
    def collapses(experiment, seed, device, precision="auto"):
        raise pieces.CollapseError("f has collapsed to 0")

    monkeypatch.setattr(pieces, "trained", collapses)
    assert pieces.run("headline", CPU, tmp_path, 60.0, toy=True) == 0
    found = rows(published(tmp_path, "headline").records)
    assert [(row["quantity"], row["value"], row["seed"]) for row in found] == [
        ("wrong", 1.0, seed) for seed in (201, 202, 203)
    ]


def test_a_network_is_compiled_for_its_batches_and_the_same_afterwards(pieces):
    net, x = torch.nn.Linear(4, 2), torch.randn(8, 4)
    wanted = net(x)
    with pieces.compiled(net, 8, toy=True):
        torch.testing.assert_close(net(x), wanted)
        torch.testing.assert_close(net(x[:3]), wanted[:3])
        assert "forward" in vars(net)
    assert "forward" not in vars(net)


def test_what_is_done_is_not_made_again_and_what_is_not_is(gpu, tmp_path, capsys):
    arguments = ["--rehearse", "--out", str(tmp_path)]
    gpu.status = {"speed": gpu.PARTIAL, "largest": 1}
    assert gpu.main(arguments) == 1
    assert gpu.asked == [*gpu.PIECES]
    said = capsys.readouterr().out
    assert "speed: not finished: the same command goes on" in said and "largest: FAILED" in said
    gpu.asked.clear()
    gpu.status = {}
    assert gpu.main(arguments) == 0
    assert gpu.asked == ["speed", "largest"]


def test_a_budget_leaves_the_rest_for_another_call(gpu, tmp_path):
    budget = gpu.PIECES["tests"].seconds + gpu.GRACE + 5
    arguments = ["--rehearse", "--out", str(tmp_path), "--budget", str(budget)]
    assert gpu.main(arguments) == gpu.PARTIAL
    assert [name for name in NAMES if name in gpu.asked][:1] == ["tests"]
    assert "resnet18" not in gpu.asked


def test_all_pieces_take_twelve_minutes_at_most_and_each_less_than_nine(gpu):
    assert [*gpu.PIECES] == [*NAMES]
    assert sum(piece.seconds for piece in gpu.PIECES.values()) <= 720
    assert max(piece.seconds for piece in gpu.PIECES.values()) <= 540


def test_what_is_missing_is_said_before_any_work(gpu, tmp_path, monkeypatch):
    def find_cifar10(download):
        raise fp.DataNotFoundError("no CIFAR-10 in the attic")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu, "find_cifar10", find_cifar10)
    with pytest.raises(SystemExit, match="no CUDA device is here: --rehearse") as error:
        gpu.main(["--out", str(tmp_path)])
    assert "no CIFAR-10 in the attic" in str(error.value) and gpu.asked == []


def test_estimates_are_arithmetic_of_the_very_sizes(gpu):
    experiment = gpu.headline_experiment(4096)
    products = 2 * experiment.clean_steps + 4 * experiment.adversarial_steps
    flops = products * 2 * experiment.batch * 4096 * experiment.width
    assert gpu.synthetic_flops(experiment) == flops
    assert gpu.estimates()["headline"].startswith(f"{3 * flops / 1e15:.2f} PFLOP")


def test_ratios_are_of_the_same_work_on_both(module):
    timings = module("device_timings")
    measured = [
        timings.row("a step", [2.0], "s", "cpu, d = 4"),
        timings.row("a step", [0.5], "s", "cuda, d = 4"),
        timings.row("a step", [0.5], "s", "cuda, d = 8"),
        timings.row("images", [10.0], "1/s", "cpu, n = 2"),
        timings.row("images", [50.0], "1/s", "cuda, n = 2"),
        timings.row("copy", [10.0], "GB/s", "cpu"),
        timings.row("copy", [4000.0], "GB/s", "cuda"),
    ]
    found = {row["name"]: (row["value"], row["settings"]) for row in timings.ratios(measured)}
    assert found == {
        "a step, GPU over CPU": (4.0, "d = 4"),
        "images, GPU over CPU": (5.0, "n = 2"),
    }
