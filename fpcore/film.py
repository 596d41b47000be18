"""A film of one training, clean and then adversarial: the neurons at a dozen times of each stage, behind a slider."""

import base64
import copy
from dataclasses import dataclass

import numpy as np
import torch
from ipywidgets import Layout, VBox
from matplotlib.figure import Figure
from torch import Tensor, nn

from fpcore import figures
from fpcore.attacks import Ball, robust_correct
from fpcore.decomposition import replaced
from fpcore.experiments import cache_path
from fpcore.models import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.synthetic_experiments import SyntheticExperiment, live
from fpcore.training import train
from fpcore.widgets import card, panels, picture, slider

FRAMES = 12  # of each stage
FOLLOWED = 2  # neurons shown whole


@dataclass(frozen=True)
class Frame:
    """The network after `step` steps, counted from the start of clean training; `stage` is "clean" or "FGM"."""

    stage: str
    step: int
    net: TwoLayer


@dataclass(frozen=True)
class Film:
    experiment: SyntheticExperiment
    data: SparseCoding
    x: Tensor
    y: Tensor
    frames: list[Frame]


def shoot(experiment: SyntheticExperiment, seed: int, device: torch.device, progress: bool = True) -> Film:
    """Train one network as `run_synthetic` does, and keep its weights, in half precision, FRAMES times a stage.

    They are kept in the histories, so that a finished training gives them without a step.
    """
    data, net = experiment.data(seed, device), experiment.network(seed, device)
    frames: list[Frame] = []
    stages = {"clean": experiment.clean(seed), "FGM": experiment.adversarial(seed)}
    for done, (stage, config) in zip((0, experiment.clean_steps), stages.items()):

        def keep(_: nn.Module, net: TwoLayer = net) -> dict[str, str | float]:
            return {"weight": pack(net.weight.detach()), "threshold": net.threshold.item()}

        path = cache_path(f"film-{stage}", *stages.values(), net.weight.shape, experiment.init_norm, data, seed)
        every = max(1, config.steps // FRAMES)
        label = f"film, {stage} training, seed {seed}" if progress else None
        for entry in train(net, data, config, measure=keep, every=every, checkpoint=path, progress=label)[1 if done else 0 :]:
            then = replaced(net, unpack(entry["weight"], net.weight))
            then.threshold.fill_(entry["threshold"])
            frames.append(Frame(stage, done + entry["step"], then))
    x, y = data.test_set(experiment.test_samples, seed)
    return Film(experiment, data, x, y, frames)


def pack(w: Tensor) -> str:
    """Weights as text, in half precision."""
    return base64.b64encode(w.cpu().half().numpy().tobytes()).decode()


def unpack(text: str, like: Tensor) -> Tensor:
    """The weights of `pack`, in the shape and on the device of `like`."""
    values = np.frombuffer(base64.b64decode(text), dtype=np.float16).astype(np.float32)
    return torch.from_numpy(values).view(like.shape).to(like.device)


@dataclass(frozen=True)
class Positions:
    """Every live neuron of the last frame, at all frames: (frames, neurons), relative to the longest clean neuron."""

    feature: Tensor  # coefficient on the feature that the neuron holds in the last frame
    dense: Tensor  # along u* without that feature, positive where it pushes f the way the feature does


def positions(film: Film) -> Positions:
    last = film.frames[-1].net
    alive = live(last)
    top = (last.weight.detach()[alive] @ film.data.features).abs().argmax(1, keepdim=True)
    unit = max(frame.net.weight.norm(dim=1).max().item() for frame in film.frames if frame.stage == "clean")
    feature, dense = [], []
    for frame in film.frames:
        values = figures.coefficients(frame.net.weight.detach()[alive], film.data) / unit  # (neurons, d)
        own = values.gather(1, top).squeeze(1)
        rest = (values.sum(1) - own) / film.data.d**0.5
        feature.append(own.abs()), dense.append(own.sign() * rest)
    return Positions(torch.stack(feature), torch.stack(dense))


def projector(film: Film) -> VBox:
    """A slider over the frames; its panels show where the neurons are, two of them whole, and the accuracies so far."""
    at, reach = positions(film), film.experiment.reach
    ball = Ball("l2", film.experiment.radius)
    robust = [robust_correct(f.net, film.x, film.y, ball, restarts=1).float().mean().item() for f in film.frames]
    alive = live(film.frames[-1].net).nonzero().flatten()
    # those with the most of the mixture at the end of clean training, on different features
    end = max(i for i, frame in enumerate(film.frames) if frame.stage == "clean")
    followed = alive[at.dense[end].argsort(descending=True)][: 4 * FOLLOWED : 4].tolist()
    span = [float(at.dense.min()), float(at.dense.max())]

    def panel(i: int) -> str:
        frame = film.frames[i]
        cloud = Figure(figsize=(3.5, 3.0), layout="constrained")
        axis = cloud.subplots()
        axis.scatter(at.feature[i].cpu(), at.dense[i].cpu(), s=7, color=figures.CLEAN if frame.stage == "clean" else figures.PURIFIED, linewidths=0, alpha=0.6)
        axis.axhline(0, color="black", linewidth=0.6)
        axis.set(xlim=(-0.03, float(at.feature.max()) * 1.05), ylim=(span[0] - 0.05, span[1] + 0.05))
        axis.set(title=f"live neurons, {frame.stage} training, step {frame.step}", xlabel="coefficient on its feature", ylabel="dense mixture, along $u^\\star$")
        return card(picture(cloud, "x"))

    time = slider("training step", [f"{f.step} ({f.stage})" for f in film.frames], end)
    return VBox([time, panels([time], panel)], layout=Layout(width="100%"))
