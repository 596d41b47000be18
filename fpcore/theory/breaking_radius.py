"""Where the dense direction breaks a network of features, mixtures and rests: one formula."""

import math

import numpy as np

from fpcore import checks
from fpcore.theory.scores import HasSizes
from fpcore.theory.sharp_linear_bound import count_law


def breaking_radius(
    data: HasSizes,
    threshold: float,
    mixture: float,
    rest: float = 0.0,
    spread: float = 0.0,
) -> float:
    """The distance along -y u* at which the median sample changes its label, in the units of x.

    data       the sizes of the model
    threshold  b_i/|w_i|, as in `TwoLayer`
    mixture    r, of a neuron's length along u*, over its feature's
    rest       e, of the length of what is incoherent, over its feature's
    spread     of the logarithm of the features' lengths, at the same mixture and rest

    A mean field. A neuron is w*_j M_j + r u* plus a rest that adds noise to its pre-activation and
    length to its threshold. With h = r(D - t) - t/sqrt(d), t = radius sqrt(k) and D = |s| sqrt(k/d)
    (units of a feature), the radius solves

        A E s_b(1 + h + g) + B E s_b(-1 + h + g) + (d - N) E s_b(h + g) = 0

    over the noise g, where s_b(u) = ReLU(u - b) - ReLU(-u - b), b = threshold |w|. Corners count:
    neither need what is for the label stay on, nor what is silent off.
    """
    for name, value in (("mixture", mixture), ("rest", rest), ("spread", spread)):
        checks.finite(name, value)
    agree, against, weight = count_law(data)
    nodes, shares = np.polynomial.hermite_e.hermegauss(9 if spread else 1)
    own = np.exp(spread * nodes)
    share = own * shares / shares.sum()  # a neuron counts by the length of its feature
    r, e = mixture / own, rest / own
    low, high = np.zeros(len(weight)), np.full(len(weight), 4.0)
    for _ in range(30):
        t = (low + high) / 2
        above = _mean_field(data, threshold, (agree, against), t, r, e) @ share > 0
        low, high = np.where(above, t, low), np.where(above, high, t)
    order = np.argsort(low)
    median = np.searchsorted(weight[order].cumsum(), 0.5)
    return float(low[order][median] / math.sqrt(data.k))


def _mean_field(
    data: HasSizes,
    threshold: float,
    counts: tuple[np.ndarray, np.ndarray],
    t: np.ndarray,
    r: np.ndarray,
    e: np.ndarray,
) -> np.ndarray:
    """The sum over features that is to be 0, (v, q), in units of a feature.

    data       the sizes of the model
    threshold  b_i/|w_i|
    counts     A and B, (v,) each
    t          distance, (v,)
    r          mixtures (q,)
    e          rests (q,)
    """
    agree, against = (count[:, None] for count in counts)
    number, root = agree + against, math.sqrt(data.d)
    square = 1 + 2 * r / root + r**2 + e**2
    b = threshold * math.sqrt(data.k) * np.sqrt(square)
    # The rest meets the code's energy N/k, the whole neuron the noise.
    noise = np.sqrt(e**2 * number / data.d + data.noise**2 * square * data.k / data.d)
    h = r * ((agree - against) / root - t[:, None]) - t[:, None] / root
    return (
        agree * _smooth(1 + h, b, noise)
        + against * _smooth(-1 + h, b, noise)
        + (data.d - number) * _smooth(h, b, noise)
    )


def _smooth(u: np.ndarray, b: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """E s_b(u + noise g), g ~ N(0, 1)."""
    from scipy.special import ndtr  # here: it would take most of the time of `import fpcore`

    def relu(x: np.ndarray) -> np.ndarray:
        z = x / np.maximum(noise, 1e-12)
        return x * ndtr(z) + noise * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    return relu(u - b) - relu(-u - b)
