"""The formula for symmetric networks: against attacks on them, and the narrowest margin."""

import math

import pytest
import torch

from fpcore.attacks import fgm
from fpcore.ball import Ball
from fpcore.models.outputs import accuracy
from fpcore.sparse_coding import SparseCoding
from fpcore.theory import (
    Sizes,
    narrowest_margin,
    share_kept,
    stationary_mixture,
    symmetric_accuracy,
    symmetric_network,
)


@pytest.mark.parametrize("mixture", [0.0, 0.35])
def test_the_formula_says_what_fgm_leaves_of_the_network_that_it_is_of(mixture):
    data = SparseCoding(400, 9, margin=1.0, noise=0.2, seed=3)
    threshold, reach = 0.5, 0.4
    x, y = data.test_set(4000, seed=1)
    net = symmetric_network(data, threshold / math.sqrt(data.k), mixture)
    adversarial = fgm(net, x, y, Ball("l2", reach / math.sqrt(data.k)))
    share = symmetric_accuracy(data, threshold, reach, mixture)
    assert 0.3 < share < 0.99
    assert accuracy(net, adversarial, y) == pytest.approx(share, abs=0.02)


def test_without_noise_the_formula_counts_the_codes_whose_margin_is_left():
    sizes = Sizes(100, 4, margin=1.0, noise=0.0)
    assert symmetric_accuracy(sizes, 0.5, 0.0) == pytest.approx(1.0)
    # Right if (1 - threshold) |s| > t sqrt(N/k), which with |s| <= N/sqrt(k) no code is at 1.5.
    assert symmetric_accuracy(sizes, 0.5, 1.5) < 0.05
    shares = [symmetric_accuracy(sizes, 0.5, t) for t in (0.2, 0.4, 0.6)]
    assert shares == sorted(shares, reverse=True)


def test_the_narrowest_margin_separates_and_no_narrower_one_of_its_k_does():
    found = narrowest_margin(400)
    data = Sizes(400, found.k, found.margin)
    assert found.mixture == pytest.approx(1.6 * stationary_mixture(data)) and found.mixture < 1
    at = (found.threshold, found.reach)
    assert symmetric_accuracy(data, *at, found.mixture) == pytest.approx(found.clean)
    assert found.clean < 0.01 and found.pure == pytest.approx(symmetric_accuracy(data, *at))
    assert found.pure > 0.99 - 1e-3 and found.cosine > 0.5**0.5 and found.reach <= found.threshold
    # A step less in the score, and the mixture withstands wherever the pure network does.
    narrower = Sizes(400, found.k, found.margin - 1 / math.sqrt(found.k))
    mixture = 1.6 * stationary_mixture(narrower)
    for threshold in (0.4, 0.5, 0.6, 0.7):
        reaches = torch.linspace(0.1, threshold, 40).tolist()
        held = [t for t in reaches if symmetric_accuracy(narrower, threshold, t) > 0.99]
        broken = [t for t in held if symmetric_accuracy(narrower, threshold, t, mixture) < 0.01]
        assert not broken


def test_a_smaller_network_cannot_and_a_larger_one_needs_less():
    assert narrowest_margin(200) is None
    margins = [narrowest_margin(d).margin for d in (400, 600)]
    assert margins[1] < margins[0]


def test_the_share_of_codes_kept_is_that_of_samples():
    sizes = Sizes(60, 4, margin=1.5)
    rng = torch.Generator().manual_seed(0)
    active = torch.rand(200_000, 60, generator=rng) < 4 / 60
    signs = torch.rand(200_000, 60, generator=rng) < 0.5
    score = (active * (2.0 * signs - 1)).sum(1) / 2
    kept = (score.abs() >= 1.5 - 1e-6).double().mean().item()
    assert share_kept(sizes) == pytest.approx(kept, abs=0.004)
    assert share_kept(Sizes(60, 4, margin=0.0)) < 1  # a score of 0 has no label


def test_what_is_no_size_is_refused():
    with pytest.raises(ValueError, match="d = 0"):
        narrowest_margin(0)
    with pytest.raises(ValueError, match="mixture"):
        symmetric_accuracy(Sizes(100, 4), 0.5, 0.5, -1.0)
