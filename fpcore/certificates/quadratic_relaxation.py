"""Quadratic relaxation of the two-layer network: attacks on many neurons share one |delta|^2.

A linear relaxation pays for each neuron that might cross its concave corner as if the whole radius
were spent on it. Parabolas share it. In the paper's form y f(x + y delta) = sum_i s_i(q_i + u_i)
with q_i = y <w_i, x>, u_i = <w_i, delta>, |u_i| <= reach_i = radius |w_i|, and the activation
s_i(q) = ReLU(q - b_i) - ReLU(-q - b_i):

(1) at the concave corner -b_i, a gap g = |q_i + b_i| away, ReLU(|u| - g) <= c u^2 for |u| <= reach
    with c = (reach - g)/reach^2 if reach <= 2 g, else 1/(4 g): the parabola is above the kink;
(2) for the other neurons a line is below the activation: slope (q_i + u) + offset <= s_i(q_i + u);
(3) in sum y f(x + y delta) >= base + <h, delta> - delta^T Q delta with h = sum_i slope_i w_i,
    base = sum_i (slope_i q_i + offset_i) and Q = sum_i c_i w_i w_i^T = A^T A, A of one row
    sqrt(c_i) w_i a parabola;
(4) by duality its minimum over the ball is at least base - (t radius^2 + h^T (t - Q)^-1 h / 4) for
    each multiplier t > |Q|;
(5) a Cholesky factor L of t - Q proves t > |Q|, and h^T (t - Q)^-1 h = |L^-1 h|^2;
(6) where there are fewer parabolas than inputs, by Woodbury it is (|h|^2 + |L^-1 A h|^2)/t, with L
    of t - A A^T.

All is computed in float64, u = eps/2 = 2^-53, and each rounding is paid for, for m neurons of d
inputs and p parabolas:

(1) and (2) hold of q_i and b_i as computed within a reach widened by (d + 8) eps size |w_i|, where
    size = |x| + radius. That these are not the true ones changes s_i by less than d eps size |w_i|
    and c u^2, with c reach <= 5/3, by less than 6 d u size |w_i|; (3) sums m such terms twice. All
    is less than 4 (m + d + 16) eps size sum_i |w_i|.
(5) L L^T misses t - Q by at most (p + 5) u tr(Q) of the products and (d + 3) u d t of the factor,
    in operator norm. `error` is more than twice their sum, so t - Q >= L L^T + error/2. So if z
    solves L z = h up to a residual r, |(t - Q)^-1/2 h| <= |z| + |r| sqrt(2/error), and
    |r| <= d u sqrt(d t) |z| leaves sqrt(d eps) |z|.
(6) The same with A A^T for Q, d for p and p for d; but A h is rounded, so that |r| is larger by
    (d + 3) u sqrt(tr) |h|, which leaves sqrt((d + 8) eps) |h|.
"""

import torch
from torch import Tensor

from fpcore import checks
from fpcore.certificates.linear_relaxation import EPS, TINY
from fpcore.models.two_layer import TwoLayer


@torch.no_grad()
def shared_budget(
    model: TwoLayer,
    x: Tensor,
    y: Tensor,
    radius: Tensor,
    most: int = 1500,
    memory: int = 10_000_000,
    above: float = -torch.inf,
) -> Tensor:
    """Lower bound on y f(x + delta) over |delta|_2 <= radius, (n,), by equations (1) to (6) above.

    model   the network of m neurons
    x       samples (n, d)
    y       their labels (n,), -1 or +1
    radius  of the ball of each sample (n,), in the units of x
    most    parabolas a sample, those that reach furthest
    memory  entries of A A^T, or of A, in one batch of samples
    above   where the parabolas themselves fall to this or less, no bound is computed: it is -inf

    The bound is float64 and holds in exact arithmetic, as that of `certify` does. Raises ValueError
    for weights, samples or radii that `certify` refuses.
    """
    _check(model, x)
    weight, x, y, radius = (v.double() for v in (model.weight, x, y, radius))
    m, d = weight.shape
    norm = weight.norm(dim=1)
    corner = model.threshold.double() * norm  # b
    q = y[:, None] * (x @ weight.T)  # (n, m)
    size = x.norm(dim=1) + radius
    reach = (radius + (d + 8) * EPS * size)[:, None] * norm  # of q as it was rounded

    bent, curvature = _parabolas(q, reach, corner)
    count = min(most, max(1, int(bent.sum(1).max())))
    chosen = (curvature * norm).topk(count, dim=1).indices  # (n, p)
    bent &= torch.zeros_like(bent).scatter_(1, chosen, True)

    # Equation (2). Beyond its corner a neuron is active against y: there its parabola bends q + b.
    slope, offset = _lines(q, reach, corner)
    beyond = (q < -corner).double()
    slope = torch.where(bent, beyond, slope)
    offset = torch.where(bent, beyond * corner, offset)

    # Equation (3).
    base = (slope * q + offset).sum(1)
    h = slope @ weight  # (n, d)
    curvature = curvature * bent
    worth = (base - _least_cost(weight, h, curvature, radius) > above).nonzero().flatten()
    if not len(worth):
        return torch.full_like(base, -torch.inf)
    cost = torch.full_like(base, torch.inf)
    cost[worth] = _costs(weight, h[worth], radius[worth], curvature[worth], chosen[worth], memory)
    slack = 4 * (m + d + 16) * EPS * (size * norm.sum() + cost)
    return base - cost - slack


def _costs(
    weight: Tensor, h: Tensor, radius: Tensor, curvature: Tensor, chosen: Tensor, memory: int
) -> Tensor:
    """A bound on delta^T Q delta - <h, delta> over the ball from above, (n,), for each sample.

    weight     (m, d)
    h          (n, d)
    radius     (n,)
    curvature  c, of each neuron's parabola, else 0 (n, m)
    chosen     the neurons with parabolas, those that reach furthest first (n, p)
    memory     as in `shared_budget`
    """
    m, d = weight.shape
    count = (curvature > 0).sum(1).clamp(min=1)
    order = count.argsort()
    few, many = order[count[order] < d], order[count[order] >= d]
    # Pairs of neurons are multiplied once for all samples, where those have more of them.
    shared = int(count[few].square().sum()) > m**2
    gram = (weight @ weight.T).flatten() if shared else None
    cost = torch.empty_like(radius)
    together = max(1, memory // chosen.shape[1] ** 2)
    for part in (*few.split(together), *many.split(together)):
        if not len(part):
            continue
        used = chosen[part, : int(count[part].max())]  # (n, p)
        root = curvature[part].gather(1, used).sqrt()
        p = used.shape[1]
        # Copied by index_select: an index in brackets takes several times as long.
        if p < d and gram is not None:
            pair = (used[:, :, None] * m + used[:, None]).flatten()
            bending = gram.index_select(0, pair).view(-1, p, p)
            bending = bending.mul_(root[:, :, None]).mul_(root[:, None])
        else:
            a = weight.index_select(0, used.flatten()).view(-1, p, d).mul_(root[:, :, None])
            bending = a @ a.mT if p < d else a.mT @ a
        a_h = root * (h[part] @ weight.T).gather(1, used) if p < d else None
        cost[part] = _dual(h[part], radius[part], bending, d if p < d else p, a_h)
    return cost


def _least_cost(
    weight: Tensor, h: Tensor, curvature: Tensor, radius: Tensor, steps: int = 6
) -> Tensor:
    """What delta^T Q delta - <h, delta> reaches in the ball, (n,): no bound on it is lower.

    weight     (m, d)
    h          (n, d)
    curvature  c, of each neuron's parabola, else 0 (n, m)
    radius     (n,)
    steps      of the ascent, each to the worst delta for the tangent at the last
    """
    uphill = -h
    for _ in range(steps):
        delta = radius[:, None] * uphill / uphill.norm(dim=1, keepdim=True).clamp(min=TINY)
        bending = curvature * (delta @ weight.T)  # c_i <w_i, delta>
        uphill = 2 * bending @ weight - h
    # At the last delta; 2 Q delta - h is uphill there.
    return ((uphill - h) * delta).sum(1) / 2


def _check(model: TwoLayer, x: Tensor) -> None:
    """Raise ValueError for numbers of which no bound is made."""
    storable("model.weight", model.weight)
    storable("model.threshold", model.threshold)
    storable("x", x)


def storable(name: str, value: Tensor) -> None:
    """Raise ValueError for numbers of which float64 could not compute bounds, or not exactly.

    name   what the error calls them
    value  the tensor of them
    """
    if value.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} is {value.dtype}: give float32 or float64, {name}.float()")
    single = value.float()
    if not checks.is_finite(single):
        raise ValueError(f"{name} is not finite, or beyond float32: no certificate is of that")
    if ((single == 0) != (value == 0)).any():
        raise ValueError(f"{name} holds numbers too small for float32: set them to 0")


def outwards(value: Tensor, dtype: torch.dtype, towards: float) -> Tensor:
    """Float64 values in a coarser type, each rounded towards minus or plus infinity."""
    nearest = value.to(dtype)
    passed = nearest.double() > value if towards < 0 else nearest.double() < value
    return torch.where(passed, nearest.nextafter(torch.full_like(nearest, towards)), nearest)


def _parabolas(q: Tensor, reach: Tensor, corner: Tensor) -> tuple[Tensor, Tensor]:
    """Equation (1): which neurons a parabola bounds, bool, and its curvature c, else 0, (n, m).

    Closer to the corner than 0.15 of the reach a parabola would be too steep.
    """
    gap = (q + corner).abs()
    bent = (q < corner) & (q - reach < -corner) & (q + reach > -corner) & (gap > 0.15 * reach)
    gap, reach = gap.clamp(min=TINY), reach.clamp(min=TINY)
    touching_at_reach = (reach - gap) / reach.square()
    curvature = torch.where(reach <= 2 * gap, touching_at_reach, 0.25 / gap)
    return bent, torch.where(bent, curvature, 0.0)


def _lines(q: Tensor, reach: Tensor, corner: Tensor) -> tuple[Tensor, Tensor]:
    """Equation (2): slope and offset of a line below each neuron within its reach, (n, m).

    The activation itself where it is linear; at the convex corner b the tangent of slope 1 if
    q > b, else the flattest line through the corner; at the concave corner -b alone the chord.
    """
    low, high = q - reach, q + reach
    active = (low >= corner) | (high <= -corner)
    silent = (low >= -corner) & (high <= corner)
    concave = (low < -corner) & (high <= corner) & (high > -corner)

    fall = (-low - corner).clamp(min=0)  # minus the activation at low
    chord = fall / (high - low).clamp(min=TINY)
    flattest = fall / (corner - low).clamp(min=TINY)
    slope = torch.where(concave, chord, torch.where(q > corner, 1.0, flattest))
    offset = torch.where(concave, -slope * high, -slope * corner)

    slope = torch.where(active, 1.0, torch.where(silent, 0.0, slope))
    offset = torch.where(low >= corner, -corner, torch.where(silent, 0.0, offset))
    return slope, torch.where(high <= -corner, corner, offset)


def _dual(
    h: Tensor,
    radius: Tensor,
    bending: Tensor,
    terms: int,
    a_h: Tensor | None = None,
    tries: int = 6,
) -> Tensor:
    """Equations (4) to (6): a bound on delta^T Q delta - <h, delta> over the ball from above, (n,).

    h        (n, d)
    radius   (n,)
    bending  Q, (n, d, d); with `a_h` A A^T, (n, p, p)
    terms    of the sums that its entries are: p; with `a_h` d
    a_h      A h, (n, p): for equation (6) instead of (5)
    tries    of multipliers, each 1.6 times the last, until all are proved; infinite where none is
    """
    right = h if a_h is None else a_h
    order = bending.shape[1]
    of_products = (terms + 8) * EPS * bending.diagonal(dim1=1, dim2=2).sum(1)
    length = h.norm(dim=1)
    eye = torch.eye(order, dtype=bending.dtype, device=bending.device)
    multiplier = _first_multiplier(h, radius, bending, a_h) + of_products + TINY
    least = torch.full_like(multiplier, torch.inf)
    todo = torch.arange(len(h), device=h.device)
    for _ in range(tries):
        t = multiplier[todo]
        safe = t - of_products[todo] - (order + 8) * order * EPS * t
        # `failed` is 0 where the factor exists.
        factor, failed = torch.linalg.cholesky_ex(safe[:, None, None] * eye - bending)
        solved = torch.linalg.solve_triangular(factor, right[:, :, None], upper=False)
        size = (1 + (order * EPS) ** 0.5) * solved.square().sum((1, 2)).sqrt()
        if a_h is None:
            product = size.square()  # equation (5)
        else:  # equation (6)
            size = size + ((terms + 8) * EPS) ** 0.5 * length[todo]
            product = (length[todo].square() + size.square()) / safe
        value = t * radius[todo] ** 2 + product / 4  # equation (4)
        proved = (failed == 0) & value.isfinite()
        least[todo] = torch.where(proved, value, torch.inf)
        again = failed != 0
        if not again.any():
            break
        todo, right, bending = todo[again], right[again], bending[again]
        multiplier[todo] *= 1.6
    return least


def _first_multiplier(h: Tensor, radius: Tensor, bending: Tensor, a_h: Tensor | None) -> Tensor:
    """A multiplier t to try first, (n,): the best one if h were an eigenvector of Q, or above |Q|.

    h, radius, bending, a_h  as in `_dual`

    Of |Q| it knows what one product with it shows, which may be too little.
    """
    length = h.norm(dim=1)
    if a_h is None:
        q_h = _times(bending, h)
        a_h_squared, stretched = (h * q_h).sum(1), (q_h * _times(bending, q_h)).sum(1)
    else:
        a_h_squared, stretched = a_h.square().sum(1), _times(bending, a_h).square().sum(1)
    rayleigh = a_h_squared / length.square().clamp(min=TINY)  # h^T Q h / |h|^2
    # |A A^T A h| / |A h|, which is |Q| or less
    top = (stretched.clamp(min=0) / a_h_squared.clamp(min=TINY)).sqrt()
    return torch.maximum(length / (2 * radius) + rayleigh, 1.1 * top)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[:, :, None]).squeeze(2)
