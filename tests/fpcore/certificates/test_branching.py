import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from fpcore.certificates.branching import _largest_eigenvalue, ascend, branch, reduced, relaxed
from fpcore.certificates.certificate import _bends, _neighbourhood
from fpcore.certificates.linear_relaxation import Neighbourhood, bound, envelope
from fpcore.models.two_layer import TwoLayer


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def solved(net):
    """The best bound of the linear relaxation over the whole ball, by many steps of ascent."""
    low, high = net.q - net.radius, net.q + net.radius
    _, right = envelope(net, low, high)
    rate = 1 / _largest_eigenvalue(net.rows)
    return bound(net, low, high, ascend(net, low, high, right, rate, steps=4000))


def local(rows, norm, threshold, q, radius):
    """f of these neurons alone around one sample, float64."""
    rows, norm, q = (torch.as_tensor(v, dtype=torch.float64) for v in (rows, norm, q))
    column = torch.full((1, 1), radius, dtype=torch.float64)
    return Neighbourhood(
        rows=rows,
        norm=norm,
        threshold=threshold,
        q=q[None],
        radius=column,
        size=column + q.norm(),
        base=0 * column[0],
        slack=0 * column[0],
        direction=0 * rows[:1],
    )


@pytest.mark.parametrize("seed", range(8))
def test_optimised_slopes_are_exact_where_no_concave_corner_is_in_reach(seed):
    g, d, m, radius, threshold = rng(seed), 4, 9, 0.6, 0.5
    rows = torch.nn.functional.normalize(torch.randn(m, d, generator=g, dtype=torch.float64), dim=1)
    norm = torch.rand(m, generator=g) + 0.1
    q = radius - threshold + 1.2 * torch.rand(m, generator=g)
    net = local(rows, norm, threshold, q, radius)
    lower, upper, _ = solved(net)

    # an independent solver: min <norm, t> for t >= 0, t >= u - threshold and |delta| <= radius
    R, n, u = rows.numpy(), norm.double().numpy(), q.double().numpy()
    constraints = [
        {"type": "ineq", "fun": lambda z: radius**2 - z[:d] @ z[:d]},
        {"type": "ineq", "fun": lambda z: z[d:]},
        {"type": "ineq", "fun": lambda z: z[d:] - u - R @ z[:d] + threshold},
    ]
    start = np.concatenate([np.zeros(d), np.maximum(u - threshold, 0) + 0.1])
    options = {"maxiter": 1000}
    found = minimize(
        lambda z: n @ z[d:], start, constraints=constraints, method="SLSQP", options=options
    )
    assert abs(lower.item() - found.fun) < 5e-4 and lower.item() <= upper.item()
    interval = (net.q - radius, net.q + radius)
    fixed = [bound(net, *interval, slope).lower.item() for slope in envelope(net, *interval)]
    assert max(fixed) <= lower.item() + 1e-9


@pytest.mark.parametrize("pushed", [1, 2, 3])
def test_orthonormal_neurons_have_their_closed_form(pushed):
    """`pushed` equal neurons above the corner, one below it.

    The worst delta lowers the first alone, equally, to the corner.
    """
    q, threshold, radius = torch.tensor([0.9] * pushed + [0.3]), 0.5, 0.5
    net = local(torch.eye(pushed + 1), torch.ones(pushed + 1), threshold, q, radius)
    lower, upper, _ = solved(net)
    expected = pushed * max(0.4 - radius / pushed**0.5, 0.0)
    assert abs(lower.item() - expected) < 1e-4 and abs(upper.item() - expected) < 1e-4


@pytest.mark.parametrize("most", [4, 64])
def test_samples_together_have_the_bounds_of_each_alone(most):
    g, d, m, n = rng(3), 12, 30, 9
    net = TwoLayer(d, m, 0.3, 1.0, g)
    net.weight.data[4] = 0.0  # a dead neuron
    x = 0.6 * torch.randn(n, d, generator=g, dtype=torch.float64)
    y = torch.ones(n, dtype=torch.float64)
    y[::2] = -1
    radius = torch.linspace(0.02, 0.8, n, dtype=torch.float64)[:, None]
    around = _neighbourhood(net, x, y, radius, "l2")
    bends = _bends(around)
    assert bends[-1].sum() > bends[0].sum() and not bends.all(1).any()
    alone = [branch(reduced(around, i, bends[i]), 1) for i in range(n)]
    together = torch.stack(relaxed(around, bends, most), dim=1)
    torch.testing.assert_close(together, torch.tensor(alone, dtype=torch.float64))
