"""Models that are linear in what is trained: the NTK of the two-layer network, kernel machines."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fpcore import checks
from fpcore.attacks import fgm
from fpcore.ball import Ball
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Data

SINGLE: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}  # whatever torch's defaults
Kernel = Callable[[Tensor, Tensor], Tensor]  # x (n, d), centres (N, d) -> (n, N)


class Linear(nn.Module):
    """f(x) = <u, x>: x (n, d) -> (n,). Starts at 0, the best start for a convex problem."""

    def __init__(self, d: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(checks.positive_int("d", d), **SINGLE))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Tangent(nn.Module):
    """f(x) = sum_i <v_i, x> 1(|<w_i, x>| > b_i): the tangent kernel of a `TwoLayer`, linear in v.

    x (n, d) -> (n,). `weight` v (m, d) is trained and starts at 0; w and b = threshold |w| are
    frozen. The m d features of a sample are never built: memory is n times `chunk` neurons. Its
    gradient in x is that at fixed activity, as autograd has it for ReLU; a positive `temperature`
    (in units of |w_i|/sqrt(d)) smooths the activity instead, for attacks that see it move.
    """

    def __init__(self, net: TwoLayer, chunk: int = 4096):
        super().__init__()
        w = net.weight.detach()
        self.register_buffer("directions", w / w.norm(dim=1, keepdim=True).clamp(min=1e-30))
        self.directions: Tensor
        self.weight = nn.Parameter(torch.zeros_like(w))
        self.threshold = net.threshold.item()
        self.chunk = checks.positive_int("chunk", chunk)
        self.temperature = 0.0

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            if self.temperature:
                return self._smooth(x)
            # Apart from the product with x, so that an attack's gradient in x does not compute that
            # in v as well.
            frozen = (self.directions, self.threshold, self.chunk)
            active = _ActiveSum.apply(self.weight, x.detach(), *frozen)
            return (x * active).sum(1)

    def _smooth(self, x: Tensor) -> Tensor:
        """f with sigmoids in the place of indicators."""
        scale = self.temperature / math.sqrt(x.shape[1])
        total = x.new_zeros(len(x))
        for w, v in zip(self.directions.split(self.chunk), self.weight.split(self.chunk)):
            active = torch.sigmoid(((x @ w.T).abs() - self.threshold) / scale)
            total = total + (active * (x @ v.T)).sum(1)
        return total


class _ActiveSum(torch.autograd.Function):
    """s = sum_active v_i, (n, d); the activity is computed again for its gradient in v."""

    @staticmethod
    def forward(ctx, v, x, w, threshold, chunk):
        s = torch.zeros_like(x)
        for a, b in zip(w.split(chunk), v.split(chunk)):
            s += ((x @ a.T).abs() > threshold).to(x.dtype) @ b
        ctx.save_for_backward(x, w)
        ctx.threshold = threshold
        ctx.chunk = chunk
        return s

    @staticmethod
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        to_v = torch.empty_like(w)
        for a, out in zip(w.split(ctx.chunk), to_v.split(ctx.chunk)):
            torch.mm(((x @ a.T).abs() > ctx.threshold).to(x.dtype).T, grad, out=out)
        return to_v, None, None, None, None


def tangent_witness(net: TwoLayer, data: SparseCoding) -> Tangent:
    """The tangent model that tends, as its width grows, to a multiple of the cubic f(x)/|x|^2.

    Untrained: v_i = M(w* o ((M^T w_i)^2 - 1)) for w_i of norm sqrt(d), over the width. For
    w ~ N(0, I) and a fixed b the mean of (w_j^2 - 1) 1(|<w, x>| > b) is
    2 beta phi(beta) <M_j, x>^2/|x|^2 with beta = b/|x|: the multiple is positive, and the limit has
    the cubic's certificate. Here b follows |w_i|, which adds a linear term of relative order 1/d.
    """
    model = Tangent(net)
    w = model.directions @ data.features * data.d**0.5
    with torch.no_grad():
        model.weight.copy_((data.w_star * (w * w - 1)) @ data.features.T / len(w))
    return model


def polynomial(*coefficients: float) -> Kernel:
    """K(x, x') = sum_q coefficients[q] <x, x'>^q, with none negative.

    All polynomials whose degrees have a positive coefficient.
    """
    for c in coefficients:
        checks.finite(f"coefficients = {coefficients!r}: one of them", c)
    if not coefficients:
        raise ValueError(f"coefficients = {coefficients!r}: give at least one, none negative")

    def kernel(x: Tensor, centres: Tensor) -> Tensor:
        inner = x @ centres.T
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for c in reversed(coefficients):
            total = total * inner + c
        return total.expand_as(inner)

    return kernel


def tangent_kernel(threshold: float, terms: int = 5) -> Kernel:
    """The infinite-width kernel of `Tangent`, K(x, x') = <x, x'> P[|<w, x>| > b and |<w, x'>| > b].

    Here w ~ N(0, I) and b = threshold sqrt(d). With g, g' standard normal of correlation
    r = cos(x, x') and beta = b/|x|, Mehler's formula gives the probability:

        sum over even q of c_q(beta) c_q(beta') r^q,
        c_0 = P[|g| > beta],    c_q = 2 He_{q-1}(beta) phi(beta)/sqrt(q!).

    The first `terms` of them are themselves a kernel; the rest matters only for |r| close to 1.
    """
    checks.finite("threshold", threshold)
    checks.positive_int("terms", terms)

    def kernel(x: Tensor, centres: Tensor) -> Tensor:
        unit, here = _mehler(x, threshold, terms)
        other, there = _mehler(centres, threshold, terms)
        square = (unit @ other.T) ** 2  # r^2
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for c, c_other in zip(reversed(here), reversed(there)):  # Horner's scheme
            total = total * square + c * c_other.T
        return x @ centres.T * total

    return kernel


def _mehler(x: Tensor, threshold: float, terms: int) -> tuple[Tensor, list[Tensor]]:
    """x (n, d) scaled to norm 1, and its c_0, c_2, ... in Mehler's formula, (n, 1) each."""
    size = x.norm(dim=1, keepdim=True).clamp(min=1e-12)
    beta = threshold * math.sqrt(x.shape[1]) / size  # (n, 1)
    phi = torch.exp(-beta * beta / 2) / math.sqrt(2 * math.pi)
    found = [torch.erfc(beta / math.sqrt(2))]
    # He_{n-1}/sqrt(n!) and He_n/sqrt((n+1)!), by the recursion He_{n+1} = beta He_n - n He_{n-1}.
    before, now = torch.zeros_like(beta), torch.ones_like(beta)
    for n in range(2 * terms - 2):  # q = n + 1
        if n % 2:
            found.append(2 * now * phi)
        before, now = now, (beta * now - n * before / math.sqrt(n + 1)) / math.sqrt(n + 2)
    return x / size, found


class KernelMachine(nn.Module):
    """f(x) = sum_i a_i K(x, c_i): x (n, d) -> (n,). Starts with no centres, as 0."""

    def __init__(self, kernel: Kernel, d: int):
        super().__init__()
        self.kernel = kernel
        self.register_buffer("centres", torch.zeros(0, checks.positive_int("d", d), **SINGLE))
        self.register_buffer("coefficients", torch.zeros(0, **SINGLE))
        self.centres: Tensor
        self.coefficients: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if len(self.centres) == 0:
            return 0.0 * x.sum(1)
        return self.kernel(x, self.centres) @ self.coefficients

    @torch.no_grad()
    def add(self, centres: Tensor, coefficients: Tensor) -> None:
        """Take in more centres (n, d) with their coefficients (n,)."""
        self.centres = torch.cat([self.centres, centres])
        self.coefficients = torch.cat([self.coefficients, coefficients])


def train_kernel(
    machine: KernelMachine,
    data: Data,
    samples: int,
    radius: float,
    lr: float,
    batch: int,
    seed: int,
) -> None:
    """SGD on the logistic loss in the kernel's own function space, in place.

    machine  is trained; starts with no centres
    data     gives a fresh mini-batch a step
    samples  of one pass: samples // batch steps
    radius   of the l2 adversary (FGM), 0: clean training
    lr       the rate, in the unit in which the first step gives the next clean samples a mean
             margin of 1; it falls linearly to 0
    batch    samples a step
    seed     of the mini-batches

    A step on samples x adds them as centres with coefficients rate sigma(-y f(x)) y / batch: the
    exact gradient step of a model with one weight for each of the kernel's features, be they
    infinitely many.
    """
    checks.positive_int("samples", samples)
    checks.positive_int("batch", batch)
    checks.finite("lr", lr)
    ball = Ball("l2", radius)
    steps = max(1, samples // batch)
    rate = 1.0
    for step in range(steps):
        x, y = data.batch(batch, seed, step)
        if step == 1:  # now the unit of the rate is known
            with torch.no_grad():
                rate = lr / (y * machine(x)).mean().abs().clamp(min=1e-30).item()
            machine.coefficients *= rate
        if radius and step:  # at first f is 0
            x = fgm(machine, x, y, ball)
        with torch.no_grad():
            slope = torch.sigmoid(-y * machine(x))
        machine.add(x, rate * (1 - step / steps) * slope * y / batch)
