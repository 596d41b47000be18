"""The numbers behind the explorer of sizes: python -m fpbook explorer --help.

One network for each position of the sliders, all of one seed. Every group of networks that share
d, k, margin and threshold is kept once it is measured, so that the command goes on where it was.
"""

import argparse
import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from fpbook.results.cache import kept
from fpbook.results.explorers import read_explorer, write_explorer
from fpbook.results.provenance import provenance
from fpbook.synthetic.many_at_once import Grid, run_grid
from fpbook.synthetic.measures import robust_correct_with_dense
from fpbook.synthetic.neurons import coefficients
from fpbook.synthetic.protocol import SyntheticExperiment, SyntheticRun
from fpcore import checks
from fpcore.certificates.certificate import certify
from fpcore.decomposition.purification import cosine, live
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer
from fpcore.theory.class_bounds import dense_accuracy

MEASURED_AT = (0.0, 0.15, 0.3, 0.45, 0.6, 0.9)  # radii of attacks and certificates, in 1/sqrt(k)
MOVED = tuple(i / 10 for i in range(13))  # distances along the dense direction, in 1/sqrt(k)
SAMPLES = 150  # of the test set, on which all is measured
STEMS = 32  # features of a neuron that are kept: its own, and others evenly over the rest
COSINE_BINS = 24  # of the histogram of cosines, from -0.2 to 1


@dataclass(frozen=True)
class Sliders:
    """What the sliders offer: every combination is a network.

    d:          inputs
    k:          active features of a sample
    margin:     the least score of a sample, in standard deviations
    threshold:  of the neurons, at the end of clean training, in units of 1/sqrt(k)
    width:      neurons, in units of d
    reach:      radius of FGM training, in units of 1/sqrt(k); at 0 clean training goes on
    """

    d: tuple[int, ...] = (200, 300)
    k: tuple[int, ...] = (7, 10)
    margin: tuple[float, ...] = (1.5, 2.0, 2.5)
    threshold: tuple[float, ...] = (0.5, 0.62)
    width: tuple[float, ...] = (1.0, 2.0)
    reach: tuple[float, ...] = (0.0, 0.15, 0.3, 0.45, 0.65, 0.9)

    @property
    def groups(self) -> list[tuple[int, int, float, float]]:
        """All (d, k, margin, threshold); those of the largest margin first, then of the least."""
        margins = (self.margin[-1], *self.margin[:-1])
        sized = itertools.product(dict.fromkeys(margins), self.threshold[::-1], self.k, self.d)
        return [(d, k, margin, threshold) for margin, threshold, k, d in sized]


def slider_experiment(d: int, k: int, margin: float, threshold: float) -> SyntheticExperiment:
    """The protocol at one group's sizes: half a batch and 300 steps, otherwise that of the book."""
    return SyntheticExperiment(
        d=d,
        k=k,
        width=4 * d,
        seeds=1,
        clean_steps=250,
        adversarial_steps=300,
        margin=margin,
        last_threshold=threshold,
        batch=256,
        test_samples=300,
    )


def measure_group(
    base: SyntheticExperiment,
    widths: tuple[float, ...],
    reaches: tuple[float, ...],
    seed: int,
    device: str,
) -> dict[str, Any]:
    """Train and measure the networks of a group; numbers rounded as they are published.

    base     their protocol
    widths   in units of d
    reaches  radii of FGM training, in units of 1/sqrt(k)
    seed     of data, initialization and samples
    device   to train on

    Returns {"linear": accuracies, "clean": {width: ...}, "trained": {width: {reach: ...}}}.
    """
    grid = Grid(base=base, reaches=reaches, widths=widths, seeds=(seed,))
    runs = run_grid(grid, torch.device(device), progress=False)
    linear = [dense_accuracy(base, reach / base.k**0.5) for reach in MEASURED_AT]
    clean, trained = {}, {}
    for width in widths:
        clean[f"{width:g}"] = measure_network(runs[reaches[0], width, seed], "clean")
        trained[f"{width:g}"] = {
            f"{reach:g}": measure_network(runs[reach, width, seed], "purified")
            | compare_neurons(runs[reach, width, seed])
            for reach in reaches
        }
    return {"linear": percents(linear), "clean": clean, "trained": trained}


@torch.no_grad()
def measure_network(run: SyntheticRun, name: str) -> dict[str, Any]:
    """One network of a run: robust accuracy between bounds, and decisions along u*.

    Accuracies are in percent, at the radii MEASURED_AT; decisions, in hundredths of their median
    unmoved, are the 5%, 50% and 95% quantiles over samples at the distances MOVED.
    """
    net, unit = run.named(name), run.experiment.k**-0.5
    x, y = run.x[:SAMPLES], run.y[:SAMPLES]
    attacked, certified = [accuracy(net, x, y)], [accuracy(net, x, y)]
    for reach in MEASURED_AT[1:]:
        with torch.enable_grad():
            survived = robust_correct_with_dense(net, run.data, x, y, reach * unit, restarts=1)
        attacked.append(survived.float().mean().item())
        proven = certify(net, x, y, reach * unit, branches=1).robust
        certified.append(proven.float().mean().item())
    return {
        "attacked": percents(attacked),
        "certified": percents(certified),
        "moved": moved(net, run, x, y),
    }


def moved(net: TwoLayer, run: SyntheticRun, x: Tensor, y: Tensor) -> list[list[int]]:
    """Quantiles of y f(x - t y u*) over samples, in hundredths of the median at t = 0."""
    unit = run.experiment.k**-0.5
    rows = [y * net(x - t * unit * y[:, None] * run.data.u_star) for t in MOVED]
    scaled = torch.stack(rows) / rows[0].median().clamp(min=1e-30)  # (distances, n)
    levels = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float32, device=x.device)
    quantiles = torch.quantile(scaled, levels, dim=1).clamp(-9.99, 9.99)
    return [hundredths(row) for row in quantiles]


@torch.no_grad()
def compare_neurons(run: SyntheticRun) -> dict[str, Any]:
    """The live neurons before and after the second stage, and the typical one whole.

    cosines    counts of cos(w_i, w_i') in COSINE_BINS bins from -0.2 to 1
    live       how many neurons are live after the second stage
    principle  percent of them with cos > 1/sqrt(2), the principle P1
    median     of the cosines, in hundredths
    neuron     the one with the median cosine; before and after, in the basis of STEMS features in
               hundredths of its length
    """
    w, after = run.clean.weight.detach(), run.purified.weight.detach()
    alive = live(run.purified).nonzero().flatten()
    if not len(alive):
        empty: list[int] = []
        return {
            "cosines": [0] * COSINE_BINS,
            "live": 0,
            "principle": 0,
            "median": 0,
            "neuron": empty,
        }
    values = cosine(w[alive], after[alive])
    middle = int(alive[values.argsort()[len(values) // 2]])
    edges = torch.linspace(-0.2, 1, COSINE_BINS + 1, dtype=torch.float32, device="cpu")
    counts = torch.histogram(values.cpu().clamp(-0.2, 1), edges).hist
    pair = [
        coefficients(one[middle] / one[middle].norm().clamp(min=1e-30), run.data)
        for one in (w, after)
    ]
    own = int(pair[1].abs().argmax())
    others = [j for j in range(run.experiment.d) if j != own]
    shown = [own, *(others[i * len(others) // (STEMS - 1)] for i in range(STEMS - 1))]
    sign = pair[1][own].sign()
    return {
        "cosines": [int(count) for count in counts],
        "live": len(alive),
        "principle": percents([(values > 0.5**0.5).float().mean().item()])[0],
        "median": hundredths(values.median()[None])[0],
        "neuron": [hundredths(sign * one[shown]) for one in pair],
    }


def percents(shares: list[float]) -> list[float]:
    """Shares in percent, with one digit."""
    return [round(100 * share, 1) for share in shares]


def hundredths(values: Tensor) -> list[int]:
    """Numbers in whole hundredths."""
    return [round(100 * value) for value in values.tolist()]


def measured_sliders(sliders: Sliders, seed: int, device: str) -> dict[str, Any]:
    """All groups of the sliders, measured now or kept from before: {"d-k-margin-threshold": ...}.

    sliders  what they offer
    seed     of all networks
    device   to train on
    """
    found = {}
    for group in tqdm(sliders.groups, desc="groups of networks"):
        base = slider_experiment(*group)
        arguments = (base, sliders.width, sliders.reach, seed, device)
        found["-".join(f"{part:g}" for part in group)] = kept(measure_group, *arguments)
    return found


def publish_sliders(sliders: Sliders, groups: dict[str, Any], seed: int, device: str) -> Path:
    """Write the published file of the explorer, with its provenance and checksum; its path.

    sliders  what they offer
    groups   what `measured_sliders` found
    seed     of all networks
    device   that they were trained on
    """
    experiment = asdict(slider_experiment(*sliders.groups[0]))
    varied = ("d", "k", "width", "margin", "last_threshold", "training_reach", "seeds", "reach")
    protocol = {name: one for name, one in experiment.items() if name not in varied}
    source = provenance("explorer", torch.device(device), [seed])
    content = {
        "provenance": source | {"samples": SAMPLES, "protocol": protocol},
        "sliders": {name: [*values] for name, values in asdict(sliders).items()},
        "groups": groups,
    }
    return write_explorer("sizes", content)


def published_sliders() -> tuple[Sliders, dict[str, Any], dict[str, Any]] | None:
    """What is published for the explorer: (sliders, groups, provenance); None if nothing is."""
    if (content := read_explorer("sizes")) is None:
        return None
    sliders = Sliders(**{name: tuple(values) for name, values in content["sliders"].items()})
    return sliders, content["groups"], content["provenance"]


def shown_sliders(seed: int, device: str) -> tuple[Sliders, dict[str, Any], dict[str, Any]]:
    """What is published for the explorer; where nothing is, a few networks trained now.

    seed    of networks that are trained now
    device  to train on
    """
    if (found := published_sliders()) is not None:
        return found
    few = Sliders((200,), (7,), (2.5,), (0.62,), (1.0,), (0.0, 0.3, 0.65))
    return few, measured_sliders(few, seed, device), provenance("now", torch.device(device), [seed])


def main(arguments: list[str]) -> None:
    """The command `explorer`: measure what is missing, and publish."""
    what = "Train and measure the networks behind the explorer of sizes; a stopped run goes on."
    parser = argparse.ArgumentParser(prog="python -m fpbook explorer", description=what)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    for name, values in asdict(Sliders()).items():
        kind = type(values[0])
        parser.add_argument(f"--{name}", type=kind, nargs="+", default=[*values])
    options = parser.parse_args(arguments)
    device = str(checks.resolve_device(options.device))
    given = {name: tuple(sorted(getattr(options, name))) for name in asdict(Sliders())}
    sliders = Sliders(**given)
    for group in sliders.groups:  # its checks, of all before any is trained
        Grid(slider_experiment(*group), sliders.reach, sliders.width, (options.seed,))
    groups = measured_sliders(sliders, options.seed, device)
    print(f"published: {publish_sliders(sliders, groups, options.seed, device)}")
