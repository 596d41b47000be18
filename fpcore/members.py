"""The family of sparse coding models that the paper states, and what its members differ in."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fpcore import checks

SPREADS = ("uniform", "two-valued")


@dataclass(frozen=True)
class Member:
    """A member of the family that the paper states, of its codes, labels, noise and features.

    magnitudes  |z_j| sqrt(k) of a non-zero, between these two
    weights     |w*_j|, between these two, one draw for each feature
    spread      how both are spread there: "uniform", or "two-valued", either end equally often
    bounded     of a second noise, <M_j, xi> sqrt(k) is uniform between -bounded and bounded
    block       features are rotated in blocks of so many coordinates, which divides d: 1 leaves
                them on the axes, up to sign; 0 rotates all at once

    The default is the simplest member, z_j in {0, +-1/sqrt(k)} and w*_j = +-1. A learner is told
    none of these. Source: Allen-Zhu & Li (2020), section 2.
    """

    magnitudes: tuple[float, float] = (1.0, 1.0)
    weights: tuple[float, float] = (1.0, 1.0)
    spread: str = "uniform"
    bounded: float = 0.0
    block: int = 0

    def __post_init__(self):
        for name, what in (("magnitudes", "|z_j| sqrt(k)"), ("weights", "|w*_j|")):
            object.__setattr__(self, name, _ends(name, what, getattr(self, name)))
        checks.choice("spread", self.spread, SPREADS)
        checks.finite("bounded", self.bounded)
        checks.whole("block", self.block)
        if self.bounded >= self.magnitudes[0] / 2:
            left = "no threshold tells an active feature from noise alone, nothing sparse is left"
            most = f"give less than {self.magnitudes[0] / 2:g}, half the least magnitude"
            raise ValueError(f"bounded = {self.bounded:g}: {left}; {most}")

    @property
    def equal(self) -> bool:
        """Whether all |z_j| and all |w*_j| are equal: then the law of the score is a finite sum."""
        return self.magnitudes[0] == self.magnitudes[1] and self.weights[0] == self.weights[1]

    @property
    def simplest(self) -> bool:
        """Whether codes, labels and noise are those of the default."""
        return self.magnitudes == self.weights == (1.0, 1.0) and self.bounded == 0

    def between(self, ends: tuple[float, float], u: Tensor, tilt: Tensor | float = 0.0) -> Tensor:
        """Values spread between `ends`, by inversion from u, uniform in [0, 1).

        Of the law whose density, or probability, is tilted by exp(tilt value).
        """
        low, width = ends[0], ends[1] - ends[0]
        steep = torch.as_tensor(tilt, dtype=u.dtype, device=u.device) * width
        if self.spread == "two-valued":
            return low + width * (u < steep.sigmoid())
        flat = steep.abs() < 1e-9
        inverse = torch.log1p(u * torch.expm1(steep)) / steep.masked_fill(flat, 1.0)
        return low + width * torch.where(flat, u, inverse)

    def mean_exp(self, ends: tuple[float, float], tilt: Tensor) -> Tensor:
        """E[exp(tilt value)] of values between `ends`."""
        steep = tilt * (ends[1] - ends[0])
        if self.spread == "two-valued":
            mean = (1 + steep.exp()) / 2
        else:
            flat = steep.abs() < 1e-9
            mean = torch.where(flat, 1.0, torch.expm1(steep) / steep.masked_fill(flat, 1.0))
        return (tilt * ends[0]).exp() * mean

    def mean_square(self, ends: tuple[float, float]) -> float:
        """E[value^2] of values between `ends`."""
        low, high = ends
        cross = 0.0 if self.spread == "two-valued" else low * high
        return (low**2 + cross + high**2) / (2 if self.spread == "two-valued" else 3)


def _ends(name: str, what: str, ends: tuple[float, float]) -> tuple[float, float]:
    """Two numbers in order, both above 0, else ValueError."""
    if not isinstance(ends, tuple | list) or len(ends) != 2:
        raise ValueError(f"{name} = {ends!r}: give (low, high), the ends of {what}")
    low, high = (checks.finite(f"{name} = {ends!r}: an end", end, high=1e6) for end in ends)
    if not 0 < low <= high:
        left = "of size 0 or less no feature is left" if low <= 0 else "nothing is between them"
        raise ValueError(f"{name} = {ends!r}: {left}; give (low, high), 0 < low <= high")
    if low < 1e-6:
        left = f"of size {low:g} a feature is lost in rounding"
        raise ValueError(f"{name} = {ends!r}: {left}; give sizes of 1e-6 at least")
    return low, high
