"""Certified robustness of the two-layer network against ANY l2 perturbation: a lower bound, sample by sample."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fpcore import checks
from fpcore.certificates.branching import branch, reduced
from fpcore.certificates.linear_relaxation import Neighbourhood, bound, envelope
from fpcore.certificates.quadratic_relaxation import shared_budget
from fpcore.models.outputs import one_label_each, signs
from fpcore.models.two_layer import TwoLayer

BRANCHES = (
    100  # of a sample: enough for all but a few in a thousand of the book's purified networks
)


@dataclass(frozen=True)
class Certificate:
    """What is known about the minimum of y f(x + delta) over |delta|_2 <= radius, sample by sample.

    `margin` (n,) is a lower bound; `attained` (n,) an upper one, the value at the worst perturbation that was met;
    `exact` (n,): no neuron was relaxed, all are linear over the whole ball, and the margin is the minimum itself.
    """

    margin: Tensor
    attained: Tensor
    exact: Tensor

    @property
    def robust(self) -> Tensor:
        """Samples that no perturbation of this radius can misclassify, (n,), bool."""
        return self.margin > 0

    @property
    def broken(self) -> Tensor:
        """Samples that a perturbation of this radius does misclassify, (n,), bool. Those that are neither are open."""
        return self.attained <= 0


@torch.no_grad()
def certify(
    model: TwoLayer, x: Tensor, y: Tensor, radius: float, branches: int = 0, chunk: int = 512
) -> Certificate:
    """Bound y f(x + delta) from below over the whole l2 ball: linear relaxation, parabolas, branch and bound.

    x (n, d), y (n,) in {-1, +1}; the radius is in the units of x. Each stage sees the samples that the earlier ones left
    open: `branches` = 0 takes the better of two choices of slopes (fast: for many radii); 1 adds an attack, the parabolas
    of `shared_budget`, and optimised slopes; more also splits the ball where a neuron has its concave corner, into at
    most so many parts, until the sample is settled. The margin of a split sample then tells its label, but is not the
    largest that could be proved. Rounding is allowed for as float32 has it: on a GPU, leave
    torch.set_float32_matmul_precision at "highest", its default.
    Source: Zhang et al. (2018); for optimised slopes Xu et al. (2021), for splits Wang et al. (2021).
    """
    (
        checks.finite("radius", radius),
        checks.whole("branches", branches),
        checks.positive_int("chunk", chunk),
    )
    _check(model, x, y)
    radii = x.new_full((len(x),), radius)  # y may hold integers
    parts = [
        _certify(model, *part, branches)
        for part in zip(x.split(chunk), y.split(chunk), radii.split(chunk))
    ]
    return Certificate(*(torch.cat(values) for values in zip(*parts)))


def certified_accuracy(
    model: TwoLayer, x: Tensor, y: Tensor, radius: float, branches: int = BRANCHES
) -> float:
    """Share of samples certified at this l2 radius: a lower bound on robust accuracy."""
    return certify(model, x, y, radius, branches).robust.float().mean().item()


@torch.no_grad()
def certified_radius(
    model: TwoLayer,
    x: Tensor,
    y: Tensor,
    branches: int = BRANCHES,
    steps: int = 12,
    chunk: int = 512,
) -> Tensor:
    """The largest l2 radius certified by bisection, sample by sample, (n,): no smaller perturbation changes the label.

    In the units of x; 0 for misclassified samples. The bisection starts from |x|, which no sample survives since
    f(0) = 0, so that `steps` halvings leave |x|/2^steps. What it returns was itself certified.
    """
    (
        checks.whole("branches", branches),
        checks.positive_int("steps", steps),
        checks.positive_int("chunk", chunk),
    )
    _check(model, x, y)
    found = []
    for a, b in zip(x.split(chunk), y.split(chunk)):
        high = a.norm(dim=1)
        low = torch.zeros_like(high)  # b may hold integers
        for _ in range(steps):
            middle = (low + high) / 2
            robust = _certify(model, a, b, middle, branches)[0] > 0
            low, high = torch.where(robust, middle, low), torch.where(robust, high, middle)
        found.append(low)
    return torch.cat(found)


def _check(model: TwoLayer, x: Tensor, y: Tensor) -> None:
    """Raise ValueError for what the certificates are not of: a label of 2, say, would double the margin."""
    if not isinstance(model, TwoLayer):
        raise ValueError(
            f"model is a {type(model).__name__}: give a TwoLayer, certificates are of no other network"
        )
    one_label_each(x, signs(y))


# The slack is for rounding in float32, so autocast must not round more coarsely.
@torch.autocast("cuda", enabled=False)
@torch.autocast("cpu", enabled=False)
def _certify(
    model: TwoLayer, x: Tensor, y: Tensor, radius: Tensor, branches: int
) -> tuple[Tensor, Tensor, Tensor]:
    y = y.to(x.dtype)
    norm, threshold = model.weight.norm(dim=1), model.threshold.item()
    rows = model.weight / norm.clamp(min=1e-30)[:, None]
    radius, zero = radius[:, None], torch.zeros_like(y)
    net = Neighbourhood(
        rows,
        norm,
        threshold,
        y[:, None] * (x @ rows.T),
        radius,
        x.norm(dim=1, keepdim=True) + radius,
        zero,
        zero,
        0 * x,
    )
    low, high = net.q - radius, net.q + radius
    bends = (low < threshold) & (high > threshold) | (low < -threshold) & (high > -threshold)
    bends &= (norm > 0) & (threshold > 0)  # without a threshold f is linear
    left, right = envelope(net, low, high)
    flat, slopes = (
        bound(net, low, high, a) for a in (left, torch.where(net.q > threshold, right, left))
    )
    margin, attained = flat[0].maximum(slopes[0]), flat[1].minimum(slopes[1])
    if branches and len(todo := _open(margin, attained, bends)):
        part, worst = net.samples(todo), slopes[2][todo]
        for _ in range(
            8
        ):  # an attack, each step to the worst point for the neurons active at the last: breaks most
            _, value, worst = bound(part, low[todo], high[todo], norm * (worst.abs() > threshold))
            attained[todo] = attained[todo].minimum(value)
        todo = _open(margin, attained, bends)
        if len(todo):
            margin[todo] = margin[todo].maximum(
                shared_budget(model, x[todo], y[todo], radius[todo, 0]).to(margin.dtype)
            )
        for i in _open(margin, attained, bends).tolist():
            proved, met = branch(reduced(net, i, bends[i]), branches)
            margin[i], attained[i] = max(margin[i].item(), proved), min(attained[i].item(), met)
    return margin, attained, ~bends.any(1)


def _open(margin: Tensor, attained: Tensor, bends: Tensor) -> Tensor:
    return ((margin <= 0) & (attained > 0) & bends.any(1)).nonzero().flatten()
