import dataclasses
import math

import pytest
import torch

from fpbook.synthetic.neurons import coefficients, live_cosines, typical_neuron
from fpbook.synthetic.protocol import SyntheticRun
from fpcore.decomposition.purification import replaced


@pytest.fixture
def turned(sparse, planted, tiny):
    """A function that makes a run whose neurons are turned by angles, and shrunk by a factor."""

    def make(angles, shrunk):
        clean = planted()
        w = clean.weight.detach()
        angle = torch.tensor(angles)[:, None]
        after = angle.cos() * w + angle.sin() * w.roll(1, 0)  # neighbours are at a right angle
        purified = replaced(clean, after * torch.tensor(shrunk)[:, None])
        x, y = sparse.test_set(10, seed=0)
        networks = {"clean": clean, "purified": purified}
        experiment = dataclasses.replace(tiny, d=sparse.d, k=sparse.k)
        return SyntheticRun(experiment, 0, sparse, x, y, networks, {})

    return make


def test_coefficients_are_those_of_the_features_and_add_up_along_the_dense_direction(sparse):
    w = 2 * sparse.w_star[3] * sparse.features[:, 3] + 0.5 * sparse.u_star
    expected = torch.full((sparse.d,), 0.5 / sparse.d**0.5)
    expected[3] += 2
    torch.testing.assert_close(coefficients(w, sparse), expected, atol=1e-5, rtol=0)
    total = coefficients(w, sparse).sum() / sparse.d**0.5
    torch.testing.assert_close(total, w @ sparse.u_star, atol=1e-5, rtol=0)


def test_cosines_are_of_the_neurons_that_are_live_after_training(sparse, turned):
    angles = torch.linspace(0, 1, sparse.d).tolist()
    shrunk = [1.0] * sparse.d
    shrunk[7] = 0.01
    found = live_cosines(turned(angles, shrunk))
    expected = [math.cos(angle) for i, angle in enumerate(angles) if i != 7]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_typical_neuron_is_the_one_in_the_middle_of_the_live(sparse, turned):
    angles = torch.linspace(0, 1, sparse.d).tolist()
    shrunk = [0.01] * 10 + [1.0] * (sparse.d - 10)  # 38 are live, from the 10th on
    index, cos = typical_neuron(turned(angles, shrunk))
    assert index == 10 + 18  # cosines fall with the index
    assert cos == pytest.approx(math.cos(angles[index]), abs=1e-5)
