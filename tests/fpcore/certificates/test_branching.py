import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from fpcore.certificates.branching import _largest_eigenvalue, ascend
from fpcore.certificates.linear_relaxation import Neighbourhood, bound, envelope


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
