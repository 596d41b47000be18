"""A stranger's code: two networks and a training loop in plain PyTorch, without this project.

Nothing here imports fpcore or fpbook, so that what the book says of these networks needs none of
its own models, attacks or training.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VisionTransformer(nn.Module):
    """A small pre-norm vision transformer, Dosovitskiy et al. 2021, of images of 32 by 32.

    patch   side of a patch, in pixels: 8 makes 16 tokens
    width   of a token
    depth   number of blocks
    heads   of each attention
    hidden  width of the two-layer network in each block
    """

    def __init__(
        self, patch: int = 8, width: int = 128, depth: int = 4, heads: int = 4, hidden: int = 256
    ):
        super().__init__()
        self.patches = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, (32 // patch) ** 2, width))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width,
                    heads,
                    hidden,
                    dropout=0.0,
                    activation="gelu",
                    batch_first=True,
                    norm_first=True,
                )
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (n, 10) of images (n, 3, 32, 32) in [0, 1]."""
        tokens = self.patches(4 * x - 2).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(1))


class Perceptron(nn.Module):
    """Two hidden layers of ReLUs on the pixels of an image."""

    def __init__(self, width: int = 512):
        super().__init__()
        self.first = nn.Linear(3072, width)
        self.second = nn.Linear(width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (n, 10) of images (n, 3, 32, 32) in [0, 1]."""
        hidden = F.relu(self.first(4 * x.flatten(1) - 2))
        return self.head(F.relu(self.second(hidden)))


def shifted_and_flipped(x: Tensor, rng: torch.Generator) -> Tensor:
    """Images (n, c, h, w) moved by up to 3 pixels each way, half of them mirrored."""
    n, _, h, w = x.shape
    mirrored = torch.rand(n, 1, 1, 1, generator=rng) < 0.5
    x = F.pad(torch.where(mirrored, x.flip(3), x), (3, 3, 3, 3), mode="reflect")
    dy, dx = torch.randint(0, 7, (2, n, 1), generator=rng)
    rows, columns = dy + torch.arange(h), dx + torch.arange(w)
    image = torch.arange(n)[:, None, None]
    return x.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def fgm_step(net: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """The fast gradient method: x + radius * g / |g|, clamped to [0, 1].

    net     gives class scores
    x       images (n, c, h, w)
    y       their classes (n,)
    radius  in l2, in pixels of [0, 1]
    """
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(net(x), y, reduction="sum"), x)
    size = g.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
    return (x + radius * g / size).detach().clamp(0, 1)


def fit(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epochs: int,
    lr: float,
    weight_decay: float = 0.05,
    radius: float = 0.0,
    batch: int = 128,
    seed: int = 0,
    path: Path | None = None,
    tell: Callable[[int, float], None] | None = None,
) -> nn.Module:
    """Train `net` in place by AdamW, the learning rate on a cosine to 0; return it.

    net           gives class scores
    x             images (n, 3, 32, 32) in [0, 1]
    y             their classes (n,)
    epochs        passes over the images
    lr            the first learning rate
    weight_decay  as in `torch.optim.AdamW`
    radius        of the FGM adversary, in l2; 0: clean training
    batch         images a step
    seed          of the order of the images and of the augmentation
    path          of the state dict, written at the end; found there, it is read instead. A training
                  that was stopped goes on from its last epoch, kept beside it
    tell          called with the number of an epoch and its mean loss
    """
    if path and path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
        return net.eval()
    per_epoch = len(x) // batch
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * per_epoch)
    parts: dict[str, Any] = {"net": net, "optimizer": optimizer, "schedule": schedule}
    net.train()
    for epoch in range(_resumed(path, parts), epochs):
        rng = torch.Generator().manual_seed(1000 * seed + epoch)
        order, total = torch.randperm(len(x), generator=rng), 0.0
        for step in range(per_epoch):
            index = order[step * batch : (step + 1) * batch]
            images, labels = shifted_and_flipped(x[index], rng), y[index]
            if radius:
                images = fgm_step(net, images, labels, radius)
            loss = F.cross_entropy(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if tell:
            tell(epoch + 1, total / per_epoch)
        if path:
            states = {name: part.state_dict() for name, part in parts.items()}
            _write(states | {"epoch": epoch + 1}, _partial(path))
    if path:
        _write(net.state_dict(), path)
        _partial(path).unlink(missing_ok=True)
    return net.eval()


def _resumed(path: Path | None, parts: dict[str, Any]) -> int:
    """Load the last epoch of a stopped training into its parts; how many epochs are done."""
    if not path or not _partial(path).exists():
        return 0
    state = torch.load(_partial(path), weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["epoch"]


def _partial(path: Path) -> Path:
    """Where a training that ends in `path` keeps its last epoch."""
    return path.with_name(f"{path.name}.partial")


def _write(state: dict[str, Any], path: Path) -> None:
    """`torch.save`, under another name first, so that a killed run leaves no half file."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)
