import copy
import dataclasses
import math

import pytest
import torch

from fpbook.figures.synthetic import both_trainings, history
from fpbook.results import table
from fpbook.results.code import Code, Part
from fpbook.synthetic import protocol
from fpbook.synthetic.measures import (
    accuracy_bounds,
    features_kept,
    measure_control,
    measure_synthetic,
)
from fpbook.synthetic.protocol import (
    SYNTHETIC,
    run_control,
    run_scratch,
    run_synthetic,
    watch,
)
from fpcore.decomposition.purification import chance_cosine
from fpcore.sparse_coding import SparseCoding
from fpcore.training import step, train

CPU = torch.device("cpu")
RUNS = [run_synthetic, run_control, run_scratch]
sizes = pytest.mark.parametrize("experiment", SYNTHETIC.values(), ids=lambda e: f"d={e.d}")


def same_weights(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def same_run(a, b):
    assert a.networks.keys() == b.networks.keys()
    nets = all(same_weights(net, b.named(name)) for name, net in a.networks.items())
    return nets and repr(a.histories) == repr(b.histories) and torch.equal(a.x, b.x)


def measure(run):
    """Records of a run of any kind."""
    if "control" in run.networks:
        return measure_control(run, restarts=1)
    if "scratch" in run.networks:
        return accuracy_bounds(run, "scratch", restarts=1)
    return measure_synthetic(run, restarts=1)


def values(config, name):
    return [config.at(name, step) for step in range(config.steps)]


@sizes
def test_training_reaches_further_than_the_threshold_and_evaluation_than_the_dense_margin(
    experiment,
):
    assert experiment.radius == pytest.approx(experiment.reach / math.sqrt(experiment.k))
    assert experiment.thresholds[1] < experiment.training_radius < 1 / math.sqrt(experiment.k)
    assert (
        experiment.radius
        < experiment.training_radius
        == pytest.approx(experiment.training_reach / math.sqrt(experiment.k))
    )
    assert experiment.radius > 1 / math.sqrt(experiment.d)


@sizes
def test_the_threshold_rises_over_the_whole_clean_stage_and_stays(experiment):
    clean, net = experiment.clean(0), experiment.network(0, CPU)
    heights = values(clean, "threshold")
    assert heights == sorted(set(heights))
    assert net.threshold.item() == pytest.approx(heights[0], rel=1e-6)
    assert (heights[0], heights[-1]) == pytest.approx(experiment.thresholds)
    assert experiment.adversarial(0).threshold is None


@sizes
def test_a_random_neuron_hardly_fires_and_one_feature_does(experiment):
    start, end = experiment.thresholds
    assert start * math.sqrt(experiment.d) > 1.5 and end < 1 / math.sqrt(experiment.k)


@sizes
def test_clean_training_has_no_radius_and_fgm_training_warms_up_to_the_experiments(experiment):
    assert set(values(experiment.clean(0), "radius")) == {0.0}
    adversarial = experiment.adversarial(0)
    radii, rates = values(adversarial, "radius"), values(adversarial, "lr")
    assert radii == sorted(radii) and 0 < radii[0] < radii[-1] == pytest.approx(
        experiment.training_radius
    )
    assert adversarial.norm == "l2" and adversarial.attack_steps == 1
    assert rates[0] < 0.1 * max(rates) > rates[-1]


@sizes
@pytest.mark.parametrize(
    ("stage", "rate"), [("clean", "clean_lr"), ("adversarial", "adversarial_lr")]
)
def test_step_sizes_are_proportional_to_d_and_to_their_constant(stage, rate, experiment):
    rates = values(getattr(experiment, stage)(0), "lr")
    assert max(rates) == pytest.approx(getattr(experiment, rate) * experiment.d)
    doubled = dataclasses.replace(experiment, **{rate: 2 * getattr(experiment, rate)})
    assert values(getattr(doubled, stage)(0), "lr") == pytest.approx([2 * r for r in rates])


@sizes
def test_a_neuron_decays_by_the_same_share_in_both_stages(experiment):
    for stage in (experiment.clean(0), experiment.adversarial(0)):
        assert stage.weight_decay * max(values(stage, "lr")) == pytest.approx(experiment.decay)
    assert 0 < experiment.decay < 1


def test_without_decay_no_stage_has_any(tiny):
    free = dataclasses.replace(tiny, decay=0.0)
    assert free.clean(0).weight_decay == free.adversarial(0).weight_decay == 0


def test_pgd_training_differs_from_fgm_training_in_its_steps_alone(tiny):
    more = dataclasses.replace(tiny, attack_steps=3)
    assert dataclasses.replace(more.adversarial(0), attack_steps=1) == tiny.adversarial(0)
    assert more.adversarial(0).attack_steps == 3 and more.clean(0) == tiny.clean(0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("d", 0),
        ("test_samples", 0),
        ("attack_steps", 1.5),
        ("reach", math.nan),
        ("training_reach", -0.1),
        ("clean_lr", 0.0),
        ("tuned_seeds", -1),
    ],
)
def test_a_setting_without_sense_is_refused_before_any_training(name, value, tiny):
    with pytest.raises(ValueError, match=f"{name} = {value}"):
        dataclasses.replace(tiny, **{name: value})


def test_the_stages_and_seeds_see_different_samples(tiny):
    configs = [stage(seed) for seed in range(3) for stage in (tiny.clean, tiny.adversarial)]
    assert len({config.seed for config in configs}) == 6


def test_a_seed_decides_data_and_initialization(tiny):
    for make in (
        lambda seed: tiny.network(seed, CPU).weight,
        lambda seed: tiny.data(seed, CPU).features,
    ):
        assert torch.equal(make(1), make(1)) and not torch.equal(make(1), make(2))
    assert tiny.network(0, CPU).weight.shape == (80, 40)
    assert tiny.network(0, CPU).weight.norm(dim=1).mean().item() == pytest.approx(
        tiny.init_norm, rel=0.05
    )


def test_a_small_run_goes_from_end_to_end_and_is_read_the_second_time(
    tiny, cache, no_batches, check_records, capsys
):
    run = run_synthetic(tiny, 0, CPU, progress=False)
    assert capsys.readouterr().err == ""
    assert same_weights(run.init, tiny.network(0, CPU))
    assert not same_weights(run.init, run.clean) and not same_weights(run.clean, run.purified)
    assert [run.histories[name][-1]["step"] for name in ("clean", "purified")] == [6, 9]
    assert (
        run.clean.threshold.item()
        == run.purified.threshold.item()
        == pytest.approx(tiny.thresholds[1])
    )
    assert run.x.shape == (60, 40) and len(list(cache.iterdir())) == 2
    control = run_control(tiny, 0, CPU, progress=False)
    no_batches()
    again = run_synthetic(tiny, 0, CPU, progress=False)
    assert same_run(run, again)
    check_records(table([*measure(again), *measure(control)]), "synthetic")


@pytest.mark.parametrize(
    "change",
    [
        {"d": 41},
        {"k": 5},
        {"width": 81},
        {"margin": 1.0},
        {"noise": 0.3},
        {"clean_lr": 0.03},
        {"init_norm": 0.1},
        {"decay": 0.0},
        {"last_threshold": 0.5},
        {"training_reach": 0.9},
    ],
)
def test_another_setting_does_not_read_the_checkpoints(change, tiny, cache, no_batches):
    run_synthetic(tiny, 0, CPU, progress=False)
    no_batches()
    with pytest.raises(RuntimeError, match="a training step is made"):
        run_synthetic(dataclasses.replace(tiny, **change), 0, CPU, progress=False)


def test_another_seed_does_not_read_the_checkpoints(tiny, cache, no_batches):
    run_synthetic(tiny, 0, CPU, progress=False)
    no_batches()
    with pytest.raises(RuntimeError, match="a training step is made"):
        run_synthetic(tiny, 1, CPU, progress=False)


def test_another_adversary_reads_the_clean_training_alone(tiny, cache):
    run = run_synthetic(tiny, 0, CPU, progress=False)
    pgd = run_synthetic(dataclasses.replace(tiny, attack_steps=3), 0, CPU, progress=False)
    assert same_weights(run.clean, pgd.clean) and not same_weights(run.purified, pgd.purified)
    assert len(list(cache.glob("synthetic-clean-*"))) == 1 and len(list(cache.iterdir())) == 3


def test_histories_are_measured_at_the_radius_of_their_own_experiment(tiny, cache, monkeypatch):
    wider = dataclasses.replace(
        tiny, training_reach=2 * tiny.training_reach
    )  # the first stage is the same
    before = run_synthetic(tiny, 0, CPU, progress=False).histories["clean"]
    after = run_synthetic(wider, 0, CPU, progress=False).histories["clean"]
    assert repr(after) != repr(before)
    monkeypatch.setenv("FPCORE_CACHE", str(cache / "fresh"))
    assert repr(after) == repr(run_synthetic(wider, 0, CPU, progress=False).histories["clean"])


def test_fgm_training_starts_from_the_clean_weights(tiny, cache):
    still = dataclasses.replace(tiny, adversarial_lr=1e-30, decay=0.0)
    run = run_synthetic(still, 0, CPU, progress=False)
    assert torch.equal(run.purified.weight, run.clean.weight)
    kept = {row["quantity"]: row["value"] for row in features_kept(run, "purified")}
    assert (kept["same_feature"], kept["features_gained"], kept["features_lost"]) == (1, 0, 0)
    for entry in run.histories["purified"]:
        assert entry["cos_start"] == pytest.approx(1, abs=1e-6) and entry["same_feature"] == 1


@pytest.mark.parametrize(("run", "attacked"), [(run_synthetic, 9), (run_scratch, 15)])
def test_the_attack_is_on_in_fgm_training_and_from_the_first_step_from_scratch(
    run, attacked, tiny, cache, monkeypatch
):
    radii, attack = [], step.stepped

    def noted(*given, **options):
        radii.append(given[2].radius)
        return attack(*given, **options)

    monkeypatch.setattr(step, "stepped", noted)
    run(tiny, 0, CPU, progress=False)
    assert len(radii) == attacked
    assert radii[0] == pytest.approx(0.3 * tiny.training_radius) and max(radii) == pytest.approx(
        tiny.training_radius
    )


def test_the_control_differs_from_fgm_training_in_the_attack_alone(tiny, cache, monkeypatch):
    run = run_synthetic(tiny, 0, CPU, progress=False)
    monkeypatch.setattr(step, "stepped", lambda *_, **__: pytest.fail("the control is attacked"))
    control = run_control(tiny, 0, CPU, progress=False)
    assert same_weights(run.clean, control.clean)
    assert not same_weights(run.purified, control.control)
    assert set(control.histories) == {"clean", "control"}
    gentle = dataclasses.replace(tiny, training_reach=1e-9)  # an attack that moves nothing
    assert (gentle.adversarial(0).lr, gentle.adversarial(0).seed) == (
        tiny.adversarial(0).lr,
        tiny.adversarial(0).seed,
    )
    monkeypatch.undo()
    monkeypatch.setenv("FPCORE_CACHE", str(cache / "fresh"))
    still = run_synthetic(gentle, 0, CPU, progress=False)
    assert torch.allclose(still.purified.weight, control.control.weight, atol=1e-4)


def test_from_scratch_differs_from_the_protocol_in_the_first_radius_alone(tiny, cache):
    one, two = (
        run_synthetic(tiny, 0, CPU, progress=False),
        run_scratch(tiny, 0, CPU, progress=False),
    )
    assert same_weights(one.init, two.init) and torch.equal(one.x, two.x)
    halfway = two.named("scratch_halfway")
    assert not same_weights(one.clean, halfway)
    assert torch.equal(one.clean.threshold, halfway.threshold)
    rising = tiny.clean(0, radius=0.1)
    assert dataclasses.replace(rising, radius=0.0) == tiny.clean(0) and rising.radius == 0.1


def test_from_scratch_has_checkpoints_of_its_own(tiny, cache):
    run_synthetic(tiny, 0, CPU, progress=False)
    before = {path: path.read_bytes() for path in cache.iterdir()}
    run = run_scratch(tiny, 0, CPU, progress=False)
    assert set(run.histories) == {"scratch_halfway", "scratch"}
    own = {path.name.rsplit("-", 1)[0] for path in set(cache.iterdir()) - set(before)}
    assert own == {"synthetic-scratch_halfway", "synthetic-scratch"}
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("run", RUNS)
def test_an_interrupted_run_goes_on_from_its_checkpoint_to_the_same_end(
    run, tiny, cache, monkeypatch
):
    unbroken = run(tiny, 2, CPU, progress=False)
    monkeypatch.setenv("FPCORE_CACHE", str(cache / "fresh"))
    batch, steps, last = SparseCoding.batch, [], (tiny.adversarial(2).seed, 5)

    def interrupted(data, size, seed, step):
        if (seed, step) == last:
            raise KeyboardInterrupt
        steps.append((seed, step))
        return batch(data, size, seed, step)

    monkeypatch.setattr(SparseCoding, "batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, 2, CPU, progress=False)
    before, last = len(steps), None
    assert same_run(run(tiny, 2, CPU, progress=False), unbroken)
    assert before == 11 and [step for _, step in steps[before:]] == [5, 6, 7, 8]


@pytest.mark.parametrize("run", RUNS)
def test_weights_and_figures_are_pure_functions_of_the_seed(run, tiny, cache, monkeypatch):
    found = []
    for folder in ("one", "two"):
        monkeypatch.setenv("FPCORE_CACHE", str(cache / folder))
        torch.manual_seed(len(found))
        done = run(tiny, 3, CPU, progress=False)
        found.append((done, measure(done)))
    (one, records_one), (two, records_two) = found
    assert same_run(one, two) and records_one == records_two


@pytest.mark.usefixtures("closed")
def test_histories_hold_what_the_figures_of_both_trainings_show(tiny, cache):
    run, chance = run_synthetic(tiny, 0, CPU, progress=False), chance_cosine(tiny.d)
    for entries in run.histories.values():
        left, right = history(entries, chance).axes
        assert len(left.lines) == 2 and len(right.lines) == 4
    (axis,) = both_trainings(run.histories, chance).axes
    assert max(axis.lines[0].get_xdata()) == tiny.clean_steps + tiny.adversarial_steps


def test_watching_a_network_changes_nothing(sparse, planted):
    net = planted(dense=1.0)
    before = copy.deepcopy(net)
    tops = torch.zeros(len(net.weight), dtype=torch.int64)
    seen = watch(net, planted(), planted(), tops, sparse, *sparse.test_set(40, seed=0), 0.1)
    assert same_weights(net, before) and net.weight.grad is None
    assert seen["robust_accuracy"] <= seen["clean_accuracy"]


def test_what_is_watched_of_known_networks(sparse, planted):
    """From pure neurons at the start to 1 : dense mixtures now; w0 has the signs turned."""
    net, start, init = planted(dense=2.0), planted(), planted()
    with torch.no_grad():
        init.weight.neg_()
    x, y = sparse.test_set(40, seed=0)
    tops = (start.weight.detach() @ sparse.features).abs().argmax(1)
    seen = watch(net, init, start, tops, sparse, x, y, 0.1)
    cosine = torch.nn.functional.cosine_similarity(net.weight, start.weight).detach()
    assert seen["cos_start"] == pytest.approx(cosine.median().item()) and seen[
        "cos_init"
    ] == pytest.approx(-seen["cos_start"])
    assert seen["share_dominant"] == pytest.approx((cosine > 0.5**0.5).float().mean().item())
    assert seen["purity"] == pytest.approx((1 + 2 / 48**0.5) / (5 + 4 / 48**0.5) ** 0.5, abs=1e-4)
    assert seen["share_live"] == seen["same_feature"] == 1.0 and seen["features_held"] == 0.0
    assert watch(start, init, start, tops, sparse, x, y, 0.1)["features_held"] == 1.0
    others = tops.index_fill(0, torch.arange(12), len(sparse.w_star))
    assert watch(net, init, start, others, sparse, x, y, 0.1)["same_feature"] == pytest.approx(
        1 - 12 / len(tops)
    )


def test_checkpoints_are_named_by_what_trains_and_what_watches(tiny, cache, monkeypatch):
    named, name = [], protocol.cache_path
    monkeypatch.setattr(
        protocol,
        "cache_path",
        lambda *lineage, code: named.append(code) or name(*lineage, code=code),
    )
    run_synthetic(tiny, 0, CPU, progress=False)
    assert named == [protocol._run] * 2  # which says how often it is watched
    reached = Code().reach(protocol._run)
    for function in (train, watch):
        assert Part(function.__module__, function.__name__) in reached


def test_a_network_that_was_not_trained_is_named(tiny, cache):
    run = run_control(tiny, 0, CPU, progress=False)
    assert run.control is run.named("control")
    with pytest.raises(ValueError, match=r"no purified network: it trained .*control"):
        run.purified
