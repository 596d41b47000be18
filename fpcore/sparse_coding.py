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

    def __init__(self, d: int, k: int, margin: float = 1.5, noise: float = 0.2, seed: int = 0, device="cpu"):
        self.d, self.k = checks.positive_int("d", d), checks.positive_int("k", k)
        if k > d:
            raise ValueError(f"k = {k} non-zeros do not fit into d = {d} coordinates: give k <= d")
        self.noise = checks.finite("noise", noise)
        self.device = checks.resolve_device(device)
        # |<w*, z>| has standard deviation 1: a margin far in its tail would reject (almost) every sample.
        self.margin = checks.finite("margin", margin, high=min(3.0, math.sqrt(k)))
        rng = seeding.generator(seed, "features")
        q, r = torch.linalg.qr(torch.randn(d, d, generator=rng, dtype=torch.float64))
        self.features = (q * r.diagonal().sign()).float().to(self.device)  # sign fix: Haar-distributed
        self.w_star = (2.0 * torch.randint(0, 2, (d,), generator=rng) - 1).to(self.device)
        self.u_star = self.features @ self.w_star / math.sqrt(d)

    def __repr__(self):
        return f"SparseCoding(d={self.d}, k={self.k}, margin={self.margin:g}, noise={self.noise:g}, device={self.device})"

    def codes(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n sparse codes z (n, d) with |<w*, z>| >= margin.

        Positions of the non-zeros in a flat Bernoulli(k/d) array are sums of geometric gaps: about n k draws, not n d,
        and only accepted samples become dense rows.
        """
        p, parts, have = self.k / self.d, [], 0
        kept = math.erfc(self.margin / math.sqrt(2))  # <w*, z> is close to N(0, 1)
        while have < n:
            rows = int((n - have) / kept * 1.1) + 16
            row, col = _bernoulli_positions(rows, self.d, p, rng, self.device)
            sign = 2.0 * torch.randint(0, 2, row.shape, generator=rng, device=self.device) - 1
            value = sign / math.sqrt(self.k)
            score = torch.zeros(rows, device=self.device).index_add_(0, row, value * self.w_star[col])
            # a zero score has no label; 1e-6 below the margin is rounding
            accept = score.abs() >= max(self.margin - 1e-6, 1e-6)
            new_row = accept.cumsum(0) - 1
            total, inside = int(accept.sum()), accept[row]
            z = torch.zeros(total, self.d, device=self.device)
            z[new_row[row[inside]], col[inside]] = value[inside]
            parts.append(z)
            have += total
            kept = max(total / rows, 1e-3)
        return torch.cat(parts)[:n]

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


def _bernoulli_positions(rows: int, cols: int, p: float, rng, device) -> tuple[Tensor, Tensor]:
    """Row and column of every success among rows x cols independent Bernoulli(p) trials."""
    size, expected = rows * cols, rows * cols * p
    if p >= 1:
        flat = torch.arange(size, device=device)
    else:
        draws, flat = int(expected + 8 * math.sqrt(expected) + 16), torch.empty(0, dtype=torch.long, device=device)
        last = -1
        while last < size:  # once, but for a chance of about 1e-15
            # float32 uniforms on the CPU have 24 bits: too coarse for the tail of log(1 - u); mps has no float64
            dtype = torch.float32 if torch.device(device).type == "mps" else torch.float64
            u = torch.rand(draws, generator=rng, dtype=dtype, device=device)
            gaps = (torch.log1p(-u) / math.log1p(-p)).long() + 1
            flat = torch.cat([flat, last + gaps.cumsum(0)])
            last = int(flat[-1])
        flat = flat[flat < size]
    return flat // cols, flat % cols
