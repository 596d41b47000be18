import copy
import dataclasses
import math

import pytest
import torch

from fpcore import (
    CIFAR,
    PROFILES,
    SYNTHETIC,
    Images,
    SparseCoding,
    Training,
    TwoLayer,
    accuracy,
    experiments,
    live,
    measure_cifar,
    measure_synthetic,
    robustness,
    run_cifar,
    run_synthetic,
    start,
    summarise,
)
from fpcore.experiments import CifarExperiment, cache_path
from fpcore.results import CLAIMS

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    SYNTHETIC["quick"],
    d=40,
    k=4,
    width=80,
    seeds=1,
    clean_steps=6,
    adversarial_steps=9,
    batch=32,
    test_samples=60,
    first_threshold=1.0,
)
TINY_CIFAR = CifarExperiment(1 / 8, 64, 32, clean_epochs=2, adversarial_epochs=1, seeds=1, batch=32)
EVERY_SIZE = [*SYNTHETIC.values(), TINY]


class Unwanted(Exception):
    """What was to be read from a checkpoint is computed again."""


@pytest.fixture
def no_batches(monkeypatch):
    """A function after whose call no training step can be made."""

    def batch(*_):
        raise Unwanted

    def forbid():
        monkeypatch.setattr(SparseCoding, "batch", batch)
        monkeypatch.setattr(Images, "batch", batch)

    return forbid


def same_weights(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def needed(experiment):
    """The names that the ledger takes from an experiment's published figures."""
    return {source for claim in CLAIMS if claim.experiment == experiment for source in claim.rename.values()}


def check_figures(figures, experiment):
    assert figures.keys() >= needed(experiment)
    for name, value in figures.items():
        assert math.isfinite(value), name
        low = -1 if name.startswith("cos") else 0
        assert low - 1e-6 <= value <= 1 + 1e-6, name


def random_images(n, seed):
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, 32, 32, generator=rng).contiguous(memory_format=torch.channels_last)
    return Images(x, torch.arange(n) % 10, "random")


def test_profiles_are_those_of_both_experiments():
    assert set(PROFILES) == set(SYNTHETIC) == set(CIFAR) == {"quick", "full"}


def test_a_checkpoint_lies_in_the_cache_folder(cache):
    path = cache_path("name", Training(1, 0.1), 3)
    assert path.parent == cache and path.name.startswith("name-") and path.suffix == ".safetensors"


@pytest.mark.parametrize("change", [{"steps": 2}, {"lr": 0.2}, {"radius": 0.1}, {"seed": 1}, {"batch": 8}, {"clip": 1.0}])
def test_a_checkpoint_has_another_name_for_another_configuration(change, cache):
    config = Training(1, 0.1)
    assert cache_path("a", config, 0) == cache_path("a", Training(1, 0.1), 0)
    assert cache_path("a", config, 0) != cache_path("a", dataclasses.replace(config, **change), 0)


def test_a_checkpoint_has_another_name_for_another_lineage_label_and_code(cache, monkeypatch):
    one, two = Training(1, 0.1), Training(2, 0.1)
    paths = {
        cache_path("a", one),
        cache_path("b", one),
        cache_path("a", one, 0),
        cache_path("a", one, 1),
        cache_path("a", one, two),
        cache_path("a", two, one),
    }
    monkeypatch.setattr(experiments, "_SOURCES", ("checks",))
    assert len(paths | {cache_path("a", one)}) == 7


@pytest.mark.parametrize("experiment", EVERY_SIZE, ids=lambda e: f"d={e.d}")
def test_the_radius_is_a_share_of_an_active_feature(experiment):
    assert experiment.radius == pytest.approx(experiment.reach / math.sqrt(experiment.k))
    assert 1 / math.sqrt(experiment.d) < 2 * experiment.radius and experiment.radius < 1 / math.sqrt(experiment.k)


@pytest.mark.parametrize("experiment", EVERY_SIZE, ids=lambda e: f"d={e.d}")
def test_the_threshold_rises_over_clean_training_and_is_continuous_between_the_stages(experiment):
    clean, adversarial, net = experiment.clean(0), experiment.adversarial(0), experiment.network(0, CPU)
    values = [clean.at("threshold", step) for step in range(clean.steps)]
    assert values == sorted(values) and values[0] > 0
    assert net.threshold.item() == pytest.approx(values[0], rel=1e-6)
    if adversarial.threshold is not None:
        assert adversarial.at("threshold", 0) == pytest.approx(values[-1])
    assert values[-1] < 1 / math.sqrt(experiment.k)


@pytest.mark.parametrize("experiment", EVERY_SIZE, ids=lambda e: f"d={e.d}")
def test_clean_training_has_no_radius_and_fgm_training_warms_up_to_the_experiments(experiment):
    clean, adversarial = experiment.clean(0), experiment.adversarial(0)
    assert {clean.at("radius", step) for step in range(clean.steps)} == {0.0}
    radii = [adversarial.at("radius", step) for step in range(adversarial.steps)]
    assert radii == sorted(radii) and 0 < radii[0] < radii[-1] == pytest.approx(experiment.radius)
    assert adversarial.norm == "l2" and adversarial.attack_steps == 1
    rates = [adversarial.at("lr", step) for step in range(adversarial.steps)]
    assert rates[0] < 0.1 * max(rates) > rates[-1]
    doubled = dataclasses.replace(experiment, adversarial_lr=2 * experiment.adversarial_lr).adversarial(0)
    assert [doubled.at("lr", step) for step in range(doubled.steps)] == pytest.approx([2 * rate for rate in rates])


def test_the_stages_and_seeds_see_different_samples():
    configs = [stage(seed) for seed in range(3) for stage in (TINY.clean, TINY.adversarial)]
    assert len({config.seed for config in configs}) == 6


def test_a_seed_decides_data_and_initialization():
    for make in (lambda seed: TINY.network(seed, CPU).weight, lambda seed: TINY.data(seed, CPU).features):
        assert torch.equal(make(1), make(1)) and not torch.equal(make(1), make(2))
    assert TINY.network(0, CPU).weight.shape == (80, 40)


def test_a_small_synthetic_run_goes_from_end_to_end_and_is_read_the_second_time(cache, no_batches, capsys):
    run = run_synthetic(TINY, 0, CPU, progress=False)
    assert capsys.readouterr().err == ""
    assert same_weights(run.init, TINY.network(0, CPU))
    assert not same_weights(run.init, run.clean) and not same_weights(run.clean, run.purified)
    assert [run.histories[name][-1]["step"] for name in ("clean", "adversarial")] == [6, 9]
    assert run.clean.threshold.item() == pytest.approx(TINY.clean(0).at("threshold", 5))
    assert run.x.shape == (60, 40) and len(list(cache.iterdir())) == 2
    no_batches()
    again = run_synthetic(TINY, 0, CPU, progress=False)
    for name in ("init", "clean", "purified"):
        assert same_weights(getattr(run, name), getattr(again, name))
    assert repr(again.histories) == repr(run.histories) and torch.equal(again.x, run.x)
    check_figures(measure_synthetic(again, restarts=1), "synthetic")


@pytest.mark.parametrize(
    "change", [{"d": 41}, {"width": 81}, {"noise": 0.3}, {"clean_lr": 4.0}, {"init_norm": 0.1}, {"seed": 1}]
)
def test_another_setting_does_not_read_the_checkpoints(change, cache, no_batches):
    change = dict(change)
    run_synthetic(TINY, 0, CPU, progress=False)
    no_batches()
    with pytest.raises(Unwanted):
        run_synthetic(
            dataclasses.replace(TINY, **{k: v for k, v in change.items() if k != "seed"}), change.get("seed", 0), CPU, False
        )


def test_histories_are_measured_at_the_radius_of_their_own_experiment(cache, monkeypatch):
    wider = dataclasses.replace(TINY, reach=2 * TINY.reach)
    run_synthetic(TINY, 0, CPU, progress=False)
    after = run_synthetic(wider, 0, CPU, progress=False).histories["clean"]
    monkeypatch.setenv("FPCORE_CACHE", str(cache / "fresh"))
    assert repr(after) == repr(run_synthetic(wider, 0, CPU, progress=False).histories["clean"])


def test_fgm_training_starts_from_the_clean_weights(cache):
    still = dataclasses.replace(TINY, adversarial_lr=1e-30)
    run = run_synthetic(still, 0, CPU, progress=False)
    torch.testing.assert_close(run.purified.weight, run.clean.weight, rtol=0.1, atol=0)


def planted_run(sparse, clean, purified):
    """A run whose networks are known."""
    x, y = sparse.test_set(100, seed=0)
    experiment = dataclasses.replace(TINY, d=sparse.d, k=sparse.k)
    init = TwoLayer(sparse.d, len(clean.weight), rng=torch.Generator().manual_seed(0))
    return experiments.SyntheticRun(experiment, sparse, x, y, init, clean, purified, {})


def test_the_figures_of_known_networks(sparse, planted):
    run = planted_run(sparse, planted(dense=3.0, threshold=0.1), planted(dense=0.01))
    figures = measure_synthetic(run, restarts=1)
    check_figures(figures, "synthetic")
    assert figures["radius"] == run.experiment.radius
    assert figures["purity_adv"] > 0.99 and figures["dense_part_adv"] < 0.02
    assert figures["dense_part"] == pytest.approx(3 / math.sqrt(10) * (1 - 1 / 48), rel=0.05)
    assert figures["cos_clean_adv"] == pytest.approx(1 / math.sqrt(10), abs=0.15)
    assert figures["share_dominant"] < 0.05 and figures["share_live"] == 1.0
    assert figures["cos_removed_dense"] > 0.9
    assert abs(figures["cos_init_clean"]) < 0.2 and figures["purity_init"] < 0.6
    for suffix in ("", "_adv"):
        certified, robust, clean = (figures[f"{name}_accuracy{suffix}"] for name in ("certified", "robust", "clean"))
        assert certified <= robust <= clean
    assert figures["clean_accuracy"] > 0.95 and figures["robust_accuracy"] < figures["robust_accuracy_adv"]


def test_robustness_counts_the_attack_along_the_dense_direction(sparse, planted, monkeypatch):
    run = planted_run(sparse, planted(dense=3.0, threshold=0.1), planted())
    seen = []
    monkeypatch.setattr(
        experiments, "along", lambda direction, radius: seen.append((direction, radius)) or (lambda _, x, y: -x)
    )
    assert robustness(run, run.clean, restarts=1)["robust_accuracy"] == 0
    assert torch.equal(seen[0][0], sparse.u_star) and seen[0][1] == run.experiment.radius


def test_robustness_repeats_itself(sparse, planted):
    run = planted_run(sparse, planted(dense=2.0), planted())
    torch.manual_seed(0)
    first = robustness(run, run.clean, restarts=2)
    torch.manual_seed(1)
    assert robustness(run, run.clean, restarts=2) == first
    assert first["clean_accuracy"] == accuracy(run.clean, run.x, run.y)


def test_live_neurons_have_a_norm_near_the_largest():
    net = TwoLayer(3, 4)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([2.0, 0.3, 0.1, 0.0])[:, None] * torch.eye(3)[0])
    assert live(net).tolist() == [True, True, False, False]
    assert live(net, share=0.01).tolist() == [True, True, True, False]


def test_the_control_differs_from_adversarial_training_in_the_radius_alone():
    data = random_images(64, 0)
    adversarial, control = (TINY_CIFAR.adversarial(data, 0, radius) for radius in (TINY_CIFAR.radius, 0.0))
    assert dataclasses.replace(control, radius=adversarial.radius, box=adversarial.box) == adversarial
    assert adversarial.box == (0.0, 1.0) and adversarial.radius == TINY_CIFAR.radius > 0
    clean = TINY_CIFAR.clean(data, 0)
    assert clean.radius == control.radius == 0.0 and clean.box is None
    assert (clean.steps, control.steps) == (4, 2)


def test_a_small_cifar_run_goes_from_end_to_end_and_is_read_the_second_time(cache, no_batches):
    data, test = random_images(64, 0), random_images(32, 1)
    run = run_cifar(TINY_CIFAR, data, 0, progress=False)
    assert len(list(cache.iterdir())) == 3 and not any(m.training for m in run.purified.modules())
    nets = [run.init, run.clean, run.purified, run.control]
    assert not any(same_weights(a, b) for i, a in enumerate(nets) for b in nets[:i])
    assert [run.histories[name][-1]["step"] for name in ("clean", "adversarial", "control")] == [4, 2, 2]
    no_batches()
    again = run_cifar(TINY_CIFAR, data, 0, progress=False)
    for name in ("init", "clean", "purified", "control"):
        assert same_weights(getattr(run, name), getattr(again, name))
    assert repr(again.histories) == repr(run.histories)
    figures = measure_cifar(again, test, TINY_CIFAR, attacked=16)
    check_figures(figures, "cifar10")
    assert figures["radius"] == TINY_CIFAR.radius
    with pytest.raises(Unwanted):
        run_cifar(TINY_CIFAR, data, 1, progress=False)


def test_the_second_stages_start_from_the_clean_weights(cache):
    still = dataclasses.replace(TINY_CIFAR, adversarial_lr=1e-30)
    run = run_cifar(still, random_images(64, 0), 0, progress=False)
    for net in (run.purified, run.control):
        assert all(torch.equal(p, q) for p, q in zip(net.parameters(), run.clean.parameters()))
    figures = measure_cifar(run, random_images(16, 1), still, attacked=8)
    assert figures["share_dominant"] == figures["share_dominant_control"] == 1.0
    assert figures["cos_clean_adv"] == pytest.approx(1.0, abs=1e-5)
    assert figures["cos_init_clean"] == pytest.approx(figures["cos_init_adv"])


@pytest.mark.parametrize("change", [{"name": "other"}, {"flip": False}, {"shift": 0}])
def test_other_images_do_not_read_the_checkpoints(change, cache, no_batches):
    data = random_images(64, 0)
    run_cifar(TINY_CIFAR, data, 0, progress=False)
    no_batches()
    with pytest.raises(Unwanted):
        run_cifar(TINY_CIFAR, dataclasses.replace(data, **change), 0, progress=False)


def test_a_run_is_a_pure_function_of_its_seed(cache, monkeypatch):
    runs = []
    for folder in ("one", "two"):
        monkeypatch.setenv("FPCORE_CACHE", str(cache / folder))
        torch.manual_seed(len(runs))
        runs.append(run_synthetic(TINY, 3, CPU, progress=False))
    assert same_weights(runs[0].purified, runs[1].purified)
    assert repr(runs[0].histories) == repr(runs[1].histories)


def test_watching_a_network_changes_nothing(sparse, planted):
    net, init = planted(dense=1.0), planted()
    before = copy.deepcopy(net)
    seen = experiments.watch(net, init, sparse, *sparse.test_set(40, seed=0), 0.1)
    assert same_weights(net, before) and net.weight.grad is None
    assert seen["certified_accuracy"] <= seen["robust_accuracy"] <= seen["clean_accuracy"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("slow", "cpu", 0), "profile = 'slow': choose one of 'quick', 'full'"),
        (("quick", "tpu", 0), "device = 'tpu'"),
        (("quick", "cpu", -1), "seed = -1"),
        (("quick", "cpu", 0.5), "seed = 0.5"),
    ],
)
def test_bad_parameters_of_a_chapter_are_named(arguments, named):
    with pytest.raises(ValueError) as error:
        start(*arguments)
    assert named in str(error.value)


def test_a_chapter_opens_with_where_its_numbers_come_from(capsys):
    assert start("quick", "cpu", 3) == CPU
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("quick", "cpu", torch.__version__, "seed 3"))


def test_a_summary_cuts_shares_but_not_cosines():
    found = summarise([{"clean_accuracy": 1.0, "cos_init_adv": -0.99}, {"clean_accuracy": 0.9, "cos_init_adv": 0.99}])
    assert found["clean_accuracy"]["high"] == 1.0 and found["clean_accuracy"]["value"] == pytest.approx(0.95)
    assert found["cos_init_adv"]["low"] < -1
    assert summarise([{"radius": 0.2}])["radius"] == {"value": 0.2, "low": None, "high": None, "n": 1}
