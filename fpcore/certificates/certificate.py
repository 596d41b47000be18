"""Certified robustness of the two-layer network against ANY perturbation, sample by sample.

What is certified is the function that `TwoLayer` states, in exact arithmetic, of weights, threshold
and samples as they are stored. It is bounded in float64, and every rounding of that is paid for.

A forward pass in float32 computes another function: its logits miss those by at most about
(m + d) 2^-23 sum_i |w_i| (|x| + radius), by more where float32 products are allowed to be coarser.
That is not taken off: at 400 inputs and 2000 neurons this worst case is a tenth of a typical logit,
or more, far above what float32 does there, and users choose the arithmetic of forward passes.
Who needs it for float32 asks for a margin above that.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fpcore import checks
from fpcore.certificates.branching import branch, reduced, relaxed
from fpcore.certificates.linear_relaxation import TINY, Bound, Neighbourhood, bound, envelope
from fpcore.certificates.quadratic_relaxation import outwards, shared_budget, storable
from fpcore.models.outputs import samples, signs, some
from fpcore.models.two_layer import TwoLayer
from fpcore.precision import unrounded

# Parts of a sample's ball: enough for all but a few samples in a thousand, of purified networks.
BRANCHES = 100


@dataclass(frozen=True)
class Certificate:
    """What is known of the minimum of y f(x + delta) over |delta| <= radius, sample by sample."""

    margin: Tensor  # (n,), a lower bound
    attained: Tensor  # (n,), an upper bound: the value at the worst perturbation that was met
    # (n,), bool: no neuron was relaxed, since all are linear over the whole ball; the margin is the
    # minimum itself, up to rounding.
    exact: Tensor

    @property
    def robust(self) -> Tensor:
        """Samples that no perturbation of this radius can misclassify, (n,), bool."""
        return self.margin > 0

    @property
    def broken(self) -> Tensor:
        """Samples that a perturbation of this radius does misclassify, (n,), bool.

        Those that are neither robust nor broken are open.
        """
        return self.attained <= 0


@torch.no_grad()
def certify(
    model: TwoLayer,
    x: Tensor,
    y: Tensor,
    radius: float,
    branches: int = 0,
    chunk: int = 512,
    norm: str = "l2",
) -> Certificate:
    """Bound y f(x + delta) from below over the whole ball.

    model     the network
    x         samples (n, d)
    y         their labels (n,), -1 or +1
    radius    of the ball, in the units of x
    branches  0: the better of two choices of slopes, fast, for many radii;
              1: also an attack, the parabolas of `shared_budget`, and optimised slopes;
              more: the ball is also split where a neuron has its concave corner, into at most so
              many parts, until the sample is settled
    chunk     samples at a time
    norm      of the ball, "l2" or "linf"

    Each stage sees the samples that the earlier ones left open. The margin of a split sample, or of
    one that stays open, is not the largest that could be proved.

    In linf a third choice of slopes, 0, gives each neuron its own worst delta: the minimum itself
    where no two neurons differ in sign in a coordinate. `branches` there are an attack alone.

    All is computed in float64, and both bounds are rounded outwards to the type of x: they hold of
    the function that `TwoLayer` states, in exact arithmetic (see above). Raises ValueError for
    weights or samples that are not finite numbers of float32 or float64, within float32's range.
    Source: Zhang et al. (2018); of optimised slopes Xu et al. (2021); of splits Wang et al. (2021).
    """
    checks.finite("radius", radius)
    checks.whole("branches", branches)
    checks.positive_int("chunk", chunk)
    _check(model, x, y, norm)
    radii = x.new_full((len(x),), radius, dtype=torch.float64)
    parts = [
        _certify(model, *part, branches, norm)
        for part in zip(x.split(chunk), y.split(chunk), radii.split(chunk))
    ]
    return Certificate(
        margin=torch.cat([part.margin for part in parts]),
        attained=torch.cat([part.attained for part in parts]),
        exact=torch.cat([part.exact for part in parts]),
    )


def certified_accuracy(
    model: TwoLayer, x: Tensor, y: Tensor, radius: float, branches: int = BRANCHES, norm: str = "l2"
) -> float:
    """Share of samples that `certify` proves robust: a lower bound on robust accuracy.

    model     the network
    x         samples (n, d)
    y         their labels (n,), -1 or +1
    radius    of the ball, in the units of x
    branches  as in `certify`
    norm      of the ball, "l2" or "linf"
    """
    some(x)
    return certify(model, x, y, radius, branches, norm=norm).robust.float().mean().item()


@torch.no_grad()
def certified_radius(
    model: TwoLayer,
    x: Tensor,
    y: Tensor,
    branches: int = BRANCHES,
    steps: int = 12,
    chunk: int = 512,
    norm: str = "l2",
) -> Tensor:
    """The largest radius certified by bisection, sample by sample, (n,), in the units of x.

    model     the network
    x         samples (n, d)
    y         their labels (n,), -1 or +1
    branches  as in `certify`
    steps     halvings
    chunk     samples at a time
    norm      of the ball, "l2" or "linf"

    No smaller perturbation changes the label; 0 for misclassified samples. The bisection starts
    from |x|, which no sample survives since f(0) = 0, so `steps` halvings leave |x|/2^steps. What
    it returns was itself certified.
    """
    checks.whole("branches", branches)
    checks.positive_int("steps", steps)
    checks.positive_int("chunk", chunk)
    _check(model, x, y, norm)
    found = []
    for some_x, labels in zip(x.split(chunk), y.split(chunk)):
        high = some_x.norm(dim=1, p=2 if norm == "l2" else torch.inf)
        low = torch.zeros_like(high)  # labels may be integers
        for _ in range(steps):
            middle = (low + high) / 2
            # a number of x's type as it is: no rounding here
            robust = _certify(model, some_x, labels, middle.double(), branches, norm).robust
            low, high = torch.where(robust, middle, low), torch.where(robust, high, middle)
        found.append(low)
    return torch.cat(found)


def _check(model: TwoLayer, x: Tensor, y: Tensor, norm: str) -> None:
    """Raise ValueError for what no certificate is of: a label of 2 would double the margin."""
    if not isinstance(model, TwoLayer):
        found = f"model is a {type(model).__name__}"
        raise ValueError(f"{found}: give a TwoLayer, certificates are of no other network")
    checks.network("model", model)
    checks.choice("norm", norm, ("l2", "linf"))
    _plain(model)
    samples(x, y)
    signs(y)
    if x.ndim != 2 or x.shape[1] != model.weight.shape[1]:
        wanted = f"(n, {model.weight.shape[1]}), as the network takes them"
        raise ValueError(f"x is {tuple(x.shape)}: give samples {wanted}")
    storable("model.weight", model.weight)
    storable("model.threshold", model.threshold)
    storable("x", x)


def _plain(model: TwoLayer) -> None:
    """Raise ValueError for a `TwoLayer` that computes another function than it states."""
    if not model.is_plain():
        found = f"model is a {type(model).__name__} with a forward, or a hook of it, of its own"
        raise ValueError(f"{found}: give a plain TwoLayer, of whose function certificates are")
    if model.threshold < 0:
        found = f"model.threshold = {model.threshold.item():g}"
        raise ValueError(f"{found}: give a network with a threshold of at least 0")


@unrounded
def _certify(
    model: TwoLayer, x: Tensor, y: Tensor, radius: Tensor, branches: int, norm: str
) -> Certificate:
    """`certify` for samples that are bounded at once.

    model     the network
    x         samples (n, d)
    y         their labels (n,)
    radius    of the ball of each sample (n,), float64
    branches  as in `certify`
    norm      of the ball
    """
    net = _neighbourhood(model, x.double(), y.double(), radius[:, None], norm)
    bends = _bends(net)
    # Linear relaxation, of all samples.
    bounds = _fixed_slopes(net)
    margin = torch.stack([each.lower for each in bounds]).amax(0)
    attained = torch.stack([each.upper for each in bounds]).amin(0)
    # An attack, parabolas, slopes, and branch and bound, each of those still open.
    if branches and len(todo := _open(margin, attained, bends)):
        attained[todo] = _attack(net.samples(todo), attained[todo], bounds[0].worst[todo])
    if branches and norm == "l2":
        if len(todo := _open(margin, attained, bends)):
            proved = shared_budget(model, x[todo], y[todo], radius[todo], above=0.0)
            margin[todo] = margin[todo].maximum(proved)
        if len(todo := _open(margin, attained, bends)):
            proved, met = relaxed(net.samples(todo), bends[todo])
            margin[todo], attained[todo] = margin[todo].fmax(proved), attained[todo].fmin(met)
        for i in _open(margin, attained, bends).tolist() if branches > 1 else ():
            lower, upper = branch(reduced(net, i, bends[i]), branches)
            margin[i] = max(margin[i].item(), lower)
            attained[i] = min(attained[i].item(), upper)
    return Certificate(
        margin=outwards(margin, x.dtype, -torch.inf),
        attained=outwards(attained, x.dtype, torch.inf),
        exact=~bends.any(1),
    )


def _neighbourhood(
    model: TwoLayer, x: Tensor, y: Tensor, radius: Tensor, norm: str
) -> Neighbourhood:
    """All neurons one by one around some samples.

    model   the network
    x       samples (n, d), float64
    y       their labels (n,), float64
    radius  of the ball of each sample (n, 1), float64
    norm    of the ball
    """
    weight = model.weight.double()
    length = weight.norm(dim=1)
    rows = weight / length.clamp(min=TINY)[:, None]
    largest = radius * (x.shape[1] ** 0.5 if norm == "linf" else 1.0)
    return Neighbourhood(
        rows=rows,
        norm=length,
        threshold=model.threshold.item(),
        q=y[:, None] * (x @ rows.T),
        radius=radius,
        size=x.norm(dim=1, keepdim=True) + largest,
        base=torch.zeros_like(y),
        slack=torch.zeros_like(y),
        direction=0 * x,
        ball=norm,
    )


def _bends(net: Neighbourhood) -> Tensor:
    """Which neurons may not be linear over the ball of each sample, (n, m), bool."""
    low, high = net.interval()
    convex = (low < net.threshold) & (high > net.threshold)
    concave = (low < -net.threshold) & (high > -net.threshold)
    # Without a threshold f is linear.
    return (convex | concave) & (net.norm > 0) & (net.threshold > 0)


def _fixed_slopes(net: Neighbourhood) -> list[Bound]:
    """Bounds by fixed slopes: right of the convex corner where q is, else left; left of it; 0."""
    low, high = net.interval()
    left, right = envelope(net, low, high)
    slopes = [torch.where(net.q > net.threshold, right, left), left]
    if net.ball == "linf":
        slopes.append(torch.zeros_like(left))
    return [bound(net, low, high, slope) for slope in slopes]


def _attack(net: Neighbourhood, attained: Tensor, worst: Tensor, steps: int = 8) -> Tensor:
    """Smaller values of y f, (n,), each at the worst point for the neurons active at the last.

    net       the neighbourhood of the samples
    attained  the smallest values so far (n,)
    worst     the pre-activations to start from (n, m)
    steps     of the attack: it breaks most of what can be broken
    """
    low, high = net.interval()
    for _ in range(steps):
        active = worst.abs() > net.threshold
        found = bound(net, low, high, net.norm * active)
        attained, worst = attained.minimum(found.upper), found.worst
    return attained


def _open(margin: Tensor, attained: Tensor, bends: Tensor) -> Tensor:
    """The indices of samples that are neither proved nor broken, and could still be."""
    return ((margin <= 0) & (attained > 0) & bends.any(1)).nonzero().flatten()
