import dataclasses

import pytest
import torch
from cifar10_networks import random_images

from fpbook.cifar10 import OWN, measure_own, own_arrays, own_networks, published_own, run_own
from fpbook.results import joined, number, publish, record, summarise, table
from fpcore.decomposition import neurons

TINY = {
    name: dataclasses.replace(
        config, clean_epochs=1, adversarial_epochs=1, attacked_images=4, test_images=8
    )
    for name, config in OWN["quick"].items()
}
DATA = random_images(128)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The networks of both architectures, and what was told of their training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        told = []
        nets = {name: run_own(config, DATA, 3, told.append) for name, config in TINY.items()}
        yield nets, told
        told.clear()


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_each_stage_starts_where_the_one_before_ended(runs, monkeypatch, cache):
    started = []

    def fit(net, x, y, **how):
        started.append((next(net.parameters()).sum().item(), how))
        with torch.no_grad():
            next(net.parameters()).add_(1 + how["radius"])

    monkeypatch.setattr(own_networks, "fit", fit)
    monkeypatch.setattr(own_networks, "cache_path", lambda label, *_, code: cache / label)
    nets = run_own(TINY["perceptron"], DATA, 3)
    sums = {name: next(net.parameters()).sum().item() for name, net in nets.items()}
    (zero, clean), (one, adversarial), (other, control) = started
    assert zero == sums["init"]
    assert one == other == sums["clean"]
    assert len({*sums.values()}) == 4
    # w' and w_c differ in the attack alone.
    differ = {key for key in adversarial if adversarial[key] != control[key]}
    assert differ - {"path", "tell"} == {"radius"}
    assert (clean["radius"], adversarial["radius"], control["radius"]) == (0.0, 0.5, 0.0)
    assert clean["seed"] != adversarial["seed"]


def test_no_two_stages_of_seeds_that_follow_share_their_batches(monkeypatch, cache):
    seeds = []
    monkeypatch.setattr(own_networks, "fit", lambda *_, seed, **how: seeds.append(seed))
    for seed in range(3):
        run_own(TINY["perceptron"], DATA, seed)
    assert len({*seeds}) == 6  # two stages a seed; w' and w_c have the same


@pytest.mark.parametrize("name", [*OWN["full"]])
def test_a_run_is_read_from_its_checkpoints(name, runs, monkeypatch):
    nets, told = runs
    assert len([line for line in told if name in line]) == 3
    before = len(told)
    again = run_own(TINY[name], DATA, 3, told.append)
    assert len(told) == before
    assert all(equal(nets[name][one], again[one]) for one in nets[name])
    assert not any(net.training for net in again.values())


def test_another_seed_other_data_and_another_schedule_are_other_trainings(cache):
    small = random_images(128)
    config = TINY["perceptron"]
    told = []
    for change in (
        (config, small, 0),
        (config, small, 1),
        (config, random_images(128, seed=1), 0),
        (dataclasses.replace(config, lr=2e-3), small, 0),
    ):
        run_own(*change, told.append)
    assert len(told) == 4 * 3


def test_the_ledger_finds_what_it_asks_for_among_the_records(runs, check_records):
    nets, _ = runs
    tables = [
        table(measure_own(nets[name], random_images(8), config), seed=3)
        for name, config in TINY.items()
    ]
    check_records(joined(*tables), "own-networks")
    assert {*joined(*tables)["architecture"]} == {*OWN["full"]}


def test_the_difference_of_cosines_is_the_controls_less_its_own(runs):
    nets, _ = runs
    found = measure_own(nets["perceptron"], random_images(8), TINY["perceptron"])
    purified, control = (
        number(summarise(table(found)), "cos_to_clean", name, architecture="perceptron").value
        for name in ("purified", "control")
    )
    (less,) = [row["value"] for row in found if row["quantity"] == "cos_to_clean_difference"]
    assert less == pytest.approx(control - purified)


def test_the_published_networks_are_those_of_the_run_to_half_precision(runs, results):
    nets, _ = runs
    results.mkdir()
    assert published_own() == {}
    found, arrays = table([record("radius", 0.5, seed=0)]), own_arrays(nets["transformer"])
    publish("own-networks", found, "full", torch.device("cpu"), "a test", arrays)
    again = published_own()
    assert {*again} == {"init", "clean", "purified", "control"}
    for name in ("clean", "purified", "control"):
        for layer, w in neurons(again[name]).items():
            assert torch.allclose(w, neurons(nets["transformer"][name])[layer], atol=1e-3)
    assert equal(again["init"], OWN["full"]["transformer"].initial(0))


def test_fewer_images_than_a_batch_are_refused_before_training():
    with pytest.raises(ValueError, match="127 images: give at least 128, one batch"):
        run_own(TINY["perceptron"], random_images(127), 0)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="architecture = 'cnn': choose one of 'transformer'"):
        dataclasses.replace(TINY["perceptron"], architecture="cnn").initial(0)
