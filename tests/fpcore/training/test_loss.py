"""A loss of the user: what it is given, what it may return, and that its runs can be resumed."""

import math

import pytest
import torch
from safetensors import safe_open
from trainings import QUICK, D, Stopped, Stopping, measure, network, same_history, same_state

from fpcore.attacks import pgd
from fpcore.models.outputs import loss as usual_loss
from fpcore.training import Schedule, Training, train

CONFIG = Training(steps=9, lr=0.5, batch=16, radius=Schedule((0, 0.1), (1, 0.3)), seed=1)


def plain(model, x, y, ball):
    return usual_loss(model(x).float(), y)


def noisy(model, x, y, ball):
    return usual_loss(model(x + ball.project(torch.randn_like(x), x)).float(), y).mean()


def adversarial(model, x, y, ball):
    return usual_loss(model(pgd(model, x, y, ball, steps=3, stop=False)).float(), y)


def careless(model, x, y, ball):
    """Leaves gradients in the weights behind, which are no part of the step."""
    moved = x.clone().requires_grad_()
    usual_loss(model(moved).float(), y).sum().backward()
    return usual_loss(model((moved + 0.01 * moved.grad.sign()).detach()).float(), y)


@pytest.mark.parametrize("loss", [plain, noisy, adversarial, careless])
def test_a_run_that_stops_repeats_an_unbroken_one(loss, data, tmp_path):
    settings = {"loss": loss, "every": 2, "measure": measure}
    unbroken, resumed = network(), network()
    history = train(unbroken, data, CONFIG, **settings)
    with pytest.raises(Stopped):
        train(network(), Stopping(data, 5), CONFIG, checkpoint=tmp_path / "c", **settings)
    torch.manual_seed(7)  # of no account
    again = train(resumed, data, CONFIG, checkpoint=tmp_path / "c", **settings)
    assert same_state(unbroken, resumed) and same_history(history, again)


@pytest.mark.parametrize("reduced", [True, False])
def test_the_usual_loss_written_out_trains_as_the_usual_loss_does(reduced, data):
    def written(model, x, y, ball):
        assert ball.radius == 0
        value = plain(model, x, y, ball)
        return value.mean() if reduced else value

    nets = network(), network()
    for net in nets:
        net.register_forward_hook(lambda *_: None)  # so that both go by autograd
    histories = [train(nets[0], data, QUICK), train(nets[1], data, QUICK, loss=written)]
    assert same_state(*nets) and same_history(*histories)


def test_it_is_given_the_clean_batch_and_the_ball_of_the_step(data):
    seen = []

    def watching(model, x, y, ball):
        seen.append((model, x, y, ball))
        return plain(model, x, y, ball)

    net = network()
    train(
        net,
        data,
        Training(steps=3, lr=0.1, batch=4, norm="linf", radius=CONFIG.radius),
        loss=watching,
    )
    balls = [ball for *_, ball in seen]
    assert [ball.radius for ball in balls] == pytest.approx([0.1, 0.2, 0.3])
    assert {(ball.norm, ball.box) for ball in balls} == {("linf", None)}
    for step, (model, x, y, _) in enumerate(seen):
        assert model is net
        assert all(torch.equal(a, b) for a, b in zip((x, y), data.batch(4, 0, step)))


@pytest.mark.parametrize("labels", [torch.rand(8, 3), torch.arange(8.0), torch.rand(8, 2, 2)])
def test_its_labels_may_be_anything_of_one_row_a_sample(labels):
    def squares(model, x, y, ball):
        return (model(x).sum(1) - y.flatten(1).sum(1) if y.ndim > 1 else model(x).sum(1) - y) ** 2

    config = Training(steps=3, lr=0.01)
    train(torch.nn.Linear(D, 4), [(torch.rand(8, D), labels)], config, loss=squares)
    with pytest.raises(ValueError, match=r"y is \(7,\): give one label a sample"):
        train(torch.nn.Linear(D, 4), [(torch.rand(8, D), labels[:7])], config, loss=squares)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (lambda value: value.mean().item(), "the loss is float for 16 samples"),
        (lambda value: None, "the loss is NoneType for 16 samples"),
        (lambda value: value[:3], r"the loss is \(3,\) for 16 samples: return a scalar"),
        (lambda value: value[:, None], r"the loss is \(16, 1\) for 16 samples"),
        (lambda value: value.detach(), "the loss has no gradient in the weights"),
    ],
)
def test_what_is_no_loss_is_an_error(returned, says, data):
    net = network()
    with pytest.raises(ValueError, match=says):
        train(net, data, QUICK, loss=lambda *given: returned(plain(*given)))
    assert same_state(net, network())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("every", [1, 4])
def test_a_loss_that_is_not_finite_stops_the_run_in_its_step(bad, every, data):
    def breaking(model, x, y, ball):
        calls.append(1)
        return plain(model, x, y, ball) * (bad if len(calls) == 6 else 1)

    calls = []
    with pytest.raises(FloatingPointError, match=r"at step 6: give a smaller lr than 2\.0"):
        train(network(), data, QUICK, loss=breaking, every=every)


def test_a_loss_that_is_never_finite_is_told_from_a_step_that_is_too_large(data):
    with pytest.raises(FloatingPointError, match="not finite on the very first batch") as caught:
        train(network(), data, QUICK, loss=lambda *given: plain(*given) * math.nan)
    assert "smaller lr" not in str(caught.value)


@pytest.mark.parametrize(
    "field", [{"attack_steps": 3}, {"attack_step_size": 0.5}, {"random_start": True}]
)
def test_settings_of_the_built_in_adversary_are_refused_beside_it(field, data):
    with pytest.raises(ValueError, match="attack_steps, attack_step_size or random_start"):
        train(network(), data, Training(steps=3, lr=0.1, radius=0.1, **field), loss=plain)


def test_weights_that_end_not_finite_are_an_error_and_are_not_saved(data, tmp_path):
    """The last step has a finite loss and a gradient that overflows."""

    def steep(model, x, y, ball):
        return model.weight.sum() * 1e30

    config = Training(steps=1, lr=1e30, batch=4)
    with pytest.raises(FloatingPointError, match="the weights are not finite at step 1"):
        train(network(), data, config, loss=steep, checkpoint=tmp_path / "c")
    with safe_open(tmp_path / "c", "pt") as file:
        assert file.metadata()["step"] == "0" and file.get_tensor("model.weight").isfinite().all()
