"""What several test files import: where a figure comes from, a figure, noise to train on."""

import torch

SOURCE = {
    "profile": "quick",
    "device": "cpu",
    "versions": {"torch": "2"},
    "seeds": [0, 1],
    "date": "2025-01-01",
    "commit": "abc",
}


def number(value, low=None, high=None):
    """A published figure, of one seed or with its interval."""
    return {"value": value, "low": low, "high": high, "n": 1 if low is None else 3}


class Noise:
    """Random images with random labels."""

    def batch(self, size, seed, step):
        rng = torch.Generator().manual_seed(1000 * seed + step)
        return torch.rand(size, 3, 32, 32, generator=rng), torch.randint(
            0, 10, (size,), generator=rng
        )
