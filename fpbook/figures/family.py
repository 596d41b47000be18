"""The figure of the family of data: which claims hold on which member, at which size."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from fpbook.figures.style import ATTACKED, CLEAN, GREY, INIT, PALE_PURIFIED, PURIFIED, means
from fpbook.results.columns import rows, select
from fpbook.results.summaries import interval_of

# {panel: (colour, the quantity and network that is drawn, the first that a member has)}
FAMILY_PANELS = {
    "T1: clean,\nattacked": (CLEAN, (("robust_accuracy", "clean"),)),
    "T2: purified,\ncertified": (PURIFIED, (("certified_accuracy", "purified"),)),
    "P1: of\nlive neurons": (PALE_PURIFIED, (("share_dominant_live", "purified"),)),
    "linear,\nattacked": (INIT, (("robust_accuracy", "linear"),)),
    "cubic, certified\nor attacked": (
        ATTACKED,
        (("certified_accuracy", "degree 3, witness"), ("robust_accuracy", "degree 3, witness")),
    ),
}


def family_panels(summary: pd.DataFrame, members: Sequence[str]) -> Figure:
    """A panel a claim, a line a member, a mark a size, with 95% intervals.

    summary: of `measure_member` over member, d and k
    members: from top to bottom; those that the summary holds are drawn
    """
    shown = [name for name in members if name in set(summary["member"])]
    sizes = sorted(set(summary["d"]))
    figure, axes = plt.subplots(
        1, len(FAMILY_PANELS), figsize=(7.8, 0.9 + 0.42 * len(shown)), sharey=True
    )
    for axis, (title, (color, wanted)) in zip(axes, FAMILY_PANELS.items()):
        for i, d in enumerate(sizes):
            for row, name in enumerate(shown):
                at = select(summary, member=name, d=d, seeds="all")
                found = [select(at, quantity=q, network=n) for q, n in wanted]
                for line in [one for one in found if len(one)][:1]:
                    values, reach = means([interval_of(one) for one in rows(line)])
                    height = row + 0.22 * (i - (len(sizes) - 1) / 2)
                    axis.errorbar(
                        values,
                        [height],
                        xerr=reach,
                        fmt="os^Dv"[i % 5],
                        color=color,
                        markersize=3 + i,
                        label=f"d = {d}" if row == 0 else None,
                    )
        axis.set(title=title, xlim=(-0.06, 1.06), xticks=(0, 0.5, 1))
        axis.set_xticklabels(["0", "½", "1"])
        for row in range(1, len(shown)):
            axis.axhline(row - 0.5, color=GREY, linewidth=0.3)
    axes[0].set(yticks=range(len(shown)), yticklabels=shown, ylim=(len(shown) - 0.5, -0.5))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(sizes))
    return figure
