"""What a step of training is made by: an optimiser and its rates, which a checkpoint keeps."""

import inspect
import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from fpcore import checks
from fpcore.models.closed_form import closed_form
from fpcore.training.configuration import Schedule, Training

MakeOptimizer = Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]
MakeScheduler = Callable[[torch.optim.Optimizer], LRScheduler]
STATE = "optimizer"  # the name of the whole state in a checkpoint
NUMBERS = ("lr", "weight_decay", "momentum")  # of parameter groups: finite, not negative


class Descent:
    """An optimiser over a model's parameters, and what sets its rates before each step.

    model      its parameters are optimised
    config     says how SGD goes, which is the optimiser without another
    optimizer  makes one of the parameters; None: SGD
    scheduler  makes a torch scheduler of the optimiser; None: the rates follow `config.lr`

    Raises ValueError for what cannot work together, or is no such function.
    """

    def __init__(
        self,
        model: nn.Module,
        config: Training,
        optimizer: MakeOptimizer | None = None,
        scheduler: MakeScheduler | None = None,
    ):
        _check_config(config, optimizer is None, scheduler is None)
        self.model, self.config = model, config
        self.plain = optimizer is None and scheduler is None
        if optimizer is None:
            start = 1.0 if scheduler is None else config.at("lr", 0)
            made: Any = torch.optim.SGD(
                model.parameters(),
                lr=start,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                nesterov=config.momentum > 0,
                fused=closed_form(model) is not None,  # one pass over weights and gradients
            )
        else:
            made = _call("optimizer", optimizer, model.parameters(), torch.optim.Optimizer)
        _check_optimizer(made, model)
        self.optimizer: torch.optim.Optimizer = made
        self.rates = [group["lr"] for group in made.param_groups]
        self.scheduler = None
        if scheduler is not None:
            self.scheduler = _call("scheduler", scheduler, made, LRScheduler)
            _check_scheduler(self.scheduler, made, config)
        # As they began: what a checkpoint is compared by. SGD alone is in the configuration.
        self.says = {} if self.plain else _said(made, self.scheduler)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that are optimised."""
        return [one for group in self.optimizer.param_groups for one in group["params"]]

    @property
    def rate(self) -> float:
        """The step size of the first parameter group, as it is now."""
        return float(self.optimizer.param_groups[0]["lr"])

    def prepare(self, step: int) -> None:
        """Set the rates of a step, if no scheduler does and `Training.lr` says them."""
        if self.scheduler is None and self.config.lr is not None:
            factor = self.config.at("lr", step)
            for group, rate in zip(self.optimizer.param_groups, self.rates):
                group["lr"] = rate * factor

    def step(self) -> None:
        """One step along the gradients that the parameters have, then one of the scheduler."""
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: SGD's momentum under "momentum.", of others all, pickled.

        Raises ValueError if it holds what is not read back without running code.
        """
        if self.plain:
            buffers = {
                f"momentum.{i}": self.optimizer.state.get(parameter, {}).get("momentum_buffer")
                for i, parameter in enumerate(self.model.parameters())
            }
            return {name: buffer for name, buffer in buffers.items() if buffer is not None}
        file = io.BytesIO()
        scheduled = None if self.scheduler is None else self.scheduler.state_dict()
        torch.save({"optimizer": self.optimizer.state_dict(), "scheduler": scheduled}, file)
        packed = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
        try:
            _unpacked(packed)
        except pickle.UnpicklingError as error:
            advice = "its state must be tensors, numbers, words and lists of them"
            raise ValueError(f"the optimizer or scheduler cannot be kept: {advice}") from error
        return {STATE: packed}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        if not self.plain:
            kept = _unpacked(state[STATE])
            self.optimizer.load_state_dict(kept["optimizer"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(kept["scheduler"])
            return
        for i, parameter in enumerate(self.model.parameters()):
            if f"momentum.{i}" in state:
                momentum = state[f"momentum.{i}"].to(parameter.device).clone()
                self.optimizer.state[parameter]["momentum_buffer"] = momentum


def _said(optimizer: torch.optim.Optimizer, scheduler: LRScheduler | None) -> dict[str, Any]:
    """Optimiser and scheduler as they are now."""
    said = {"optimizer": type(optimizer).__name__}
    for i, group in enumerate(optimizer.param_groups):
        settings = {name: value for name, value in group.items() if name != "params"}
        settings["parameters"] = len(group["params"])
        said |= {f"optimizer.{i}.{name}": named_by(value) for name, value in settings.items()}
    if scheduler is not None:
        said["scheduler"] = type(scheduler).__name__
        state = scheduler.state_dict()
        said |= {f"scheduler.{name}": named_by(value) for name, value in state.items()}
    return said


def named_by(value: Any) -> Any:
    """A value as JSON has it; what has none, such as a function, is shown by its name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): named_by(one) for key, one in value.items()}
    if isinstance(value, Iterable):
        return [named_by(one) for one in value]
    if wrapped := getattr(value, "func", None):  # functools.partial
        return [named_by(wrapped), named_by(value.args), named_by(value.keywords)]
    return getattr(value, "__qualname__", type(value).__qualname__)


def _unpacked(packed: Tensor) -> dict[str, Any]:
    """The state in a tensor of bytes, on the CPU: torch's own types alone, no code is run."""
    return torch.load(io.BytesIO(packed.numpy().tobytes()), map_location="cpu", weights_only=True)


def _call(name: str, make: Callable[[Any], Any], argument: Any, kind: type) -> Any:
    """What a function of the user makes, if it is of a kind."""
    of = "the parameters" if name == "optimizer" else "the optimizer"
    advice = f"give a function of {of} that returns one, lambda made_of: ...(made_of, ...)"
    if isinstance(make, kind) or not callable(make):
        raise ValueError(f"{name} = {type(make).__name__}: {advice}")
    made = make(argument)
    if not isinstance(made, kind):
        raise ValueError(f"{name} returns {type(made).__name__}, no {kind.__name__}: {advice}")
    return made


def _check_config(config: Training, sgd: bool, steady: bool) -> None:
    """Raise ValueError if the configuration says what an optimiser or scheduler says already."""
    if not sgd:
        for name in ("momentum", "weight_decay"):
            if value := getattr(config, name):
                raise ValueError(f"{name} = {value}: leave it at 0, and give it to your optimizer")
        if config.lr is not None and not isinstance(config.lr, Schedule):
            advice = "give it to your optimizer; here a Schedule, a factor on its rates, or None"
            raise ValueError(f"lr = {config.lr}: {advice}")
    elif config.lr is None:
        raise ValueError("lr = None: give a number or a Schedule, or train an optimizer of yours")
    if not steady and isinstance(config.lr, Schedule):
        raise ValueError(f"lr = {config.lr}: give a number for SGD, the scheduler does the rest")


def _check_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Raise ValueError for an optimiser of another kind, of other parameters, or of no numbers."""
    name = type(optimizer).__name__
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(f"optimizer = {name}: it repeats a step's loss, give one that does not")
    theirs = {id(parameter) for parameter in model.parameters()}
    strange = [
        p for group in optimizer.param_groups for p in group["params"] if id(p) not in theirs
    ]
    if strange:
        found = f"the optimizer holds {len(strange)} parameters that are not the model's"
        raise ValueError(f"{found}: make it of those that it is given")
    for i, group in enumerate(optimizer.param_groups):
        for number in NUMBERS:
            if number in group:
                checks.finite(f"{number} of parameter group {i}", float(group[number]))


def _check_scheduler(
    scheduler: LRScheduler, optimizer: torch.optim.Optimizer, config: Training
) -> None:
    """Raise ValueError for a scheduler that cannot be stepped once in each of the steps."""
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError("the scheduler is of another optimizer: make it of the one it is given")
    if isinstance(scheduler, ReduceLROnPlateau):
        advice = "it goes by a measured loss, give one that goes by the steps, or a Schedule as lr"
        raise ValueError(f"scheduler = ReduceLROnPlateau: {advice}")
    total = getattr(scheduler, "total_steps", None)
    if total is not None and total < config.steps:
        found = f"the scheduler has total_steps = {total}"
        raise ValueError(f"{found}: give it all of the {config.steps} steps")
