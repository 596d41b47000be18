"""A film of one training, clean and then adversarial: the neurons at `FRAMES` times of each stage, behind a slider."""

import base64
from dataclasses import dataclass

import numpy as np
import torch
from ipywidgets import Layout, VBox
from matplotlib.figure import Figure
from torch import Tensor, nn

from fpbook.figures.style import CLEAN, CONTROL, DENSE, PURIFIED
from fpbook.figures.synthetic import coefficients, neuron
from fpbook.results.cache import cache_path
from fpbook.synthetic.measures import robust_correct_with_dense
from fpbook.synthetic.protocol import SyntheticExperiment
from fpbook.widgets.controls import card, panels, picture, slider, small_axes
from fpcore.decomposition.purification import live, replaced
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.training import train

FRAMES = 8  # of each stage
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


def record_training(
    experiment: SyntheticExperiment, seed: int, device: torch.device, progress: bool = True
) -> Film:
    """Train one network as `run_synthetic` does, and keep its weights, in half precision, FRAMES times a stage.

    They are kept in the histories, so that a finished training gives them without a step; of small networks, as a
    history has room for.
    """
    if (
        2 * experiment.width * experiment.d * (FRAMES + 2) > 7e7
    ):  # bytes: safetensors reads no header above 100 MB, in base64
        raise ValueError(
            f"width x d = {experiment.width} x {experiment.d}: too large to film, give a smaller experiment"
        )
    data, net = experiment.data(seed, device), experiment.network(seed, device)
    frames: list[Frame] = []
    stages = {"clean": experiment.clean(seed), "FGM": experiment.adversarial(seed)}
    for done, (stage, config) in zip((0, experiment.clean_steps), stages.items()):

        def keep(_: nn.Module, net: TwoLayer = net) -> dict[str, str | float]:
            return {"weight": pack(net.weight.detach()), "threshold": net.threshold.item()}

        path = cache_path(f"film-{stage}", FRAMES, config, net, data, seed, code=(train, pack))
        every = max(1, config.steps // FRAMES)
        label = f"film, {stage} training, seed {seed}" if progress else None
        for entry in train(
            net, data, config, measure=keep, every=every, checkpoint=path, progress=label
        )[1 if done else 0 :]:
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
    """Every live neuron of the last frame, at all frames: (frames, neurons), relative to its length there."""

    feature: Tensor  # coefficient on the feature that the neuron holds in the last frame
    dense: (
        Tensor  # along u* without that feature, positive where it pushes f the way the feature does
    )


def positions(film: Film) -> Positions:
    last = film.frames[-1].net
    alive = live(last)
    top = (last.weight.detach()[alive] @ film.data.features).abs().argmax(1, keepdim=True)
    feature, dense = [], []
    for frame in film.frames:
        w = frame.net.weight.detach()[alive]
        values = coefficients(w, film.data) / w.norm(dim=1, keepdim=True).clamp(
            min=1e-30
        )  # (neurons, d)
        own = values.gather(1, top).squeeze(1)
        rest = (values.sum(1) - own) / film.data.d**0.5
        feature.append(own.abs())
        dense.append(own.sign() * rest)
    return Positions(torch.stack(feature), torch.stack(dense))


def training_slider(film: Film) -> VBox:
    """A slider over the frames: where the neurons are, two of them whole, and how robust the network is by then."""
    at, radius = positions(film), film.experiment.radius
    robust = [
        robust_correct_with_dense(frame.net, film.data, film.x, film.y, radius, restarts=1)
        .float()
        .mean()
        .item()
        for frame in film.frames
    ]
    end = max(i for i, frame in enumerate(film.frames) if frame.stage == "clean")

    def panel(i: int) -> str:
        return card(
            *(
                picture(*one)
                for one in (
                    cloud_panel(film, at, i),
                    neurons_panel(film, at, i, end),
                    course_panel(film, at, robust, i),
                )
            )
        )

    time = slider("training step", [f"{frame.step} ({frame.stage})" for frame in film.frames], end)
    return VBox([time, panels([time], panel)], layout=Layout(width="auto"))


def cloud_panel(film: Film, at: Positions, i: int) -> tuple[Figure, str]:
    """The live neurons in the plane of their own feature and the dense direction."""
    figure, axis = small_axes()
    axis.scatter(
        at.feature[i].cpu(),
        at.dense[i].cpu(),
        s=8,
        color=_color(film.frames[i]),
        linewidths=0,
        alpha=0.5,
    )
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set(xlim=(-0.03, 1.03), ylim=(min(-0.1, at.dense.min().item()), 1.03))
    axis.set(
        title=f"step {film.frames[i].step}: live neurons",
        xlabel="on its own feature",
        ylabel="mixture, along $u^\\star$",
    )
    where = f"on their own feature {at.feature[i].median():.2f}, along the dense direction {at.dense[i].median():.2f}"
    return (
        figure,
        f"The live neurons after step {film.frames[i].step}; medians: {where}, relative to their lengths.",
    )


def neurons_panel(film: Film, at: Positions, i: int, end: int) -> tuple[Figure, str]:
    """The neurons with the longest mixtures at frame `end`, in the basis of the features, each relative to its length."""
    figure, axes = small_axes(FOLLOWED)
    longest = at.dense[end].argsort(descending=True)[:FOLLOWED]
    chosen = live(film.frames[-1].net).nonzero().flatten()[longest].tolist()
    for axis, at_row in zip(axes, chosen):
        unit = film.frames[i].net.weight[at_row].norm().clamp(min=1e-30).item()
        neuron(
            axis,
            film.frames[i].net.weight.detach()[at_row],
            film.data,
            _color(film.frames[i]),
            "",
            unit,
        )
        axis.set(xlabel="", ylabel=f"neuron {at_row}", ylim=(-0.5, 1.2))
    axes[0].set_title("two neurons")
    axes[-1].set_xlabel("feature $j$")
    return (
        figure,
        f"Neurons {' and '.join(map(str, chosen))} in the basis of the features after step {film.frames[i].step}.",
    )


def course_panel(film: Film, at: Positions, robust: list[float], i: int) -> tuple[Figure, str]:
    """Medians over the live neurons, and robust accuracy, over the steps; a line at frame i."""
    figure, axis = small_axes()
    steps = [frame.step for frame in film.frames]
    axis.plot(steps, at.feature.median(1).values.cpu(), color=PURIFIED, label="own feature")
    axis.plot(steps, at.dense.median(1).values.cpu(), color=DENSE, label="dense mixture")
    axis.plot(steps, robust, color="#E69F00", label="robust accuracy")
    axis.axvline(film.experiment.clean_steps, color=CONTROL, linewidth=0.8)
    axis.axvline(steps[i], color="black", linewidth=2.5, alpha=0.4)
    axis.set(title="clean training | FGM training", xlabel="step", ylim=(-0.02, 1.05))
    axis.legend(loc="center right")
    return (
        figure,
        f"After step {steps[i]}, {robust[i]:.0%} of test samples survive the worst attack.",
    )


def _color(frame: Frame) -> str:
    return CLEAN if frame.stage == "clean" else PURIFIED
