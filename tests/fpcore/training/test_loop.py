"""The loop: what is learnt, repeated, resumed and noted."""

import copy
import dataclasses
import math

import pytest
import torch
from safetensors.torch import load_file
from trainings import (
    HARD,
    QUICK,
    Constant,
    Stopped,
    Stopping,
    measure,
    network,
    same_history,
    same_state,
)

from fpcore.images import Images
from fpcore.models.convnet import ConvNet
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer
from fpcore.training import Schedule, Training, train


def test_the_loss_falls_and_the_network_learns(data):
    net = network(64)
    history = train(net, data, Training(steps=60, lr=5.0, batch=128), every=20)
    assert [entry["step"] for entry in history] == [0, 20, 40, 60]
    assert history[-1]["loss"] < 0.5 * history[1]["loss"] < 0.7
    assert accuracy(net, *data.test_set(300, seed=0)) > 0.95


@pytest.mark.parametrize("config", [QUICK, HARD], ids=["clean", "adversarial"])
def test_the_same_seed_gives_the_same_run(config, data):
    nets = [network() for _ in range(3)]
    histories = [train(net, data, config, measure=measure, every=5) for net in nets[:2]]
    assert same_state(*nets[:2]) and same_history(*histories)
    train(nets[2], data, dataclasses.replace(config, seed=2), every=5)
    assert not same_state(nets[0], nets[2])


@pytest.mark.parametrize("config", [QUICK, HARD], ids=["clean", "adversarial"])
@pytest.mark.parametrize("at", [0, 1, 3, 5, 9])
def test_a_run_that_stops_and_goes_on_repeats_an_unbroken_one(config, at, data, tmp_path):
    unbroken, resumed = network(), network()
    one, two = tmp_path / "unbroken", tmp_path / "resumed"
    history = train(unbroken, data, config, measure=measure, every=3, checkpoint=one)
    with pytest.raises(Stopped):
        train(resumed, Stopping(data, at), config, measure=measure, every=3, checkpoint=two)
    resumed = network(seed=5)  # whatever it holds, the checkpoint decides
    again = train(resumed, data, config, measure=measure, every=3, checkpoint=two)
    assert same_state(unbroken, resumed) and same_history(history, again)
    whole, parts = load_file(one), load_file(two)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("call", [2, 3, 5])
def test_a_run_that_stops_in_its_measure_repeats_an_unbroken_one(call, data, tmp_path):
    calls = 0

    def stopping(net):
        nonlocal calls
        calls += 1
        if calls == call:
            raise Stopped
        return measure(net)

    unbroken, resumed = network(), network()
    history = train(unbroken, data, HARD, measure=measure, every=3)
    with pytest.raises(Stopped):
        train(resumed, data, HARD, measure=stopping, every=3, checkpoint=tmp_path / "c")
    again = train(resumed, data, HARD, measure=stopping, every=3, checkpoint=tmp_path / "c")
    assert same_state(unbroken, resumed) and same_history(history, again)


def test_a_convnet_that_stops_and_goes_on_repeats_an_unbroken_run(tmp_path):
    torch.manual_seed(0)
    start = ConvNet(1 / 8).to(memory_format=torch.channels_last)
    x = torch.rand(24, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    images = Images(x, torch.arange(24) % 10, "random")
    config = Training(steps=6, lr=0.1, batch=8, momentum=0.9, radius=0.5, box=(0.0, 1.0), seed=3)
    unbroken, resumed = copy.deepcopy(start), copy.deepcopy(start)
    history = train(unbroken, images, config, every=2)
    with pytest.raises(Stopped):
        train(resumed, Stopping(images, 5), config, every=2, checkpoint=tmp_path / "c")
    resumed = copy.deepcopy(start)
    again = train(resumed, images, config, every=2, checkpoint=tmp_path / "c")
    assert same_state(unbroken, resumed) and same_history(history, again)
    assert resumed.bn1.num_batches_tracked == 6


def test_the_history_has_step_zero_each_multiple_and_the_end(data):
    history = train(network(), data, QUICK, measure=lambda net: {"width": len(net.weight)}, every=4)
    assert [entry["step"] for entry in history] == [0, 4, 8, 10]
    first, *others = (entry["loss"] for entry in history)
    assert math.isnan(first) and all(math.isfinite(loss) for loss in others)
    assert all(entry["width"] == 16 for entry in history)


def test_the_history_reports_the_mean_loss_since_the_entry_before():
    class Growing:
        """Samples whose loss at weights that do not move is log(1 + exp(-step))."""

        def batch(self, size, seed, step):
            return step * torch.ones(4, 1), torch.ones(4)

    net = TwoLayer(1, 1)
    with torch.no_grad():
        net.weight.fill_(1.0)
    history = train(net, Growing(), Training(steps=5, lr=0.0), every=2)
    losses = [math.log1p(math.exp(-step)) for step in range(5)]
    expected = [sum(losses[:2]) / 2, sum(losses[2:4]) / 2, losses[4]]
    assert [entry["loss"] for entry in history[1:]] == pytest.approx(expected, rel=0.01)  # bfloat16


def test_without_a_learning_rate_nothing_moves(data):
    net = network()
    before = net.weight.detach().clone()
    train(net, data, Training(steps=3, lr=0.0, batch=8, weight_decay=0.1, momentum=0.9))
    assert torch.equal(net.weight, before)


def test_one_step_is_gradient_descent_with_weight_decay_on_the_mean_loss(data):
    net = network()
    w = net.weight.detach().clone().requires_grad_()
    x, y = data.batch(16, seed=0, step=0)
    u = x @ w.T
    b = 0.05 * w.detach().norm(dim=1)
    f = (torch.relu(u - b) - torch.relu(-u - b)).sum(1)
    torch.nn.functional.softplus(-y * f).mean().backward()
    config = Training(steps=1, lr=3.0, batch=16, weight_decay=0.01, precision="float32")
    train(net, data, config)
    moved = net.weight.detach() - w.detach()
    expected = -3.0 * (w.grad + 0.01 * w.detach())
    assert (moved - expected).norm() < 1e-5 * expected.norm()


def test_weight_decay_shrinks_weights_that_nothing_pulls():
    net = TwoLayer(3, 2)
    before = net.weight.detach().clone()
    nothing_pulls = Constant(torch.zeros(4, 3), torch.ones(4))
    train(net, nothing_pulls, Training(steps=2, lr=0.5, weight_decay=0.1))
    torch.testing.assert_close(net.weight.detach(), before * 0.95**2)


def test_momentum_is_nesterovs():
    net = TwoLayer(3, 2)
    weight = net.weight.detach().clone().requires_grad_()
    reference = torch.optim.SGD([weight], lr=0.5, momentum=0.9, nesterov=True, weight_decay=0.1)
    for _ in range(4):
        weight.grad = torch.zeros_like(weight)
        reference.step()
    nothing_pulls = Constant(torch.zeros(4, 3), torch.ones(4))
    train(net, nothing_pulls, Training(steps=4, lr=0.5, momentum=0.9, weight_decay=0.1))
    torch.testing.assert_close(net.weight, weight)


def test_every_step_is_in_training_mode_whatever_a_measure_does():
    net = ConvNet(1 / 8).eval()
    images = Constant(torch.rand(4, 3, 32, 32), torch.arange(4))
    train(net, images, Training(steps=3, lr=0.01), every=1)
    assert net.bn1.num_batches_tracked == 3
    train(net, images, Training(steps=3, lr=0.01), every=1, measure=lambda net: net.eval() and {})
    assert net.bn1.num_batches_tracked == 6


def test_clip_bounds_the_step(data):
    net = network()
    before = net.weight.detach().clone()
    train(net, data, Training(steps=1, lr=1.0, batch=16, clip=1e-3))
    assert (net.weight - before).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_the_threshold_follows_its_schedule(data):
    seen = []

    def watch(net):
        seen.append(net.threshold.item())
        return {}

    config = Training(steps=5, lr=0.1, batch=4, threshold=Schedule((0, 0.1), (1, 0.5)))
    train(network(), data, config, measure=watch, every=1)
    assert seen == pytest.approx([0.05, 0.1, 0.2, 0.3, 0.4, 0.5])
    net = network()
    train(net, data, Training(steps=2, lr=0.1, batch=4))
    assert net.threshold.item() == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("change", "config", "says"),
    [
        (lambda x, y: (255 * x, y), {"radius": 0.5, "box": (0.0, 1.0)}, "x spans 0.* to 25"),
        (lambda x, y: (x, y[:, None]), {}, r"y is \(8, 1\)"),
    ],
)
def test_data_that_does_not_fit_is_refused_before_the_first_step(change, config, says):
    images = Images(torch.rand(16, 3, 32, 32), torch.arange(16) % 10, "random")
    changed = type("Changed", (), {"batch": lambda _, *a: change(*images.batch(*a))})()
    net = ConvNet(1 / 16)
    before = net.linear.weight.clone()
    with pytest.raises(ValueError, match=says):
        train(net, changed, Training(steps=2, lr=0.01, batch=8, **config))
    assert torch.equal(net.linear.weight, before)


def test_labels_of_one_logit_are_signs(data):
    zeros = type("Zeros", (), {"batch": lambda _, *a: (data.batch(*a)[0], torch.zeros(a[0]))})()
    with pytest.raises(ValueError, match=r"y holds \[0.0\]: give labels -1 and \+1"):
        train(network(), zeros, Training(steps=2, lr=0.01, batch=8))


def test_a_run_without_a_label_prints_nothing(data, capsys):
    train(network(), data, Training(steps=2, lr=0.1, batch=4))
    assert capsys.readouterr() == ("", "")
    train(network(), data, Training(steps=2, lr=0.1, batch=4), progress="clean training")
    assert "clean training" in capsys.readouterr().err


def test_a_bad_interval_is_named(data):
    with pytest.raises(ValueError, match="every = 0"):
        train(network(), data, QUICK, every=0)
