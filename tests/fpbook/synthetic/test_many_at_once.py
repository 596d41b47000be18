import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fpbook.synthetic.many_at_once import (
    BatchStreams,
    Grid,
    NetworkBatch,
    explorer_grid,
    run_grid,
    together,
)
from fpbook.synthetic.measures import accuracy_bounds
from fpbook.synthetic.protocol import run_synthetic
from fpbook.synthetic.sweeps import at_size
from fpcore.decomposition.purification import cosine, live
from fpcore.models.two_layer import TwoLayer
from fpcore.training import Schedule, Training

CPU = torch.device("cpu")
REACHES, WIDTHS = (0.0, 0.3, 0.65), (0.5, 1.0, 2.0)


def some(values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True).map(tuple)


@pytest.fixture
def grid(tiny):
    return Grid(base=tiny, reaches=REACHES, widths=WIDTHS, seeds=(0, 1))


def distance(a, b):
    """|a - b| / |a| of two networks' weights."""
    return ((a.weight - b.weight).norm() / a.weight.norm()).item()


@settings(max_examples=8)
@given(reaches=some(REACHES), widths=some(WIDTHS), seeds=some((0, 1, 5)))
def test_all_at_once_is_one_by_one(tmp_path_factory, tiny, reaches, widths, seeds):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        grid = Grid(base=tiny, reaches=reaches, widths=widths, seeds=seeds)
        runs = run_grid(grid, CPU, progress=False)
        assert runs.keys() == {(r, w, s) for r in reaches for w in widths for s in seeds}
        for (r, w, s), run in runs.items():
            one = run_synthetic(grid.experiment(r, w), s, CPU, progress=False)
            assert (
                run.experiment == one.experiment
                and torch.equal(run.x, one.x)
                and torch.equal(run.y, one.y)
            )
            assert torch.equal(run.init.weight, one.init.weight)
            assert (
                distance(one.clean, run.clean) < 1e-3
                and distance(one.purified, run.purified) < 1e-2
            )
            assert (
                run.clean.threshold == one.clean.threshold
                and run.purified.threshold == one.purified.threshold
            )


def test_at_the_explorers_size_figures_agree_to_two_points(cache):
    base = at_size(100, 7, 300)
    grid = Grid(base=base, reaches=(0.3, 0.65), widths=(2.0,), seeds=(0,))
    for (r, w, s), run in run_grid(grid, CPU, progress=False).items():
        one = run_synthetic(grid.experiment(r, w), s, CPU, progress=False)
        alive = live(one.purified)
        assert cosine(one.purified.weight, run.purified.weight)[alive].median() > 0.99
        for name in ("clean", "purified"):
            here, there = (accuracy_bounds(x, name, 1, branches=1) for x in (run, one))
            for mine, alone in zip(here, there, strict=True):
                assert mine["quantity"] == alone["quantity"]
                assert abs(mine["value"] - alone["value"]) <= 0.02


def test_networks_are_their_parts_each_at_its_own_radius(sparse):
    nets = [TwoLayer(sparse.d, m, 0.1, rng=torch.Generator().manual_seed(m)) for m in (7, 7, 20)]
    scale = torch.tensor([1.0, 0.5, 2.0])
    x = torch.randn(3, 5, sparse.d)
    together = NetworkBatch(nets, scale)(x.flatten(0, 1)).view(3, 5)
    for i, net in enumerate(nets):
        assert torch.allclose(together[i], net(scale[i] * x[i]), atol=1e-6)
    assert all(
        torch.equal(a.weight, b.weight) for a, b in zip(NetworkBatch(nets, scale).separate(), nets)
    )


def test_streams_are_those_of_each_seed(sparse):
    ticks = []
    scale = torch.tensor([0.5, 1.0, 0.25])
    which = torch.tensor([1, 0, 1])
    streams = BatchStreams(
        data=[sparse, sparse], offsets=[0, 3], which=which, scale=scale, tick=ticks.append
    )
    for step, size in ((4, 6), (5, 6), (6, 2)):  # the memory of the batch before, or new one
        x, y = streams.batch(size, seed=2, step=step)
        for i, seed in enumerate((5, 2, 5)):
            mine, label = sparse.batch(size, seed, step)
            assert torch.equal(x.view(3, size, -1)[i], mine / scale[i])
            assert torch.equal(y.view(3, size)[i], label)
    assert ticks == [4, 5, 6]


@given(g=st.integers(1, 50), lr=st.floats(0.01, 10), decay=st.floats(0, 0.1), at=st.floats(0, 1))
def test_the_mean_of_losses_takes_g_times_the_step_and_the_same_decay(g, lr, decay, at):
    for rate in (lr, Schedule((0, 0.5 * lr), (1, lr))):
        alone = Training(steps=11, lr=rate, weight_decay=decay)
        joint, step = together(alone, g), round(10 * at)
        assert math.isclose(joint.at("lr", step), g * alone.at("lr", step), rel_tol=1e-9)
        shrink = [c.at("lr", step) * c.weight_decay for c in (alone, joint)]
        assert math.isclose(*shrink, rel_tol=1e-9)


def test_a_stopped_grid_goes_on_from_its_checkpoints(grid, cache, no_batches):
    class Stopped(Exception):
        pass

    def stop_at(share):
        def tick(done):
            if done >= share:
                raise Stopped

        return tick

    grid = dataclasses.replace(grid, widths=(1.0,), seeds=(0,))
    for share in (0.2, 0.7):
        with pytest.raises(Stopped):
            run_grid(grid, CPU, stop_at(share), progress=False)
    resumed = run_grid(grid, CPU, progress=False)
    for file in cache.iterdir():
        file.unlink()
    unbroken = run_grid(grid, CPU, progress=False)
    assert all(
        torch.equal(resumed[c].purified.weight, unbroken[c].purified.weight) for c in grid.cells
    )
    no_batches()
    again = run_grid(grid, CPU, progress=False)
    assert all(
        torch.equal(again[c].purified.weight, unbroken[c].purified.weight) for c in grid.cells
    )


def test_another_clean_stage_does_not_read_the_purified_checkpoint(grid, cache):
    grid = dataclasses.replace(grid, widths=(1.0,), seeds=(0,))
    other = dataclasses.replace(
        grid, base=dataclasses.replace(grid.base, clean_lr=2 * grid.base.clean_lr)
    )
    first, second = (run_grid(g, CPU, progress=False) for g in (grid, other))
    for cell in grid.cells:
        assert not torch.equal(first[cell].purified.weight, second[cell].purified.weight)
    assert len([*cache.glob("grid-adversarial-*.safetensors")]) == 2


def test_one_bar_counts_the_steps_of_both_stages(grid, cache, capsys):
    shares = []
    run_grid(grid, CPU, shares.append)
    total = grid.base.clean_steps + grid.base.adversarial_steps
    assert shares == [step / total for step in range(total)]
    err = capsys.readouterr().err
    assert f"{len(grid.cells)} networks at once" in err and f"{total}/{total}" in err
    assert (
        len(
            {
                line.split(":")[0].strip()
                for line in err.replace("\r", "\n").split("\n")
                if line.strip()
            }
        )
        == 1
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reaches": ()}, "reaches"),
        ({"reaches": (0.3, 0.3)}, "each once"),
        ({"reaches": (-0.1,)}, "training radius"),
        ({"reaches": (math.nan,)}, "training radius"),
        ({"widths": (0.0,)}, "width / d"),
        ({"widths": (1000.0,)}, "width / d"),
        ({"seeds": (-1,)}, "seed"),
        ({"seeds": (0.5,)}, "seed"),
    ],
)
def test_bad_grids_are_refused(grid, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(grid, **change)


def test_the_explorers_grids_leave_the_protocol_alone():
    for profile in ("quick", "full"):
        grid = explorer_grid(profile, 3)
        assert grid.seeds[0] == 3 and len(grid.seeds) >= 3 and grid.base.k >= 7
        own = grid.experiment(grid.base.training_reach, 4.0)
        assert own == grid.base
        assert grid.base.training_reach in grid.reaches
    with pytest.raises(ValueError, match="profile"):
        explorer_grid("huge", 0)
