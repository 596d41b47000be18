import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpcore.certificates.linear_relaxation import Neighbourhood, envelope


def s(u, b):
    """The activation ReLU(u - b) - ReLU(-u - b)."""
    return (u - b).clamp(min=0) - (-u - b).clamp(min=0)


def one_neuron(q, b, radius, norm=1.0):
    """The network s(u; b) of one input around the sample q, as the certificate sees it."""
    one = torch.ones(1, 1, dtype=torch.float64)
    return Neighbourhood(
        rows=one,
        norm=one[0] * norm,
        threshold=float(b),
        q=one * q,
        radius=one * radius,
        size=one * (abs(q) + radius),
        base=0 * one[0],
        slack=0 * one[0],
        direction=0 * one,
    )


number, width = st.floats(-3, 3), st.floats(0, 4)


@given(number, width, st.floats(0, 2), st.floats(-5, 5), st.floats(0.1, 10))
def test_a_line_of_any_slope_is_below_the_activation_and_touches_it(low, width, b, slope, norm):
    net = one_neuron(low + width / 2, b, width / 2, norm)
    low = torch.full((1, 1), low, dtype=torch.float64)
    corners, values = net.corners(low, low + width)
    offset = (values - slope * corners).amin()
    u = (low + width * torch.linspace(0, 1, 501, dtype=torch.float64)).squeeze()
    gap = norm * s(u, b) - slope * u - offset
    assert gap.min() >= -1e-9
    assert gap.min() <= (norm + abs(slope)) * width / 400 + 1e-9  # the grid may miss the corner


def lower_hull(x, y):
    """The indices of the points on the lower convex hull, x rising."""
    hull = [0]
    for i in range(1, len(x)):
        while len(hull) > 1:
            a, b = hull[-2:]
            if (y[b] - y[a]) * (x[i] - x[a]) < (y[i] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(i)
    return hull


@given(number, st.floats(0.01, 4), st.floats(0, 2), st.floats(0.1, 10))
def test_the_envelope_is_the_largest_convex_function_below(low, width, b, norm):
    net = one_neuron(low + width / 2, b, width / 2, norm)
    grid = low + width * torch.linspace(0, 1, 401, dtype=torch.float64)
    interval = (grid[:1, None], grid[-1:, None])
    corners, values = net.corners(*interval)
    slopes = torch.cat(envelope(net, *interval))
    lines = torch.stack([a * grid + (values - a * corners).amin() for a in slopes])
    activation = norm * s(grid, b)
    hull = lower_hull(grid.tolist(), activation.tolist())
    expected = np.interp(grid.numpy(), grid[hull].numpy(), activation[hull].numpy())
    expected = torch.from_numpy(expected)
    torch.testing.assert_close(lines.amax(0), expected, rtol=0, atol=norm * width / 150)
