"""One step: which examples are trained on, in what precision, and what may go wrong."""

import dataclasses
import math

import pytest
import torch
from safetensors import safe_open
from trainings import QUICK, Constant, D, Stopped, Stopping, network, same_history, same_state

from fpcore import attacks
from fpcore.images import Images
from fpcore.models.convnet import ConvNet
from fpcore.training import Schedule, Training, step, train


def spy(monkeypatch, name):
    """Record (x, adversarial, ball, options) of each call of an attack."""
    original, calls = getattr(step, name), []

    def recorded(net, x, y, ball, *rest, **options):
        adversarial = original(net, x, y, ball, *rest, **options)
        given = [option for option in (*rest, *options.values()) if not torch.is_tensor(option)]
        calls.append((x, adversarial, ball, *given))
        return adversarial

    monkeypatch.setattr(step, name, recorded)
    return calls


def hooked(net):
    """The network, trained by autograd instead of its closed form."""
    net.register_forward_hook(lambda *_: None)
    return net


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
    expected = [attacks.Ball("l2", 0.2, box), 3, None, False, False]
    assert [settings for _, _, *settings in calls] == [expected] * 2
    sizes = torch.cat([(adversarial - x).norm(dim=1) for x, adversarial, *_ in calls])
    assert sizes.min() > 0.19  # nobody is spared, however wrong the network is on a sample


def test_clean_training_attacks_nothing(data, monkeypatch):
    calls = [spy(monkeypatch, name) for name in ("one_step", "stepped", "pgd")]
    train(network(), data, Training(steps=2, lr=0.1, batch=4))
    train(hooked(network()), data, Training(steps=2, lr=0.1, batch=4))
    assert calls == [[], [], []]


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
    error = r"the loss is nan at step 6: the data hold numbers that are not finite"
    net, good = network(), network()
    with pytest.raises(FloatingPointError, match=error):
        train(net, Poisoned(data, 5), QUICK, every=4, checkpoint=path)
    with pytest.raises(Stopped):
        train(good, Stopping(data, 5), QUICK, every=4)
    assert same_state(net, good)  # the weights are those before the step that failed
    with safe_open(path, "pt") as file:
        assert file.metadata()["step"] == "4" and file.get_tensor("model.weight").isfinite().all()


def test_a_step_size_that_is_too_large_is_named():
    images = Images(torch.rand(16, 3, 32, 32), torch.arange(16) % 10, "random")
    advice = r"at step [12]: give a smaller lr than 1e\+30"  # in its step, not the next entry
    for radius in (0.0, 0.1):
        config = Training(steps=4, lr=1e30, batch=8, radius=radius)
        with pytest.raises(FloatingPointError, match=advice):
            train(ConvNet(1 / 16), images, config, every=4)


def test_a_gradient_that_is_not_finite_leaves_the_weights_as_they_were(data):
    def steep(model, x, y, ball):
        return model.weight.square().sum().sqrt()  # of no slope at 0

    net, before = network(), network()
    for one in (net, before):
        torch.nn.init.zeros_(one.weight)
    with pytest.raises(FloatingPointError, match="the gradient is not finite at step 1"):
        train(net, data, QUICK, loss=steep)
    assert same_state(net, before)


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


PGD = Training(steps=8, lr=0.5, batch=16, radius=0.2, attack_steps=2, random_start=True, seed=1)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_random_starts_are_a_function_of_seed_and_step(steps, norm, data, tmp_path, monkeypatch):
    calls = spy(monkeypatch, "pgd")
    config = dataclasses.replace(PGD, attack_steps=steps, norm=norm)
    unbroken, resumed = network(), network()
    history = train(unbroken, data, config, every=2)
    with pytest.raises(Stopped):
        train(network(), Stopping(data, 5), config, every=2, checkpoint=tmp_path / "c")
    torch.manual_seed(5)  # of no account
    again = train(resumed, data, config, every=2, checkpoint=tmp_path / "c")
    assert same_state(unbroken, resumed) and same_history(history, again)
    assert all(ball.size(moved - x).max() < 0.2001 for x, moved, ball, *_ in calls)
    other = network()
    train(other, data, dataclasses.replace(config, random_start=False))
    assert not same_state(unbroken, other)


def test_each_step_starts_elsewhere_and_anywhere_in_the_ball(monkeypatch):
    """A step size of next to nothing shows where the attack starts."""
    calls = spy(monkeypatch, "pgd")
    same = Constant(torch.zeros(64, D), torch.ones(64))
    config = dataclasses.replace(PGD, lr=0.0, norm="linf", attack_step_size=1e-9)
    train(network(), same, config)
    starts = torch.stack([moved - x for x, moved, *_ in calls])  # (steps, n, d)
    assert starts.abs().max() < 0.2 + 1e-6 and starts.abs().max() > 0.19
    assert starts.std().item() == pytest.approx(0.2 / 3**0.5, rel=0.02)
    flat = starts.flatten(1)
    assert (torch.corrcoef(flat) - torch.eye(len(flat))).abs().max() < 0.1


def test_the_step_size_of_the_attack_is_in_radii(data, monkeypatch):
    calls = spy(monkeypatch, "pgd")
    radius = Schedule((0, 0.1), (1, 0.3))
    train(network(), data, Training(3, 0.1, batch=4, radius=radius, attack_step_size=0.5))
    assert [given[1] for _, _, _, *given in calls] == pytest.approx([0.05, 0.1, 0.15])
    assert all((moved - x).norm(dim=1).max() <= 0.5 * b.radius + 1e-6 for x, moved, b, *_ in calls)
