import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from fpcore.attacks import along
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.class_bounds import (
    LOSSES,
    critical_radius,
    dense_accuracy,
    even_part_bound,
    few_features,
    linear_bound,
    linear_bound_at,
    linear_optimum,
    quadratic_bound,
)
from fpcore.theory.kernels import Linear
from fpcore.theory.scores import Sizes, score_law
from fpcore.theory.symmetric_networks import stationary_mixture
from fpcore.training import Schedule, Training, train


def every_code(data):
    """All z with |<1, z>| >= margin, in the signs of w*, and their probabilities, for a tiny d."""
    z = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=data.d)))
    active = np.abs(z).sum(1)
    mass = (data.k / data.d / 2) ** active * (1 - data.k / data.d) ** (data.d - active)
    z = z / math.sqrt(data.k)
    kept = np.abs(z.sum(1)) >= max(data.margin - 1e-9, 1e-6)
    return z[kept], mass[kept] / mass[kept].sum()


def exact_accuracy(data, u, radius):
    """Robust accuracy of <u, x>, summed over every code, the noise in closed form."""
    z, mass = every_code(data)
    over = (np.sign(z.sum(1)) * (z @ u) - radius * np.linalg.norm(u)) / np.linalg.norm(u)
    if data.noise == 0:
        return mass @ (over > 1e-12)
    return mass @ stats.norm.cdf(over * math.sqrt(data.d) / data.noise)


TINY = [Sizes(5, 2, 0.5, 0.3), Sizes(6, 3, 1.0, 0.0), Sizes(7, 2, 0.0, 0.5), Sizes(4, 4, 0.9, 0.2)]


@pytest.mark.parametrize("data", TINY)
def test_the_law_of_the_score_is_that_of_all_codes(data):
    z, mass = every_code(data)
    law = score_law(data)
    assert law.probability.sum() == pytest.approx(1)
    for power in (1, 2, 3):
        assert law.mean(law.score**power) == pytest.approx(mass @ np.abs(z.sum(1)) ** power)
        energy = mass @ ((z**2).sum(1) * np.abs(z.sum(1)) ** power)
        assert law.mean(law.energy * law.score**power) == pytest.approx(energy)


@pytest.mark.parametrize("data", TINY)
def test_the_stationary_mixture_is_what_a_selective_neuron_learns(data):
    z, mass = every_code(data)
    # what the first feature's neuron learns, in the signed basis
    learnt = mass @ (np.sign(z.sum(1))[:, None] * z * (z[:, :1] != 0))
    own, other = learnt[0], learnt[1:].mean()
    expected = data.d**0.5 * other / (own - other) if data.k < data.d else math.inf
    assert stationary_mixture(data) == pytest.approx(expected)


def test_the_law_is_that_of_the_samples():
    data = SparseCoding(200, 8, margin=1.2, seed=1)
    z = data.codes(20_000, torch.Generator().manual_seed(0))
    score, law = (z @ data.w_star).abs().numpy(), score_law(data)
    found = [np.mean(np.abs(score - s) < 1e-4) for s in law.score]
    assert np.abs(np.array(found) - law.probability).max() < 0.015
    assert (z**2).sum(1).mean() == pytest.approx(law.mean(law.energy), abs=0.01)


@pytest.mark.parametrize("data", TINY)
@pytest.mark.parametrize("radius", [0.0, 0.1, 0.3, 0.6])
def test_the_accuracy_of_the_dense_direction_is_exact(data, radius):
    expected = exact_accuracy(data, np.ones(data.d), radius + 1e-9)
    assert dense_accuracy(data, radius + 1e-9) == pytest.approx(expected, abs=1e-6)


@given(st.sampled_from(TINY), st.floats(0.02, 1.0), st.integers(0, 10**6), st.integers(1, 7))
def test_no_linear_classifier_exceeds_the_bound(data, radius, seed, size):
    rng = np.random.default_rng(seed)
    u = rng.standard_normal(data.d) * (rng.permutation(data.d) < size) + rng.choice([0.0, 1.0, 3.0])
    if not u.any():
        u = np.ones(data.d)
    cosine = abs(u.sum()) / np.linalg.norm(u) / math.sqrt(data.d)
    found = exact_accuracy(data, u, radius)
    assert found <= linear_bound_at(data, radius, min(cosine, 1.0)) + 1e-6
    assert found <= linear_bound(data, radius, cosines=50) + 1e-6


def test_the_bound_is_tight_at_both_ends_and_says_something_between():
    data = Sizes(1024, 12)
    tau = 0.49 / math.sqrt(12)
    assert linear_bound_at(data, tau, 1.0) == pytest.approx(dense_accuracy(data, tau), abs=1e-3)
    assert dense_accuracy(data, tau) < 0.001 < linear_bound(data, tau) < 0.08
    assert linear_bound(data, 0.0, 5) == pytest.approx(1)
    assert linear_bound(data, tau, 400) <= linear_bound(data, tau, 50)  # finer cells cost less
    # 3 features are right where one of them is active and agrees: within a factor of 3 of the bound
    sample = SparseCoding(1024, 12)
    x, y = sample.test_set(4000, 0)
    attained = (y * (x @ few_features(sample, 3)) > tau).float().mean().item()
    assert linear_bound(data, tau) / 3 < attained < linear_bound(data, tau)


def test_the_bounds_vanish_in_the_regime_of_the_theory():
    sizes = [Sizes(d, round(d**0.4)) for d in (10**3, 10**4, 10**5, 10**6)]
    linear = [linear_bound(s, 0.5 / math.sqrt(s.k), 50) for s in sizes]
    assert all(b < a / 2 for a, b in itertools.pairwise(linear)) and linear[-1] < 0.002
    assert quadratic_bound(sizes[-1], 0.5 / math.sqrt(sizes[-1].k)) == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("share", [0.6, 0.9, 1.3])
@pytest.mark.parametrize("data", [Sizes(5, 2, 0.5, 0.0), Sizes(6, 3, 1.0, 0.0)])
def test_the_linear_optimum_is_that_of_a_general_solver(data, share, loss):
    z, mass = every_code(data)
    towards, radius = z * np.sign(z.sum(1))[:, None], share * critical_radius(data)

    def value(u):
        return mass @ LOSSES[loss](towards @ u - radius * np.linalg.norm(u))

    starts = [np.zeros(data.d), *np.random.default_rng(0).standard_normal((4, data.d))]
    options = {"maxiter": 20_000, "maxfev": 20_000, "xatol": 1e-7, "fatol": 1e-12, "adaptive": True}
    runs = [optimize.minimize(value, u, method="Nelder-Mead", options=options) for u in starts]
    least = min(run.fun for run in runs)
    optimum = linear_optimum(data, radius, loss)
    assert optimum.loss == pytest.approx(least, abs=2e-4)
    assert optimum.loss <= least + 1e-6
    attained = value(np.full(data.d, optimum.scale / math.sqrt(data.d)))
    assert attained == pytest.approx(optimum.loss, abs=1e-6)
    assert (optimum.scale == 0) == (share > 1)


def test_training_from_data_reaches_the_optimum():
    data = SparseCoding(100, 5, margin=1.0, seed=2)
    radius = 0.8 * critical_radius(data)
    optimum, model = linear_optimum(data, radius), Linear(data.d)
    train(model, data, Training(500, Schedule((0, 100.0), (1, 0)), 256, radius=radius))
    x, y = data.test_set(20_000, 1)
    u = model.weight.detach()

    def adversarial_loss(v):
        return torch.nn.functional.softplus(radius * v.norm() - y * (x @ v)).mean().item()

    trained, best = adversarial_loss(u), adversarial_loss(optimum.scale * data.u_star)
    assert best == pytest.approx(optimum.loss, abs=0.01)  # the sample against the exact law
    assert -0.001 < trained - best < 0.02
    assert torch.cosine_similarity(u, data.u_star, dim=0) > 0.97


@given(st.integers(0, 10**6))
def test_an_even_part_gains_at_most_half(seed):
    """Any finite function on pairs x, -x, against an odd adversary: counted in full."""
    rng = np.random.default_rng(seed)
    odd, even = rng.standard_normal(50), rng.standard_normal(50) * rng.choice([0.1, 1.0, 10.0])
    y = rng.choice([-1, 1], 50)  # label of x; that of -x is -y
    both = np.concatenate([y * (odd + even) > 0, -y * (-odd + even) > 0])
    assert both.mean() <= even_part_bound(float((y * odd > 0).mean())) + 1e-12


def test_quadratics_stay_below_their_bound_under_the_dense_attack_of_their_odd_part():
    data = SparseCoding(60, 4, margin=1.0, seed=5)
    radius = 0.5 / math.sqrt(4)
    x, y = data.test_set(4000, 0)
    rng = torch.Generator().manual_seed(0)
    for scale in (0.0, 0.01, 1.0):
        for u in (data.u_star, few_features(data, 3)):
            form = scale * torch.randn(60, 60, generator=rng)
            moved = along(u, radius)(None, x, y)
            right = y * (moved @ u + ((moved @ form) * moved).sum(1) + scale) > 0
            assert right.float().mean().item() <= quadratic_bound(data, radius) + 0.02


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: linear_bound(Sizes(50, 4), -1.0), "radius = -1.0"),
        (lambda: linear_bound_at(Sizes(50, 4), 0.1, 1.5), "cosine = 1.5"),
        (lambda: dense_accuracy(Sizes(50, 4), math.nan), "radius = nan"),
        (lambda: linear_optimum(Sizes(50, 4), 0.1, "square"), "loss = 'square'"),
        (lambda: even_part_bound(1.2), "odd = 1.2"),
        (lambda: Sizes(3, 2, margin=9.0), "margin = 9.0"),
        (lambda: Sizes(3, 4), "k = 4 non-zeros do not fit into d = 3"),
        (lambda: Sizes(4.0, 2), "d = 4.0"),
        (lambda: Sizes(4, 2, 1.0, -0.1), "noise = -0.1"),
        (lambda: few_features(SparseCoding(40, 5), 41), "size = 41"),
    ],
)
def test_bad_values_are_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_the_dense_attack_on_all_classifiers_alike_tells_them_the_label():
    """Why the fixed adversary -y radius u* alone bounds nothing: -u* is right on what it makes."""
    data = SparseCoding(400, 8, seed=0)
    x, y = data.test_set(500, 0)
    moved = along(data.u_star, 0.49 / math.sqrt(8))(None, x, y)
    assert (y * (moved @ -data.u_star) > 0).float().mean() > 0.95
    found = (y * (moved @ data.u_star) > 0).float().mean()
    assert found == pytest.approx(dense_accuracy(data, 0.49 / math.sqrt(8)), abs=0.02)
