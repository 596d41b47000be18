"""Random streams that are pure functions of (seed, purpose, step).

So a resumed run repeats an unbroken one.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch


def generator(*entropy: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh torch.Generator on `device`, seeded by any mix of integers >= 0 and words.

    `generator(seed, "batch", step)` is step `step` of a stream: no state has to be saved to go on.
    """
    return torch.Generator(device=device).manual_seed(_mixed(entropy))


@contextmanager
def seeded(*entropy: int | str, device: torch.device) -> Iterator[None]:
    """Context in which torch's own random numbers are a pure function of `entropy`.

    entropy  integers >= 0 and words, as in `generator`
    device   where they are drawn, beside the CPU

    So dropout, a random augmentation or `torch.randn_like` can be repeated. On leaving, torch's
    generators are as before.
    """
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng([device] if on_gpu else [], device_type="cuda"):
        seed = _mixed(entropy)
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _mixed(entropy: tuple[int | str, ...]) -> int:
    """One seed made of integers >= 0 and words."""
    for one in entropy:
        whole = isinstance(one, Integral) and not isinstance(one, bool)
        if not isinstance(one, str) and not (whole and one >= 0):
            raise ValueError(f"seed = {entropy!r}: give whole numbers of at least 0, and words")
    words = [zlib.crc32(e.encode()) if isinstance(e, str) else int(e) for e in entropy]
    # numpy's SeedSequence mixes well; torch's CPU generator reads 32 bits of a seed.
    return int(np.random.SeedSequence(words).generate_state(1)[0])
