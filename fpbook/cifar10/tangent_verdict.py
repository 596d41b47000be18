"""Class or optimisation: the verdict on tangent kernels, by bounds that stood before the runs."""

import pandas as pd

from fpbook.cifar10.tangent_saddle import KernelExperiment
from fpbook.results.columns import rows, select

# Fixed before the published run. CLASS: no member comes half of the way from a constant to the
# labels, although one of them fits the same images clean. OPTIMISATION: one is found that is robust
# on more than half of them.
CLASS_LOSS = 0.5
FITTED = 0.99
ROBUST_SHARE = 0.5


def class_or_optimisation(measured: pd.DataFrame, width: float = 0.0) -> str:
    """What the bounds fixed beforehand say, of every seed: "class", "optimisation", or "open".

    measured  a table of records, as the command publishes it
    width     times the network's; 0: infinite, where no network shows that more is possible
    """
    kind, of = ("NTK", width) if width else ("infinite NTK", None)

    def values(quantity: str, network: str, radius: float | None = None) -> list[float]:
        at = {"network": network, "width_factor": of, "radius": radius, "round": None}
        return [row["value"] for row in rows(select(measured, quantity=quantity, **at))]

    radius = KernelExperiment.radius
    found = values("train_robust_accuracy", f"{kind}, adversarial", radius)
    if found and min(found) > ROBUST_SHARE:
        return "optimisation"
    most = values("train_robust_accuracy", "network, adversarial", radius) if width else []
    needed = (
        (values("train_accuracy", f"{kind}, clean"), FITTED),
        (values("least_attacked_loss", f"{kind}, adversarial"), CLASS_LOSS),
        (most, ROBUST_SHARE),
    )
    return "class" if all(some and min(some) > bound for some, bound in needed) else "open"
