import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fpcore.attacks import fgm
from fpcore.ball import Ball
from fpcore.models.outputs import accuracy, loss
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.theory import kernels
from fpcore.theory.cubic import Cubic
from fpcore.theory.kernels import (
    KernelMachine,
    Linear,
    Tangent,
    polynomial,
    tangent_kernel,
    tangent_witness,
    train_kernel,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def tangent(d=6, m=11, threshold=0.3, seed=0, chunk=4):
    model = Tangent(TwoLayer(d, m, threshold, init_norm=1.0, rng=rng(seed)), chunk)
    model.weight.data = torch.randn(m, d, generator=rng(seed + 1))
    return model


@given(st.integers(0, 10**4), st.integers(1, 12), st.floats(0, 0.6))
def test_the_tangent_model_is_the_networks_first_order_expansion(seed, chunk, threshold):
    """Of the derivative along v by autograd, with thresholds detached as the model has them."""
    net = TwoLayer(6, 11, threshold, init_norm=1.0, rng=rng(seed)).double()
    model = Tangent(net, chunk)
    v = torch.randn(11, 6, generator=rng(seed + 1)).double()
    model.weight.data = v
    x = torch.randn(20, 6, generator=rng(seed + 2)).double()
    bias = net.bias

    def network(w):
        u = x @ w.T
        return (torch.relu(u - bias) - torch.relu(-u - bias)).sum(1)

    _, derivative = torch.autograd.functional.jvp(network, net.weight.detach(), v)
    torch.testing.assert_close(model(x).detach(), derivative)


def test_gradients_are_those_of_the_full_features_and_do_not_depend_on_the_chunk():
    x, y = torch.randn(15, 6, generator=rng(3)), torch.ones(15)
    found = []
    for chunk in (1, 4, 100):
        model, points = tangent(chunk=chunk), x.clone().requires_grad_()
        loss(model(points), y).sum().backward()
        found.append((model.weight.grad, points.grad))
    mask = ((x @ model.directions.T).abs() > 0.3).float()
    points, v = x.clone().requires_grad_(), model.weight.detach().requires_grad_()
    features = mask[:, :, None] * points[:, None]  # (n, m, d)
    loss((features * v).sum((1, 2)), y).sum().backward()
    for weight_grad, x_grad in found:
        torch.testing.assert_close(weight_grad, v.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(x_grad, points.grad, rtol=1e-4, atol=1e-5)


def test_the_tangent_model_is_odd_and_linear_in_what_is_trained():
    a, b, x = tangent(), tangent(), torch.randn(30, 6, generator=rng(7))
    torch.testing.assert_close(a(-x), -a(x))
    b.weight.data = torch.randn(11, 6, generator=rng(8))
    total = copy.deepcopy(a)
    total.weight.data = 2 * a.weight.data - 3 * b.weight.data
    torch.testing.assert_close(total(x), 2 * a(x) - 3 * b(x), rtol=1e-4, atol=1e-4)


def test_smooth_activity_tends_to_the_sharp_one():
    model, x = tangent(), torch.randn(200, 6, generator=rng(7))
    gaps = []
    for temperature in (1.0, 0.1, 0.001):
        surrogate = copy.copy(model)
        surrogate.temperature = temperature
        gaps.append((surrogate(x) - model(x)).abs().mean().item())
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2] and model.temperature == 0


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("correlation", [-0.6, -0.2, 0.0, 0.3, 0.7])
def test_the_infinite_width_kernel_is_a_bivariate_normal_probability(threshold, correlation):
    d = 100
    x = torch.zeros(2, d, dtype=torch.float64)
    x[0, 0], x[1, 0], x[1, 1] = 1.2, 0.9 * correlation, 0.9 * math.sqrt(1 - correlation**2)
    both = 1.0
    if threshold:
        a, b = threshold * 10 / 1.2, threshold * 10 / 0.9
        normal = stats.multivariate_normal
        corner = [normal.cdf([-a, -b], cov=[[1, r], [r, 1]]) for r in (correlation, -correlation)]
        both = 2 * sum(corner)
    found = tangent_kernel(threshold, 40)(x[:1], x[1:]).item()
    assert found == pytest.approx(1.2 * 0.9 * correlation * both, abs=1e-5)
    if abs(correlation) <= 0.3:  # where the samples are: a few terms suffice
        assert tangent_kernel(threshold)(x[:1], x[1:]).item() == pytest.approx(found, abs=1e-5)


def test_the_kernel_is_the_mean_over_random_neurons():
    d, m, threshold = 8, 400_000, 0.5
    x = torch.randn(4, d, generator=rng(2)) / math.sqrt(d)
    w = torch.randn(m, d, generator=rng(3))
    active = ((x @ w.T).abs() > threshold * math.sqrt(d)).float()
    expected = (x @ x.T) * (active @ active.T) / m
    apart = ~torch.eye(4, dtype=torch.bool)  # the series is slow where x = x'
    found = tangent_kernel(threshold, 60)(x, x)
    torch.testing.assert_close(found[apart], expected[apart], rtol=0, atol=0.004)


KERNELS = {
    "polynomial": polynomial(0.1, 1.0, 0.5),
    "odd polynomial": polynomial(0, 0.2, 0, 1),
    "tangent": tangent_kernel(0.5),
    "tangent, 20 terms": tangent_kernel(0.5, 20),
}


@pytest.mark.parametrize("name", KERNELS)
@given(st.integers(0, 10**4))
def test_kernels_are_symmetric_and_positive(name, seed):
    x = torch.randn(12, 5, generator=rng(seed)).double()
    gram = KERNELS[name](x, x)
    torch.testing.assert_close(gram, gram.T)
    assert torch.linalg.eigvalsh(gram).min() > -1e-8 * gram.abs().max()


def test_a_polynomial_kernel_is_the_inner_product_of_all_monomials():
    x = torch.randn(5, 3, generator=rng(1))
    features = torch.cat([torch.ones(5, 1), x, torch.einsum("ni,nj->nij", x, x).flatten(1)], 1)
    torch.testing.assert_close(polynomial(1.0, 1.0, 1.0)(x, x), features @ features.T)


def test_kernel_training_is_sgd_on_the_explicit_features(sparse):
    """For the linear kernel: its steps are those of plain SGD, up to the unit of the rate."""
    machine = KernelMachine(polynomial(0.0, 1.0), sparse.d)
    train_kernel(machine, sparse, 4 * 32, 0.1, 0.7, 32, seed=5)
    u, rate = torch.zeros(sparse.d), 1.0
    for step in range(4):
        x, y = sparse.batch(32, 5, step)
        if step == 1:
            rate = 0.7 / (y * (x @ u)).mean().item()
            u = u * rate
        if step:
            x = x - 0.1 * y[:, None] * u / u.norm()
        u = u + rate * (1 - step / 4) * (torch.sigmoid(-y * (x @ u)) * y) @ x / 32
    torch.testing.assert_close(machine.coefficients @ machine.centres, u, rtol=1e-3, atol=1e-4)


def test_an_empty_machine_is_zero_and_training_makes_it_right(sparse):
    machine = KernelMachine(tangent_kernel(0.2), sparse.d)
    x, y = sparse.test_set(200, 0)
    assert torch.equal(machine(x), torch.zeros(200))
    train_kernel(machine, sparse, 1500, 0.0, 0.5, 100, seed=0)
    assert accuracy(machine, x, y) > 0.95 and len(machine.centres) == 1500


def test_the_witness_of_the_tangent_model_tends_to_the_cubic():
    data = SparseCoding(12, 3, margin=0.5, seed=1)
    x, _ = data.test_set(200, 0)
    x = x / x.norm(dim=1, keepdim=True)
    # thresholds follow |w_i|: hence the term of order 1/d
    expected = Cubic(data.features, data.w_star, linear=-1 / 12)(x)
    cosines = []
    for m in (50, 100_000):
        witness = tangent_witness(TwoLayer(12, m, 0.4, 1.0, rng()), data)
        cosines.append(torch.cosine_similarity(witness(x).detach(), expected, dim=0).item())
    assert cosines[0] < 0.98 < 0.999 < cosines[1]


def test_fgm_of_a_linear_model_is_its_worst_case(sparse):
    model = Linear(sparse.d)
    model.weight.data = sparse.u_star + 0.1 * torch.randn(sparse.d, generator=rng())
    x, y = sparse.test_set(50, 0)
    u = model.weight.detach()
    worst = fgm(model, x, y, Ball("l2", 0.1))
    torch.testing.assert_close(y * model(worst).detach(), y * (x @ u) - 0.1 * u.norm())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Linear(0), "d = 0"),
        (lambda: polynomial(1.0, -1.0), "coefficients"),
        (lambda: polynomial(), "coefficients"),
        (lambda: tangent_kernel(-0.1), "threshold = -0.1"),
        (lambda: tangent_kernel(0.1, 0), "terms = 0"),
        (lambda: Tangent(TwoLayer(3, 2), 0), "chunk = 0"),
    ],
)
def test_bad_values_are_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_an_attack_computes_no_gradient_in_what_is_trained(monkeypatch):
    model, x, y = tangent(), torch.randn(9, 6, generator=rng(2)), torch.ones(9)
    calls, backward = [], kernels._ActiveSum.backward

    def counted(*given):
        calls.append(1)
        return backward(*given)

    monkeypatch.setattr(kernels._ActiveSum, "backward", staticmethod(counted))
    fgm(model, x, y, Ball("l2", 0.3))
    assert not calls
    loss(model(x), y).sum().backward()
    assert len(calls) == 1 and model.weight.grad.abs().sum() > 0
