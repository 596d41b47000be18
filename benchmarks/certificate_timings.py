"""The certificate beside a plain alpha-CROWN, over d: a part of `bench.py`.

Both are of the same networks, samples and radius: pure features with noise, several neurons each.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from growth_timings import fitted, row
from torch import Tensor

import fpcore as fp
from fpcore import seeding

SIZES = (100, 200, 400, 800, 1600)  # d
SAMPLES, WIDTH = 64, 3  # samples, and neurons a feature
Row = dict[str, Any]


def subject(d: int, count: int) -> tuple[fp.TwoLayer, Tensor, Tensor, float]:
    """A network, samples and labels, and the radius at which they are certified.

    d      features
    count  samples
    """
    k = max(4, round(0.4 * d**0.5))
    data = fp.SparseCoding(d, k, margin=1.5)
    net = fp.TwoLayer(d, WIDTH * d, 0.6 / k**0.5)
    pure = (data.features * data.w_star).T.repeat(WIDTH, 1)
    noise = torch.randn(pure.shape, generator=seeding.generator(0, "noise"))
    net.weight.data = pure + 0.5 / d**0.5 * noise
    return net, *data.test_set(count, 0), 0.4 / k**0.5


def alpha_crown(net: fp.TwoLayer, x: Tensor, y: Tensor, radius: float, steps: int = 40) -> Tensor:
    """Lower bounds (n,) of y f over the l2 balls, by projected ascent on the slopes.

    net     f(x) = sum_i |w_i| S(<w_i, x>/|w_i|), S the soft shrinkage by the threshold
    x, y    samples (n, d) and labels (n,)
    radius  of the balls
    steps   of the ascent

    In float64, by autograd, as any library of bounds does it; roundings are not paid for. Source:
    Xu et al. (2021).
    """
    weight, x, y = net.weight.detach().double(), x.double(), y.double()
    norm = weight.norm(dim=1)
    rows, threshold = weight / norm[:, None], net.threshold.item()
    q = y[:, None] * (x @ rows.T)  # (n, m), within radius
    low, high = q - radius, q + radius
    # A line below |w| S there is lowest at an end, or at the convex corner if that is inside.
    u = torch.stack([low, low.clamp(min=threshold).minimum(high), high])
    s = norm * F.softshrink(u, threshold)
    slope = ((s[2] - s[0]) / (2 * radius)).requires_grad_()
    ascent = torch.optim.Adam([slope], lr=0.1 * norm.mean().item(), maximize=True)
    falling = torch.optim.lr_scheduler.LinearLR(ascent, 1.0, 1e-3, steps)
    best = torch.full_like(y, -torch.inf)
    for _ in range(steps):
        offset = (s - slope * u).amin(0)
        bound = (slope * q + offset).sum(1) - radius * (slope @ rows).norm(dim=1)
        best = best.maximum(bound.detach())
        ascent.zero_grad()
        bound.sum().backward()
        ascent.step()
        falling.step()
        slope.data.clamp_(min=0).copy_(slope.data.minimum(norm.expand_as(slope)))
    return best


def seconds_of(call: Callable[[], Tensor], repeats: int) -> tuple[Tensor, list[float]]:
    """What a call returns, and its seconds, once a repeat."""
    found, each = torch.empty(0), []
    for _ in range(repeats):
        start = time.perf_counter()
        found = call()
        each.append(time.perf_counter() - start)
    return found, each


def rows_at(d: int, count: int, repeats: int) -> tuple[list[Row], float]:
    """Of one size: samples a second, shares certified, and the ratio; and the certificate's rate.

    d        features
    count    samples
    repeats  of each
    """
    net, x, y, radius = subject(d, count)
    at = f"d = {d}, m = {WIDTH * d}, {count} samples, one thread"
    calls = {
        "certificate, two slopes": lambda: fp.certify(net, x, y, radius).robust,
        "certificate": lambda: fp.certify(net, x, y, radius, branches=100).robust,
        "alpha-CROWN": lambda: alpha_crown(net, x, y, radius) > 0,
    }
    found, rates = [], {}
    for name, call in calls.items():
        robust, each = seconds_of(call, repeats)
        rates[name] = [count / one for one in each]
        found += [
            row(name, rates[name], "1/s", at),
            row(f"{name}, certified", [100 * robust.double().mean().item()], "points", at),
        ]
    faster = [one / other for one, other in zip(rates["certificate"], rates["alpha-CROWN"])]
    found.append(row("certificate, over alpha-CROWN", faster, "x", at))
    return found, max(rates["certificate"])


def measure(quick: bool) -> list[Row]:
    """All rows of this part.

    quick  whether at toy sizes
    """
    torch.set_num_threads(1)
    sizes, count, repeats = ((16, 32), 4, 1) if quick else (SIZES, SAMPLES, 3)
    found, rates = [], []
    for d in sizes:
        some, rate = rows_at(d, count, repeats)
        found += some
        rates.append(rate)
    settings = f"m = {WIDTH} d, {count} samples, one thread"
    return [*found, fitted("certificate, samples a second over d", settings, sizes, rates)]
