import math

import numpy as np
import pytest
import torch

from fpcore import seeding
from fpcore.attacks import pgd
from fpcore.ball import Ball
from fpcore.models.two_layer import TwoLayer
from fpcore.theory.scores import Sizes
from fpcore.theory.symmetric_polynomials import (
    SymmetricPolynomials,
    draw_histograms,
    partitions,
    thresholded_margin,
)


@pytest.fixture
def some():
    return draw_histograms(Sizes(300, 6, 1.5), 0.3, 40, np.random.default_rng(0))


def spelled_out(some, i):
    """The coordinates of one sample, (d,)."""
    return some.values.repeat_interleave(some.counts[i].long())


def test_a_histogram_has_d_coordinates_and_the_margin(some):
    assert (some.counts.sum(1) == 300).all()
    score = (some.active[:, 0] - some.active[:, 1]) / math.sqrt(6)
    assert (score >= 1.5 - 1e-6).all()


def test_the_noise_has_the_moments_of_the_uniform_law():
    many = draw_histograms(Sizes(10**9, 10, 1.0), 0.4, 20, np.random.default_rng(1))
    silent = len(many.values) // 3
    share = many.counts[:, :silent].sum(0) / many.counts[:, :silent].sum()
    for power in range(2, 21, 2):
        moment = (share @ many.values[:silent] ** power).item()
        assert moment == pytest.approx(0.4**power / (power + 1), rel=1e-4)


def test_terms_are_the_partitions_of_odd_numbers():
    assert [*partitions(3)] == [(3,), (2, 1), (1, 1, 1)]
    assert [len(SymmetricPolynomials(q).terms) for q in (1, 3, 5)] == [1, 4, 11]
    with pytest.raises(ValueError, match="degree = 4"):
        SymmetricPolynomials(4)


def test_the_basis_is_that_of_the_coordinates(some):
    family = SymmetricPolynomials(3)
    found = family.basis(some.values.expand_as(some.counts), some.counts)
    for i in range(3):
        t = spelled_out(some, i)
        p1, p2, p3 = t.sum(), (t**2).sum(), (t**3).sum()
        torch.testing.assert_close(found[i], torch.stack([p1, p3, p2 * p1, p1**3]))


def test_one_step_of_the_attack_is_fgm(some):
    family = SymmetricPolynomials(3)
    weights = torch.tensor([0.1, 1.0, 0.02, -0.001], dtype=torch.float64)
    found = family.attacked(some, weights, 0.5, steps=1)
    for i in range(5):
        t = spelled_out(some, i).requires_grad_()
        ones = torch.ones_like(t)[None]
        value = family.basis(t[None], ones)[0] @ weights
        slope = torch.autograd.grad(value, t)[0]
        moved = (t - 0.5 * slope / slope.norm()).detach()[None]
        least = min(value.item(), (family.basis(moved, ones)[0] @ weights).item())
        assert (found[i] @ weights).item() == pytest.approx(least)


def test_the_attack_on_the_linear_class_is_exact():
    some = draw_histograms(Sizes(4000, 10, 1.5), 0.0, 100, np.random.default_rng(0))
    family = SymmetricPolynomials(1)
    exact = (some.active[:, 0] - some.active[:, 1]) - 0.6 * math.sqrt(4000)
    one = torch.ones(1, dtype=torch.float64)
    torch.testing.assert_close(family.attacked(some, one, 0.6)[:, 0], exact)


def test_a_fitted_cubic_is_robust_without_dense_noise_and_not_with_much_of_it():
    rng = np.random.default_rng(0)
    kept = {}
    for d, dense in ((2000, 0.2), (10**9, 0.45)):
        size = Sizes(d, round(0.45 * math.sqrt(d)), 2.5)
        known, fresh = (draw_histograms(size, dense, 100, rng) for _ in range(2))
        family = SymmetricPolynomials(3)
        weights = family.fit(known, 0.4, steps=80)
        margin = family.attacked(fresh, weights, 0.4, steps=8) @ weights
        kept[d] = (margin > 0).double().mean().item()
        if d == 10**9:
            assert (thresholded_margin(fresh, dense, 0.5, 0.4) > 0).double().mean() > 0.95
    assert kept[2000] > 0.8 and kept[10**9] < 0.2


def test_no_attack_goes_below_the_bound_of_the_pure_network(some):
    d = 300
    net = TwoLayer(d, d, 0.5, rng=seeding.generator(0)).double()
    net.weight.data = torch.eye(d, dtype=torch.float64)
    bound = thresholded_margin(some, 0.3, 0.5, 0.6)
    for i in range(10):
        t = spelled_out(some, i)[None]
        y = torch.ones(1, dtype=torch.float64)
        moved = pgd(net, t, y, Ball("l2", 0.6), steps=40, stop=False)
        assert net(moved).item() >= bound[i].item() - 1e-9
        assert net(moved).item() <= bound[i].item() + 0.5  # and it is near


@pytest.mark.parametrize("dense, threshold", [(0.5, 0.5), (0.4, 0.7)])
def test_noise_that_reaches_the_threshold_is_named(some, dense, threshold):
    with pytest.raises(ValueError, match=f"dense = {dense}"):
        thresholded_margin(some, dense, threshold, 0.5)
