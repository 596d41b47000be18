import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpcore.decomposition.purification import features
from fpcore.models.outputs import loss
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.symmetric_networks import stationary_mixture, symmetric_network


@given(st.floats(0.0, 3.0), st.integers(0, 10**6))
def test_each_neuron_is_a_feature_and_its_share_of_the_mixture(mixture, seed):
    data = SparseCoding(24, 3, margin=0.5, seed=seed)
    net = symmetric_network(data, 0.3, mixture)
    held = features(net.weight.detach(), data.features, data.u_star)
    long = math.sqrt(1 + 2 * mixture / math.sqrt(24) + mixture**2)
    assert held.top.tolist() == list(range(24))
    assert torch.allclose(held.norm, torch.tensor(long), atol=1e-5)
    purity = (1 + mixture / math.sqrt(24)) / long
    assert torch.allclose(held.purity, torch.tensor(purity), atol=1e-5)
    assert torch.allclose(held.dense_part, torch.tensor(mixture * 23 / 24 / long), atol=1e-5)
    assert net.threshold.item() == pytest.approx(0.3)


@pytest.mark.parametrize("mixture", [0.05, 0.2])
def test_the_clean_gradient_pulls_it_to_the_stationary_mixture(mixture):
    data = SparseCoding(128, 8, margin=1.0, noise=0.0, seed=1)
    net = symmetric_network(data, 0.5 / math.sqrt(8), mixture)
    net.weight.data *= 1e-3  # f is homogeneous: the loss is flat, and weighs all samples alike
    x, y = data.test_set(50_000, 2)
    loss(net(x), y).mean().backward()
    # (d, d): what each neuron gains of each feature
    pull = -(net.weight.grad @ data.features) * data.w_star
    own = pull.diagonal().mean().item()
    other = (pull.sum().item() / 128 - own) / 127
    rests = math.sqrt(128) * other / (own - other)
    assert rests == pytest.approx(stationary_mixture(data), rel=0.02)


@pytest.mark.parametrize("mixture", [-0.1, math.nan, torch.tensor(0.1)])
def test_a_mixture_that_is_no_size_is_refused(mixture):
    with pytest.raises(ValueError, match="mixture = "):
        symmetric_network(SparseCoding(8, 2, margin=1.0), 0.1, mixture)


def test_writing_a_network_down_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    symmetric_network(SparseCoding(8, 2, margin=1.0), 0.1)
    assert torch.equal(torch.get_rng_state(), before)
