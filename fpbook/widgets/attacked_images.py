"""The explorer of images: pick one and a radius, and see how networks are attacked on it."""

from collections.abc import Mapping, Sequence

import torch
from ipywidgets import Layout, VBox
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from fpbook.figures.style import LIGHT_GREY, NETWORK_COLORS
from fpbook.widgets.controls import card, heartbeat, panels, picture, slider
from fpcore import checks
from fpcore.attacks import pgd
from fpcore.ball import Ball
from fpcore.images import CLASSES, Images
from fpcore.models.convnet import ConvNet
from fpcore.models.outputs import classified, evaluating

SHOWN_RADII = (0.0, 0.25, 0.5, 1.0, 2.0)  # l2, pixels in [0, 1]
MAPS = 4  # first-layer features shown
BARS = 4  # classes shown
PORTRAIT_COLORS = 64  # in the palette of a picture: enough for a photograph


@torch.no_grad()
def examples(test: Images, nets: Mapping[str, nn.Module], count: int = 8) -> Images:
    """The first test image of each class that all networks classify right, of `count` classes.

    Raises ValueError if there is none.
    """
    right = torch.ones(len(test), dtype=torch.bool, device=test.x.device)
    for net in nets.values():
        right &= classified(net, test.x, test.y)
    chosen = []
    for label in range(len(CLASSES)):
        found = (right & (test.y == label)).nonzero().flatten().tolist()
        chosen += found[:1]
    if not chosen:
        which = f"none of the {len(test)} images is classified right by {list(nets)}"
        raise ValueError(f"{which}: give trained networks")
    index = torch.tensor(chosen[:count], dtype=torch.int64, device=test.x.device)
    return Images(test.x[index], test.y[index], test.name)


def image_explorer(
    nets: Mapping[str, ConvNet], shown: Images, radii: Sequence[float] = SHOWN_RADII
) -> VBox:
    """Sliders for the image and the radius, and of each network a portrait; nothing needs a kernel.

    `nets` maps names of NETWORK_COLORS to networks; `radii` are l2, pixels in [0, 1].
    """
    for radius in radii:
        checks.finite("radius", radius)
    for name in nets:
        checks.choice("network", name, NETWORK_COLORS)
    attacked = {}
    for name, net in nets.items():
        for radius in radii:
            ball = Ball("l2", radius, (0.0, 1.0))
            attacked[name, radius] = pgd(net, shown.x, shown.y, ball, steps=40)

    def portraits(i: int, j: int) -> str:
        pictures = []
        for name, net in nets.items():
            adversarial = attacked[name, radii[j]][i]
            figure, words = portrait(net, name, shown.x[i], adversarial, int(shown.y[i]))
            pictures.append(picture(figure, words, colors=PORTRAIT_COLORS))
        return card(*pictures)

    labels = [f"{i}: {CLASSES[label]}" for i, label in enumerate(shown.y.tolist(), 1)]
    sliders = [
        slider("image", labels),
        slider("radius ε", [f"{radius:.2f}" for radius in radii], len(radii) // 2),
    ]
    return VBox([*sliders, panels(sliders, portraits)], layout=Layout(width="auto"))


class LiveImages(VBox):
    """`image_explorer` of networks, made once a kernel asks for it; nothing until then."""

    def __init__(self, nets: Mapping[str, ConvNet], shown: Images):
        """`nets` maps names of NETWORK_COLORS to networks; `shown` are the images."""
        self._nets, self._images = nets, shown
        super().__init__([heartbeat(self.reveal)], layout=Layout(width="auto"))

    def reveal(self) -> None:
        """Attack the images now, and show the explorer."""
        self.children = (image_explorer(self._nets, self._images),)


@torch.no_grad()
def portrait(
    net: ConvNet, name: str, x: Tensor, adversarial: Tensor, label: int
) -> tuple[Figure, str]:
    """One network on one attacked image: the image, its change, class probabilities, features.

    net          the network
    name         its name, in NETWORK_COLORS
    x            the image, (3, 32, 32), pixels in [0, 1]
    adversarial  the image, attacked, (3, 32, 32)
    label        the index of its class
    """
    with evaluating(net):
        share = net(adversarial[None]).float().softmax(1)[0].cpu()
    predicted = int(share.argmax())
    figure = Figure(figsize=(3.6, 3.5), layout="constrained")
    grid = figure.add_gridspec(3, 4, height_ratios=(1.5, 1.5, 1))
    # The image as the network sees it; beside it what was changed, and the original.
    delta = (adversarial - x).float().cpu()
    scaled = 0.5 + 0.5 * delta / delta.abs().max().clamp(min=1e-12)
    for place, image, title in (
        (grid[:2, :2], adversarial.float().cpu(), f"{name} network: {CLASSES[predicted]}"),
        (grid[0, 2], scaled, r"$\delta$, scaled"),
        (grid[0, 3], x.float().cpu(), "original"),
    ):
        _draw_image(figure.add_subplot(place), image, title)
    _draw_classes(figure.add_subplot(grid[1, 2:]), share, label, NETWORK_COLORS[name])
    # Below: the strongest features of the first layer.
    maps = first_layer(net, adversarial[None])[0].float().cpu()
    for i, neuron in enumerate(strongest(maps[None])[0].tolist()):
        _draw_map(figure.add_subplot(grid[2, i]), maps[neuron], f"feature {neuron}")
    sees = f"sees a {CLASSES[predicted]} ({share[predicted]:.0%}) in the {CLASSES[label]}"
    words = (
        f"The {name} network {sees}, changed by a perturbation of length"
        f" {delta.norm().item():.2f}; and its {MAPS} strongest first-layer features."
    )
    return figure, words


@torch.no_grad()
def first_layer(net: ConvNet, x: Tensor) -> Tensor:
    """The first layer's features after norm and ReLU, (n, c, 16, 16), of images (n, 3, 32, 32)."""
    with evaluating(net):
        return net.bn1(net.conv1((x - net.mean) / net.std)).relu()


def strongest(maps: Tensor) -> Tensor:
    """The MAPS features with the largest sum over each image, (n, MAPS), from maps (n, c, h, w)."""
    return maps.flatten(2).sum(2).topk(min(MAPS, maps.shape[1]), dim=1).indices


def _draw_image(axis: Axes, image: Tensor, title: str) -> None:
    axis.imshow(image.clamp(0, 1).permute(1, 2, 0), interpolation="nearest")
    axis.set_axis_off()
    axis.set_title(title, fontsize=8)


def _draw_classes(axis: Axes, share: Tensor, label: int, color: str) -> None:
    """Bars of the probabilities of the true class, coloured, and of the likeliest others."""
    others = [c for c in share.argsort(descending=True).tolist() if c != label]
    shown = [label, *others][:BARS]
    colors = [color, *[LIGHT_GREY] * (BARS - 1)]
    axis.barh([CLASSES[c] for c in shown], share[shown], color=colors)
    axis.set(xlim=(0, 1), xticks=(0, 1))
    axis.invert_yaxis()
    axis.set_title("true class, likeliest others", fontsize=8)
    axis.tick_params(labelsize=7, length=2)


def _draw_map(axis: Axes, features: Tensor, title: str) -> None:
    axis.imshow(features, cmap="gray", interpolation="nearest")
    axis.set_axis_off()
    axis.set_title(title, fontsize=7)
