"""The sparse coding model x = M z + xi: data whose true features are known."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fpcore import checks, seeding
from fpcore.members import Member
from fpcore.precision import unrounded
from fpcore.sparse_codes import EqualCodes, SpreadCodes

SIMPLEST = Member()


class SparseCoding:
    """Samples x = M z + xi in R^d with labels y = sign<w*, z>, on any device.

    d       number of features, and of inputs
    k       mean number of features that are active in a sample
    margin  of the samples that are kept, |<w*, z>| >= margin standard deviations, which are 1 for
            the simplest member: the theory absorbs the others in its o(1)
    noise   E|xi|^2 = noise^2
    seed    of the features and w*
    device  as in `checks.resolve_device`
    member  of the paper's family; without one the simplest

    M is a random rotation: orthonormal columns, the features. Each z_j is independently 0 with
    probability 1 - k/d and +-1/sqrt(k) otherwise, so E|z|^2 = 1; xi ~ N(0, noise^2/d I); w* has
    entries +-1. A `Member` spreads |z_j| and |w*_j|, adds a bounded noise, rotates in blocks.
    Source: Allen-Zhu & Li (2020), section 2.

    features  M (d, d), one feature a column
    w_star    w* (d,)
    u_star    M w*/|w*| (d,), the dense direction
    """

    @unrounded
    def __init__(
        self,
        d: int,
        k: int,
        margin: float = 1.5,
        noise: float = 0.2,
        seed: int = 0,
        device: str | torch.device = "cpu",
        member: Member = SIMPLEST,
    ):
        self.d, self.k, self.margin, self.noise = check_sizes(d, k, margin, noise)
        checks.fits_in_memory("d times d", d * d)  # the features; `theory.Sizes` has none
        self.seed, self.device = checks.whole("seed", seed), checks.resolve_device(device)
        self.member = checks.instance("member", member, Member, "Member(magnitudes=(1, 3))")
        rng = seeding.generator(seed, "features")
        self.features = rotation(d, member.block or d, rng).to(self.device)
        like: dict[str, Any] = {"generator": rng, "device": "cpu"}
        signs = 2 * torch.randint(0, 2, (d,), **like).float() - 1
        uniform = torch.rand(d, dtype=torch.float32, **like)
        sizes = member.between(member.weights, uniform)
        self.w_star = (signs * sizes).to(self.device)
        self.u_star = self.features @ self.w_star / self.w_star.norm()
        self._codes: EqualCodes | SpreadCodes
        if member.equal:
            size = member.magnitudes[0] / math.sqrt(k)
            self._codes = EqualCodes(d, k, self.margin, self.w_star, size)
        else:
            self._codes = SpreadCodes(member, d, k, self.margin, self.w_star)

    def __repr__(self):
        sizes = f"d={self.d}, k={self.k}, margin={self.margin!r}, noise={self.noise!r}"
        more = "" if self.member == SIMPLEST else f", member={self.member!r}"
        return f"SparseCoding({sizes}, seed={self.seed}, device={self.device}{more})"

    def codes(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n sparse codes z (n, d) of the law given the margin, exactly.

        `rng` lives on the same device. Without rejection where all |z_j| and all |w*_j| are equal.
        """
        index, value, _ = self._draw(n, rng)
        return value.new_zeros(n, self.d).scatter_add_(1, index, value)

    @unrounded
    def sample(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n samples x (n, d) and labels y (n,), -1. or +1.; `rng` lives on the same device."""
        index, value, y = self._draw(n, rng)
        # M z: of each sample the features that are active alone, n k rows instead of n d.
        active = value != 0
        count = active.sum(1)
        x = F.embedding_bag(
            index.masked_select(active),
            self.features.T.contiguous(),  # no copy: so are they stored
            count.cumsum(0) - count,
            mode="sum",
            per_sample_weights=value.masked_select(active),
        )
        # This noise is isotropic: drawn in the basis of x, it needs no rotation.
        like: dict[str, Any] = {"generator": rng, "dtype": x.dtype, "device": self.device}
        xi = torch.randn(n, self.d, **like)
        x.add_(xi, alpha=self.noise / math.sqrt(self.d))
        if self.member.bounded:
            uniform = 2 * torch.rand(n, self.d, **like) - 1
            x.add_(uniform @ self.features.T, alpha=self.member.bounded / math.sqrt(self.k))
        return x, y

    def _draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """n codes: features (n, l), their z_j (n, l), 0 for draws left out, and labels (n,)."""
        checks.fits_in_memory("n", checks.positive_int("n", n) * self.d)
        checks.random_numbers("rng", rng)
        return self._codes.draw(n, rng)

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
    return d, k, margin, checks.finite("noise", noise, high=1e15)


def rotation(d: int, block: int, rng: torch.Generator) -> Tensor:
    """A random rotation of R^d, (d, d): uniform in each block of so many coordinates.

    d      number of coordinates
    block  how many of them are rotated together
    rng    on the CPU
    """
    if d % block:
        raise ValueError(f"block = {block} does not divide d = {d}: give a divisor of d")
    like: dict[str, Any] = {"generator": rng, "dtype": torch.float64, "device": "cpu"}
    normal = torch.randn(d // block, block, block, **like)
    q, r = torch.linalg.qr(normal)
    # Only with these signs is the rotation uniformly random.
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]
    # Stored by columns: samples gather them.
    return torch.block_diag(*q.mT).float().T
