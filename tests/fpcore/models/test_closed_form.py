"""The two-layer network without autograd is the network, and says when it isn't."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpcore.models.closed_form import OddReLU, closed_form
from fpcore.models.two_layer import TwoLayer

D, M, N = 9, 7, 11
DOUBLE = {"rtol": 1e-12, "atol": 1e-12}


def network(seed=0, threshold=0.3, d=D, m=M):
    """A network of neurons of very different norms, in float64."""
    rng = torch.Generator().manual_seed(seed)
    net = TwoLayer(d, m, threshold, init_norm=3.0, rng=rng)
    with torch.no_grad():
        net.weight.mul_(torch.logspace(-2, 1, m)[:, None])
    return net.double()


def by_autograd(net, x, share):
    """f, its gradient in x, and that of sum_s share_s f(x_s) in the weights."""
    x = x.clone().requires_grad_()
    output = net(x)
    (slope,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
    (grad,) = torch.autograd.grad(output @ share, net.weight)
    return output.detach(), slope, grad


@torch.no_grad()
def in_closed_form(form, weight, x, share):
    form.read()
    form.at(x)
    slope = form.slope().clone()  # its memory is used again
    output = form.at(x)
    form.credit(share)
    return output, slope, weight.grad


@given(st.integers(0, 10**6), st.floats(0, 1.5))
def test_output_and_gradients_are_those_of_autograd(seed, threshold):
    net = network(seed, threshold)
    x, share = torch.randn(N, D).double(), torch.randn(N).double()
    found = in_closed_form(net.closed_form(torch.float64), net.weight, x, share)
    torch.testing.assert_close(found, by_autograd(net, x, share), **DOUBLE)


def test_several_networks_are_each_one():
    nets = [network(seed) for seed in range(3)]
    weight = torch.nn.Parameter(torch.stack([net.weight.detach() for net in nets]))
    x, share = torch.randn(3, N, D).double(), torch.randn(3, N).double()
    form = OddReLU(weight, nets[0].threshold, torch.float64)
    found = in_closed_form(form, weight, x, share)
    for i, net in enumerate(nets):
        mine = tuple(one[i] for one in found)
        torch.testing.assert_close(mine, by_autograd(net, x[i], share[i]), **DOUBLE)


def test_samples_may_be_scaled_first():
    nets, scale = [network(seed) for seed in range(2)], torch.tensor([0.5, 3.0]).double()
    weight = torch.nn.Parameter(torch.stack([net.weight.detach() for net in nets]))
    x, share = torch.randn(2, N, D).double(), torch.randn(2, N).double()
    form = OddReLU(weight, nets[0].threshold, torch.float64, scale[:, None, None])
    found = in_closed_form(form, weight, x, share)
    for i, net in enumerate(nets):
        output, slope, grad = by_autograd(net, scale[i] * x[i], share[i])
        mine = tuple(one[i] for one in found)
        torch.testing.assert_close(mine, (output, scale[i] * slope, grad), **DOUBLE)


def test_it_follows_weights_threshold_and_the_number_of_samples():
    net = network()
    form = net.closed_form(torch.float64)
    for n, threshold in ((5, 0.0), (3, 0.2), (5, 0.1)):
        net.threshold.fill_(threshold)
        with torch.no_grad():
            net.weight.mul_(1.5)
        x, share = torch.randn(n, D).double(), torch.randn(n).double()
        found = in_closed_form(form, net.weight, x, share)
        torch.testing.assert_close(found, by_autograd(net, x, share), **DOUBLE)


def test_samples_and_shares_stay_as_they_are():
    net = network()
    x, share = torch.randn(N, D).double(), torch.randn(N).double()
    before = x.clone(), share.clone()
    in_closed_form(net.closed_form(torch.float64), net.weight, x, share)
    assert torch.equal(x, before[0]) and torch.equal(share, before[1])


def test_in_bfloat16_it_is_as_near_to_float32_as_autocast_is():
    """Rounding switches neurons on and off, which moves gradients by some per cent in both."""
    off = torch.zeros(2, 3)  # of autocast and the closed form: in f, x and weights
    rng = torch.Generator().manual_seed(0)
    for seed in range(10):
        net = network(seed, 0.3, d=64, m=96).float()
        x, share = torch.randn(128, 64, generator=rng), torch.randn(128, generator=rng)
        exact = by_autograd(net, x, share)
        with torch.autocast("cpu", torch.bfloat16):
            output = net(x.requires_grad_())
            (slope,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
            (grad,) = torch.autograd.grad(output.float() @ share, net.weight)
        x.requires_grad_(False)
        found = in_closed_form(net.closed_form(torch.bfloat16), net.weight, x, share)
        for row, three in zip(off, ((output.float(), slope, grad), found)):
            row += torch.tensor([((a - b).norm() / b.norm()).item() for a, b in zip(three, exact)])
    assert (off[1] < 1.3 * off[0]).all() and (off / 10 < torch.tensor([0.01, 0.1, 0.1])).all()


def hooked(net):
    net.register_forward_hook(lambda *_: None)


def hooked_gradient(net):
    net.weight.register_hook(lambda gradient: 2 * gradient)


def with_another_forward(net):
    net.forward = lambda x: x.sum(1)


def of_another_class(net):
    net.__class__ = type("Doubled", (TwoLayer,), {"forward": lambda net, x: 2 * x.sum(1)})


def with_parametrised_weights(net):
    torch.nn.utils.parametrize.register_parametrization(net, "weight", torch.nn.Identity())


@pytest.mark.parametrize(
    "change",
    [
        hooked,
        hooked_gradient,
        with_another_forward,
        of_another_class,
        with_parametrised_weights,
    ],
)
def test_a_network_that_is_not_the_formula_has_no_closed_form(change):
    net = network()
    assert closed_form(net) is not None and closed_form(copy.deepcopy(net)) is not None
    change(net)
    assert closed_form(net) is None
    assert closed_form(torch.nn.Linear(3, 2)) is None
