"""A grid of networks with their robust accuracies between bounds: the explorer's answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from fpbook.results import Interval, interval
from fpbook.results.quantities import PERCENT
from fpbook.synthetic.many_at_once import Cell, Grid, run_grid
from fpbook.synthetic.measures import robust_correct_with_dense
from fpbook.synthetic.protocol import SyntheticRun
from fpcore.certificates.certificate import certify

COMPARED = ("clean", "purified")  # networks of a run
BOUNDS = ("attacked", "certified")  # of robust accuracy: from above, from below
EVALUATED = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)  # l2 radii, in units of 1/sqrt(k)
EVALUATION_SAMPLES = 200  # of each test set

# {(network of COMPARED, bound of BOUNDS): an accuracy for each radius}
Accuracies = dict[tuple[str, str], list[float]]
# The same at one radius, over seeds: {(network, bound): mean and interval}
Numbers = dict[tuple[str, str], Interval]


def robust_between(run: SyntheticRun, network: str, reaches: Sequence[float]) -> Accuracies:
    """Robust accuracy of a run's network, "clean" or "purified", from above and from below.

    At the l2 radii reach / sqrt(k), on the first EVALUATION_SAMPLES of the run's test set.
    """
    net = run.named(network)
    x, y = run.x[:EVALUATION_SAMPLES], run.y[:EVALUATION_SAMPLES]
    attacked, certified = [], []
    for reach in reaches:
        radius = reach / run.experiment.k**0.5
        survived = robust_correct_with_dense(net, run.data, x, y, radius, restarts=1)
        attacked.append(survived.float().mean().item())
        proven = certify(net, x, y, radius, branches=1).robust
        certified.append(proven.float().mean().item())
    return {(network, "attacked"): attacked, (network, "certified"): certified}


def compare_networks(
    run: SyntheticRun,
    reaches: Sequence[float],
    check: Callable[[], None] = lambda: None,
) -> Accuracies:
    """`robust_between` of each network of COMPARED; `check`, called before each, may raise."""
    accuracies: Accuracies = {}
    for network in COMPARED:
        check()
        accuracies |= robust_between(run, network, reaches)
    return accuracies


def over_seeds(each: Sequence[Accuracies], at: int) -> Numbers:
    """Means and 95% intervals over seeds at the radius of index `at`, from those of each seed."""
    values = {key: [one[key][at] for one in each] for key in each[0]}
    return {key: interval(some, share=True, unit=PERCENT) for key, some in values.items()}


@dataclass(frozen=True)
class MeasuredGrid:
    """The networks of a grid, and their accuracies at the radii of EVALUATED."""

    grid: Grid
    runs: dict[Cell, SyntheticRun]
    accuracies: dict[Cell, Accuracies]

    def numbers(self, reach: float, width: float, evaluation: float) -> Numbers:
        """Means and 95% intervals over seeds at an evaluation radius of EVALUATED.

        reach       the training radius, in units of 1/sqrt(k)
        width       in units of d
        evaluation  the radius of attacks and certificates, in units of 1/sqrt(k)

        Raises ValueError for an evaluation radius that is not measured.
        """
        if evaluation not in EVALUATED:
            raise ValueError(f"evaluation = {evaluation!r}: measured are {EVALUATED}")
        each = [self.accuracies[reach, width, seed] for seed in self.grid.seeds]
        return over_seeds(each, EVALUATED.index(evaluation))


def measure_grid(grid: Grid, device: torch.device, progress: bool = True) -> MeasuredGrid:
    """Train the grid, or take it from its checkpoints, and measure every network of it."""
    runs = run_grid(grid, device, progress=progress)
    # Clean networks do not depend on the training radius: one is measured for all radii.
    clean = {
        (width, seed): robust_between(run, "clean", EVALUATED)
        for (reach, width, seed), run in runs.items()
        if reach == grid.reaches[0]
    }
    accuracies = {
        (reach, width, seed): clean[width, seed] | robust_between(run, "purified", EVALUATED)
        for (reach, width, seed), run in runs.items()
    }
    return MeasuredGrid(grid, runs, accuracies)
