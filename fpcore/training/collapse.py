"""A training in which f has collapsed to 0: noticed by its loss, which stays that of f = 0."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

FLAT = math.log(2)  # the loss of f = 0
NEAR, BELOW = 0.01, 0.1  # how far from it the loss is flat, and below it something was learnt


class CollapseError(ArithmeticError):
    """The network of one logit has become f = 0, where the attack leaves it no way out."""


class Collapse:
    """Counts for how many steps on end the loss has been that of f = 0, once it was below.

    patience  how many are too many; None: none are

    It stays on the device until it is asked, and no step waits for it.
    """

    def __init__(self, patience: int | None, device: torch.device):
        self.patience = patience
        self.learnt = torch.zeros((), dtype=torch.bool, device=device)
        self.steps = torch.zeros((), dtype=torch.int64, device=device)  # on end
        self.most = torch.zeros_like(self.steps)

    def see(self, loss: Tensor) -> None:
        """Count a step with this mean loss, a scalar."""
        if self.patience is None:
            return
        self.learnt |= loss < FLAT - BELOW
        flat = self.learnt & ((loss - FLAT).abs() < NEAR)
        self.steps = torch.where(flat, self.steps + 1, 0)
        self.most = torch.maximum(self.most, self.steps)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, so that a resumed run collapses where an unbroken one does."""
        if self.patience is None:
            return {}
        return {"collapse.learnt": self.learnt, "collapse.steps": self.steps}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        if self.patience is not None and "collapse.steps" in state:
            self.learnt = state["collapse.learnt"].to(self.learnt.device)
            self.steps = state["collapse.steps"].to(self.steps.device)

    def stop(self, done: int) -> None:
        """Raise CollapseError if it was too many on end, at one of the `done` steps."""
        if self.patience is None or int(self.most) < self.patience:
            return
        found = f"f has collapsed to 0 by step {done}: for {self.patience} steps the loss was log 2"
        advice = "give a smaller lr, or let lr and radius rise more slowly"
        raise CollapseError(f"{found}, as if it answered nothing. {advice.capitalize()}")
