"""The networks: the paper's symmetric two-layer ReLU network, and an AlexNet-like ConvNet for CIFAR-10."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore import checks

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class TwoLayer(nn.Module):
    """f(x) = sum_i [ReLU(<w_i, x> - b_i) - ReLU(-<w_i, x> - b_i)] with b_i = threshold |w_i|.

    Maps x (n, d) to logits (n,); the label is the sign. `weight` (m, d) starts at N(0, init_norm^2/d) per entry. The
    threshold is a buffer that training raises; no gradient flows through b. f is odd, and homogeneous of degree 1 in
    `weight`: scaling the weights changes no label. Source: Allen-Zhu & Li (2020), section 2.
    """

    def __init__(self, d: int, m: int, threshold: float = 0.0, init_norm: float = 0.05, rng: torch.Generator | None = None):
        super().__init__()
        checks.positive_int("d", d), checks.positive_int("m (width)", m)
        checks.finite("init_norm", init_norm), checks.finite("threshold", threshold)
        self.weight = nn.Parameter(torch.randn(m, d, generator=rng) * init_norm / math.sqrt(d))
        self.register_buffer("threshold", torch.tensor(float(threshold)))
        self.threshold: Tensor

    @property
    def bias(self) -> Tensor:
        """b_i = threshold |w_i|, shape (m,), detached."""
        return self.threshold * self.weight.detach().norm(dim=1)

    def preactivations(self, x: Tensor) -> Tensor:
        """<w_i, x>, shape (n, m); neuron i is active where its size exceeds `bias`."""
        return x @ self.weight.T

    def forward(self, x: Tensor) -> Tensor:
        norm = self.weight.detach().norm(dim=1).clamp(min=1e-30)
        u = x @ (self.weight / norm[:, None]).T  # (n, m), in units of |w_i|
        # ReLU(u - b) - ReLU(-u - b) is the soft-shrinkage of u by b: one kernel, and one mask for its gradient.
        return F.softshrink(u, self.threshold.item()) @ norm


class ConvNet(nn.Module):
    """An AlexNet-like ConvNet for 32 x 32 images: five convolutions, three max-pools, one linear layer.

    Maps pixels x (n, 3, 32, 32) in [0, 1] to class scores (n, classes): the normalisation is inside, so that attacks
    work in pixel space. `width` scales all channel counts (1.0: 32-64-96-64-64, 171k parameters).
    """

    def __init__(self, width: float = 1.0, classes: int = 10):
        super().__init__()
        checks.finite("width", width, low=1 / 32)
        checks.positive_int("classes", classes)
        c1, c2, c3, c4, c5 = (max(1, round(width * c)) for c in (32, 64, 96, 64, 64))
        self.register_buffer("mean", torch.tensor(CIFAR10_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(CIFAR10_STD).view(3, 1, 1))
        self.mean: Tensor
        self.std: Tensor
        self.conv1, self.bn1 = nn.Conv2d(3, c1, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(c1)
        self.conv2, self.bn2 = nn.Conv2d(c1, c2, 3, padding=1, bias=False), nn.BatchNorm2d(c2)
        self.conv3, self.bn3 = nn.Conv2d(c2, c3, 3, padding=1, bias=False), nn.BatchNorm2d(c3)
        self.conv4, self.bn4 = nn.Conv2d(c3, c4, 3, padding=1, bias=False), nn.BatchNorm2d(c4)
        self.conv5, self.bn5 = nn.Conv2d(c4, c5, 3, padding=1, bias=False), nn.BatchNorm2d(c5)
        self.linear = nn.Linear(c5 * 4, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)  # (n, c1, 8, 8)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)  # (n, c2, 4, 4)
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.relu(self.bn4(self.conv4(x)))
        x = F.max_pool2d(F.relu(self.bn5(self.conv5(x))), 2)  # (n, c5, 2, 2)
        return self.linear(x.flatten(1))


def loss(output: Tensor, y: Tensor) -> Tensor:
    """Loss of each sample, shape (n,): logistic for one logit and y in {-1, +1}, cross-entropy for class scores."""
    one_label_each(output, y)
    if output.ndim == 1:
        return F.softplus(-y * output)
    return F.cross_entropy(output, y, reduction="none")


def correct(output: Tensor, y: Tensor) -> Tensor:
    """Which samples are classified right, shape (n,), bool; a tie counts as wrong."""
    one_label_each(output, y)
    if output.ndim == 1:
        return y * output > 0
    index = y[:, None]
    return output.gather(1, index).squeeze(1) > output.scatter(1, index, -torch.inf).amax(1)


def one_label_each(output: Tensor, y: Tensor) -> None:
    """Raise ValueError unless y is (n,) for outputs (n, ...): another shape would be broadcast, silently."""
    if y.shape != output.shape[:1]:
        raise ValueError(f"y is {tuple(y.shape)}: give one label a sample, {tuple(output.shape[:1])}")


def signs(y: Tensor) -> Tensor:
    """Return the labels `y` if all are -1 or +1, else raise ValueError."""
    if len(wrong := y[y.double().abs() != 1]):
        raise ValueError(f"y holds {sorted(set(wrong.tolist()))[:5]}: give labels -1 and +1")
    return y


def fitting(output: Tensor, y: Tensor) -> Tensor:
    """Return `output` if `y` are labels for it, else raise ValueError. It waits for the device, as `loss` must not."""
    one_label_each(output, signs(y) if output.ndim == 1 else y)
    if output.ndim == 2 and len(y) and not 0 <= y.min() <= y.max() < output.shape[1]:
        raise ValueError(f"y holds classes {y.min():g} to {y.max():g}: the network has scores of 0 to {output.shape[1] - 1}")
    return output


@torch.no_grad()
def classified(model: nn.Module, x: Tensor, y: Tensor, chunk: int = 2048) -> Tensor:
    """Which samples `model`, in evaluation mode, classifies right, shape (n,), bool."""
    one_label_each(x, y)
    with evaluating(model):
        return torch.cat([correct(fitting(model(a), b), b) for a, b in zip(x.split(chunk), y.split(chunk))])


def accuracy(model: nn.Module, x: Tensor, y: Tensor, chunk: int = 2048) -> float:
    """Share of samples that `model`, in evaluation mode, classifies right."""
    return classified(model, x, y, chunk).float().mean().item()


class evaluating:
    """Context in which `model` is in evaluation mode; on leaving, every submodule's mode is as before."""

    def __init__(self, model: nn.Module):
        self.modules = list(model.modules())

    def __enter__(self):
        self.was = [m.training for m in self.modules]
        for m in self.modules:
            m.training = False

    def __exit__(self, *_):
        for m, was in zip(self.modules, self.was):
            m.training = was
