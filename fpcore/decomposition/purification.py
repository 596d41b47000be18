"""The purification decomposition w = beta w' + v, and the measures of what a neuron holds."""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fpcore import checks
from fpcore.models.two_layer import TwoLayer
from fpcore.precision import unrounded


@dataclass(frozen=True)
class Decomposition:
    """w = beta w' + v neuron by neuron, v orthogonal to w'; matrices hold one neuron a row."""

    ratio: Tensor  # (m,) beta in float64: of float32 weights always a finite number
    pure: Tensor  # (m, d) beta w'
    residual: Tensor  # (m, d) v = w - beta w'
    cos: Tensor  # (m,) cos(w, w')

    @property
    def beta(self) -> Tensor:
        """The least-squares scalar <w, w'>/|w'|^2, (m,), in the type of the parts; 0 for w' = 0.

        ValueError where it is more than that type holds, as beside a row w' that has all but
        vanished: the other parts are right there as well.
        """
        beta = self.ratio.to(self.pure.dtype)
        advice = "take .pure and .residual, which are right, or give w_adv in other units"
        if beta.dtype != torch.float64:
            advice = "take .ratio, which is float64, or .pure and .residual"
        return _held(beta, torch.arange(len(beta), device=beta.device), "beta", advice)

    @property
    def dominant(self) -> Tensor:
        """Neurons with |beta w'| > |v|, equivalently |cos(w, w')| > 1/sqrt(2): shape (m,), bool."""
        larger = self.pure.norm(dim=1) > self.residual.norm(dim=1)
        out = _out_of_range(self.pure) | _out_of_range(self.residual)
        return torch.where(out, self.cos.abs() > math.sqrt(0.5), larger)


def decompose(w: Tensor, w_adv: Tensor) -> Decomposition:
    """Split each row of clean weights w (m, d) along the same row of purified weights w', w_adv.

    A row of w_adv that is zero explains nothing: beta = 0 and v = w. Rows of any finite size will
    do; half-precision ones give float32. ValueError where a part is more than its type holds.
    Source: Allen-Zhu & Li (2020), equation (1.1).
    """
    checks.tensor("w", w, "(m, d)")
    checks.tensor("w_adv", w_adv, "(m, d)")
    if w.shape != w_adv.shape or w.ndim != 2:
        found = f"w is {tuple(w.shape)} and w_adv {tuple(w_adv.shape)}"
        flat = ", w.flatten(1) and w_adv.flatten(1)" if w.ndim > 2 else ""
        raise ValueError(f"{found}: give two matrices of the same shape{flat}")
    w, w_adv = _matrix("w", w), _matrix("w_adv", w_adv)
    beta = (w * w_adv).sum(1) / (w_adv * w_adv).sum(1).clamp(min=1e-30)
    pure = beta[:, None] * w_adv
    residual = w - pure
    ratio = beta.double()
    if len(rows := (_out_of_range(w) | _out_of_range(w_adv)).nonzero().flatten()):
        # The same of rows of unit size: w / a = (beta b / a) (w' / b) + v / a.
        (unit, size), (unit_adv, size_adv) = _unit(w[rows]), _unit(w_adv[rows])
        scaled = (unit * unit_adv).sum(1) / (unit_adv * unit_adv).sum(1).clamp(min=1e-30)
        along = scaled[:, None] * unit_adv
        ratio = ratio.index_put((rows,), _times_ratio(scaled, size, size_adv))
        pure = _put(pure, rows, along, size, "beta w'")
        residual = _put(residual, rows, unit - along, size, "v = w - beta w'")
    return Decomposition(ratio, pure, residual, cosine(w, w_adv))


def _put(values: Tensor, rows: Tensor, unit: Tensor, size: Tensor, name: str) -> Tensor:
    """Values whose `rows` are unit (n, ...) times size (n,), in their type; ValueError beyond it.

    values  a number a row (m,), or a row each (m, d)
    rows    indices (n,)
    unit    (n, ...), float64
    size    (n,), float64
    name    of the values
    """
    sized = (unit * size.view(-1, *[1] * (unit.ndim - 1))).to(values)
    advice = "give weights in other units, divided by a constant"
    return values.index_put((rows,), _held(sized, rows, name, advice))


def _held(values: Tensor, rows: Tensor, name: str, advice: str) -> Tensor:
    """Return values (n, ...) of some rows (n,) if their type holds them, else raise ValueError."""
    bad = ~values.isfinite().view(len(rows), -1).all(1) if len(rows) else rows.bool()
    if bad.any():
        kind = str(values.dtype).removeprefix("torch.")
        raise ValueError(f"{name} of row {rows[bad][0]} is more than {kind} holds: {advice}")
    return values


def _times_ratio(value: Tensor, above: Tensor, below: Tensor) -> Tensor:
    """value * above / below (n,) in float64, infinite or 0 only where all of it is."""
    parts = [torch.frexp(each) for each in (value, above, below)]
    mantissa = parts[0].mantissa * parts[1].mantissa / parts[2].mantissa
    exponent = (parts[0].exponent + parts[1].exponent - parts[2].exponent).double()
    third = (exponent / 3).round()
    for part in (third, third, exponent - 2 * third):  # float64 holds each of these powers
        mantissa = mantissa * 2.0**part
    return mantissa


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """cos of the angle between equal rows of a and b (m, d): shape (m,); 0 where a row is zero.

    It lies in [-1, 1] at every scale. Half-precision rows give float32.
    """
    a, b = _matrix("a", a), _matrix("b", b)
    if a.shape[1] != b.shape[1] or (len(a) != len(b) and 1 not in (len(a), len(b))):
        found = f"a is {tuple(a.shape)} and b {tuple(b.shape)}"
        raise ValueError(f"{found}: give two matrices of the same shape, or one row of it")
    cos = F.cosine_similarity(a, b, dim=1, eps=1e-30)
    if len(rows := (_out_of_range(a) | _out_of_range(b)).nonzero().flatten()):
        one, other = (_unit(part.expand(len(cos), -1)[rows])[0] for part in (a, b))
        rescued = F.cosine_similarity(one, other, dim=1, eps=1e-30)
        cos = cos.index_put((rows,), rescued.to(cos))
    return cos.clamp(-1, 1)


def _matrix(name: str, w: Tensor) -> Tensor:
    """Rows in float32 at least, or ValueError if they are not finite."""
    checks.row_vectors(name, w, "(m, d)")
    if not checks.is_finite(w):
        row = int((~w.isfinite()).flatten(1).any(1).nonzero()[0])
        advice = "give weights that are numbers, of a training run that has not diverged"
        raise ValueError(f"{name} is not finite in row {row}: {advice}")
    return at_least_float32(w)


def at_least_float32(w: Tensor) -> Tensor:
    """Weights in the precision of the measures: their own, or float32 if that is more."""
    return w.to(torch.promote_types(w.dtype, torch.float32))


def _out_of_range(w: Tensor) -> Tensor:
    """Which rows, not zero, are so small or so large that their squares under- or overflow."""
    size = w.norm(dim=1)  # as wrong there as the squares are
    outside = ~((size >= 2e-15) & (size <= (1e-2 * torch.finfo(w.dtype).max) ** 0.5))
    return outside & (w != 0).any(1) if outside.any() else outside


def _unit(w: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in float64, divided by their largest |entry|, which comes second; 1 for a zero row."""
    size = w.double().abs().amax(1)
    size = size.where(size > 0, 1)
    return w.double() / size[:, None], size


def norms(w: Tensor) -> Tensor:
    """The norm of each row of w (m, d), at every scale: (m,), float64."""
    w = at_least_float32(w)
    found = w.norm(dim=1).double()
    if len(rows := _out_of_range(w).nonzero().flatten()):
        unit, size = _unit(w[rows])
        found = _put(found, rows, unit.norm(dim=1), size, "|w|")
    return found


def chance_cosine(d: int) -> float:
    """The chance level of |cos|: its standard deviation 1/sqrt(d) for random directions in R^d."""
    return 1 / math.sqrt(checks.positive_int("d", d))


@dataclass(frozen=True)
class Features:
    """What each neuron of a two-layer network holds, against the true features M: (m,) each."""

    top: Tensor  # index j of the feature with the largest |<w_i, M_j>|
    purity: Tensor  # |<w_i, M_top>| / |w_i|, in [1/sqrt(d), 1]
    dense_part: Tensor  # |<rest, u*>| / |w_i| with rest = w_i without its top feature
    norm: Tensor  # |w_i|


@unrounded
def features(w: Tensor, m: Tensor, u_star: Tensor) -> Features:
    """Measure neurons w (n, d) against features and the dense direction.

    The features are the columns of m (d, d), the dense direction is u_star (d,). Half-precision
    neurons give float32.
    """
    w, m = _matrix("w", w), _matrix("m", m)
    _check_features(w, m)
    if checks.tensor("u_star", u_star, "(d,)").shape != w.shape[1:]:
        raise ValueError(f"u_star is {tuple(u_star.shape)}: give a vector {tuple(w.shape[1:])}")
    checks.all_finite("u_star", u_star)
    held = _features(w, m.to(w.dtype), u_star.to(w.dtype))
    if len(rows := _out_of_range(w).nonzero().flatten()):
        unit, size = _unit(w[rows])
        scaled = _features(unit, m.double(), u_star.double())
        held = Features(
            top=held.top.index_put((rows,), scaled.top),
            purity=held.purity.index_put((rows,), scaled.purity.to(w)),
            dense_part=held.dense_part.index_put((rows,), scaled.dense_part.to(w)),
            norm=_put(held.norm, rows, scaled.norm, size, "|w|"),
        )
    return held


def _check_features(w: Tensor, m: Tensor) -> None:
    """Raise ValueError unless the features m are as many as inputs of the neurons w."""
    d = w.shape[1]
    if m.shape != (d, d):
        found = f"w is {tuple(w.shape)} and m {tuple(m.shape)}"
        raise ValueError(f"{found}: give neurons w (n, d) and features m (d, d)")


def _features(w: Tensor, m: Tensor, u_star: Tensor) -> Features:
    """`features` of rows whose squares neither under- nor overflow."""
    scores = w @ m  # (n, d) <w_i, M_j>
    norm = w.norm(dim=1).clamp(min=1e-30)
    largest, top = scores.abs().max(dim=1)
    along_top = scores.gather(1, top[:, None]).squeeze(1)
    rest_on_u = w @ u_star - along_top * (m.T @ u_star)[top]
    return Features(top, (largest / norm).clamp(max=1.0), rest_on_u.abs() / norm, norm)


@unrounded
def top_part(w: Tensor, m: Tensor) -> Tensor:
    """Each neuron of w (n, d) reduced to its top feature, <w_i, M_j> M_j: no mixture is left.

    The features M_j are the columns of m (d, d). Rows of any finite size will do.
    """
    w, m = _matrix("w", w), _matrix("m", m)
    _check_features(w, m)
    scores = w @ m.to(w.dtype)
    top = scores.abs().argmax(1, keepdim=True)
    part = torch.zeros_like(scores).scatter(1, top, scores.gather(1, top)) @ m.T.to(w.dtype)
    if len(rows := _out_of_range(w).nonzero().flatten()):
        unit, size = _unit(w[rows])
        part = _put(part, rows, top_part(unit, m.double()), size, "<w, M_j> M_j")
    return part


def replaced(model: TwoLayer, weight: Tensor) -> TwoLayer:
    """A copy of a two-layer network with other weights (m, d): an intervention, no training."""
    checks.network("model", checks.instance("model", model, TwoLayer, "fpcore.TwoLayer(40, 80)"))
    checks.all_finite("weight", checks.row_vectors("weight", weight, "(m, d)"))
    if weight.shape != model.weight.shape:
        raise ValueError(f"weight is {tuple(weight.shape)}: give {tuple(model.weight.shape)}")
    twin = copy.deepcopy(model)
    twin.weight.data = weight.detach().clone()
    return twin


def live(net: TwoLayer, share: float = 0.1) -> Tensor:
    """Neurons with a norm above `share` of the largest: they carry the function. (m,), bool."""
    checks.network("net", checks.instance("net", net, TwoLayer, "fpcore.TwoLayer(40, 80)"))
    checks.finite("share", share, high=1.0)
    norm = norms(_matrix("net.weight", net.weight.detach()))
    return norm > share * norm.max()


@torch.no_grad()
def active_share(net: TwoLayer, x: Tensor) -> float:
    """Share of neurons that fire, the mean over the samples x (n, d)."""
    return (net.preactivations(x).abs() > net.bias).float().mean().item()
