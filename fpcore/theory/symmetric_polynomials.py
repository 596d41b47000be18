"""What low-degree polynomials and a thresholded network do under dense noise, at any size.

All here is symmetric in the features, so of a sample only a histogram counts: how many features of
each sign have noise of each value. No vector of length d is ever built.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from fpcore import checks
from fpcore.theory.scores import HasSizes

NODES = 16  # values of the noise


@dataclass(frozen=True)
class Histograms:
    """Samples of the law, up to permutations of the features, in units of a feature.

    values  t = y w*_j <M_j, x> sqrt(k), (v,): silent, for the label, against it
    counts  how many features have which, (n, v)
    active  how many of the last ones, for the label and against it, (n, 2)
    """

    values: Tensor
    counts: Tensor
    active: Tensor


def draw_histograms(data: HasSizes, dense: float, n: int, rng: np.random.Generator) -> Histograms:
    """n samples of positive score whose every coordinate has noise of at most `dense` features.

    data   the sizes of the model; its Gaussian noise is left out
    dense  bound on sqrt(k) |<M_j, xi>|, at least 0
    n      samples
    rng    of numpy, whose multinomial draws take no longer at a larger d

    The noise has NODES values, with those moments of the uniform law on [-dense, dense] that are of
    an order below 2 NODES: the nodes of a Gauss-Legendre rule, each as likely as its weight.
    """
    checks.positive_int("n", n)
    checks.finite("dense", dense)
    nodes, weight = np.polynomial.legendre.leggauss(NODES)
    share = data.k / data.d / 2
    kept = np.zeros((0, 2), dtype=np.int64)
    for _ in range(1000):
        counts = rng.multinomial(data.d, [share, share, 1 - 2 * share], size=50 * n)[:, :2]
        inside = counts[:, 0] - counts[:, 1] >= max(data.margin * math.sqrt(data.k) - 1e-6, 1)
        kept = np.concatenate([kept, counts[inside]])[:n]
        if len(kept) == n:
            break
    else:
        raise ValueError(f"margin = {data.margin!r}: too few samples have it; give a smaller one")
    groups = (data.d - kept.sum(1), kept[:, 0], kept[:, 1])
    counts = np.concatenate([rng.multinomial(size, weight / weight.sum()) for size in groups], 1)
    values = np.concatenate([centre + dense * nodes for centre in (0, 1, -1)])
    tables = (values, counts.astype(float), kept.astype(float))
    return Histograms(*(torch.from_numpy(table) for table in tables))


def partitions(total: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """The partitions of a whole number, the parts of each falling: 3 = 3, 2 + 1, 1 + 1 + 1."""
    if total == 0:
        yield ()
    for part in range(min(total, largest or total), 0, -1):
        for rest in partitions(total - part, part):
            yield (part, *rest)


class SymmetricPolynomials:
    """All odd symmetric polynomials of a degree, as sums of products of power sums.

    The products of p_r = sum_j t_j^r over the partitions of 1, 3, ..., degree: 1, 4, 11 of them.
    Every convex adversarial loss is least, over ALL polynomials of the degree, at one of these:
    even parts do not help, and averaging over permutations does not harm.
    """

    def __init__(self, degree: int):
        if checks.positive_int("degree", degree) % 2 == 0:
            raise ValueError(f"degree = {degree}: give an odd one, even parts do not help")
        self.degree = degree
        self.terms = [p for total in range(1, degree + 1, 2) for p in partitions(total)]

    def basis(self, values: Tensor, counts: Tensor) -> Tensor:
        """The polynomials at values (n, v), met counts (n, v) times: (n, terms)."""
        return self._products(self._power_sums(values, counts))

    def attacked(self, some: Histograms, weights: Tensor, radius: float, steps: int = 4) -> Tensor:
        """The basis (n, terms) where FGM, repeated, leaves least of sum_i weights_i basis_i.

        some     samples
        weights  (terms,)
        radius   of the l2 ball, in units of a feature
        steps    each is FGM, from the sample, by the gradient where the last one ended
        """
        start = some.values.expand_as(some.counts)
        moved, sums = start, self._power_sums(start, some.counts)
        found = self._products(sums)
        for _ in range(steps if radius else 0):
            # df/dt of one feature: sum_r (df/dp_r) r t^(r - 1), by Horner's scheme.
            sums = sums.requires_grad_()
            outer = torch.autograd.grad((self._products(sums) @ weights).sum(), sums)[0]
            slope = torch.zeros_like(moved)
            for r in range(self.degree, 0, -1):
                slope = slope * moved + r * outer[:, r - 1 : r]
            length = (some.counts * slope.square()).sum(1, keepdim=True).sqrt()
            moved = start - radius * slope / length.clamp(min=1e-300)
            sums = self._power_sums(moved, some.counts)
            there = self._products(sums)
            found = torch.where(((there - found) @ weights < 0)[:, None], there, found)
        return found.detach()

    def _power_sums(self, values: Tensor, counts: Tensor) -> Tensor:
        """p_1, ..., p_degree of values (n, v), met counts (n, v) times: (n, degree)."""
        found, product = [], counts
        for _ in range(self.degree):
            product = product * values
            found.append(product.sum(1))
        return torch.stack(found, 1)

    def _products(self, sums: Tensor) -> Tensor:
        """The terms' products of the power sums (n, degree): (n, terms)."""
        return torch.stack([sums[:, [r - 1 for r in term]].prod(1) for term in self.terms], 1)

    def fit(self, some: Histograms, radius: float, steps: int = 150) -> Tensor:
        """Weights (terms,) of the least logistic loss on attacked samples: a convex problem.

        some    samples
        radius  of the l2 ball, in units of a feature
        steps   of Adam, whose rate falls to 0; the best weights met are returned
        """
        to_weights = self._whitened(some, radius)
        clean = self.basis(some.values.expand_as(some.counts), some.counts)
        # From the direction of the clean mean; at 0 there is nothing to attack.
        inner = (clean @ to_weights).mean(0)
        inner = (inner / inner.norm()).requires_grad_()
        search = torch.optim.Adam([inner], lr=0.1)
        falling = torch.optim.lr_scheduler.LinearLR(search, 1.0, 0.01, steps)
        best, least = to_weights @ inner.detach(), math.inf
        for _ in range(checks.positive_int("steps", steps)):
            search.zero_grad()
            weights = to_weights @ inner
            loss = softplus(-self.attacked(some, weights.detach(), radius) @ weights).mean()
            if loss.item() < least:
                best, least = weights.detach(), loss.item()
            loss.backward()
            search.step()
            falling.step()
        return best

    def _whitened(self, some: Histograms, radius: float) -> Tensor:
        """Coordinates (terms, r) in which the basis has second moments 1, clean and attacked.

        some    samples
        radius  of attacks on each term, without which terms may be collinear

        The terms differ by orders of magnitude, and are nearly collinear.
        """
        each = torch.eye(len(self.terms), dtype=some.counts.dtype, device=some.counts.device)
        found = torch.cat([self.attacked(some, term, radius) for term in (*each, *-each)])
        scale = found.square().mean(0).sqrt().clamp(min=1e-300)
        size, turn = torch.linalg.eigh((found / scale).T @ (found / scale) / len(found))
        usable = size > 1e-12 * size.max()
        return turn[:, usable] / size[usable].sqrt() / scale[:, None]


def thresholded_margin(some: Histograms, dense: float, threshold: float, radius: float) -> Tensor:
    """A lower bound (n,) on y f, within the ball, of the pure network: one neuron a feature.

    some       samples
    dense      bound on the noise, below the threshold and below 1 - threshold
    threshold  of each neuron
    radius     of the l2 ball

    All lengths are in units of a feature. As in the proof for pure networks: with g = threshold -
    dense, what pushes the silent features by a length l gains at most l^2/(4 g), and h on the N
    active ones, h^2 + l^2 = radius^2, at most sqrt(N) h.
    """
    room = threshold - checks.finite("dense", dense)
    if room <= 0 or dense > 1 - threshold:
        raise ValueError(
            f"dense = {dense}: noise that reaches the threshold {threshold}, or lifts what is "
            "against the label over it, leaves no bound; give less"
        )
    values, number = some.values, some.active.sum(1)
    silent = len(values) // 3
    clean = (some.counts * (values - threshold * values.sign()))[:, silent:].sum(1)
    push = (2 * number.sqrt() * room).clamp(max=checks.finite("radius", radius))
    return clean - number.sqrt() * push - (radius**2 - push**2) / (4 * room)
