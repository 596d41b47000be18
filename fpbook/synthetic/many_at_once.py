"""Many small networks, radius x width x seed, trained at once: what the explorer is made of."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby, product

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from fpbook.results.cache import cache_path
from fpbook.synthetic.protocol import SyntheticExperiment, SyntheticRun
from fpbook.synthetic.sweeps import at_size
from fpcore import checks, seeding
from fpcore.models.closed_form import OddReLU
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Schedule, Training, train

# (training radius in units of 1/sqrt(k), width in units of d, seed)
Cell = tuple[float, float, int]


@dataclass(frozen=True)
class Grid:
    """A protocol at several training radii, widths and seeds.

    base:    the protocol
    reaches: training radii, in units of 1/sqrt(k); at 0 clean training goes on
    widths:  in units of d
    seeds:   of data, initialization and samples
    """

    base: SyntheticExperiment
    reaches: tuple[float, ...]
    widths: tuple[float, ...]
    seeds: tuple[int, ...]

    def __post_init__(self):
        for name in ("reaches", "widths", "seeds"):
            if not (values := getattr(self, name)) or len({*values}) < len(values):
                raise ValueError(f"{name} = {values!r}: give at least one value, each once")
        for reach in self.reaches:
            checks.finite("training radius * sqrt(k)", reach, high=2.0)
        for width in self.widths:
            checks.finite("width / d", width, low=1 / self.base.d, high=64.0)
        for seed in self.seeds:
            checks.whole("seed", seed)

    @property
    def cells(self) -> list[Cell]:
        """All combinations; neighbours have the same width."""
        return [(r, w, s) for w, r, s in product(self.widths, self.reaches, self.seeds)]

    def experiment(self, reach: float, width: float) -> SyntheticExperiment:
        """The protocol of a cell."""
        return replace(self.base, training_reach=reach, width=round(width * self.base.d))


def explorer_grid(profile: str, seed: int) -> Grid:
    """A grid of radii and widths; d = 100 trains in a minute. A margin of 2.5 needs k >= 7."""
    checks.choice("profile", profile, ("quick", "full"))
    quick = profile == "quick"
    return Grid(
        base=at_size(100, 7, 300) if quick else at_size(400, 9, 400),
        reaches=(0.0, 0.15, 0.3, 0.45, 0.65, 0.9),
        widths=(0.5, 1.0, 2.0, 4.0),
        seeds=tuple(range(seed, seed + (3 if quick else 5))),
    )


class NetworkBatch(nn.Module):
    """g two-layer networks of one d and threshold as one module: maps x (g n, d) to logits (g n,).

    The first n rows of x go to the first network, and so on; neighbours of equal width m share one
    batched product, with weights (networks, m, d). Network i sees scale_i x, so that a ball of
    radius 1 around x is one of radius scale_i for it: each has its own. `threshold` is a buffer
    that training raises, as in `TwoLayer`.
    """

    def __init__(self, nets: list[TwoLayer], scale: Tensor):
        super().__init__()
        by_width = groupby(nets, key=lambda net: len(net.weight))
        groups = [torch.stack([net.weight.detach() for net in group]) for _, group in by_width]
        self.weights = nn.ParameterList(groups)
        self.scale = scale
        self.register_buffer("threshold", nets[0].threshold.clone())
        self.threshold: Tensor

    def forward(self, x: Tensor) -> Tensor:
        # A few samples, with which training tries a network, need not go round.
        full = F.pad(x, (0, 0, 0, -len(x) % len(self.scale)))
        scaled = full.view(len(self.scale), -1, x.shape[1]) * self.scale[:, None, None]  # (g, n, d)
        parts = []
        for w, one in zip(self.weights, scaled.split([len(w) for w in self.weights])):
            norm = w.detach().norm(dim=2, keepdim=True).clamp(min=1e-30)  # (networks, m, 1)
            u = one @ (w / norm).mT  # (networks, n, m)
            parts.append((F.softshrink(u, self.threshold.item()) @ norm).flatten())
        return torch.cat(parts)[: len(x)]

    def closed_form(self, products: torch.dtype) -> "_BatchedForm":
        """What trains them without autograd, by products of numbers of such a type."""
        return _BatchedForm(self, products)

    def separate(self) -> list[TwoLayer]:
        """The networks one by one."""
        out = []
        for weight in (one for w in self.weights for one in w.detach()):
            net = TwoLayer(
                weight.shape[1], len(weight), self.threshold.item(), rng=seeding.generator(0)
            ).to(weight.device)
            net.weight.data = weight.clone()
            out.append(net)
        return out


class _BatchedForm:
    """The `ClosedForm` of a `NetworkBatch`: one of the networks of each width."""

    def __init__(self, nets: NetworkBatch, products: torch.dtype):
        self.sizes = [len(weight) for weight in nets.weights]
        each = zip(nets.weights, nets.scale[:, None, None].split(self.sizes))
        self.parts = [OddReLU(one, nets.threshold, products, scale) for one, scale in each]
        self.slopes = nets.weights[0].new_empty(0)  # memory that is taken once, (g, n, d)

    def read(self) -> None:
        for part in self.parts:
            part.read()

    def at(self, x: Tensor) -> Tensor:
        each = x.view(sum(self.sizes), -1, x.shape[1])  # (g, n, d)
        self.slopes = _reserved(self.slopes, each.shape)
        split = zip(self.parts, each.split(self.sizes))
        return torch.cat([part.at(one) for part, one in split]).flatten()

    def slope(self) -> Tensor:
        for part, out in zip(self.parts, self.slopes.split(self.sizes)):
            part.slope(out)
        return self.slopes.flatten(0, 1)

    def credit(self, share: Tensor) -> None:
        for part, one in zip(self.parts, share.view(sum(self.sizes), -1).split(self.sizes)):
            part.credit(one)


def _reserved(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The memory if it is of that shape, else new one."""
    return memory if memory.shape == shape else memory.new_empty(shape)


@dataclass
class BatchStreams:
    """The mini-batches of g networks, stacked, each in the memory of the one before.

    data:    of each seed
    offsets: the stream of data[i] is that of seed + offsets[i]
    which:   the index in `data` for each network, (g,)
    scale:   network i sees x / scale_i, (g,)
    tick:    called with the step, once a step; what it raises ends the training
    """

    data: list[SparseCoding]
    offsets: list[int]
    which: Tensor
    scale: Tensor
    tick: Callable[[int], None]

    def __post_init__(self):
        self.which = self.which.to(self.scale.device)
        self.samples = self.scale.new_empty(0)  # (g, n, d)

    def batch(self, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        self.tick(step)
        each = zip(self.data, self.offsets)
        x, y = zip(*(data.batch(size, seed + offset, step) for data, offset in each))
        self.samples = _reserved(self.samples, (len(self.which), *x[0].shape))
        torch.index_select(torch.stack(x), 0, self.which, out=self.samples)
        self.samples.div_(self.scale[:, None, None])
        return self.samples.flatten(0, 1), torch.stack(y)[self.which].flatten()


def run_grid(
    grid: Grid,
    device: torch.device,
    tick: Callable[[float], None] | None = None,
    progress: bool = True,
) -> dict[Cell, SyntheticRun]:
    """Train all networks of the grid at once: those of `run_synthetic` of each cell.

    grid:     radii, widths, seeds
    device:   to train on
    tick:     called before each step with the share of the work that is done; if it raises,
              training ends there
    progress: whether to show it

    Equal up to rounding, which training enlarges: at the explorer's size clean weights agree to
    1e-3, the live neurons of w' to a median cosine above 0.99, accuracies to 0.02. Finished or
    interrupted stages go on from their checkpoints.
    """
    base, first = grid.base, grid.seeds[0]
    data = {seed: base.data(seed, device) for seed in grid.seeds}
    init = {
        (w, s): grid.experiment(0.0, w).network(s, device) for w in grid.widths for s in grid.seeds
    }
    total = base.clean_steps + base.adversarial_steps
    title = f"{len(grid.cells)} networks at once"
    with tqdm(total=total, desc=title, disable=not progress, mininterval=0.5) as bar:
        work = _Work(data=data, bar=bar, tick=tick)
        # Clean training does not depend on the radius: one network for each width and seed.
        ones, seeds = [1.0] * len(init), [s for _, s in init]
        trained = work.stage("clean", [*init.values()], seeds, ones, base.clean(first))
        clean = dict(zip(init, trained))
        # All radii are those of one schedule, in units of each network's own.
        unit = replace(base, training_reach=math.sqrt(base.k)).adversarial(first)
        radii = [grid.experiment(r, w).training_radius for r, w, _ in grid.cells]
        starts, seeds = [clean[w, s] for _, w, s in grid.cells], [s for *_, s in grid.cells]
        purified = work.stage("adversarial", starts, seeds, radii, unit)
        bar.update(total - bar.n)
    runs = {}
    for (r, w, s), net in zip(grid.cells, purified):
        x, y = data[s].test_set(base.test_samples, s)
        runs[r, w, s] = SyntheticRun(
            experiment=grid.experiment(r, w),
            seed=s,
            data=data[s],
            x=x,
            y=y,
            networks={"init": init[w, s], "clean": clean[w, s], "purified": net},
            histories={},
        )
    return runs


@dataclass
class _Work:
    """The stages of a grid's training, one after the other.

    data: of each seed, the first of which is that of the configurations
    bar:  of all steps
    tick: as of `run_grid`
    done: steps of the stages before
    """

    data: dict[int, SparseCoding]
    bar: tqdm
    tick: Callable[[float], None] | None
    done: int = 0

    def stage(
        self,
        name: str,
        nets: list[TwoLayer],
        seeds: list[int],
        radii: list[float],
        config: Training,
    ) -> list[TwoLayer]:
        """Train networks at once, or go on from a checkpoint; returns them as they are then.

        name:   of the stage
        nets:   as they are before
        seeds:  one a network
        radii:  one a network, which the schedule of radii in `config` multiplies
        config: of each by itself
        """
        each = [*self.data]
        # A radius of 0 would need an infinite x: 1e-6 moves nothing.
        device = self.data[each[0]].device
        scale = torch.tensor(radii, dtype=torch.float32, device=device).clamp(min=1e-6)
        model, config = NetworkBatch(nets, scale), together(config, len(nets))
        data, offsets = [*self.data.values()], [s - each[0] for s in each]
        which = torch.tensor([each.index(s) for s in seeds], dtype=torch.int64, device="cpu")
        code = (train, NetworkBatch, BatchStreams)
        path = cache_path(f"grid-{name}", config, model, scale, data, offsets, which, code=code)
        streams = BatchStreams(
            data=data, offsets=offsets, which=which, scale=scale, tick=self._step_made
        )
        train(model, streams, config, every=max(1, config.steps // 12), checkpoint=path)
        self.done += config.steps
        return model.separate()

    def _step_made(self, step: int) -> None:
        self.bar.update(self.done + step - self.bar.n)
        if self.tick:
            self.tick((self.done + step) / self.bar.total)


def together(config: Training, g: int) -> Training:
    """The configuration of g networks whose losses are averaged.

    Each is to make the steps that it would make alone.
    """
    lr = config.lr
    if isinstance(lr, Schedule):
        faster: float | Schedule = Schedule(*((at, g * value) for at, value in lr.points))
    else:
        faster = g * config.at("lr", 0)
    return replace(config, lr=faster, weight_decay=config.weight_decay / g)
