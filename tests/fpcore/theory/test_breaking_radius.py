import math

import pytest
import torch

from fpbook.synthetic.sweeps import boundary_along
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.breaking_radius import breaking_radius
from fpcore.theory.scores import Sizes, score_law
from fpcore.theory.symmetric_networks import symmetric_network


@pytest.mark.parametrize("mixture", [0.3, 0.6, 1.2])
def test_it_is_where_symmetric_networks_break(mixture):
    data = SparseCoding(400, 9, 2.0, 0.1)
    threshold = 0.5 / 3
    x, y = data.test_set(200, 0)
    net = symmetric_network(data, threshold, mixture)
    found = boundary_along(net, data, x, y, points=200).median().item()
    assert breaking_radius(data, threshold, mixture) == pytest.approx(found, rel=0.04)


def test_a_rest_and_a_spread_count_as_in_networks_that_have_them():
    data = SparseCoding(400, 9, 2.0, 0.1)
    threshold, mixture, rest, spread = 0.5 / 3, 0.8, 0.6, 0.3
    rng = torch.Generator().manual_seed(0)
    own = (spread * torch.randn(2 * 400, 1, generator=rng)).exp()
    net = symmetric_network(data, threshold, 0.0)
    noise = torch.randn(2 * 400, 400, generator=rng)
    w = net.weight.data.repeat(2, 1) * own + mixture * data.u_star
    net.weight.data = w + rest * noise / noise.norm(dim=1, keepdim=True)
    x, y = data.test_set(200, 0)
    found = boundary_along(net, data, x, y, points=200).median().item()
    expected = breaking_radius(data, threshold, mixture, rest, spread)
    assert expected == pytest.approx(found, rel=0.06)
    # each of them changes it by more than that
    assert abs(breaking_radius(data, threshold, mixture, rest) / expected - 1) > 0.03


def test_while_all_that_is_active_stays_on_it_has_a_closed_form():
    data = Sizes(10**4, 40, 2.0, 0.0)
    law, mixture, threshold = score_law(data), 0.3, 0.4
    found = breaking_radius(data, threshold / math.sqrt(40), mixture)
    lost = threshold * math.sqrt(1 + 2 * mixture / 100 + mixture**2)
    s, n = law.mean(law.score), 40 * law.mean(law.energy)
    margin = (1 - lost + n * mixture / 100) * s
    assert found == pytest.approx(margin / (n * (mixture + 1 / 100)), rel=0.08)


def test_a_negative_length_is_named():
    with pytest.raises(ValueError, match="rest"):
        breaking_radius(Sizes(100, 6), 0.2, 0.5, rest=-1.0)
