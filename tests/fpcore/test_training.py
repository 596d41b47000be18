import copy
import dataclasses
import itertools
import json
import math
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from fpcore import attacks, checks, training
from fpcore.checkpoint import write_atomically
from fpcore.checks import arithmetic
from fpcore.images import Images
from fpcore.models.convnet import ConvNet
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Schedule, Training, train

D = 32
QUICK = Training(steps=10, lr=2.0, batch=16, seed=1)
HARD = Training(
    steps=10,
    lr=Schedule((0, 0.5), (1, 2)),
    batch=16,
    momentum=0.9,
    weight_decay=1e-3,
    radius=Schedule((0, 0.05), (1, 0.2)),
    threshold=Schedule((0, 0.05), (1, 0.2)),
    clip=1.0,
    seed=1,
)


class Stopped(Exception):
    """What stops a run half-way."""


class Stopping:
    """Data that stops a run at a step."""

    def __init__(self, data, at):
        self.data, self.at = data, at

    def batch(self, size, seed, step):
        if step == self.at:
            raise Stopped
        return self.data.batch(size, seed, step)


class Constant:
    """Data that gives the same batch at every step."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def batch(self, size, seed, step):
        return self.x, self.y


@pytest.fixture(scope="module")
def data():
    return SparseCoding(D, 4, margin=1.0, seed=2)


def network(m=16, seed=0):
    return TwoLayer(D, m, threshold=0.05, rng=torch.Generator().manual_seed(seed))


def measure(net):
    return {"norm": net.state_dict()[next(iter(net.state_dict()))].norm().item()}


def same_state(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def same_history(a, b):
    """Equal entry by entry; NaN, the loss of step 0, equals itself."""
    return json.dumps(a) == json.dumps(b)


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


def test_a_finished_run_is_read_and_not_repeated(data, tmp_path):
    first, second = network(), network(seed=9)
    history = train(first, data, QUICK, measure=measure, every=5, checkpoint=tmp_path / "c")
    again = train(second, Stopping(data, 0), QUICK, every=5, checkpoint=tmp_path / "c")
    assert torch.equal(first.weight, second.weight) and same_history(history, again)


def finished(path, data, config=QUICK):
    train(network(), data, config, every=5, checkpoint=path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "change", [{"lr": 1.0}, {"steps": 11}, {"seed": 2}, {"radius": 0.1}, {"lr": Schedule((0, 2.0))}]
)
def test_a_checkpoint_of_another_configuration_is_an_error_and_stays(change, data, tmp_path):
    path, net = tmp_path / "c", network(seed=3)
    content, before = finished(path, data), copy.deepcopy(net)
    with pytest.raises(ValueError, match="another configuration") as error:
        train(net, Stopping(data, 0), dataclasses.replace(QUICK, **change), checkpoint=path)
    assert str(path) in str(error.value) and "delete it" in str(error.value)
    named = [name for name in dataclasses.asdict(QUICK) if f"{name} = " in str(error.value)]
    assert named == [*change]
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["c"]
    assert same_state(net, before)


@pytest.mark.parametrize(
    "other", [lambda: network(m=17), lambda: TwoLayer(D + 1, 16), lambda: ConvNet(1 / 8)]
)
def test_a_checkpoint_of_another_shape_is_an_error_and_stays(other, data, tmp_path):
    path, net = tmp_path / "c", other()
    content, before = finished(path, data), copy.deepcopy(net)
    with pytest.raises(ValueError, match="another model") as error:
        train(net, Stopping(data, 0), QUICK, checkpoint=path)
    assert str(path) in str(error.value) and "delete it" in str(error.value)
    assert path.read_bytes() == content and same_state(net, before)


def test_the_error_names_both_shapes(data, tmp_path):
    finished(tmp_path / "c", data)
    with pytest.raises(ValueError, match=r"weight is \(16, 32\), the model's is \(17, 32\)"):
        train(network(m=17), data, QUICK, checkpoint=tmp_path / "c")


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b"not a checkpoint", lambda b: b[:-7], lambda b: b[:20]]
)
def test_a_corrupt_checkpoint_is_an_error_and_stays(damage, data, tmp_path):
    path = tmp_path / "c"
    path.write_bytes(damage(finished(path, data)))
    content = path.read_bytes()
    with pytest.raises(ValueError, match="cannot be read") as error:
        train(network(), Stopping(data, 0), QUICK, checkpoint=path)
    assert str(path) in str(error.value) and "delete it" in str(error.value)
    assert path.read_bytes() == content


def test_a_checkpoint_is_a_safetensors_file_with_its_configuration_and_momentum(data, tmp_path):
    net = network()
    history = train(net, data, HARD, every=5, checkpoint=tmp_path / "c")
    with safe_open(tmp_path / "c", "pt") as file:
        keys, metadata, weight = set(file.keys()), file.metadata(), file.get_tensor("model.weight")
    assert keys == {"model.weight", "model.threshold", "momentum.0"}
    assert torch.equal(weight, net.weight) and metadata["step"] == "10"
    assert json.loads(metadata["config"])["radius"] == {"points": [[0.0, 0.05], [1.0, 0.2]]}
    assert same_history(json.loads(metadata["history"]), history)


def test_nothing_but_the_checkpoint_is_left_in_its_new_folder(data, tmp_path):
    finished(tmp_path / "a" / "b" / "c", data)
    assert os.listdir(tmp_path / "a" / "b") == ["c"]


def test_a_run_killed_while_it_writes_leaves_the_old_checkpoint(data, tmp_path, monkeypatch):
    path = tmp_path / "c"
    with pytest.raises(Stopped):
        train(network(), Stopping(data, 7), QUICK, every=5, checkpoint=path)
    content = path.read_bytes()

    def killed(*_):
        raise Stopped

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(Stopped):
        train(network(), data, QUICK, every=5, checkpoint=path)
    monkeypatch.undo()
    assert path.read_bytes() == content
    unbroken, resumed = network(), network()
    train(unbroken, data, QUICK, every=5)
    train(resumed, data, QUICK, every=5, checkpoint=path)
    assert same_state(unbroken, resumed)


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
    train(net, data, Training(steps=1, lr=3.0, batch=16, weight_decay=0.01))
    moved = net.weight.detach() - w.detach()
    expected = -3.0 * (w.grad + 0.01 * w.detach())
    assert (moved - expected).norm() < 0.05 * expected.norm()  # bfloat16


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


def spy(monkeypatch, name):
    """Record (x, adversarial, ball, options) of each call of an attack."""
    original, calls = getattr(training, name), []

    def recorded(net, x, y, ball, *rest, **options):
        adversarial = original(net, x, y, ball, *rest, **options)
        given = [option for option in (*rest, *options.values()) if not torch.is_tensor(option)]
        calls.append((x, adversarial, ball, *given))
        return adversarial

    monkeypatch.setattr(training, name, recorded)
    return calls


def test_a_radius_trains_on_fgm_examples_at_the_radius_of_the_schedule(data, monkeypatch):
    calls, seen = spy(monkeypatch, "one_step"), []
    net = network()
    with torch.no_grad():
        net.weight.mul_(20)  # so that some neurons are active on every sample

    def note(net, inputs, _):
        if torch.is_grad_enabled() and net.training:
            seen.append(inputs[0])

    net.register_forward_hook(note)
    radius = Schedule((0, 0.1), (1, 0.3))
    train(net, data, Training(steps=5, lr=0.1, batch=8, norm="linf", radius=radius))
    assert [ball.radius for _, _, ball in calls] == pytest.approx([0.1, 0.15, 0.2, 0.25, 0.3])
    assert all(ball.norm == "linf" for _, _, ball in calls)
    assert len(seen) == 5  # the training pass: attacks run in evaluation mode
    for (x, adversarial, ball), trained_on in zip(calls, seen):
        assert torch.equal(trained_on, adversarial)
        assert ((adversarial - x).abs().amax(1) - ball.radius).abs().max() < 1e-5


def test_more_attack_steps_train_on_pgd_examples(data, monkeypatch):
    calls = spy(monkeypatch, "pgd")
    box = (-9.0, 9.0)
    config = Training(steps=2, lr=0.1, batch=4, radius=0.2, attack_steps=3, box=box)
    train(network(), data, config)
    expected = [attacks.Ball("l2", 0.2, box), 3, False]
    assert [settings for _, _, *settings in calls] == [expected] * 2
    sizes = torch.cat([(adversarial - x).norm(dim=1) for x, adversarial, *_ in calls])
    assert sizes.min() > 0.19  # nobody is spared, however wrong the network is on a sample


@pytest.mark.parametrize(
    ("able", "dtype"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx512_f": True}, torch.float32),
        ({"bf16": True, "architecture": "arm64"}, torch.float32),
    ],
)
def test_networks_are_trained_in_bfloat16_where_the_processor_multiplies_in_it(
    able, dtype, data, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert arithmetic(torch.device("cpu")) == dtype
    seen, net = [], network()

    def note(*_):
        on = torch.is_autocast_enabled("cpu")
        seen.append(torch.get_autocast_dtype("cpu") if on else torch.float32)

    handle = net.register_forward_hook(note)
    train(net, data, Training(steps=1, lr=0.1, batch=4, radius=0.1))
    handle.remove()
    assert seen and set(seen) == {dtype} and net.weight.dtype == torch.float32


@pytest.mark.parametrize("able", [True, False])
def test_a_gpu_without_bfloat16_trains_in_float32(able, monkeypatch):
    def supported(including_emulation):
        return able and not including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert arithmetic(torch.device("cuda")) == (torch.bfloat16 if able else torch.float32)


@pytest.mark.parametrize("steps", [1, 2])
def test_class_scores_in_bfloat16_are_attacked_in_training(steps, monkeypatch):
    monkeypatch.setattr(checks, "arithmetic", lambda device: torch.bfloat16)
    images = Images(torch.rand(16, 3, 32, 32), torch.arange(16) % 10, "random")
    torch.manual_seed(0)
    net = ConvNet(1 / 16)
    box = (0.0, 1.0)
    config = Training(steps=2, lr=0.01, batch=8, radius=0.5, attack_steps=steps, box=box)
    history = train(net, images, config)
    assert math.isfinite(history[-1]["loss"])


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


def test_clean_training_attacks_nothing(data, monkeypatch):
    calls = spy(monkeypatch, "one_step"), spy(monkeypatch, "pgd")
    train(network(), data, Training(steps=2, lr=0.1, batch=4))
    assert calls == ([], [])


def test_adversarial_training_makes_a_broken_network_more_robust(sparse, planted):
    ball, (x, y) = attacks.Ball("l2", 0.15), sparse.test_set(300, seed=0)
    net = planted(dense=2.0)
    before = attacks.robust_correct(net, x, y, ball, steps=5, restarts=1).float().mean()
    train(net, sparse, Training(steps=100, lr=1.0, batch=64, radius=0.15))
    after = attacks.robust_correct(net, x, y, ball, steps=5, restarts=1).float().mean()
    assert before < 0.8 and after > before + 0.1


def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(data, tmp_path):
    class Poisoned(Stopping):
        def batch(self, size, seed, step):
            x, y = self.data.batch(size, seed, step)
            return (x * math.nan if step == self.at else x), y

    path = tmp_path / "c"
    error = r"the loss is nan at step 8: the data hold numbers that are not finite"
    with pytest.raises(FloatingPointError, match=error):
        train(network(), Poisoned(data, 5), QUICK, every=4, checkpoint=path)
    with safe_open(path, "pt") as file:
        assert file.metadata()["step"] == "4" and file.get_tensor("model.weight").isfinite().all()


def test_a_step_size_that_is_too_large_is_named():
    images = Images(torch.rand(16, 3, 32, 32), torch.arange(16) % 10, "random")
    advice = r"at step 4: give a smaller lr than 1e\+30"
    for radius in (0.0, 0.1):
        config = Training(steps=4, lr=1e30, batch=8, radius=radius)
        with pytest.raises(FloatingPointError, match=advice):
            train(ConvNet(1 / 16), images, config, every=4)


@pytest.mark.parametrize("steps", [1, 2])
def test_training_on_a_network_without_gradient_in_x_stops_and_says_so(steps):
    class Rooted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x):
            return x[:, 0].abs().sqrt() + self.bias

    zeros = type("Zeros", (), {"batch": lambda _, n, *a: (torch.zeros(n, 3), torch.ones(n))})()
    config = Training(steps=2, lr=0.1, batch=4, radius=0.1, attack_steps=steps)
    with pytest.raises(FloatingPointError, match="the network's gradient in x is not finite"):
        train(Rooted(), zeros, config)
    train(Rooted(), zeros, dataclasses.replace(config, radius=0.0))


def test_a_run_without_a_label_prints_nothing(data, capsys):
    train(network(), data, Training(steps=2, lr=0.1, batch=4))
    assert capsys.readouterr() == ("", "")
    train(network(), data, Training(steps=2, lr=0.1, batch=4), progress="clean training")
    assert "clean training" in capsys.readouterr().err


points = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 100)), min_size=1, max_size=5, unique_by=lambda p: p[0]
).map(sorted)


@given(points, st.floats(0, 1))
def test_a_schedule_is_piecewise_linear_through_its_points(points, progress):
    schedule = Schedule(*points)
    values = [value for _, value in points]
    assert all(schedule(at) == pytest.approx(value) for at, value in points)
    assert min(values) - 1e-9 <= schedule(progress) <= max(values) + 1e-9
    assert schedule(0.0) == values[0] and schedule(1.0) == values[-1]
    for (a, low), (b, high) in itertools.pairwise(points):
        halfway = pytest.approx((low + high) / 2, rel=1e-3, abs=1e-6)
        assert schedule((a + b) / 2) == halfway or b - a < 1e-12


@pytest.mark.parametrize(
    "points",
    [
        (),
        ((0.5, 1), (0.2, 1)),
        ((0, math.nan),),
        ((0, -1),),
        ((-0.1, 1),),
        ((0, 1), (1.1, 1)),
        ((math.nan, 1),),
    ],
)
def test_a_bad_schedule_is_an_error(points):
    with pytest.raises(ValueError, match=r"schedule|Schedule"):
        Schedule(*points)


def test_schedules_run_from_the_first_step_to_the_last():
    config = Training(steps=5, lr=Schedule((0, 1), (1, 3)), radius=0.5)
    assert [config.at("lr", step) for step in range(5)] == [1, 1.5, 2, 2.5, 3]
    assert config.at("radius", 3) == 0.5
    assert Training(steps=1, lr=Schedule((0, 1), (1, 3))).at("lr", 0) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 1.5),
        ("batch", 0),
        ("attack_steps", 0),
        ("lr", math.nan),
        ("lr", -1.0),
        ("radius", -0.1),
        ("radius", math.nan),
        ("threshold", math.nan),
        ("momentum", -0.5),
        ("weight_decay", math.inf),
        ("clip", math.nan),
        ("norm", "l1"),
    ],
)
def test_a_bad_configuration_is_named(name, value):
    with pytest.raises(ValueError) as error:
        Training(**{"steps": 1, "lr": 0.1, name: value})
    assert f"{name} = {value!r}" in str(error.value)


def test_a_bad_interval_is_named(data):
    with pytest.raises(ValueError, match="every = 0"):
        train(network(), data, QUICK, every=0)


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "new" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and os.listdir(path.parent) == ["file"]
    with pytest.raises(TypeError):
        write_atomically(path, "no bytes")
    assert path.read_bytes() == b"two" and os.listdir(path.parent) == ["file"]
