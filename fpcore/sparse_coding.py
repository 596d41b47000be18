"""The sparse coding model x = M z + xi: data whose true features are known."""

import math

import torch
from torch import Tensor

from fpcore import checks, seeding


class SparseCoding:
    """Samples x = M z + xi in R^d with labels y = sign<w*, z>, on any device.

    M is a random rotation (orthonormal columns, the *features*). Each z_j is independently 0 with probability 1 - k/d
    and +-1/sqrt(k) otherwise, so E|z|^2 = 1; xi ~ N(0, noise^2/d I), so E|xi|^2 = noise^2; w* has entries +-1.
    Only samples with |<w*, z>| >= margin are kept: the theory absorbs the others in its o(1).

    Attributes: `features` M (d, d), one feature a column; `w_star` (d,); `u_star` = M w*/|w*| (d,), the dense direction.
    Source: Allen-Zhu & Li (2020), section 2.
    """

    def __init__(
        self, d: int, k: int, margin: float = 1.5, noise: float = 0.2, seed: int = 0, device="cpu"
    ):
        self.d, self.k, self.margin, self.noise = check_sizes(d, k, margin, noise)
        self.device = checks.resolve_device(device)
        rng = seeding.generator(seed, "features")
        q, r = torch.linalg.qr(torch.randn(d, d, generator=rng, dtype=torch.float64))
        self.features = (
            (q * r.diagonal().sign()).float().to(self.device)
        )  # sign fix: Haar-distributed
        self.w_star = (2.0 * torch.randint(0, 2, (d,), generator=rng) - 1).to(self.device)
        self.u_star = self.features @ self.w_star / math.sqrt(d)
        counts, weight = sign_counts(d, k, self.margin)
        law = weight.cumsum(0)
        self._counts, self._law = counts.to(self.device), (law / law[-1]).to(self.device)

    def __repr__(self):
        return f"SparseCoding(d={self.d}, k={self.k}, margin={self.margin!r}, noise={self.noise!r}, device={self.device})"

    def codes(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n sparse codes z (n, d) with |<w*, z>| >= margin, exactly and without rejection.

        First how many of the non-zeros agree in sign with w* and how many disagree, from their joint law given the
        margin; then which features they are: the smallest of d random keys.
        """
        which = torch.searchsorted(
            self._law, torch.rand(n, generator=rng, dtype=torch.float64, device=self.device)
        )
        agree, disagree = self._counts[which.clamp(max=len(self._counts) - 1)].T[
            :, :, None
        ]  # (n, 1) each
        most = int((agree + disagree).max())
        keys = torch.rand(n, self.d, generator=rng, device=self.device)
        active = keys.topk(most, dim=1, largest=False).indices  # (n, most), in random order
        place = torch.arange(most, device=self.device)
        sign = (place < agree).float() - ((place >= agree) & (place < agree + disagree)).float()
        return torch.zeros_like(keys).scatter_(
            1, active, sign * self.w_star[active] / math.sqrt(self.k)
        )

    def sample(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n samples x (n, d) and labels y (n,) in {-1., +1.}; `rng` lives on the same device."""
        checks.positive_int("n", n)
        z = self.codes(n, rng)
        y = (z @ self.w_star).sign()
        xi = torch.randn(n, self.d, generator=rng, device=self.device)
        return z @ self.features.T + self.noise / math.sqrt(self.d) * xi, y

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """The fresh mini-batch of training step `step`: a pure function of (seed, step)."""
        return self.sample(size, seeding.generator(seed, "batch", step, device=self.device))

    def test_set(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """n held-out samples from a stream that no training step uses."""
        return self.sample(n, seeding.generator(seed, "test", device=self.device))


def check_sizes(d: int, k: int, margin: float, noise: float) -> tuple[int, int, float, float]:
    """Return the numbers of a sparse coding model if there is such a model, else raise ValueError."""
    checks.positive_int("d", d), checks.positive_int("k", k)
    if k > d:
        raise ValueError(f"k = {k} non-zeros do not fit into d = {d} coordinates: give k <= d")
    # <w*, z> has standard deviation 1: of a margin far in its tail, (almost) nothing of the model is left.
    return (
        d,
        k,
        checks.finite("margin", margin, high=min(3.0, math.sqrt(k))),
        checks.finite("noise", noise),
    )


def sign_counts(d: int, k: int, margin: float) -> tuple[Tensor, Tensor]:
    """All (agree, disagree) counts with |agree - disagree| >= margin sqrt(k), (v, 2), and weights (v,) ~ their probabilities.

    Each of the d features is non-zero with probability k/d, with either sign: the counts are multinomial.
    """
    n = torch.arange(d + 1, dtype=torch.float64)
    log_fact = torch.lgamma(n + 1)
    p = k / d
    log_n = (
        log_fact[d]
        - log_fact
        - log_fact.flip(0)
        + n * math.log(p)
        + torch.xlogy(d - n, torch.tensor(1 - p))
    )
    likely = n[log_n > -50].long()  # the rest has a probability below 1e-20
    total, agree = (
        grid.flatten()
        for grid in torch.meshgrid(likely, torch.arange(int(likely.max()) + 1), indexing="ij")
    )
    # 1e-6 below the margin is rounding; a zero score has no label
    inside = (agree <= total) & ((2 * agree - total).abs() >= max(margin * math.sqrt(k) - 1e-6, 1))
    if not inside.any():
        raise ValueError(
            f"margin = {margin!r}: no sample of d = {d}, k = {k} has it; give a smaller one"
        )
    total, agree = total[inside], agree[inside]
    log_p = (
        log_n[total]
        + log_fact[total]
        - log_fact[agree]
        - log_fact[total - agree]
        - total * math.log(2)
    )
    return torch.stack([agree, total - agree], dim=1), (log_p - log_p.max()).exp()
