"""Where a call is made, and what made its samples, change nothing of what it gives."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from fpcore.attacks import fgm, pgd, robust_correct
from fpcore.ball import Ball
from fpcore.decomposition import features, same_neuron, top_part, truncated
from fpcore.members import Member
from fpcore.seeding import generator
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Training, train

BALL = Ball("l2", 0.1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 6))


def labelled(net):
    x = torch.rand(12, 5, generator=generator(0, "x"))
    with torch.no_grad():
        return x, net(x).argmax(1)


@pytest.mark.parametrize("restarts", [1, 4])
def test_attacks_of_any_number_of_runs_work_in_inference_mode(restarts):
    net, ball = network(), Ball("l2", 0.3)
    x, y = labelled(net)

    def attacked():
        return robust_correct(
            net, x.clone(), y.clone(), ball, steps=4, restarts=restarts, rng=generator(1)
        )

    with torch.inference_mode():
        inside = attacked()
    assert torch.equal(inside, attacked()) and 0 < inside.sum() < len(x)


def autocast():
    return torch.autocast("cpu", torch.bfloat16)


def losses(context, change=lambda x: x, **options):
    net = network()
    x, y = labelled(net)
    config = Training(4, lr=0.5, radius=0.1, precision="bfloat16", **options)
    with context():
        return [entry["loss"] for entry in train(net, [(change(x), y)], config, every=1)][1:]


@pytest.mark.parametrize("options", [{}, {"attack_steps": 2}], ids=["FGM", "PGD"])
@pytest.mark.parametrize("context", [torch.no_grad, autocast])
def test_training_is_the_same_wherever_it_is_called(context, options):
    # Autocast keeps its copies of weights until the outermost one ends.
    assert losses(context, **options) == losses(nullcontext, **options)


def test_a_batch_that_has_a_gradient_of_its_own_is_data_as_any_other():
    made = losses(nullcontext, lambda x: x.clone().requires_grad_().exp().log())
    assert made == pytest.approx(losses(nullcontext), abs=1e-3)


@pytest.mark.parametrize("attack", [fgm, lambda *given: pgd(*given, steps=2)])
def test_adversarial_samples_have_no_gradient(attack):
    net = network()
    x, y = labelled(net)
    assert not attack(net, x.requires_grad_(), y, BALL).requires_grad


def of_weights():
    data = SparseCoding(12, 3, 1.0, member=Member(bounded=0.2))
    w = torch.randn(7, 12, generator=generator(0, "w"))
    held = features(w, data.features, data.u_star)
    one = network()
    other = copy.deepcopy(one)
    for weight in other.parameters():
        weight.data += 0.5 * torch.randn(weight.shape, generator=generator(0, str(weight.shape)))
    x, _ = labelled(one)
    return [
        held.purity,
        held.dense_part,
        top_part(w, data.features),
        data.test_set(4, 0)[0],
        truncated(one, other, 1, x)[0].weight.detach(),
        torch.tensor(same_neuron(one, other)),
    ]


def test_measures_and_data_are_not_rounded_by_autocast():
    with autocast():
        inside = of_weights()
    assert all(map(torch.equal, inside, of_weights()))


@pytest.mark.parametrize("radius", [1e-25, 1e-20, 1e20, 1e37])
@pytest.mark.parametrize("attack", [fgm, lambda *given: pgd(*given, steps=3, stop=False)])
def test_a_ball_whose_squares_under_or_overflow_is_filled_and_not_left(radius, attack):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 1, bias=False), nn.Flatten(0))
    x = radius * torch.rand(6, 5, generator=generator(0, "x"))
    ball = Ball("l2", radius)
    gone = ball.size(attack(net, x, torch.ones(6), ball) - x) / radius
    assert (gone > 0.9).all() and (gone < 1 + 1e-5).all()


def test_a_step_beyond_the_type_of_the_samples_is_named():
    net = network()
    x, y = labelled(net)
    with pytest.raises(ValueError, match=r"step_size = 1e\+38 is too large .* at most 2 radius"):
        pgd(net, x, y, BALL, step_size=1e38)
    found = pgd(net, x, y, BALL, step_size=1e30, stop=False)
    assert (BALL.size(found - x) > 0.09).all()


class Sparse(nn.Module):
    def forward(self, x):
        return x.to_sparse()


def test_outputs_that_are_sparse_and_numbers_beyond_floats_are_named():
    x = torch.rand(4, 5)
    with pytest.raises(ValueError, match=r"outputs torch.sparse_coo: make it give \.to_dense"):
        fgm(Sparse(), x, torch.arange(4), BALL)
    with pytest.raises(ValueError, match=r"radius = 1000.* finite number of at least 0"):
        Ball("l2", 10**400)
