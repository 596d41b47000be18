"""How far networks of several architectures turned, layer by layer."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from fpbook.figures.style import CONTROL, EVEN_COSINE, PURIFIED, with_intervals
from fpbook.results import number


def turned(summary: pd.DataFrame, layers: Mapping[str, tuple[str, Sequence[str]]]) -> Figure:
    """The median cosine of w with w' and with w_c in each layer, with 95% intervals over seeds.

    summary  holds `cos_to_clean` by architecture, network and layer
    layers   {title of a panel: (the architecture, its layers)}

    The dashed line is where the parts beta w' and v of w are equally long. What was not measured is
    left out.
    """
    widths = [max(len(names), 3) for _, names in layers.values()]
    figure, axes = plt.subplots(
        1, len(layers), figsize=(7.8, 3.6), sharey=True, squeeze=False, width_ratios=widths
    )
    looks = {
        "purified": (r"$\cos(w, w')$", PURIFIED, "o"),
        "control": (r"$\cos(w, w_c)$, control", CONTROL, "s"),
    }
    for axis, (title, (architecture, names)) in zip(axes[0], layers.items()):
        for network, (label, color, marker) in looks.items():
            found = {
                place: one
                for place, layer in enumerate(names)
                if (
                    one := number(
                        summary, "cos_to_clean", network, layer, architecture=architecture
                    )
                )
            }
            if found:
                with_intervals(axis, [*found], [*found.values()], marker, color, label)
        axis.axhline(EVEN_COSINE, color="black", linewidth=0.8, linestyle="--")
        short = [name.replace("blocks.", "").replace("self_attn.", "") for name in names]
        axis.set_xticks(range(len(names)), short, rotation=90)
        axis.set(title=title, xlim=(-0.6, len(names) - 0.4))
    axes[0, 0].set_ylabel("median cosine")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(looks)
    )
    return figure
