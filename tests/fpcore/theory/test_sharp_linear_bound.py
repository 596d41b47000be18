import itertools
import math

import numpy as np
import pytest
from scipy import stats

from fpcore.sparse_coding import SparseCoding
from fpcore.theory.class_bounds import few_features, linear_bound
from fpcore.theory.scores import Sizes
from fpcore.theory.sharp_linear_bound import few_features_accuracy, sharp_linear_bound


@pytest.mark.parametrize("cosine", [0.0, 0.4])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("data", [Sizes(6, 3, 1.0, 0.2), Sizes(7, 2, 0.5, 0.5)])
def test_the_accuracy_of_few_features_is_that_of_all_codes(data, size, cosine):
    z = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=data.d)))
    active = np.abs(z).sum(1)
    mass = (data.k / data.d / 2) ** active * (1 - data.k / data.d) ** (data.d - active)
    z = z / math.sqrt(data.k)
    kept = z.sum(1) >= max(data.margin - 1e-9, 1e-6)
    each = cosine / math.sqrt(data.d)
    u = np.full(data.d, each)
    u[:size] = math.sqrt((1 - (data.d - size) * each**2) / size)
    over = (z @ u - 0.2) * math.sqrt(data.d) / data.noise
    expected = (mass * stats.norm.cdf(over))[kept].sum() / mass[kept].sum()
    assert few_features_accuracy(data, 0.2, size, cosine) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("d, k", [(2000, 5), (6000, 12)])
def test_no_linear_classifier_exceeds_the_sharp_bound_and_it_is_sharper(d, k):
    data, radius = Sizes(d, k, 1.5), 0.59 / math.sqrt(k)
    bound = sharp_linear_bound(data, radius, cosines=10)
    reached = max(
        few_features_accuracy(data, radius, n, a)
        for n, a in itertools.product((1, 2, 3, 4), (0.0, 0.2, 0.4))
    )
    assert reached <= bound < 0.9 * linear_bound(data, radius, cosines=10)
    assert bound < 2 * reached  # the truth is between the two


def test_no_linear_classifier_of_random_weights_exceeds_the_sharp_bound():
    data = SparseCoding(1000, 4, margin=1.0)
    radius = 0.55 / math.sqrt(data.k)
    bound = sharp_linear_bound(data, radius, cosines=10)
    x, y = data.test_set(4000, 0)
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 5, 20):
        u = few_features(data, size) * float(rng.uniform(0.8, 1)) + 0.3 * data.u_star
        reached = (y * (x @ u) / u.norm() > radius).float().mean().item()
        assert reached <= bound + 3 * math.sqrt(bound / len(x))


@pytest.mark.parametrize("size", [0, 7])
def test_a_wrong_number_of_features_is_named(size):
    with pytest.raises(ValueError, match="size"):
        few_features_accuracy(Sizes(50, 4), 0.1, size)
    with pytest.raises(ValueError, match="noise = 0"):
        few_features_accuracy(Sizes(50, 4, 1.5, 0.0), 0.1, 2)
