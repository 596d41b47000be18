"""What the CIFAR-10 experiments train from what; read from checkpoints if it was trained before."""

import copy
from collections.abc import Collection
from typing import Any

from torch import nn

from fpbook.cifar10.experiment import CifarExperiment
from fpbook.results.cache import cache_path
from fpcore import checks
from fpcore.images import Images
from fpcore.models.linearised import Linearised
from fpcore.models.low_rank_update import low_rank
from fpcore.training import Training, train

SECOND_STAGES = ("purified", "control", "scratch")  # what a run trains beside the clean network


def run_cifar(
    config: CifarExperiment,
    data: Images,
    seed: int,
    names: Collection[str] = SECOND_STAGES,
    progress: bool = True,
) -> dict[str, nn.Module]:
    """The networks of a seed, {name: network}, in evaluation mode.

    config    sizes and schedules
    data      what they are trained on, on its device
    seed      of the run
    names     which of "purified" w', "control" w_c and "scratch" w'' stand beside "init" w0 and
              "clean" w
    progress  whether to show a bar
    """
    for name in checks.several("names", names):
        checks.choice("name", name, SECOND_STAGES)
    init = config.initial(seed, data.x.device).eval()
    nets = {"init": init, "clean": copy.deepcopy(init)}
    train_stage("clean", nets["clean"], data, config.clean(data, seed), seed, progress)
    for name, radius in (("purified", config.radius), ("control", 0.0)):
        if name in names:
            nets[name] = copy.deepcopy(nets["clean"])
            training = config.adversarial(data, seed, radius)
            train_stage(name, nets[name], data, training, seed, progress)
    if "scratch" in names:
        nets["scratch"] = run_adversarial_scratch(config, data, seed, progress)
    return nets


def run_adversarial_scratch(
    config: CifarExperiment, data: Images, seed: int, progress: bool = True
) -> nn.Module:
    """w'': from w0, under attack throughout, on the schedules of both stages, never clean.

    config    sizes and schedules
    data      what it is trained on
    seed      of the run
    progress  whether to show a bar
    """
    net = config.initial(seed, data.x.device)
    train_stage("scratch-halfway", net, data, config.scratch(data, seed), seed, progress)
    last = config.adversarial(data, seed, config.radius)
    train_stage("scratch", net, data, last, seed, progress)
    return net


def run_low_rank(
    config: CifarExperiment,
    data: Images,
    clean: nn.Module,
    seed: int,
    rank: int,
    kind: str = "adversarial",
    progress: bool = True,
) -> nn.Module:
    """A low-rank update of a seed's clean network w.

    config    sizes and schedules
    data      what it is trained on
    clean     w, as `run_cifar` gives it
    seed      of the run
    rank      of the update
    kind      "adversarial"; "random", with fixed random projections A, so that only B is learnt;
              "clean", without an attack; "full", w -> w' at this learning rate, whatever the rank
    progress  whether to show a bar
    """
    checks.choice("kind", kind, ("adversarial", "random", "clean", "full"))
    if kind == "full":
        net = copy.deepcopy(clean)
    else:
        net = low_rank(clean, rank, seed, fixed=kind == "random")
    training = config.low_rank(data, seed, 0.0 if kind == "clean" else config.radius)
    train_stage(f"rank{rank}-{kind}", net, data, training, seed, progress)
    return net


def run_linearised(
    config: CifarExperiment,
    data: Images,
    seed: int,
    clean: nn.Module | None = None,
    attack: bool = True,
    progress: bool = True,
) -> tuple[Linearised, list[float]]:
    """A linearisation of a seed's network, trained, and with it the training loss of each epoch.

    config    sizes and schedules
    data      what it is trained on
    seed      of the run
    clean     the network w around whose weights it is; None: at w0
    attack    whether it is trained under attack
    progress  whether to show a bar
    """
    net = config.initial(seed, data.x.device) if clean is None else clean
    model = Linearised(net, data.x[:5000])
    training = config.tangent(data, seed, attack)
    origin, kind = "init" if clean is None else "clean", "adversarial" if attack else "clean"
    name = f"tangent-{origin}-{kind}"
    history = train_stage(name, model, data, training, seed, progress)
    return model, [entry["loss"] for entry in history[1:]]


def train_stage(
    name: str,
    model: nn.Module,
    data: Images,
    training: Training,
    seed: int,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Train `model` in place, or read its checkpoint; return the history, an entry an epoch.

    name      of the stage, for the checkpoint and the progress bar
    model     where training starts: its checkpoint is named by its weights, among other things
    data      what it is trained on
    training  the stage's configuration
    seed      of the run
    progress  whether to show a bar

    Leaves the model in evaluation mode.
    """
    path = cache_path(f"cifar10-{name}", training, model, data, seed, code=train_stage)
    label = f"{name}, seed {seed}" if progress else None
    every = data.steps(1, training.batch)
    history = train(model, data, training, every=every, checkpoint=path, progress=label)
    model.eval()
    return history
