"""What the best linear classifier does, from above and from below: exact laws, no samples."""

import math
from itertools import pairwise

import numpy as np

from fpcore import checks
from fpcore.sparse_codes import sign_counts
from fpcore.theory.class_bounds import linear_bound_on
from fpcore.theory.scores import HasSizes, score_law

EDGES = (0.05, 0.08, 0.12, 0.18, 0.3)  # of what counts as a large entry of u; any is sound
CELLS = 400  # of the square of an entry


def sharp_linear_bound(data: HasSizes, radius: float, cosines: int = 20) -> float:
    """An upper bound on the robust accuracy of EVERY linear classifier, for large d.

    data     the sizes of the model
    radius   of the l2 ball, in the units of x
    cosines  cells of cos(u, u*), on each of which the lower of this bound and Cantelli's counts

    Given the numbers A, B of features for and against the label, their places are random. Signs of
    w* in u do best, so let u >= 0 have norm 1. A sample is right if the small entries of u carry it
    (Bernstein), or if a large one is among the A and the rest has what is missing (Cantelli). The
    latter sums over large entries, whose squares sum to at most 1: a knapsack.
    """
    checks.finite("radius", radius)
    edges = np.linspace(0, 1, checks.positive_int("cosines", cosines) + 1)
    law = count_law(data)
    return max(
        min(linear_bound_on(data, radius, low, high), _union(data, law, radius, low, high))
        for low, high in pairwise(edges)
    )


def few_features_accuracy(data: HasSizes, radius: float, size: int, cosine: float = 0.0) -> float:
    """Exact robust accuracy of `size` equal features and a dense part: what linear ones reach.

    data    the sizes of the model; the noise must not be 0
    radius  of the l2 ball, in the units of x
    size    how many features stand out, at most 6
    cosine  of the other features' common weight, times sqrt(d), in u of norm 1
    """
    if not 1 <= checks.positive_int("size", size) <= min(6, data.d - 1):
        raise ValueError(f"size = {size}: give 1 to 6 features, fewer than d = {data.d}")
    checks.finite("cosine", cosine, high=1.0)
    if data.noise == 0:
        raise ValueError("noise = 0: give a positive noise, whose law makes the accuracy smooth")
    from scipy.special import ndtr  # here: it would take most of the time of `import fpcore`

    agree, against, weight = count_law(data)
    each = cosine / math.sqrt(data.d)
    own = math.sqrt((1 - (data.d - size) * each**2) / size)
    reach, spread = radius * math.sqrt(data.k), data.noise * math.sqrt(data.k / data.d)

    total = 0.0
    silent = data.d - agree - against
    for plus in range(size + 1):
        for minus in range(size + 1 - plus):
            rest = size - plus - minus
            ways = math.comb(size, plus) * math.comb(size - plus, minus)
            placed = _falling(agree, plus) * _falling(against, minus) * _falling(silent, rest)
            chance = ways * placed / math.perm(data.d, size)
            net = plus - minus
            margin = own * net + each * (agree - against - net) - reach
            total += weight @ (chance * ndtr(margin / spread))
    return float(total)


def count_law(data: HasSizes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers A > B of features for and against the label, (v,) each, and their chances."""
    score_law(data)  # refuses what is not the simplest member of the family
    counts, weight = (table.numpy() for table in sign_counts(data.d, data.k, data.margin))
    # By symmetry those of positive score alone; what is below 1e-13 of the likeliest goes.
    kept = (counts[:, 0] > counts[:, 1]) & (weight > 1e-13 * weight.max())
    agree, against = counts[kept].astype(float).T
    return agree, against, weight[kept] / weight[kept].sum()


def _falling(x: np.ndarray, n: int) -> np.ndarray:
    """x (x - 1) ... (x - n + 1)."""
    return np.prod([x - i for i in range(n)], axis=0) if n else np.ones_like(x)


def _union(
    data: HasSizes,
    law: tuple[np.ndarray, np.ndarray, np.ndarray],
    radius: float,
    low: float,
    high: float,
) -> float:
    """The bound where low <= cos(u, u*) <= high, the best over EDGES. Units of a feature.

    data    the sizes of the model
    law     of A and B
    radius  of the l2 ball, in the units of x
    low     the least cosine: what the small entries must hold
    high    the largest one, at which their mean is
    """
    agree, against, weight = law
    noise = data.noise**2 * data.k / data.d
    missing = radius * math.sqrt(data.k) - high * (agree - against)[:, None] / math.sqrt(data.d)

    # A large entry, u^2 in [i, i + 1)/CELLS, is among the A, and the rest has what is missing.
    square = np.arange(CELLS) / CELLS
    variance = (agree + against)[:, None] / (data.d - 1) * (1 - square) + noise
    short = np.maximum(missing - np.sqrt(square + 1 / CELLS), 0)
    gain = weight @ (agree[:, None] / data.d * variance / (variance + short**2))

    return min(
        weight @ _small_entries(data, agree, against, missing, edge)
        # With cos >= low the small entries have a norm of at least low - 1/(edge sqrt(d)).
        + _knapsack(gain, edge, 1 - max(0.0, low - 1 / (edge * math.sqrt(data.d))) ** 2)
        for edge in EDGES
    )


def _small_entries(
    data: HasSizes, agree: np.ndarray, against: np.ndarray, missing: np.ndarray, edge: float
) -> np.ndarray:
    """Chernoff's bound, (v,), on the chance that entries below `edge` reach the radius alone.

    data     the sizes of the model
    agree    A (v,)
    against  B (v,)
    missing  (v, 1): the radius less the mean
    edge     bound on the entries

    Places drawn without replacement are negatively associated, so the moments factorise:
    log E e^(l X) <= l mean + A/d (e^(l edge) - 1 - l edge)/edge^2 + (B/d + noise) l^2/2.
    """
    tilt = np.linspace(0.5, 12, 24)  # l times edge
    rare = (np.expm1(tilt) - tilt) / edge**2
    noise = data.noise**2 * data.k
    smooth = (tilt / edge) ** 2 / 2
    exponent = (agree[:, None] * rare + (against[:, None] + noise) * smooth) / data.d
    return np.exp(np.minimum((exponent - tilt / edge * missing).min(1), 0))


def _knapsack(gain: np.ndarray, edge: float, room: float) -> float:
    """The most that entries of at least `edge` gain, if their squares sum to at most `room`.

    gain  (CELLS,) of an entry whose square is at least i/CELLS, and less than (i + 1)/CELLS
    edge  the least entry, at least 1/sqrt(CELLS)
    room  at most 1
    """
    first = int(edge**2 * CELLS)
    best = np.zeros(math.ceil(room * CELLS) + 1)
    for used in range(first, len(best)):
        cost = np.arange(first, min(used, CELLS - 1) + 1)
        best[used] = max(best[used - 1], (gain[cost] + best[used - cost]).max())
    return float(best[-1])
