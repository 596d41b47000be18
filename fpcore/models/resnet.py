"""A residual network for CIFAR-10: PreActResNet-18, at any width."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpcore import checks
from fpcore.models.convnet import CIFAR10_MEAN, CIFAR10_STD


class Block(nn.Module):
    """x -> shortcut(x) + two 3 x 3 convolutions, each after batch normalisation and ReLU.

    Source: He et al. (2016b).
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        plain: dict[str, Any] = {"bias": False, "dtype": torch.float32}
        self.bn1 = nn.BatchNorm2d(inputs, dtype=torch.float32)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, **plain)
        self.bn2 = nn.BatchNorm2d(outputs, dtype=torch.float32)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, **plain)
        changes = stride > 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, **plain) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (x if self.shortcut is None else self.shortcut(active))


class ResNet(nn.Module):
    """PreActResNet-18: a convolution, four stages of two blocks each, one linear layer.

    Maps pixels x (n, 3, 32, 32) in [0, 1] to class scores (n, classes), the normalisation inside.
    `width` scales all channel counts (1.0: 64-128-256-512, 11.2M parameters).
    """

    def __init__(self, width: float = 1.0, classes: int = 10):
        super().__init__()
        checks.finite("width", width, low=1 / 64, high=1000.0)
        checks.positive_int("classes", classes)
        stages = [max(1, round(width * c)) for c in (64, 128, 256, 512)]
        self.register_buffer("mean", torch.tensor(CIFAR10_MEAN, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(CIFAR10_STD, dtype=torch.float32).view(3, 1, 1))
        self.mean: Tensor
        self.std: Tensor
        self.conv = nn.Conv2d(3, stages[0], 3, padding=1, bias=False, dtype=torch.float32)
        blocks = []
        inputs = stages[0]
        for i, outputs in enumerate(stages):
            blocks.append(Block(inputs, outputs, stride=2 if i else 1))
            blocks.append(Block(outputs, outputs, stride=1))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(inputs, dtype=torch.float32)
        self.linear = nn.Linear(inputs, classes, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.conv((x - self.mean) / self.std))  # (n, c4, 4, 4)
        return self.linear(F.relu(self.bn(x)).mean((2, 3)))
