"""How long a sweep takes on many workers: list scheduling of task times, by simulation.

Each worker takes the next task of the list once it is free, as all engines here do it.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fpcore import checks


@dataclass(frozen=True)
class Machines:
    """What workers are like.

    starting    seconds until one begins, after its start and after it died
    slow        share of them that are slower, chosen at random
    slower      how many times as long these take
    lifetime    seconds that one lives on average, an exponential time; inf: none dies
    dispatch    seconds that whoever hands out tasks takes for each
    """

    starting: float = 0.0
    slow: float = 0.0
    slower: float = 1.0
    lifetime: float = float("inf")
    dispatch: float = 0.0

    def __post_init__(self) -> None:
        for name in ("starting", "dispatch"):
            checks.finite(name, getattr(self, name))
        checks.finite("slow", self.slow, high=1.0)
        checks.finite("slower", self.slower, low=1.0)
        if not self.lifetime > 0:
            raise ValueError(f"lifetime = {self.lifetime}: give seconds above 0, or math.inf")


FAULTLESS = Machines()


def makespan(
    seconds: Sequence[float],
    workers: int,
    machines: Machines = FAULTLESS,
    seed: int = 0,
) -> float:
    """Seconds from the start of a sweep to the end of its last task.

    seconds   that each task takes, in the order of the list; what a dead worker did of one is lost
    workers   at once
    machines  what they are like
    seed      of who is slow, and who dies when

    Without anything that goes wrong it is at most sum/workers + max: Graham (1969).
    """
    checks.positive_int("workers", workers)
    rng = np.random.default_rng(seed)
    slower = np.where(rng.random(workers) < machines.slow, machines.slower, 1.0)
    free = [(machines.starting, worker) for worker in range(workers)]
    heapq.heapify(free)
    handed = last = 0.0
    for task in seconds:
        at, worker = heapq.heappop(free)
        handed = max(at, handed) + machines.dispatch
        at, takes = handed, task * slower[worker]
        # The exponential distribution has no memory: a life begins anew with each task.
        while (life := rng.exponential(machines.lifetime)) < takes:
            at += life + machines.starting
            if machines.lifetime < takes / 700:  # e^-700: it will never end
                return float("inf")
        heapq.heappush(free, (at + takes, worker))
        last = max(last, at + takes)
    return last
