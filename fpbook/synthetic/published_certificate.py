"""A certificate that anybody can check again: a small network, published whole.

python -m fpbook certified --help.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fpbook.results.columns import rows, select
from fpbook.results.files import DamagedError
from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpbook.results.store import WAY_OUT, published_with_arrays
from fpbook.results.verify import main as verify_files
from fpbook.synthetic.measures import accuracy_bounds, margin_over_rounding
from fpbook.synthetic.protocol import SYNTHETIC, SyntheticRun, run_synthetic
from fpcore.certificates.certificate import certify
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding

CERTIFIED = "certified-network"  # of the published result
SEED = 0
# Elsewhere samples may come out rounded otherwise. So far may a margin move then, in units of what
# that can do at worst: 2^-24 sum_i |w_i| (|x| + radius). It moves by a thirtieth of this.
SAMPLE_ROUNDING = 0.1
TRAINED, ROUNDED = "as trained", "as published, in float16"  # which weights


@dataclass(frozen=True)
class Rechecked:
    """What the certificate of the published network is found to be.

    samples:   that it is of
    certified: of these, how many
    radius:    of the l2 balls
    smallest:  of the certified margins
    """

    samples: int
    certified: int
    radius: float
    smallest: float

    def __str__(self) -> str:
        """In one line."""
        found = f"{self.certified} of {self.samples} samples certified at radius {self.radius:.4f}"
        return f"{CERTIFIED}: {found}, smallest margin {self.smallest:.5f}, as published"


def certified_margins(net: TwoLayer, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """The margin of each sample, (n,), float64, its ball not split.

    net:    the network
    x, y:   samples, (n, d) and (n,)
    radius: of the l2 balls
    """
    return certify(net, x.double(), y, radius, branches=1).margin


def as_published(run: SyntheticRun) -> SyntheticRun:
    """The run with its purified network as a file in half precision holds it: rounded."""
    rounded = _network(run.purified.weight.detach().half(), run.purified.threshold)
    return replace(run, networks={**run.networks, "purified": rounded})


def _network(weight: Tensor, threshold: Tensor) -> TwoLayer:
    net = TwoLayer(weight.shape[1], len(weight), threshold.item())
    net.weight.data = weight.float()
    return net


def measure_certificate(run: SyntheticRun) -> list[dict[str, Any]]:
    """What is certified of a run's purified network, as trained and as published: records.

    An attack on what is certified is among it; one that succeeds is an error.
    """
    found = []
    for check, one in ((TRAINED, run), (ROUNDED, as_published(run))):
        radius = run.experiment.radius
        margin = certified_margins(one.purified, one.x, one.y, radius)
        certified = margin[margin > 0]
        if not len(certified):
            raise ValueError(f"nothing is certified at radius {radius:g}: there is no margin")
        said = [
            record("pairs", float(len(margin)), "purified"),
            record("certified", float(len(certified)), "purified"),
            record("smallest_margin", certified.min().item(), "purified"),
            record("margin_over_rounding", margin_over_rounding(one), "purified"),
            *accuracy_bounds(one, "purified", restarts=2, branches=1),
        ]
        found += [record(**row, radius=radius, check=check, seed=run.seed) for row in said]
    return found


def certificate_arrays(run: SyntheticRun) -> dict[str, Tensor]:
    """What it takes to check the certificate again: weights, law of the data, radius, margins."""
    one, law = as_published(run), run.experiment
    numbers = {"d": law.d, "k": law.k, "margin": law.margin, "noise": law.noise, "seed": run.seed}
    radius = torch.tensor(law.radius, dtype=torch.float64, device="cpu")
    return {
        "purified/weight": one.purified.weight.detach().half(),  # as it is: it has been rounded
        "purified/threshold": one.purified.threshold,
        **{
            f"data/{k}": torch.tensor(v, dtype=torch.float64, device="cpu")
            for k, v in numbers.items()
        },
        "certificate/radius": radius,
        "certificate/margin": certified_margins(one.purified, one.x, one.y, law.radius),
    }


def recheck() -> Rechecked | None:
    """Certify the published network again, in float64, on samples drawn again; None without one.

    DamagedError unless as many samples are certified as was published, and each margin is what it
    was, up to the rounding of the samples.
    """
    try:
        result, arrays = published_with_arrays(CERTIFIED)
    except FileNotFoundError:
        return None
    if result is None:
        raise DamagedError(f"{CERTIFIED}.safetensors has no {CERTIFIED}.json: {WAY_OUT}")
    law = {name: value.item() for name, value in arrays["data"].items()}
    margin, radius = arrays["certificate"]["margin"], arrays["certificate"]["radius"].item()
    seed = round(law["seed"])
    data = SparseCoding(round(law["d"]), round(law["k"]), law["margin"], law["noise"], seed)
    x, y = data.test_set(len(margin), seed)
    net = _network(**arrays["purified"])
    found = certified_margins(net, x, y, radius)
    certified = found[found > 0]
    again = {
        "certified": len(certified),
        "smallest_margin": certified.amin().item() if len(certified) else 0.0,
    }
    said = {row["quantity"]: row["value"] for row in rows(select(result.records, check=ROUNDED))}
    total = net.weight.detach().double().norm(dim=1).sum()
    slack = SAMPLE_ROUNDING * 2.0**-24 * total * (x.double().norm(dim=1) + radius)
    moved = (found - margin).abs()
    for name, number in again.items():
        if abs(number - said[name]) > (slack.max() if name == "smallest_margin" else 0):
            what = f"{CERTIFIED}: {name} is {number:g}, and {said[name]:g} was published"
            raise DamagedError(f"{what}: {WAY_OUT}")
    if (moved > slack).any():
        what = f"{CERTIFIED}: margins differ by up to {moved.max():.2g} from those published"
        raise DamagedError(f"{what}: {WAY_OUT}")
    return Rechecked(len(found), len(certified), radius, again["smallest_margin"])


def main(arguments: Sequence[str]) -> None:
    """The command `certified`: train as the chapters do, certify, publish on request."""
    parser = argparse.ArgumentParser(
        prog="python -m fpbook certified",
        description="Train the quick network of the chapters, certify it, and publish it whole.",
    )
    parser.add_argument(
        "--publish", action="store_true", help=f"write results/{CERTIFIED}.json and its weights"
    )
    given = parser.parse_args(arguments)
    experiment = replace(SYNTHETIC["quick"], test_samples=1000)
    run = run_synthetic(experiment, SEED, torch.device("cpu"))
    setting = f"d = {experiment.d}, k = {experiment.k}, {experiment.width} neurons"
    measured = table(measure_certificate(run))
    profile = "full" if given.publish else "quick"
    publish(CERTIFIED, measured, profile, run.x.device, setting, certificate_arrays(run))
    for row in rows(measured):
        print(f"{row['quantity']} {row['check']}: {row['value']:g}")


def main_verify(arguments: Sequence[str]) -> None:
    """The command `verify`: all files against their checksums, then the certificate again."""
    verify_files(arguments)
    if found := recheck():
        print(found)
