import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fpbook.synthetic import model_classes as separation
from fpbook.synthetic.model_classes import (
    LowComplexity,
    lower_bound_figures,
    measure_low_complexity,
    model_accuracies,
    run_low_complexity,
    run_separation,
    run_widths,
    smoothed_pgd,
)
from fpbook.synthetic.protocol import SyntheticExperiment, run_synthetic
from fpcore.attacks import Ball, fgm, pgd
from fpcore.certificates.certificate import certified_accuracy
from fpcore.models.outputs import accuracy, loss
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.theory import kernels
from fpcore.theory.cubic import Cubic, cubic_accuracy
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
    """The derivative of the network along v, at its weights: by autograd, thresholds detached as the model has them."""
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
    loss(
        (mask[:, :, None] * points[:, None] * v).sum((1, 2)), y
    ).sum().backward()  # the (n, m, d) features
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
        corner = [
            stats.multivariate_normal.cdf([-a, -b], cov=[[1, r], [r, 1]])
            for r in (correlation, -correlation)
        ]
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
    torch.testing.assert_close(
        tangent_kernel(threshold, 60)(x, x)[apart], expected[apart], rtol=0, atol=0.004
    )


@given(st.integers(0, 10**4))
def test_kernels_are_symmetric_and_positive(seed):
    x = torch.randn(12, 5, generator=rng(seed)).double()
    for kernel in (
        polynomial(0.1, 1.0, 0.5),
        polynomial(0, 0.2, 0, 1),
        tangent_kernel(0.5),
        tangent_kernel(0.5, 20),
    ):
        gram = kernel(x, x)
        torch.testing.assert_close(gram, gram.T)
        assert torch.linalg.eigvalsh(gram).min() > -1e-8 * gram.abs().max()


def test_a_polynomial_kernel_is_the_inner_product_of_all_monomials():
    x = torch.randn(5, 3, generator=rng(1))
    features = torch.cat([torch.ones(5, 1), x, torch.einsum("ni,nj->nij", x, x).flatten(1)], 1)
    torch.testing.assert_close(polynomial(1.0, 1.0, 1.0)(x, x), features @ features.T)


def test_kernel_training_is_sgd_on_the_explicit_features(sparse):
    """For the linear kernel the machine is a linear model: its steps are those of plain SGD, up to the unit of the rate."""
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


@pytest.fixture(scope="module")
def experiment():
    return SyntheticExperiment(
        100, 5, 150, seeds=1, clean_steps=1, adversarial_steps=1, test_samples=200, margin=1.5
    )


def test_the_witness_of_the_tangent_model_tends_to_the_cubic():
    data = SparseCoding(12, 3, margin=0.5, seed=1)
    x, _ = data.test_set(200, 0)
    x = x / x.norm(dim=1, keepdim=True)
    expected = Cubic(data.features, data.w_star, linear=-1 / 12)(
        x
    )  # thresholds follow |w_i|: hence the term of order 1/d
    cosines = []
    for m in (50, 100_000):
        witness = tangent_witness(TwoLayer(12, m, 0.4, 1.0, rng()), data)
        cosines.append(torch.cosine_similarity(witness(x).detach(), expected, dim=0).item())
    assert cosines[0] < 0.98 < 0.999 < cosines[1]


def test_smooth_attacks_break_what_the_gradient_alone_does_not(experiment):
    data = experiment.data(0, torch.device("cpu"))
    x, y = data.test_set(100, 0)
    witness = tangent_witness(TwoLayer(100, 2000, experiment.thresholds[0], 1.0, rng()), data)
    found = model_accuracies(witness, data, x, y, experiment.radius)
    assert found["robust_accuracy"] < found["gradient_accuracy"] - 0.2
    ball = Ball("l2", experiment.radius)
    moved = smoothed_pgd(witness, ball, 0.1)(witness, x, y)
    assert (moved - x).norm(dim=1).max() <= experiment.radius + 1e-5
    assert witness.temperature == 0.0


def test_the_side_by_side_respects_every_bound_and_is_kept(experiment, cache):
    config = LowComplexity(
        seeds=1, samples=256, widths=(1, 2), tangent_steps=5, attacked=30, batch=64
    )
    short = replace(experiment, clean_steps=5, adversarial_steps=5, test_samples=40)
    rows = measure_low_complexity(config, short, 0, torch.device("cpu"))
    assert len(rows) == 11
    for name, row in rows.items():
        assert (
            0 <= row["robust_accuracy"] <= row["gradient_accuracy"] <= row["clean_accuracy"] <= 1
        ), name
        assert row["robust_accuracy"] <= row.get("class_bound", 1.0) + 2 / math.sqrt(30), name
    assert rows["linear, clean"]["clean_accuracy"] > 0.9
    (figures,) = lower_bound_figures([rows], experiment.radius)
    assert figures["class_bound_degree2_accuracy"] == pytest.approx(
        0.5 + figures["class_bound_linear_accuracy"] / 2
    )
    both = run_low_complexity(config, short, 0, torch.device("cpu"))
    nets = {name: row for name, row in both.items() if name not in rows}
    assert [*nets] == ["clean network", "purified network"] and len(both) == 13
    for row in nets.values():
        assert (
            0 <= row["certified_accuracy"] <= row["robust_accuracy"] <= row["clean_accuracy"] <= 1
        )
    (kept,) = cache.glob("measure_low_complexity-*.json")
    kept.write_text('{"kept": {}}')
    again = run_low_complexity(config, short, 0, torch.device("cpu"))
    assert again == {"kept": {}} | nets


def test_wider_tangent_models_are_measured_one_by_one(experiment, cache):
    config = LowComplexity(
        seeds=1, samples=256, widths=(0.5, 1), tangent_steps=5, attacked=30, batch=64
    )
    found = run_widths(config, experiment, [0, 1], torch.device("cpu"))
    wide = experiment.width
    assert {key.split("/")[0] for key in found} == {str(wide // 2), str(wide)}
    assert all(number["n"] == 2 for number in found.values())
    for name in ("trained", "witness"):
        kept, seen = (
            found[f"{wide}/{name}/{figure}_accuracy"]["value"] for figure in ("robust", "gradient")
        )
        assert kept <= seen
    data = experiment.data(1, torch.device("cpu"))
    model = config.tangent(experiment.network(1, data.device), data, experiment.radius, 1)
    alone = model_accuracies(model, data, *data.test_set(30, 1), experiment.radius)[
        "clean_accuracy"
    ]
    both = found[f"{wide}/trained/clean_accuracy"]["value"]
    assert both == pytest.approx(
        (
            run_widths(config, experiment, [0], data.device)[f"{wide}/trained/clean_accuracy"][
                "value"
            ]
            + alone
        )
        / 2
    )


def test_the_separation_is_that_of_the_runs_along_the_regime(experiment, cache, monkeypatch):
    monkeypatch.setattr(separation, "SCALING_SIZES", {"quick": ((100, 4), (100, 9), (64, 4))})
    short = replace(experiment, clean_steps=5, adversarial_steps=5, test_samples=40)
    monkeypatch.setattr(separation, "at_size", lambda d, k: replace(short, d=d, k=k))
    found = run_separation("quick", [3], torch.device("cpu"))
    assert [key.split("/")[0] for key in found] == ["100"] * 4 + [
        "64"
    ] * 4  # k = 9 is beyond, k = 4 of d = 100 at the edge
    run = run_synthetic(replace(short, d=64, k=4), 3, torch.device("cpu"), progress=False)
    tau = run.experiment.radius
    assert found["64/cubic_accuracy"]["value"] == cubic_accuracy(run.data, run.x, run.y, tau)
    assert found["64/purified_accuracy"]["value"] == certified_accuracy(
        run.purified, run.x, run.y, tau, 1
    )
    assert found["64/quadratic_accuracy"]["value"] == pytest.approx(
        0.5 + found["64/linear_accuracy"]["value"] / 2
    )


def test_the_cubic_is_certified_at_most_where_it_survives_attacks(experiment):
    data = experiment.data(0, torch.device("cpu"))
    x, y = data.test_set(200, 0)
    model = Cubic(data.features, data.w_star)
    for radius in (0.05, experiment.radius, 0.4):
        certified = cubic_accuracy(data, x, y, radius)
        moved = pgd(model, x, y, Ball("l2", radius), steps=40)
        assert certified <= accuracy(model, moved, y) <= certified + 0.03


def test_fgm_of_a_linear_model_is_its_worst_case(sparse):
    model = Linear(sparse.d)
    model.weight.data = sparse.u_star + 0.1 * torch.randn(sparse.d, generator=rng())
    x, y = sparse.test_set(50, 0)
    u = model.weight.detach()
    torch.testing.assert_close(
        y * model(fgm(model, x, y, Ball("l2", 0.1))).detach(), y * (x @ u) - 0.1 * u.norm()
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Linear(0), "d = 0"),
        (lambda: polynomial(1.0, -1.0), "coefficients"),
        (lambda: polynomial(), "coefficients"),
        (lambda: tangent_kernel(-0.1), "threshold = -0.1"),
        (lambda: tangent_kernel(0.1, 0), "terms = 0"),
        (lambda: Tangent(TwoLayer(3, 2), 0), "chunk = 0"),
        (lambda: Cubic(torch.eye(2), torch.ones(2), math.nan), "linear = nan"),
        (
            lambda: LowComplexity(seeds=1, samples=256, widths=(1,), tangent_steps=5, attacked=0),
            "attacked = 0",
        ),
        (
            lambda: LowComplexity(seeds=1, samples=256, widths=(0,), tangent_steps=5, attacked=9),
            "width = 0",
        ),
    ],
)
def test_bad_values_are_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_an_attack_computes_no_gradient_in_what_is_trained(monkeypatch):
    model, x, y = tangent(), torch.randn(9, 6, generator=rng(2)), torch.ones(9)
    calls, backward = [], kernels._ActiveSum.backward
    monkeypatch.setattr(
        kernels._ActiveSum,
        "backward",
        staticmethod(lambda *given: calls.append(1) or backward(*given)),
    )
    fgm(model, x, y, Ball("l2", 0.3))
    assert not calls
    loss(model(x), y).sum().backward()
    assert len(calls) == 1 and model.weight.grad.abs().sum() > 0
