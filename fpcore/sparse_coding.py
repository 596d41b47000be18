"""The sparse coding model x = M z + xi: data whose true features are known."""

import math

import torch
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
        self.features = haar.float().to(self.device)
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
        checks.fits_in_memory("n", checks.positive_int("n", n) * self.d)
        checks.random_numbers("rng", rng)
        # How many of the non-zeros agree in sign with w*, and how many disagree: from their joint
        # law given the margin, by inversion.
        uniform = torch.rand(n, generator=rng, dtype=torch.float64, device=self.device)
        which = torch.searchsorted(self._law, uniform).clamp(max=len(self._counts) - 1)
        agree, disagree = self._counts[which].T[:, :, None]  # (n, 1) each
        most = int((agree + disagree).max())
        # Which features they are: the smallest of d random keys, in random order.
        keys = torch.rand(n, self.d, generator=rng, device=self.device)
        active = keys.topk(most, dim=1, largest=False).indices  # (n, most)
        # The first of them agree, the next disagree, the others are no non-zeros of this sample.
        place = torch.arange(most, device=self.device)
        sign = (place < agree).float() - ((place >= agree) & (place < agree + disagree)).float()
        values = sign * self.w_star[active] / math.sqrt(self.k)
        return torch.zeros_like(keys).scatter_(1, active, values)

    def sample(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n samples x (n, d) and labels y (n,), -1. or +1.; `rng` lives on the same device."""
        z = self.codes(n, rng)
        y = (z @ self.w_star).sign()
        xi = torch.randn(n, self.d, generator=rng, device=self.device)
        return z @ self.features.T + self.noise / math.sqrt(self.d) * xi, y

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
