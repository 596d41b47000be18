"""Sparse codes of a margin, drawn exactly: which features are active, and with which values."""

import math
from typing import Any

import torch
from torch import Tensor

from fpcore.members import Member

LEAST_ACCEPTED = 1e-3  # of the candidates are accepted where a margin leaves anything


class EqualCodes:
    """Codes whose |z_j| and |w*_j| are equal, drawn without rejection.

    d       number of features
    k       mean number of features that are active
    margin  the least |<w*, z>|, in standard deviations
    w_star  w* (d,), on any device
    size    of a non-zero z_j
    """

    def __init__(self, d: int, k: int, margin: float, w_star: Tensor, size: float):
        counts, weight = sign_counts(d, k, margin)
        law = weight.cumsum(0)
        self.signed = size * w_star.sign()
        self.counts, self.law = counts.to(w_star.device), (law / law[-1]).to(w_star.device)

    def draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """n codes: features (n, l), their z_j (n, l), 0 for draws left out, and labels (n,)."""
        # How many of the non-zeros agree in sign with w*, and how many disagree: from their joint
        # law given the margin, by inversion.
        device = self.signed.device
        uniform = torch.rand(n, generator=rng, dtype=torch.float64, device=device)
        which = torch.searchsorted(self.law, uniform).clamp(max=len(self.counts) - 1)
        agree, disagree = self.counts[which].T[:, :, None]  # (n, 1) each
        # Which features they are: the first of them agree, the next disagree.
        index, place = distinct(len(self.signed), agree + disagree, rng)
        sign = (place >= 0).float() * (1 - 2 * (place >= agree).float())
        return index, sign * self.signed[index], (agree - disagree).sign().float().squeeze(1)


class SpreadCodes:
    """Codes whose |z_j| or |w*_j| differ, drawn by rejection from tilted codes.

    member  says how they differ
    d       number of features
    k       mean number of features that are active
    margin  the least |<w*, z>|, in standard deviations
    w_star  w* (d,), on any device

    Given the label y = 1, codes of density proportional to exp(t S) times the model's are drawn:
    their coordinates are independent as well. One of score S >= margin is accepted with
    probability exp(-t (S - margin)), so that those accepted have the model's law. With t at the
    saddle point that is one in 7 at a margin of 2.5, where the model's own codes have one in 160.
    """

    def __init__(self, member: Member, d: int, k: int, margin: float, w_star: Tensor):
        self.member, self.k, self.w_star = member, k, w_star
        weight = w_star.double().abs()
        square = member.mean_square(member.magnitudes) * weight.square().mean().item()
        self.least = margin * math.sqrt(square)
        # log E[exp(t S)] - t least is smallest at the saddle point.
        low, high = 0.0, 20 * math.sqrt(k) / (weight.max().item() * member.magnitudes[1])
        for _ in range(40):
            third = (high - low) / 3
            left, right = (self._excess(t, weight) for t in (low + third, high - third))
            low, high = (low, high - third) if left < right else (low + third, high)
        self.tilt = low if self.least else 0.0
        # Of each feature: how likely it is active in a tilted code, and agrees with w* then.
        up, down = self._means(self.tilt, weight)
        share = k / d * (up + down) / 2
        active = share / (1 - k / d + share)
        most = active.max().item()
        self.agrees, self.keep = (up / (up + down)).float(), (active / most).float()
        self.force = (self.tilt * weight / math.sqrt(k)).float()  # of the tilt, on |z_j| sqrt(k)
        self.law = log_binomial(d, most).exp().cumsum(0).to(w_star.device)
        tried = 10_000
        trial = torch.Generator(w_star.device).manual_seed(0)
        self.rate = len(self._accepted(tried, trial)[0]) / tried
        if self.rate < LEAST_ACCEPTED:
            found = f"margin = {margin!r}: it leaves (almost) nothing of d = {d}, k = {k}, {member}"
            raise ValueError(f"{found}; give a smaller one")

    def _means(self, tilt: float, weight: Tensor) -> tuple[Tensor, Tensor]:
        """E[exp(+-t |w*_j z_j|)] of an active feature, (d,) each."""
        force = tilt * weight / math.sqrt(self.k)
        ends = self.member.magnitudes
        return self.member.mean_exp(ends, force), self.member.mean_exp(ends, -force)

    def _excess(self, tilt: float, weight: Tensor) -> float:
        """log E[exp(t S)] - t least."""
        up, down = self._means(tilt, weight)
        one = 1 + self.k / len(weight) * ((up + down) / 2 - 1)
        return one.log().sum().item() - tilt * self.least

    def _accepted(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Those of n candidates that are accepted, of label 1: features and their z_j sign(w*_j).

        Both (a, l); 0 for draws left out.
        """
        like: dict[str, Any] = {"generator": rng, "device": self.law.device}
        chance = torch.rand(n, 1, dtype=torch.float64, **like)
        count = torch.searchsorted(self.law, chance).clamp(max=len(self.law) - 1)
        index, place = distinct(len(self.keep), count, rng)
        kept, agrees, size = torch.rand(3, *index.shape, dtype=torch.float32, **like)
        active = (place >= 0) & (kept < self.keep[index])
        sign = (agrees < self.agrees[index]).float() * 2 - 1
        size = self.member.between(self.member.magnitudes, size, sign * self.force[index])
        value = active * sign * size / math.sqrt(self.k)
        score = (value * self.w_star[index].abs()).sum(1)
        inside = score >= max(self.least - 1e-5, 1e-5)  # 0 has no label, the rest is rounding
        inside &= (
            torch.rand(n, dtype=torch.float32, **like) < (-self.tilt * (score - self.least)).exp()
        )
        return index[inside], value[inside]

    def draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """n codes: features (n, l), their z_j (n, l), 0 for draws left out, and labels (n,)."""
        candidates = math.ceil(1.1 * n / self.rate) + 50
        index, value = self._accepted(candidates, rng)
        while len(index) < n:  # how many are accepted says nothing about which: all are drawn again
            candidates *= 2
            index, value = self._accepted(candidates, rng)
        y = 2 * torch.randint(2, (n,), generator=rng, device=index.device).float() - 1
        index = index[:n]
        return index, y[:, None] * value[:n] * self.w_star[index].sign(), y


def log_binomial(n: int, p: float) -> Tensor:
    """The log-probabilities of 0 to n successes of chance p, (n + 1,), float64."""
    many = torch.arange(n + 1, dtype=torch.float64, device="cpu")
    log_fact = torch.lgamma(many + 1)
    log_choose = log_fact[n] - log_fact - log_fact.flip(0)
    chance = torch.tensor(p, dtype=torch.float64, device="cpu")
    return log_choose + torch.xlogy(many, chance) + torch.xlogy(n - many, 1 - chance)


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
    chance = 1 - torch.arange(int(count.max()), dtype=torch.float64, device="cpu") / d
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
    log_n = log_binomial(d, k / d)
    n = torch.arange(d + 1, dtype=torch.float64, device="cpu")
    log_fact = torch.lgamma(n + 1)
    likely = n[log_n > -50].long()  # the rest has a probability below 1e-20

    # All splits of n non-zeros inside the margin: a zero score has no label, and 1e-6 is rounding.
    most = int(likely.max())
    grids = torch.meshgrid(likely, torch.arange(most + 1, device="cpu"), indexing="ij")
    total, agree = (grid.flatten() for grid in grids)
    least = max(margin * math.sqrt(k) - 1e-6, 1)
    inside = (agree <= total) & ((2 * agree - total).abs() >= math.ceil(least))
    if not inside.any():
        found = f"margin = {margin!r}: no sample of d = {d}, k = {k} has it"
        raise ValueError(f"{found}; give a smaller one")
    total, agree = total[inside], agree[inside]

    # log P[agree, disagree] = log P[n] (n choose agree) 2^-n
    log_p = log_n[total] + log_fact[total] - log_fact[agree] - log_fact[total - agree]
    log_p = log_p - total.float() * math.log(2)  # as the published draws have it, to the bit
    return torch.stack([agree, total - agree], dim=1), (log_p - log_p.max()).exp()
