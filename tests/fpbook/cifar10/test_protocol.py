import dataclasses

import pytest
import torch

from fpbook.cifar10.layers import measure_relations
from fpbook.cifar10.measures import measure_cifar
from fpbook.cifar10.networks import SYMBOLS
from fpbook.cifar10.protocol import (
    CifarExperiment,
    run_adversarial_scratch,
    run_cifar,
    run_linearised,
    run_low_rank,
)
from fpcore.images import Images
from fpcore.training import train

TINY = CifarExperiment(
    1 / 8, 64, 32, clean_epochs=2, adversarial_epochs=1, seeds=1, batch=32, attacked=16
)


def same_weights(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def random_images(n, seed):
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, 32, 32, generator=rng).contiguous(memory_format=torch.channels_last)
    return Images(x, torch.arange(n) % 10, "random")


def test_the_control_differs_from_adversarial_training_in_the_radius_alone():
    data = random_images(64, 0)
    adversarial, control = (TINY.adversarial(data, 0, radius) for radius in (TINY.radius, 0.0))
    assert (
        dataclasses.replace(control, radius=adversarial.radius, box=adversarial.box) == adversarial
    )
    assert adversarial.box == (0.0, 1.0) and adversarial.radius == TINY.radius > 0
    clean = TINY.clean(data, 0)
    assert clean.radius == control.radius == 0.0 and clean.box is None
    assert (clean.steps, control.steps) == (4, 2)


def test_a_small_run_goes_from_end_to_end_and_is_read_the_second_time(cache, no_batches):
    data = random_images(64, 0)
    run = run_cifar(TINY, data, 0, progress=False)
    assert run.keys() == SYMBOLS.keys() and len(list(cache.iterdir())) == 5
    assert not any(m.training for net in run.values() for m in net.modules())
    nets = [*run.values()]
    assert not any(same_weights(a, b) for i, a in enumerate(nets) for b in nets[:i])
    no_batches()
    again = run_cifar(TINY, data, 0, progress=False)
    assert all(same_weights(run[name], again[name]) for name in SYMBOLS)
    with pytest.raises(RuntimeError, match="a training step is made"):
        run_cifar(TINY, data, 1, progress=False)


def test_a_run_trains_no_network_but_those_asked_for_and_what_leads_to_them(cache):
    data = random_images(64, 0)
    assert run_cifar(TINY, data, 0, ["purified"], progress=False).keys() == {
        "init",
        "clean",
        "purified",
    }
    assert len(list(cache.iterdir())) == 2
    with pytest.raises(ValueError, match="name = 'robust'"):
        run_cifar(TINY, data, 0, ["robust"])
    with pytest.raises(ValueError, match=r"names = 'purified': give a list, \['purified'\]"):
        run_cifar(TINY, data, 0, "purified")


def test_a_run_and_its_figures_are_pure_functions_of_the_seed(cache, monkeypatch):
    data, test, found = random_images(64, 0), random_images(32, 1), []
    for folder in ("one", "two"):
        monkeypatch.setenv("FPCORE_CACHE", str(cache / folder))
        torch.manual_seed(len(found))
        nets = run_cifar(TINY, data, 3, progress=False)
        found.append((nets, measure_cifar(nets, test, TINY)))
    (one, figures), (two, again) = found
    assert all(same_weights(one[name], two[name]) for name in SYMBOLS)
    assert figures == again


def test_the_second_stages_start_from_the_clean_weights(cache):
    still = dataclasses.replace(TINY, adversarial_lr=1e-30)
    nets = run_cifar(still, random_images(64, 0), 0, ["purified", "control"], progress=False)
    for name in ("purified", "control"):
        assert all(
            torch.equal(p, q) for p, q in zip(nets[name].parameters(), nets["clean"].parameters())
        )
    nets["scratch"] = nets["init"]
    figures = measure_relations(nets)
    assert (
        figures["share_dominant"]
        == figures["share_dominant_control"]
        == figures["same_neuron_share"]
        == 1.0
    )
    assert figures["cos_clean_adv"] == pytest.approx(1.0, abs=1e-5)
    assert figures["cos_init_clean"] == pytest.approx(figures["cos_init_adv"])


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
    data = random_images(64, 0)
    run_cifar(TINY, data, 0, progress=False)
    no_batches()
    with pytest.raises(RuntimeError, match="a training step is made"):
        run_cifar(TINY, dataclasses.replace(data, **change), 0, progress=False)


def test_training_from_scratch_starts_at_the_same_initial_weights_and_warms_the_radius_up(
    cache, no_batches
):
    data = random_images(64, 0)
    one, two = (run_adversarial_scratch(TINY, data, 0, progress=False) for _ in range(2))
    assert same_weights(one, two) and len(list(cache.iterdir())) == 2
    training = TINY.scratch(data, 0)
    assert (
        training.at("radius", 0) == 0.0 and training.at("radius", training.steps - 1) == TINY.radius
    )
    assert dataclasses.replace(training, radius=0.0, box=None) == TINY.clean(data, 0)
    still = dataclasses.replace(TINY, lr=1e-30, adversarial_lr=1e-30)
    net, init = run_adversarial_scratch(still, data, 0, progress=False), still.initial(0)
    assert all(
        torch.allclose(p, q, atol=1e-20) for p, q in zip(net.parameters(), init.parameters())
    )


def test_initial_weights_are_the_seeds_and_leave_the_global_generators_alone(monkeypatch):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    monkeypatch.setattr(
        "torch.cuda.manual_seed_all", lambda seed: pytest.fail("the GPU's generators were seeded")
    )
    one, two, other = TINY.initial(0), TINY.initial(0), TINY.initial(1)
    assert torch.equal(before, torch.get_rng_state())
    assert same_weights(one, two) and not same_weights(one, other)


@pytest.mark.parametrize("kind", ["adversarial", "random", "clean"])
def test_a_low_rank_run_is_read_the_second_time(kind, cache, no_batches):
    data = random_images(64, 0)
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
    data, tiny = random_images(64, 0), dataclasses.replace(TINY, tangent_epochs=1)
    clean = TINY.initial(1) if at_clean else None
    model, losses = run_linearised(tiny, data, 0, clean, attack, progress=False)
    assert len(losses) == tiny.tangent_epochs and all(value > 0 for value in losses)
    assert any(d.abs().max() > 0 for d in model.delta)
    no_batches()
    assert same_weights(model, run_linearised(tiny, data, 0, clean, attack, progress=False)[0])


def test_every_architecture_goes_through_the_whole_run(cache):
    tiny = dataclasses.replace(TINY, architecture="resnet18", width=1 / 16, clean_epochs=1)
    nets = run_cifar(tiny, random_images(32, 0), 0, progress=False)
    del nets["scratch"]
    found = measure_cifar(nets, random_images(32, 0), tiny)
    assert {
        "cos_clean_adv/blocks.7.conv2",
        "explained_share_adv/blocks.2.shortcut",
        "robust_gain",
    } <= found.keys()
    with pytest.raises(ValueError, match="architecture = 'vgg'"):
        dataclasses.replace(TINY, architecture="vgg")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"adversarial_epochs": 0}, "adversarial_epochs = 0"),
        ({"attacked": 1000}, "attacked = 1000"),
        ({"width": 0}, "width = 0"),
        ({"tangent_widths": (1.0, 0.01)}, "width = 0.01"),
        ({"narrow_widths": (-1,)}, "width = -1"),
        ({"tangent_adversarial_lr": float("nan")}, "tangent_adversarial_lr = nan"),
        ({"attacked": 0}, "attacked = 0"),
        ({"adversarial_lr": -1.0}, r"adversarial_lr = -1\.0"),
        ({"ranks": (0, -1)}, "rank = -1"),
        ({"radius": -0.5}, r"radius = -0\.5"),
        ({"norm": "l1"}, "norm = 'l1'"),
    ],
)
def test_an_experiment_that_would_fail_after_hours_fails_at_once(change, named):
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(TINY, **change)


def test_a_checkpoint_around_other_clean_weights_is_not_taken_for_this_ones(cache):
    data = random_images(64, 0)
    run_low_rank(TINY, data, TINY.initial(0), 0, 2, progress=False)
    run_linearised(TINY, data, 0, TINY.initial(0), progress=False)
    with pytest.raises(ValueError, match="was trained around another conv1"):
        run_low_rank(TINY, data, TINY.initial(1), 0, 2, progress=False)
    with pytest.raises(ValueError, match=r"was trained around another net\.conv1"):
        run_linearised(TINY, data, 0, TINY.initial(1), progress=False)
    for origin in (0, 1, 0):  # where all weights move, none can be compared
        full = run_low_rank(TINY, data, TINY.initial(origin), 0, 2, "full", progress=False)
        alone = TINY.initial(origin)
        train(alone, data, TINY.low_rank(data, 0, TINY.radius))
        assert torch.equal(full.conv1.weight, alone.conv1.weight)
