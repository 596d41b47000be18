"""One training loop, clean or adversarial: seeded, with a progress bar, history and checkpoints."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from fpcore import checkpoint as checkpoints
from fpcore import checks
from fpcore.gradients import not_of_inference
from fpcore.models.readable import check_values
from fpcore.training.batches import Source, batches, is_indexed
from fpcore.training.configuration import Training
from fpcore.training.descent import Descent, MakeOptimizer, MakeScheduler, named_by
from fpcore.training.processes import Processes, without_reducer
from fpcore.training.step import Loss, Step


def train(
    model: nn.Module,
    data: Source,
    config: Training,
    *,
    optimizer: MakeOptimizer | None = None,
    scheduler: MakeScheduler | None = None,
    loss: Loss | None = None,
    measure: Callable[[nn.Module], dict[str, Any]] | None = None,
    every: int = 100,
    checkpoint: str | Path | None = None,
    progress: str | None = None,
) -> list[dict[str, Any]]:
    """Train `model` in place, on the device where it is; return the history.

    model       gives one logit a sample, or class scores
    data        an object whose `.batch(size, seed, step)` gives the mini-batch of a step, or an
                iterable of batches (x, y), such as a DataLoader, or a function that returns one;
                of several processes each takes its rows of the former, and has its own iterable
    config      steps, step size, adversary and seed
    optimizer   makes a torch optimiser of the parameters, `lambda p: torch.optim.AdamW(p)`; None:
                SGD
    scheduler   makes a torch scheduler of the optimiser, stepped once a step; None: `config.lr`
    loss        (model, x, y, ball) -> loss, a scalar or (n,), with an adversary of its own; None:
                that of `fpcore.loss`, on the adversarial examples of `config`
    measure     called with the model for each entry of the history
    every       steps between entries
    checkpoint  a file: the state is saved there at each entry, atomically, and a run that finds it
                goes on from there, repeating an unbroken run exactly on the same machine
    progress    the label of a progress bar, None: no bar

    The history holds {"step", "loss", **measure(model)} for step 0, each multiple of `every`, and
    the end; "loss" is the mean training loss (of the adversarial examples, if any) since the entry
    before. A checkpoint of another configuration, optimiser, scheduler or loss, or of a model of
    another shape, is an error and stays untouched. Functions are compared by their names, initial
    weights and data not at all, so its path must be theirs alone.
    """
    checks.positive_int("every", every)
    checks.instance("config", config, Training, "fpcore.Training(steps=100, lr=0.1)")
    checks.network("model", model)
    path = None if checkpoint is None else checks.path("checkpoint", checkpoint)
    net, processes, indexed = without_reducer(model), Processes.running(), is_indexed(data)
    _check_trainable(net)
    _check_functions(measure, loss)
    descent = Descent(net, config, optimizer, scheduler)
    take_step = Step(net, config, descent, loss, processes)
    text = config.text(descent.says | ({} if loss is None else {"loss": named_by(loss)}))
    run = _Run(take_step, text, path, measure)
    drawn = batches(data, config.batch, config.seed, run.done, take_step.device)
    model.train()
    bar = _progress_bar(config.steps, run.done, None if processes.rank else progress)
    with bar, processes.whole_batches(net):
        for step in range(run.done, config.steps):
            first = step == run.done
            take_step(*next(drawn), step, check=first or not indexed, whole=indexed)
            bar.update()
            if (step + 1) % every == 0 or step + 1 == config.steps:
                bar.set_postfix(loss=f"{run.note(step + 1):.3f}", lr=f"{descent.rate:.3g}")
                model.train()
    return run.history


def _check_functions(measure: Any, loss: Any) -> None:
    """Raise ValueError for what `train` cannot call."""
    if measure is not None and not callable(measure):
        raise ValueError(f"measure = {measure!r}: give a function of the model, or None")
    if loss is not None and (not callable(loss) or isinstance(loss, nn.modules.loss._Loss)):
        raise ValueError(f"loss = {loss!r}: give a function of (model, x, y, ball), or None")


def _check_trainable(net: nn.Module) -> None:
    """Raise ValueError unless there are parameters to train, with values, and gradients."""
    if torch.is_inference_mode_enabled():
        raise ValueError("train has no gradients in torch.inference_mode(): call it outside of it")
    not_of_inference(net)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        found = f"model = {type(net).__name__}, no parameter of which requires a gradient"
        raise ValueError(f"{found}: call model.requires_grad_(True), or nothing is trained")
    for name, parameter in net.named_parameters():
        check_values(name, parameter.detach())


class _Run:
    """A training on its way: what was noted of it, here and in its checkpoint.

    take_step  of the training
    text       what a checkpoint is compared by
    path       of the checkpoint, which rank 0 reads and writes for all processes; None: none
    measure    as `train` takes it

    It begins where the checkpoint is, else with an entry for step 0.
    """

    def __init__(
        self,
        take_step: Step,
        text: str,
        path: Path | None,
        measure: Callable[[nn.Module], dict[str, Any]] | None,
    ):
        self.take_step, self.text, self.path, self.measure = take_step, text, path, measure
        self.done = 0
        self.history: list[dict[str, Any]] = []
        net, processes = take_step.net, take_step.processes
        processes.take_first([*net.parameters(), *net.buffers()])
        if path is not None:
            checkpoints.check_writable(net)
            content = processes.of_first(lambda: checkpoints.content_of(path))
            if content is not None:
                found = checkpoints.resume(path, content, net, text)
                self.done, self.history = found.step, found.history
                take_step.descent.load(found.state)
                take_step.collapse.load(found.state)
        if not self.history:
            self._enter(0, math.nan)

    def note(self, done: int) -> float:
        """Make an entry after `done` steps; return its loss."""
        mean = self.take_step.mean_loss(done - self.history[-1]["step"], done)
        self._enter(done, mean)
        return mean

    def _enter(self, done: int, mean: float) -> None:
        net = self.take_step.net
        measured = self.measure(net) if self.measure else {}
        self.history.append({"step": done, "loss": mean, **measured})
        if self.path is not None and self.take_step.processes.rank == 0:
            state = self.take_step.descent.state() | self.take_step.collapse.state()
            checkpoints.save(self.path, net, state, self.text, done, self.history)


def _progress_bar(steps: int, done: int, label: str | None) -> tqdm:
    hidden = label is None
    return tqdm(total=steps, initial=done, desc=label, disable=hidden, mininterval=0.5)
