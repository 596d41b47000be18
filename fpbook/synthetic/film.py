"""A film of one training, clean and then adversarial: its networks at some steps of each stage."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbook.results.cache import cache_path
from fpbook.synthetic.neurons import coefficients
from fpbook.synthetic.protocol import SyntheticExperiment
from fpcore.decomposition.purification import live, replaced
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.training import train

FRAMES = 8  # of each stage
FILM_LIMIT = 7e7  # bytes of weights: safetensors reads no header above 100 MB, in base64


@dataclass(frozen=True)
class Frame:
    """The network after some steps of training.

    stage  "clean" or "FGM"
    step   counted from the start of clean training
    net    the network then
    """

    stage: str
    step: int
    net: TwoLayer


@dataclass(frozen=True)
class Film:
    """A training with its frames, in the order of steps.

    experiment  the protocol
    data        the model that the samples are from
    x           test samples, (n, d)
    y           their labels, (n,)
    frames      of both stages; the last one of a stage is its end
    """

    experiment: SyntheticExperiment
    data: SparseCoding
    x: Tensor
    y: Tensor
    frames: list[Frame]


def record_training(
    experiment: SyntheticExperiment, seed: int, device: torch.device, progress: bool = True
) -> Film:
    """Train one network as `run_synthetic` does, and keep its weights FRAMES times a stage.

    They are kept in half precision in the histories, so that a finished training gives them
    without a step.

    experiment  the protocol, of a network small enough for a history
    seed        of the data, the network and its training
    device      to train on
    progress    whether to show it

    Raises ValueError for a network that is too large.
    """
    if 2 * experiment.width * experiment.d * (FRAMES + 2) > FILM_LIMIT:
        size = f"width x d = {experiment.width} x {experiment.d}"
        raise ValueError(f"{size}: too large to film, give a smaller experiment")
    data, net = experiment.data(seed, device), experiment.network(seed, device)
    stages = {"clean": experiment.clean(seed), "FGM": experiment.adversarial(seed)}
    frames: list[Frame] = []
    done = 0
    for stage, config in stages.items():
        lineage = (FRAMES, config, net, data, seed)
        history = train(
            net,
            data,
            config,
            measure=lambda _: packed_network(net),
            every=max(1, config.steps // FRAMES),
            checkpoint=cache_path(f"film-{stage}", *lineage, code=(train, packed_network)),
            progress=f"film, {stage} training, seed {seed}" if progress else None,
        )
        if frames:
            # A stage starts where the one before ended, which has its frame.
            history = history[1:]
        for entry in history:
            frames.append(Frame(stage, done + entry["step"], unpacked_network(entry, net)))
        done = frames[-1].step
    x, y = data.test_set(experiment.test_samples, seed)
    return Film(experiment, data, x, y, frames)


def packed_network(net: TwoLayer) -> dict[str, str | float]:
    """What a history keeps of a two-layer network."""
    return {"weight": pack(net.weight.detach()), "threshold": net.threshold.item()}


def unpacked_network(entry: dict[str, Any], like: TwoLayer) -> TwoLayer:
    """The network of `packed_network`, a copy of one of its shape."""
    net = replaced(like, unpack(entry["weight"], like.weight))
    net.threshold.fill_(entry["threshold"])
    return net


def pack(w: Tensor) -> str:
    """Weights as text, in half precision."""
    return base64.b64encode(w.cpu().half().numpy().tobytes()).decode()


def unpack(text: str, like: Tensor) -> Tensor:
    """The weights of `pack`, in the shape and on the device of `like`."""
    values = np.frombuffer(base64.b64decode(text), dtype=np.float16).astype(np.float32)
    return torch.from_numpy(values).view(like.shape).to(like.device)


@dataclass(frozen=True)
class Positions:
    """Each neuron that is live in the last frame, at all frames, relative to its length there.

    feature  the size of its coefficient on the feature that it holds in the last frame,
             (frames, neurons)
    dense    its coefficient along u* without that feature, positive where it pushes the output
             the way the feature does, (frames, neurons)
    """

    feature: Tensor
    dense: Tensor


def positions(film: Film) -> Positions:
    """Where the neurons are at each frame: on their own feature, and along the dense direction."""
    last = film.frames[-1].net
    alive = live(last)
    top = (last.weight.detach()[alive] @ film.data.features).abs().argmax(1, keepdim=True)
    feature, dense = [], []
    for frame in film.frames:
        w = frame.net.weight.detach()[alive]
        length = w.norm(dim=1, keepdim=True).clamp(min=1e-30)
        values = coefficients(w, film.data) / length  # (neurons, d)
        own = values.gather(1, top).squeeze(1)
        # <w, u*> is the sum of the coefficients over sqrt(d).
        rest = (values.sum(1) - own) / film.data.d**0.5
        feature.append(own.abs())
        dense.append(own.sign() * rest)
    return Positions(torch.stack(feature), torch.stack(dense))
