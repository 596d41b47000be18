"""The picture on the opening page: one neuron before and after, and what was taken from it."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from fpbook.figures.style import CLEAN, DENSE, EVEN_COSINE, PURIFIED
from fpbook.figures.synthetic import stems, top_sign
from fpbook.results.store import publish_arrays, publish_figure, published_arrays
from fpbook.synthetic.neurons import coefficients
from fpbook.synthetic.protocol import SyntheticRun
from fpcore.decomposition.purification import decompose, live
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding

HEADLINE = "headline"  # the name of the published neuron, and of its picture
PARTS = {  # {part: (its title, colour)}
    "clean": ("a clean neuron", CLEAN),
    "purified": ("after adversarial training", PURIFIED),
    "residual": ("what was removed", DENSE),
}


def neuron_parts(clean: TwoLayer, purified: TwoLayer, data: SparseCoding) -> dict[str, Tensor]:
    """A typical neuron and its two parts, in the basis of the true features.

    clean    the network after clean training
    purified the same network after adversarial training from there
    data     the model with the features

    {"clean": w, "purified": beta w', "residual": v}, each (d,): amounts of the features, signed as
    in the label, in units of |w|. Typical: among live neurons with |beta w'| > |v|, the one of
    median cos(w, w'); if none obeys, among all live ones.
    """
    w, after = clean.weight.detach(), purified.weight.detach()
    parts = decompose(w, after)
    alive = live(purified).nonzero().squeeze(1)
    obeying = alive[parts.cos[alive] > EVEN_COSINE]
    some = obeying if len(obeying) else alive
    i = some[parts.cos[some].argsort()[len(some) // 2]]
    scale = top_sign(coefficients(w[i], data)) / w[i].norm()
    found = {"clean": w[i], "purified": parts.pure[i], "residual": parts.residual[i]}
    return {name: (scale * coefficients(part, data)).cpu() for name, part in found.items()}


def neuron_in_parts(parts: Mapping[str, Tensor]) -> Figure:
    """Three panels on one scale that add up: the neuron = its purified part + what was removed.

    `parts` is what `neuron_parts` returns.
    """
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.3), sharey=True)
    for axis, (name, (title, color)) in zip(axes, PARTS.items()):
        stems(axis, parts[name], color, title)
        axis.set(xlabel="feature", yticks=(0, 0.25, 0.5, 0.75), xticks=(0, len(parts[name])))
    axes[0].set_ylabel("amount of it")
    for axis, sign in zip(axes[1:], ("=", "+")):
        axis.text(-0.09, 1.06, sign, transform=axis.transAxes, fontsize=13, ha="center")
    return figure


def publish_neuron(run: SyntheticRun) -> None:
    """Write the typical neuron of a run to the results, as numbers and as a picture."""
    parts = neuron_parts(run.clean, run.purified, run.data)
    publish_arrays(HEADLINE, {f"neuron/{name}": part for name, part in parts.items()})
    publish_figure(HEADLINE, neuron_in_parts(parts))


def published_neuron() -> dict[str, Tensor] | None:
    """What `publish_neuron` wrote; None if it never did."""
    try:
        return published_arrays(HEADLINE)["neuron"]
    except FileNotFoundError:
        return None
