"""An AlexNet-like ConvNet for CIFAR-10."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore import checks

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


class ConvNet(nn.Module):
    """An AlexNet-like ConvNet: five convolutions, three max-pools, one linear layer.

    Maps pixels x (n, 3, 32, 32) in [0, 1] to class scores (n, classes): the normalisation is
    inside, so that attacks work in pixel space. `width` scales all channel counts (1.0:
    32-64-96-64-64, 171k parameters).
    """

    def __init__(self, width: float = 1.0, classes: int = 10):
        super().__init__()
        checks.finite("width", width, low=1 / 32, high=1000.0)
        checks.positive_int("classes", classes)
        plain: dict[str, Any] = {"bias": False, "dtype": torch.float32}
        c1, c2, c3, c4, c5 = (max(1, round(width * c)) for c in (32, 64, 96, 64, 64))
        self.register_buffer("mean", torch.tensor(CIFAR10_MEAN, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(CIFAR10_STD, dtype=torch.float32).view(3, 1, 1))
        self.mean: Tensor
        self.std: Tensor
        self.conv1 = nn.Conv2d(3, c1, 5, stride=2, padding=2, **plain)
        self.bn1 = nn.BatchNorm2d(c1, dtype=torch.float32)
        self.conv2 = nn.Conv2d(c1, c2, 3, padding=1, **plain)
        self.bn2 = nn.BatchNorm2d(c2, dtype=torch.float32)
        self.conv3 = nn.Conv2d(c2, c3, 3, padding=1, **plain)
        self.bn3 = nn.BatchNorm2d(c3, dtype=torch.float32)
        self.conv4 = nn.Conv2d(c3, c4, 3, padding=1, **plain)
        self.bn4 = nn.BatchNorm2d(c4, dtype=torch.float32)
        self.conv5 = nn.Conv2d(c4, c5, 3, padding=1, **plain)
        self.bn5 = nn.BatchNorm2d(c5, dtype=torch.float32)
        self.linear = nn.Linear(c5 * 4, classes, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)  # (n, c1, 8, 8)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)  # (n, c2, 4, 4)
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.relu(self.bn4(self.conv4(x)))
        x = F.max_pool2d(F.relu(self.bn5(self.conv5(x))), 2)  # (n, c5, 2, 2)
        return self.linear(x.flatten(1))
