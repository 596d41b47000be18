import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpcore.attacks import along, pgd
from fpcore.ball import Ball
from fpcore.models.outputs import accuracy
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.class_bounds import quadratic_bound
from fpcore.theory.cubic import Cubic, certify_cubic, cubic_accuracy

DATA = SparseCoding(40, 5, margin=1.0, seed=4)


@pytest.mark.parametrize("linear", [0.0, 0.02, -0.1])
@pytest.mark.parametrize("radius", [0.02, 0.1, 0.2, 0.4])
def test_nothing_breaks_the_certificate_of_the_cubic_and_an_attack_comes_close(linear, radius):
    x, y = DATA.test_set(200, 0)
    model = Cubic(DATA.features, DATA.w_star, linear)
    bound = certify_cubic(y[:, None] * (x @ DATA.features) * DATA.w_star, radius, linear)
    ball = Ball("l2", radius)
    attacked = [
        pgd(model, x, y, ball, steps=60, step_size=0.1 * radius),
        along(DATA.u_star, radius)(model, x, y),
        *(x + ball.random(x, torch.Generator().manual_seed(s)) for s in range(20)),
    ]
    lowest = torch.stack([y * model(moved) for moved in attacked]).amin(0)
    assert (lowest >= bound - 1e-5).all()
    survived = lowest > 0
    assert (survived & (bound <= 0)).float().mean() <= 0.03


@given(st.integers(0, 10**6), st.floats(0.01, 1.0), st.floats(-1, 1))
def test_in_the_plane_the_dual_is_below_every_point_of_the_disc(seed, radius, linear):
    q = torch.randn(20, 2, generator=torch.Generator().manual_seed(seed)).double()
    angle = torch.linspace(0, 2 * math.pi, 181).double()
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    disc = torch.cat([share * radius * circle for share in (0.25, 0.5, 1)])
    moved = q[:, None] + disc
    lowest = (moved**3 + linear * moved).sum(2).amin(1)
    assert (certify_cubic(q, radius, linear) <= lowest + 1e-9).all()


def test_the_cubic_defends_at_the_radius_where_no_quadratic_can():
    data = SparseCoding(400, 8, seed=0)
    radius = 0.49 / math.sqrt(8)
    x, y = data.test_set(200, 0)
    certified = certify_cubic(y[:, None] * (x @ data.features) * data.w_star, radius) > 0
    assert certified.float().mean() > 0.85 > quadratic_bound(data, radius) + 0.2


def test_the_cubic_is_certified_at_most_where_it_survives_attacks():
    data = SparseCoding(100, 5, margin=1.5)
    x, y = data.test_set(200, 0)
    model = Cubic(data.features, data.w_star)
    for radius in (0.05, 0.59 / math.sqrt(5), 0.4):
        certified = cubic_accuracy(data, x, y, radius)
        moved = pgd(model, x, y, Ball("l2", radius), steps=40)
        assert certified <= accuracy(model, moved, y) <= certified + 0.03


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Cubic(torch.eye(2), torch.ones(2), math.nan), "linear = nan"),
        (lambda: certify_cubic(torch.ones(1, 2), math.inf), "radius = inf"),
        (lambda: certify_cubic(torch.ones(1, 2), 0.1, math.nan), "linear = nan"),
        (lambda: certify_cubic(torch.ones(1, 2), 0.1, steps=0), "steps = 0"),
    ],
)
def test_bad_values_are_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
