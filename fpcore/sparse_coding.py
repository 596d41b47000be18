"""The sparse coding model x = M z + xi: data whose true features are known."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fpcore import checks, seeding


class SparseCoding:
    """Samples x = M z + xi in R^d with labels y = sign<w*, z>, on any device.

    d       number of features, and of inputs
    k       mean number of features that are active in a sample
    margin  of the samples that are kept, |<w*, z>| >= margin: the theory absorbs the others in its
            o(1)
    noise   E|xi|^2 = noise^2
    seed    of the features and w*
    device  as in `checks.resolve_device`

    M is a random rotation: orthonormal columns, the features. Each z_j is independently 0 with
    probability 1 - k/d and +-1/sqrt(k) otherwise, so E|z|^2 = 1; xi ~ N(0, noise^2/d I); w* has
    entries +-1. Source: Allen-Zhu & Li (2020), section 2.

    features  M (d, d), one feature a column
    w_star    w* (d,)
    u_star    M w*/|w*| (d,), the dense direction
    """

    def __init__(
        self,
        d: int,
        k: int,
        margin: float = 1.5,
        noise: float = 0.2,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ):
        self.d, self.k, self.margin, self.noise = check_sizes(d, k, margin, noise)
        checks.fits_in_memory("d times d", d * d)  # the features; `theory.Sizes` has none
        self.seed, self.device = checks.whole("seed", seed), checks.resolve_device(device)
        rng = seeding.generator(seed, "features")
        q, r = torch.linalg.qr(torch.randn(d, d, generator=rng, dtype=torch.float64))
        haar = q * r.diagonal().sign()  # only with these signs is the rotation uniformly random
        self.features = haar.T.float().contiguous().to(self.device).T  # gathered by columns
        self.w_star = (2.0 * torch.randint(0, 2, (d,), generator=rng) - 1).to(self.device)
        self.u_star = self.features @ self.w_star / math.sqrt(d)
        counts, weight = sign_counts(d, k, self.margin)
        law = weight.cumsum(0)
        self._counts = counts.to(self.device)
        self._law = (law / law[-1]).to(self.device)

    def __repr__(self):
        sizes = f"d={self.d}, k={self.k}, margin={self.margin!r}, noise={self.noise!r}"
        return f"SparseCoding({sizes}, seed={self.seed}, device={self.device})"

    def codes(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n sparse codes z (n, d) with |<w*, z>| >= margin, exactly and without rejection.

        `rng` lives on the same device.
        """
        index, value = self._draw(n, rng)
        return torch.zeros(n, self.d, device=self.device).scatter_add_(1, index, value)

    def sample(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n samples x (n, d) and labels y (n,), -1. or +1.; `rng` lives on the same device."""
        index, value = self._draw(n, rng)
        y = (value * self.w_star[index]).sum(1).sign()
        # M z: of each sample the features that are active alone, n k rows instead of n d.
        active = value != 0
        count = active.sum(1)
        rows = self.features.T.contiguous()  # no copy: so are they stored
        clean = F.embedding_bag(
            index.masked_select(active),
            rows,
            count.cumsum(0) - count,
            mode="sum",
            per_sample_weights=value.masked_select(active),
        )
        # The noise is isotropic: drawn in the basis of x, it needs no rotation.
        xi = torch.randn(n, self.d, generator=rng, device=self.device)
        return clean.add_(xi, alpha=self.noise / math.sqrt(self.d)), y

    def _draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The non-zeros of n codes: features (n, l), and z_j (n, l), 0 for draws left out."""
        checks.fits_in_memory("n", checks.positive_int("n", n) * self.d)
        checks.random_numbers("rng", rng)
        # How many of the non-zeros agree in sign with w*, and how many disagree: from their joint
        # law given the margin, by inversion.
        uniform = torch.rand(n, generator=rng, dtype=torch.float64, device=self.device)
        which = torch.searchsorted(self._law, uniform).clamp(max=len(self._counts) - 1)
        agree, disagree = self._counts[which].T[:, :, None]  # (n, 1) each
        # Which features they are: the first of them agree, the next disagree.
        index, place = distinct(self.d, agree + disagree, rng)
        sign = (place >= 0).float() * (1 - 2 * (place >= agree).float())
        return index, sign * self.w_star[index] / math.sqrt(self.k)

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """The fresh mini-batch of training step `step`: a pure function of (seed, step)."""
        checks.positive_int("size", size)
        checks.whole("seed", seed)
        checks.whole("step", step)
        return self.sample(size, seeding.generator(seed, "batch", step, device=self.device))

    def test_set(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """n held-out samples from a stream that no training step uses."""
        checks.whole("seed", seed)
        return self.sample(n, seeding.generator(seed, "test", device=self.device))


def check_sizes(d: int, k: int, margin: float, noise: float) -> tuple[int, int, float, float]:
    """Return the numbers of a sparse coding model if there is one, else raise ValueError.

    d       number of features
    k       mean number of features that are active, at most d
    margin  of the samples, at most 3 and sqrt(k)
    noise   E|xi|^2 = noise^2
    """
    checks.positive_int("d", d)
    checks.positive_int("k", k)
    checks.fits_in_memory("d", d)
    if k > d:
        raise ValueError(f"k = {k} non-zeros do not fit into d = {d} coordinates: give k <= d")
    # <w*, z> has standard deviation 1: of a margin far in its tail (almost) nothing is left.
    margin = checks.finite("margin", margin, high=min(3.0, math.sqrt(k)))
    return d, k, margin, checks.finite("noise", noise)


def distinct(d: int, count: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each row, `count` distinct numbers below d in random order: all orders equally likely.

    d      how many numbers there are
    count  of each row (n, 1), at most d
    rng    on the device of `count`

    Returns draws (n, l) and their places in the order (n, l), from 0 to count - 1; -1 for a draw
    that is left out: all are drawn with replacement, and one that was there before does not count.
    Which draws those are says nothing about the numbers, so that the others are still uniform, and
    may all be drawn again if a row has too few.
    """
    # The draws until all are there, a sum of geometric numbers: its mean and 4 deviations.
    chance = 1 - torch.arange(int(count.max()), dtype=torch.float64) / d
    spread = ((1 - chance) / chance**2).sum().sqrt()
    length = math.ceil((1 / chance).sum() + 4 * spread) + 1
    while True:
        turn = torch.arange(length, dtype=torch.int32, device=count.device)
        drawn = torch.randint(d, (len(count), length), generator=rng, device=count.device)
        first = torch.full((len(count), d), length, dtype=torch.int32, device=count.device)
        first.scatter_reduce_(1, drawn, turn.expand_as(drawn), "amin")
        fresh = first.gather(1, drawn) == turn
        place = fresh.cumsum(1) - 1
        if (place[:, -1:] >= count - 1).all():
            return drawn, place.masked_fill_(~fresh | (place >= count), -1)
        length *= 2


def sign_counts(d: int, k: int, margin: float) -> tuple[Tensor, Tensor]:
    """All pairs (agree, disagree) of counts with |agree - disagree| >= margin sqrt(k), (v, 2).

    And weights (v,), proportional to their probabilities: each of the d features is non-zero with
    probability k/d, with either sign, so that the counts are multinomial.
    """
    # log P[n non-zeros] = log (d choose n) p^n (1 - p)^(d - n)
    n = torch.arange(d + 1, dtype=torch.float64)
    log_fact = torch.lgamma(n + 1)
    p = k / d
    log_choose = log_fact[d] - log_fact - log_fact.flip(0)
    log_n = log_choose + n * math.log(p) + torch.xlogy(d - n, torch.tensor(1 - p))
    likely = n[log_n > -50].long()  # the rest has a probability below 1e-20

    # All splits of n non-zeros inside the margin: a zero score has no label, and 1e-6 is rounding.
    most = int(likely.max())
    grids = torch.meshgrid(likely, torch.arange(most + 1), indexing="ij")
    total, agree = (grid.flatten() for grid in grids)
    least = max(margin * math.sqrt(k) - 1e-6, 1)
    inside = (agree <= total) & ((2 * agree - total).abs() >= least)
    if not inside.any():
        found = f"margin = {margin!r}: no sample of d = {d}, k = {k} has it"
        raise ValueError(f"{found}; give a smaller one")
    total, agree = total[inside], agree[inside]

    # log P[agree, disagree] = log P[n] (n choose agree) 2^-n
    log_p = log_n[total] + log_fact[total] - log_fact[agree] - log_fact[total - agree]
    log_p = log_p - total * math.log(2)
    return torch.stack([agree, total - agree], dim=1), (log_p - log_p.max()).exp()
