"""Random streams that are pure functions of (seed, purpose, step).

So a resumed run repeats an unbroken one.
"""

import zlib

import numpy as np
import torch


def generator(*entropy: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh torch.Generator on `device`, seeded by any mix of integers >= 0 and words.

    `generator(seed, "batch", step)` is step `step` of a stream: no state has to be saved to go on.
    """
    words = [zlib.crc32(e.encode()) if isinstance(e, str) else int(e) for e in entropy]
    if any(word < 0 for word in words):
        raise ValueError(f"seed = {entropy!r}: give whole numbers of at least 0")
    # numpy's SeedSequence mixes well; torch's CPU generator reads 32 bits of a seed.
    seed = int(np.random.SeedSequence(words).generate_state(1)[0])
    return torch.Generator(device=device).manual_seed(seed)
