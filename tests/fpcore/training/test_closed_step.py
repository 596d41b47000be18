"""Training by the closed form is training by autograd, which a hook brings back."""

import dataclasses

import pytest
import torch
from trainings import HARD, QUICK, Stopped, Stopping, network, same_history, same_state

from fpcore.ball import Ball
from fpcore.training import Schedule, Training, step, train

FGM = dataclasses.replace(QUICK, radius=0.2)
CASES = {
    "clean": QUICK,
    "weight decay": dataclasses.replace(QUICK, weight_decay=0.01),
    "momentum": dataclasses.replace(QUICK, momentum=0.9, weight_decay=0.01),
    "FGM": FGM,
    "FGSM": dataclasses.replace(FGM, norm="linf", radius=0.05),
    "box": dataclasses.replace(FGM, box=(-9.0, 9.0)),
    "clip": dataclasses.replace(FGM, clip=0.01),
    "schedules": HARD,
}
# Of all weights after ten steps. In float32 a neuron at its threshold may be on here, off there.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}


def by_autograd(net):
    net.register_forward_hook(lambda *_: None)
    return net


def distance(a, b):
    return ((a.weight - b.weight).norm() / b.weight.norm()).item()


@pytest.fixture
def stated(monkeypatch):
    """How many steps were made by the closed form."""
    original, calls = step._stated, []
    monkeypatch.setattr(step, "_stated", lambda *a: calls.append(1) or original(*a))
    return calls


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CASES)
def test_step_by_step_it_is_the_training_by_autograd(name, dtype, data, stated):
    precision = "auto" if dtype == torch.float64 else "float32"
    config = dataclasses.replace(CASES[name], precision=precision)
    runs = []
    for net in (network().to(dtype), by_autograd(network().to(dtype))):
        weights: list[torch.Tensor] = []

        def keep(net, weights=weights):
            weights.append(net.weight.detach().clone())
            return {}

        history = train(net, data, config, every=1, measure=keep)
        runs.append((torch.stack(weights), torch.tensor([entry["loss"] for entry in history[1:]])))
    assert len(stated) == config.steps
    (weights, losses), (expected, wanted) = runs
    away = (weights - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    moved = (expected[1:] - expected[:-1]).flatten(1).norm(dim=1) / expected[0].norm()
    assert away.max() < TOLERANCE[dtype] < 0.02 * moved.min()
    torch.testing.assert_close(losses, wanted, rtol=TOLERANCE[dtype], atol=0)


@pytest.mark.parametrize("name", CASES)
def test_in_bfloat16_it_stays_as_near_to_float32_as_autocast_does(name, data):
    away = torch.zeros(2)  # of the closed form, and of autocast
    for seed in range(5):
        config = dataclasses.replace(CASES[name], seed=seed, batch=64, steps=3)
        exact = by_autograd(network(64, seed))
        train(exact, data, dataclasses.replace(config, precision="float32"))
        for i, net in enumerate((network(64, seed), by_autograd(network(64, seed)))):
            train(net, data, dataclasses.replace(config, precision="bfloat16"))
            away[i] += distance(net, exact) / 5
    assert away[0] < 1.25 * away[1] < 0.4


def test_a_resumed_run_repeats_an_unbroken_one_bit_by_bit(data, tmp_path, stated):
    unbroken, resumed = network(), network()
    history = train(unbroken, data, HARD, every=3)
    with pytest.raises(Stopped):
        train(network(), Stopping(data, 5), HARD, every=3, checkpoint=tmp_path / "c")
    again = train(resumed, data, HARD, every=3, checkpoint=tmp_path / "c")
    assert same_state(unbroken, resumed) and same_history(history, again)
    assert len(stated) == 10 + 5 + 7


def test_batches_of_any_sizes_and_types_train_as_by_autograd(data, stated):
    sizes = (5, 9, 5, 1)
    batches = [data.batch(n, seed=0, step=n) for n in sizes]
    labels = [(x.double(), y.long()) for x, y in batches]
    config = Training(steps=8, lr=1.0, radius=Schedule((0, 0), (1, 0.1)), precision="float32")
    nets = [network(), network(), by_autograd(network())]
    for net, given in zip(nets, (batches, labels, batches)):
        train(net, given, config)
    assert distance(nets[0], nets[2]) < 1e-5 and distance(nets[1], nets[2]) < 1e-5
    assert len(stated) == 16


def test_an_optimizer_of_the_users_gets_the_same_gradient(data, stated):
    config = dataclasses.replace(FGM, lr=None, precision="float32")
    nets = [network(), by_autograd(network())]
    for net in nets:
        train(net, data, config, optimizer=lambda p: torch.optim.SGD(p, lr=2.0, momentum=0.5))
    assert distance(*nets) < 1e-4 and len(stated) == 10


def test_pgd_and_a_loss_of_the_users_go_by_autograd(data, stated):
    train(network(), data, dataclasses.replace(FGM, attack_steps=2))
    train(network(), data, QUICK, loss=lambda model, x, y, ball: -y * model(x))
    assert not stated


@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_a_step_size_that_is_too_large_stops_as_by_autograd(radius, data):
    config = Training(steps=9, lr=1e30, weight_decay=1.0, radius=radius, precision="float32")
    nets = [network(), by_autograd(network())]
    said = []
    for net in nets:
        with pytest.raises(FloatingPointError, match="give a smaller lr than 1e") as error:
            train(net, data, config)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert nets[0].weight.isfinite().all() and torch.equal(*[n.weight.isfinite() for n in nets])


@pytest.mark.parametrize("radius", [0.0, 0.1])
@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_data_that_are_not_finite_are_told_from_divergence(bad, radius, data):
    x, y = data.batch(6, seed=0, step=0)
    holed = x.clone()
    holed[3, 1] = bad
    batches = type("Holed", (), {"batch": lambda _, n, seed, step: (holed if step else x, y)})()
    net, good = network(), network()
    config = Training(steps=3, lr=0.1, radius=radius)
    with pytest.raises(FloatingPointError, match="at step 2: the data hold numbers that"):
        train(net, batches, config)
    train(good, [(x, y)], dataclasses.replace(config, steps=1))
    assert same_state(net, good)  # the weights are those before the step that failed


def test_the_attack_is_fgm_on_the_network(data):
    """Its examples are those of the closed form at the end of its steepest direction."""
    net = network().double()
    x, y = (one.double() for one in data.batch(8, seed=0, step=0))
    found, original = [], step.stepped

    def noted(*given, **options):
        moved = original(*given, **options)
        found.append(moved.clone())  # its memory is used again
        return moved

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "stepped", noted)
        train(net, [(x, y)], Training(steps=1, lr=0.0, radius=0.2))
    expected = step.one_step(net, x, y, Ball("l2", 0.2), torch.zeros(8, dtype=torch.bool))
    torch.testing.assert_close(found[0], expected, rtol=1e-12, atol=1e-12)
