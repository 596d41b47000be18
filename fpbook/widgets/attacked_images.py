"""The explorer of images: pick one and a radius, and see how the clean and the purified network are attacked on it."""

from collections.abc import Sequence

import torch
from ipywidgets import Layout, VBox
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from fpbook.figures.style import NETWORK_COLORS
from fpbook.widgets.controls import card, panels, picture, slider
from fpcore import checks
from fpcore.attacks import Ball, pgd
from fpcore.images import CLASSES, Images
from fpcore.models.convnet import ConvNet
from fpcore.models.outputs import classified, evaluating

SHOWN_RADII = (0.0, 0.25, 0.5, 1.0, 2.0)  # l2, pixels in [0, 1]
MAPS, BARS = 4, 4  # first-layer features and classes shown


@torch.no_grad()
def examples(test: Images, nets: dict[str, nn.Module], count: int = 8) -> Images:
    """The first test image of each class, in the order of classes, that all networks classify right; `count` of them."""
    right = torch.ones(len(test), dtype=torch.bool, device=test.x.device)
    for net in nets.values():
        right &= classified(net, test.x, test.y)
    chosen = [
        int(found[0])
        for c in range(len(CLASSES))
        if len(found := (right & (test.y == c)).nonzero().flatten())
    ]
    if not chosen:
        raise ValueError(
            f"none of the {len(test)} images is classified right by {list(nets)}: give trained networks"
        )
    index = torch.tensor(chosen[:count], device=test.x.device)
    return Images(test.x[index], test.y[index], test.name)


def image_explorer(
    nets: dict[str, ConvNet], shown: Images, radii: Sequence[float] = SHOWN_RADII
) -> VBox:
    """Sliders for the image and the radius; a picture a network: PGD's image and perturbation, classes, features.

    `nets` maps names of `NETWORKS` to networks. Nothing of it needs a kernel.
    """
    for radius in radii:
        checks.finite("radius", radius)
    for name in nets:
        checks.choice("network", name, NETWORK_COLORS)
    attacked = {}
    for name, net in nets.items():
        for radius in radii:
            attacked[name, radius] = pgd(
                net, shown.x, shown.y, Ball("l2", radius, (0.0, 1.0)), steps=40
            )
    which = slider(
        "image", [f"{i + 1}: {CLASSES[label]}" for i, label in enumerate(shown.y.tolist())]
    )
    radius = slider("radius ε", [f"{r:.2f}" for r in radii], len(radii) // 2)

    def panel(i: int, j: int) -> str:
        x, label = shown.x[i], int(shown.y[i])
        return card(
            *(
                picture(*portrait(net, name, x, attacked[name, radii[j]][i], label), colors=64)
                for name, net in nets.items()
            )
        )

    return VBox([which, radius, panels([which, radius], panel)], layout=Layout(width="auto"))


@torch.no_grad()
def portrait(
    net: ConvNet, name: str, x: Tensor, adversarial: Tensor, label: int
) -> tuple[Figure, str]:
    """One network on one attacked image (3, 32, 32): image, perturbation, class probabilities, first-layer features."""
    with evaluating(net):
        share = net(adversarial[None]).float().softmax(1)[0].cpu()
    predicted, delta = int(share.argmax()), (adversarial - x).float().cpu()
    figure = Figure(figsize=(3.6, 3.5), layout="constrained")
    grid = figure.add_gridspec(3, 4, height_ratios=(1.5, 1.5, 1))
    _image(
        figure.add_subplot(grid[:2, :2]),
        adversarial.float().cpu(),
        f"{name} network: {CLASSES[predicted]}",
    )
    largest = delta.abs().max()
    _image(
        figure.add_subplot(grid[0, 2]),
        0.5 + 0.5 * delta / largest.clamp(min=1e-12),
        r"$\delta$, scaled",
    )
    _image(figure.add_subplot(grid[0, 3]), x.float().cpu(), "original")
    likely = [label, *(c for c in share.argsort(descending=True).tolist() if c != label)][:BARS]
    bars = figure.add_subplot(grid[1, 2:])
    bars.barh(
        [CLASSES[c] for c in likely],
        share[likely],
        color=[NETWORK_COLORS[name], *["#999999"] * (BARS - 1)],
    )
    bars.set(xlim=(0, 1), xticks=(0, 1))
    bars.invert_yaxis()
    bars.set_title("true class, likeliest others", fontsize=8)
    bars.tick_params(labelsize=7, length=2)
    maps = first_layer(net, adversarial[None])[0].float().cpu()
    for at, neuron in enumerate(strongest(maps[None])[0].tolist()):
        axis = figure.add_subplot(grid[2, at])
        axis.imshow(maps[neuron], cmap="gray", interpolation="nearest")
        axis.set_axis_off()
        axis.set_title(f"feature {neuron}", fontsize=7)
    length = delta.norm().item()
    text = f"The {name} network sees a {CLASSES[predicted]} ({share[predicted]:.0%}) in the {CLASSES[label]}"
    return (
        figure,
        f"{text}, changed by a perturbation of length {length:.2f}; and its {MAPS} strongest first-layer features.",
    )


@torch.no_grad()
def first_layer(net: ConvNet, x: Tensor) -> Tensor:
    """The first layer's features, after normalisation and ReLU, of images x (n, 3, 32, 32): (n, c, 16, 16)."""
    with evaluating(net):
        return net.bn1(net.conv1((x - net.mean) / net.std)).relu()


def strongest(maps: Tensor) -> Tensor:
    """The MAPS features with the largest sum over each image, (n, MAPS), from maps (n, c, h, w)."""
    return maps.flatten(2).sum(2).topk(min(MAPS, maps.shape[1]), dim=1).indices


def _image(axis: Axes, image: Tensor, title: str) -> None:
    axis.imshow(image.clamp(0, 1).permute(1, 2, 0), interpolation="nearest")
    axis.set_axis_off()
    axis.set_title(title, fontsize=8)
