"""What a network draws: whether an answer moves any generator of random numbers that can be seen.

Randomness that hardly ever shows in an answer (dropout of a single score, noise that is rounded
away) still draws.
"""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fpcore.alerts import RandomWarning, warn
from fpcore.models.asked import answer

GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


class Dice:
    """The generators that a network may draw from, as they were when they were looked at last.

    model   the network: those that its modules hold as attributes
    device  of its samples: torch's generators there and on the CPU

    And numpy's and Python's own. It reads them, and moves none.
    """

    def __init__(self, model: nn.Module, device: torch.device):
        self.own = [
            each
            for module in model.modules()
            for each in vars(module).values()
            if isinstance(each, GENERATORS)
        ]
        self.device = device
        self.seen = self._states()

    def moved(self) -> bool:
        """Whether any has moved since this was asked last."""
        before, self.seen = self.seen, self._states()
        return self.seen != before

    @torch.no_grad()
    def random(self, model: nn.Module, x: Tensor) -> bool:
        """Whether the answers given by now drew, and go on to: then there is a warning.

        model  in evaluation mode
        x      what it was asked for (n, ...): if it drew, it is asked again, twice

        A model that seeds its generators in each answer leaves them as it did before.
        """
        if not self.moved():
            return False
        answer(model, x)
        self.moved()
        answer(model, x)
        if not self.moved():
            return False
        found = "the model draws random numbers when it is asked"
        warn(f"{found}, so that it answers otherwise each time, if rarely", RandomWarning, 3)
        return True

    def _states(self) -> list[Any]:
        found = [torch.get_rng_state().numpy().tobytes()]
        if self.device.type == "cuda":
            found.append(torch.cuda.get_rng_state(self.device).numpy().tobytes())
        return [*found, _state(np.random.mtrand._rand), random.getstate(), *map(_state, self.own)]


def _state(rng: Any) -> Any:
    """What a generator draws next is a function of this."""
    if isinstance(rng, torch.Generator):
        return rng.get_state().cpu().numpy().tobytes()
    if isinstance(rng, random.Random):
        return rng.getstate()
    if isinstance(rng, np.random.Generator):
        return repr(rng.bit_generator.state)
    _, keys, *rest = rng.get_state()
    return keys.tobytes(), rest
