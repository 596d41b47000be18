"""Kernels of linearised networks on images: of a network at its width, and at infinite width."""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore import checks
from fpcore.images import CLASSES
from fpcore.models.convnet import CIFAR10_MEAN, CIFAR10_STD
from fpcore.models.linearised import Linearised

RESIDUAL = 1e-3  # of conjugate gradients, over the right-hand side; what is left is accounted for
MOST_STEPS = 150  # of conjugate gradients


def centred_targets(y: Tensor, classes: int = len(CLASSES)) -> Tensor:
    """What is fitted, (n, classes): 1 for the label, less the mean, at norm 1.

    y        labels (n,)
    classes  how many there are

    So the squared loss of the best constant, 0, is 1 for every image.
    """
    return (F.one_hot(y, classes).float() - 1 / classes) / math.sqrt(1 - 1 / classes)


def weight_jacobian(model: Linearised, x: Tensor, chunk: int = 50) -> Tensor:
    """The derivatives of all scores in all weights of the network, J (n * classes, weights).

    model  its linearisation, whose batch normalisation is frozen
    x      images (n, ...)
    chunk  images at a time

    J J^T is the tangent kernel, with a block of classes x classes for each pair of images: no two
    logits are taken to be independent.
    """
    weights = {name: w.detach() for name, w in model.net.named_parameters()}

    def scores(w: dict[str, Tensor], one: Tensor) -> Tensor:
        return torch.func.functional_call(model.net, w, (one[None],)).squeeze(0)

    each = torch.func.vmap(torch.func.jacrev(scores), (None, 0))
    found = []
    for part in x.split(checks.positive_int("chunk", chunk)):
        rows = each(weights, part)  # {name: (n, classes, ...)}
        found.append(torch.cat([row.flatten(2) for row in rows.values()], 2).flatten(0, 1))
    return torch.cat(found).detach()


def homogeneous(model: Linearised, theta: Tensor) -> Linearised:
    """Set a linearisation to f(x) = J(x) theta, in place, and return it.

    model  its network's last layer is `linear`
    theta  (weights,)

    The network's own scores are J(x) times the weights of its last layer: a member of the class.
    """
    sizes = [delta.numel() for delta in model.delta]
    if theta.shape != (sum(sizes),):
        raise ValueError(f"theta is {tuple(theta.shape)}: give one number a weight, {sum(sizes)}")
    of = zip(model.net.named_parameters(), model.delta, theta.split(sizes))
    with torch.no_grad():
        for (name, w), delta, part in of:
            delta.copy_(part.view_as(w))
            if name.startswith("linear."):
                delta.sub_(w)
    return model


def connected_kernel(x: Tensor, z: Tensor, hidden: int = 2) -> Tensor:
    """The tangent kernel of a fully connected ReLU network of infinite width, K (n, N).

    x       samples (n, d)
    z       samples (N, d)
    hidden  layers

    By the arc-cosine recursion of Cho and Saul (2009), Jacot et al. (2018), with weights of
    variance 2 over a layer's inputs (1 over them in the last) and no biases. It is the same for all
    logits, and 0 between two of them.
    """
    checks.positive_int("hidden", hidden)
    sizes = x.norm(dim=1)[:, None] * z.norm(dim=1)
    cosine = x @ z.T / sizes
    kernel = cosine
    for _ in range(hidden):
        cosine = cosine.clamp(-1 + 1e-6, 1 - 1e-6)  # where its slope is infinite
        open_in_both = 1 - cosine.arccos() / math.pi
        cosine = cosine * open_in_both + (1 - cosine.square()).sqrt() / math.pi
        kernel = kernel * open_in_both + cosine
    return kernel * sizes / x.shape[1]


class KernelScores(nn.Module):
    """f(x) = sum_i K(x, c_i) a_i for `connected_kernel`: x (n, 3, h, w) -> (n, classes).

    centres       images (N, 3, h, w)
    coefficients  a (N, classes)
    """

    def __init__(self, centres: Tensor, coefficients: Tensor):
        super().__init__()
        self.register_buffer("centres", flat(centres))
        self.register_buffer("coefficients", coefficients)
        self.centres: Tensor
        self.coefficients: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return connected_kernel(flat(x), self.centres) @ self.coefficients


def flat(x: Tensor) -> Tensor:
    """Images (n, 3, h, w) as the networks normalise them, (n, 3 h w)."""
    mean, std = (x.new_tensor(part).view(3, 1, 1) for part in (CIFAR10_MEAN, CIFAR10_STD))
    return ((x - mean) / std).flatten(1)


class Answer(Protocol):
    """The member of a class that is best on a mixture of images, found without an optimiser."""

    def mix(self, x: Tensor, y: Tensor, share: float) -> None: ...
    def solve(self, ridge: float) -> tuple[nn.Module, float, float]: ...


class NetworkAnswer:
    """`Answer` among linearisations of a network at its width.

    model  the linearisation; it is set to each answer in place
    """

    def __init__(self, model: Linearised):
        self.model = model
        self.parts: list[tuple[float, Tensor, Tensor]] = []  # share, J, targets of a mixture
        self.unit = 0.0  # kernel of an image with itself, in the mean, over the number of images
        count = sum(delta.numel() for delta in model.delta)
        self.theta = torch.zeros(count, dtype=torch.float32, device="cpu")

    def mix(self, x: Tensor, y: Tensor, share: float) -> None:
        """Let images x (n, ...) of labels y have this share of the mixture; 1: all of it."""
        jac = weight_jacobian(self.model, x)
        self.parts = [(of * (1 - share), j, t) for of, j, t in self.parts if share < 1]
        self.parts.append((share, jac, centred_targets(y).flatten()))
        self.unit = self.unit or jac.square().sum().item() / (len(CLASSES) * len(x) ** 2)

    def solve(self, ridge: float) -> tuple[nn.Module, float, float]:
        """The best member, what none falls below, and its penalty.

        ridge  the penalty is ridge * unit * |theta|^2

        Conjugate gradients from the last answer. For what is left, r, the mean squared loss with
        penalty, which is strongly convex, may be lower by |r|^2 / (ridge * unit) at most.
        """
        weight = ridge * self.unit

        def product(theta: Tensor) -> Tensor:
            return weight * theta + self._sum([jac @ theta for _, jac, _ in self.parts])

        right = self._sum([target for *_, target in self.parts])
        theta = self.theta
        rest = right - product(theta)
        way, size = rest.clone(), rest.square().sum()
        for _ in range(MOST_STEPS):
            if size <= RESIDUAL**2 * right.square().sum():
                break
            image = product(way)
            step = size / (way @ image)
            theta, rest = theta + step * way, rest - step * image
            before, size = size, rest.square().sum()
            way = rest + size / before * way
        self.theta = theta
        rest = (right - product(theta)).double()
        least = 1 - theta.double() @ (right + rest) - rest.square().sum() / weight
        penalty = weight * theta.square().sum().item()
        return homogeneous(self.model, theta), least.item(), penalty

    def _sum(self, rows: list[Tensor]) -> Tensor:
        """The mean over the mixture of J^T rows."""
        return sum(
            (
                (share * len(CLASSES) / len(jac)) * (row @ jac)
                for (share, jac, _), row in zip(self.parts, rows)
            ),
            start=torch.zeros_like(self.theta),
        )


class InfiniteAnswer:
    """`Answer` in the space of `connected_kernel`, by Cholesky's factors in float64."""

    def __init__(self) -> None:
        self.x = torch.zeros(0, dtype=torch.float32, device="cpu")
        self.target = torch.zeros(0, dtype=torch.float32, device="cpu")
        self.shares = torch.zeros(0, dtype=torch.float32, device="cpu")
        self.unit = 0.0

    def mix(self, x: Tensor, y: Tensor, share: float) -> None:
        """Let images x (n, 3, h, w) of labels y have this share of the mixture; 1: all of it."""
        new = torch.full((len(x),), share / len(x), dtype=torch.float64, device="cpu")
        target = centred_targets(y).double()
        if share == 1:
            self.x, self.target, self.shares = x, target, new
        else:
            self.x, self.target = torch.cat([self.x, x]), torch.cat([self.target, target])
            self.shares = torch.cat([self.shares * (1 - share), new])
        own = flat(x).double()
        self.unit = self.unit or connected_kernel(own, own).diagonal().mean().item() / len(x)

    def solve(self, ridge: float) -> tuple[nn.Module, float, float]:
        """The best member, what none falls below, and its penalty ridge * unit * |f|^2."""
        weight, points = ridge * self.unit, flat(self.x).double()
        kernel = connected_kernel(points, points)
        shifted = kernel + torch.diag(weight / self.shares)
        a = torch.cholesky_solve(self.target, torch.linalg.cholesky(shifted))
        penalty = weight * (a * (kernel @ a)).sum().item()
        return KernelScores(self.x, a.float()), weight * (self.target * a).sum().item(), penalty
