"""Kernels of linearised networks: what they are, and what is solved in them."""

import math

import pytest
import torch
from cifar10_networks import random_images

from fpbook.cifar10.tangent_kernel import (
    InfiniteAnswer,
    KernelScores,
    NetworkAnswer,
    centred_targets,
    connected_kernel,
    flat,
    homogeneous,
    weight_jacobian,
)
from fpcore.models.convnet import ConvNet
from fpcore.models.linearised import Linearised


def linearised(x, width=1 / 16):
    torch.manual_seed(0)
    return Linearised(ConvNet(width), x).eval()


def test_the_kernel_is_that_of_autograd_with_its_blocks_of_logits():
    x = random_images(3).x
    model = linearised(x)
    twin = model.net.requires_grad_(True)
    weights = [*twin.parameters()]
    rows = []
    for one in x:
        for logit in range(10):
            grads = torch.autograd.grad(twin(one[None])[0, logit], weights)
            rows.append(torch.cat([g.flatten() for g in grads]))
    wanted = torch.stack(rows)
    jac = weight_jacobian(model, x, chunk=2)
    torch.testing.assert_close(jac, wanted, rtol=1e-4, atol=1e-5)
    kernel = (jac @ jac.T).view(3, 10, 3, 10)
    assert kernel[0, 0, 1, 1].abs() > 0 and kernel[0, 0, 1, 2].abs() > 1e-6  # logits do interact


def test_a_linearisation_is_set_to_its_jacobian_times_theta():
    x = random_images(4).x
    model = linearised(x)
    jac = weight_jacobian(model, x)
    theta = torch.randn(jac.shape[1], generator=torch.Generator().manual_seed(1))
    found = homogeneous(model, theta)(x)
    torch.testing.assert_close(found.flatten(), jac @ theta, rtol=1e-3, atol=1e-3)
    last = torch.cat(
        [p.flatten() * name.startswith("linear.") for name, p in model.net.named_parameters()]
    )
    torch.testing.assert_close((jac @ last).view(4, 10), model.net(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"theta is \(5,\): give one number a weight"):
        homogeneous(model, torch.zeros(5))


def test_the_answer_is_the_kernels_and_interpolates_as_the_ridge_falls():
    data = random_images(6)
    model = linearised(data.x, 1 / 8)
    answer = NetworkAnswer(model)
    answer.mix(data.x, data.y, 1.0)
    ridge = 1e-2
    net, least, penalty = answer.solve(ridge)
    jac = weight_jacobian(model, data.x).double()
    kernel, y = jac @ jac.T, centred_targets(data.y).double().flatten()
    shift = ridge * answer.unit * len(data) * torch.eye(len(kernel)).double()
    wanted = kernel @ torch.linalg.solve(kernel + shift, y)
    torch.testing.assert_close(net(data.x).double().flatten(), wanted, rtol=0, atol=5e-3)
    loss = (wanted - y).square().sum().item() / len(data)
    assert least <= loss + penalty + 1e-6
    assert least == pytest.approx(loss + penalty, abs=5e-3)
    off = (answer.solve(1e-3)[0](data.x).flatten() - y).square().sum().item() / len(data)
    assert off < loss / 4 and off < 1e-3


def test_the_closed_form_is_the_kernel_of_a_wide_network():
    rng = torch.Generator().manual_seed(0)
    d, m = 12, 3000
    x = torch.randn(3, d, generator=rng)
    shapes = [(m, d), (m, m), (1, m)]
    weights = [torch.randn(s, generator=rng).requires_grad_() for s in shapes]

    def scores(one):
        for w in weights[:-1]:
            one = (w @ one * math.sqrt(2 / w.shape[1])).relu()
        return (weights[-1] @ one / math.sqrt(m)).sum()

    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(scores(one), weights)]) for one in x
    ]
    measured = torch.stack(rows) @ torch.stack(rows).T
    torch.testing.assert_close(connected_kernel(x, x), measured, rtol=0.08, atol=0.08)
    one = connected_kernel(x, x, hidden=1)
    assert (one.diagonal() / (x.square().sum(1) / d)).sub(2).abs().max() < 1e-2


def test_at_infinite_width_the_bound_is_what_is_reached():
    data = random_images(8)
    answer = InfiniteAnswer()
    answer.mix(data.x, data.y, 1.0)
    net, least, penalty = answer.solve(0.1)
    loss = (net(data.x) - centred_targets(data.y)).square().sum(1).mean().item()
    assert least == pytest.approx(loss + penalty, abs=1e-4)
    assert answer.solve(1e-6)[0](data.x).argmax(1).equal(data.y)
    same = KernelScores(data.x, torch.zeros(8, 10))
    assert same(data.x).abs().max() == 0
    assert flat(data.x).shape == (8, 3072)


@pytest.mark.parametrize("kind", ["network", "infinite"])
def test_a_mixture_weighs_its_images(kind):
    data, other = random_images(5), random_images(5, seed=1)
    answer = InfiniteAnswer() if kind == "infinite" else NetworkAnswer(linearised(data.x))
    answer.mix(data.x, data.y, 1.0)
    answer.mix(other.x, other.y, 0.25)
    net, least, penalty = answer.solve(0.1)
    losses = [
        (net(some.x) - centred_targets(some.y)).square().sum(1).mean().item()
        for some in (data, other)
    ]
    assert least == pytest.approx(0.75 * losses[0] + 0.25 * losses[1] + penalty, abs=3e-3)
    assert losses[0] < losses[1]


def test_targets_have_norm_one_and_mean_zero():
    found = centred_targets(torch.tensor([0, 3]))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(found.sum(1), torch.zeros(2))
    assert found.argmax(1).tolist() == [0, 3]
