import dataclasses

import pytest
import torch
from cifar10_networks import TINY, random_images, same_weights, value

from fpbook.cifar10 import (
    SYMBOLS,
    measure_cifar,
    measure_relations,
    run_adversarial_scratch,
    run_cifar,
    run_linearised,
    run_low_rank,
)
from fpcore.training import train

LONGER = dataclasses.replace(TINY, clean_epochs=2)


def test_a_small_run_goes_from_end_to_end_and_is_read_the_second_time(cache, no_batches):
    data = random_images(64)
    run = run_cifar(LONGER, data, 0, progress=False)
    assert run.keys() == SYMBOLS.keys()
    assert len(list(cache.iterdir())) == 5
    assert not any(m.training for net in run.values() for m in net.modules())
    nets = [*run.values()]
    assert not any(same_weights(a, b) for i, a in enumerate(nets) for b in nets[:i])
    no_batches()
    again = run_cifar(LONGER, data, 0, progress=False)
    assert all(same_weights(run[name], again[name]) for name in SYMBOLS)
    with pytest.raises(RuntimeError, match="a training step is made"):
        run_cifar(LONGER, data, 1, progress=False)


def test_a_run_trains_no_network_but_those_asked_for_and_what_leads_to_them(cache):
    data = random_images(64)
    nets = run_cifar(LONGER, data, 0, ["purified"], progress=False)
    assert nets.keys() == {"init", "clean", "purified"}
    assert len(list(cache.iterdir())) == 2
    with pytest.raises(ValueError, match="name = 'robust'"):
        run_cifar(LONGER, data, 0, ["robust"])
    with pytest.raises(ValueError, match=r"names = 'purified': give a list, \['purified'\]"):
        run_cifar(LONGER, data, 0, "purified")


def test_a_run_and_its_records_are_pure_functions_of_the_seed(cache, monkeypatch):
    data, test, found = random_images(64), random_images(32, 1), []
    for folder in ("one", "two"):
        monkeypatch.setenv("FPCORE_CACHE", str(cache / folder))
        torch.manual_seed(len(found))
        nets = run_cifar(LONGER, data, 3, progress=False)
        found.append((nets, measure_cifar(nets, test, LONGER)))
    (one, records), (two, again) = found
    assert all(same_weights(one[name], two[name]) for name in SYMBOLS)
    assert records == again


def test_the_second_stages_start_from_the_clean_weights(cache):
    still = dataclasses.replace(LONGER, adversarial_lr=1e-30)
    nets = run_cifar(still, random_images(64), 0, ["purified", "control"], progress=False)
    for name in ("purified", "control"):
        assert all(
            torch.equal(p, q) for p, q in zip(nets[name].parameters(), nets["clean"].parameters())
        )
    nets["scratch"] = nets["init"]
    found = measure_relations(nets)
    assert value(found, "share_dominant", "purified") == 1.0
    assert value(found, "share_dominant", "control") == 1.0
    assert value(found, "same_neuron_share", "purified") == 1.0
    assert value(found, "cos_to_clean", "purified") == pytest.approx(1.0, abs=1e-5)
    to_init = value(found, "cos_to_init", "purified")
    assert value(found, "cos_to_init", "clean") == pytest.approx(to_init)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"flip": False},
        {"shift": 0},
        {"y": torch.arange(64) % 9},
        {"x": random_images(64, 1).x},
    ],
)
def test_other_images_do_not_read_the_checkpoints(change, cache, no_batches):
    data = random_images(64)
    run_cifar(LONGER, data, 0, progress=False)
    no_batches()
    with pytest.raises(RuntimeError, match="a training step is made"):
        run_cifar(LONGER, dataclasses.replace(data, **change), 0, progress=False)


def test_training_from_scratch_starts_at_the_same_initial_weights(cache):
    data = random_images(64)
    one, two = (run_adversarial_scratch(LONGER, data, 0, progress=False) for _ in range(2))
    assert same_weights(one, two)
    assert len(list(cache.iterdir())) == 2
    still = dataclasses.replace(LONGER, lr=1e-30, adversarial_lr=1e-30)
    net, init = run_adversarial_scratch(still, data, 0, progress=False), still.initial(0)
    assert all(
        torch.allclose(p, q, atol=1e-20) for p, q in zip(net.parameters(), init.parameters())
    )


@pytest.mark.parametrize("kind", ["adversarial", "random", "clean"])
def test_a_low_rank_run_is_read_the_second_time(kind, cache, no_batches):
    data = random_images(64)
    clean = TINY.initial(0)
    net = run_low_rank(TINY, data, clean, 0, 2, kind, progress=False)
    no_batches()
    assert same_weights(net, run_low_rank(TINY, data, clean, 0, 2, kind, progress=False))
    for other in (
        {"rank": 1, "kind": kind},
        {"rank": 2, "kind": "random" if kind == "clean" else "clean"},
    ):
        with pytest.raises(RuntimeError, match="a training step is made"):
            run_low_rank(TINY, data, clean, 0, **other, progress=False)


@pytest.mark.parametrize("attack", [True, False])
@pytest.mark.parametrize("at_clean", [True, False])
def test_a_linearisation_is_read_the_second_time(attack, at_clean, cache, no_batches):
    data, tiny = random_images(64), dataclasses.replace(TINY, tangent_epochs=1)
    clean = TINY.initial(1) if at_clean else None
    model, losses = run_linearised(tiny, data, 0, clean, attack, progress=False)
    assert len(losses) == tiny.tangent_epochs
    assert all(loss > 0 for loss in losses)
    assert any(d.abs().max() > 0 for d in model.delta)
    no_batches()
    assert same_weights(model, run_linearised(tiny, data, 0, clean, attack, progress=False)[0])


def test_every_architecture_goes_through_the_whole_run(cache):
    tiny = dataclasses.replace(TINY, architecture="resnet18", width=1 / 8)
    nets = run_cifar(tiny, random_images(32), 0, progress=False)
    del nets["scratch"]
    found = measure_cifar(nets, random_images(32), tiny)
    for quantity, layer in (
        ("cos_to_clean", "blocks.7.conv2"),
        ("explained_by_clean", "blocks.2.shortcut"),
        ("robust_gain", None),
    ):
        assert value(found, quantity, "purified", layer) is not None


@pytest.mark.parametrize("kind", ["adversarial", "full"])
def test_an_update_of_other_clean_weights_does_not_read_this_ones_checkpoint(kind, cache):
    data = random_images(64)
    for origin in (0, 1, 0):
        clean = TINY.initial(origin)
        net = run_low_rank(TINY, data, clean, 0, 2, kind, progress=False)
        alone = TINY.initial(origin)
        if kind == "full":
            train(alone, data, TINY.low_rank(data, 0, TINY.radius))
            assert torch.equal(net.conv1.weight, alone.conv1.weight)
        else:  # what is frozen is w
            frozen = net.conv1.parametrizations.weight.original
            assert torch.equal(frozen, alone.conv1.weight)
    assert len(list(cache.iterdir())) == 2


def test_a_linearisation_around_other_clean_weights_does_not_read_this_ones_checkpoint(cache):
    data, tiny = random_images(64), dataclasses.replace(TINY, tangent_epochs=1)
    for origin in (0, 1, 0):
        model, _ = run_linearised(tiny, data, 0, tiny.initial(origin), progress=False)
        assert torch.equal(model.net.conv1.weight, tiny.initial(origin).conv1.weight)
    assert len(list(cache.iterdir())) == 2
