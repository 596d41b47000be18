"""Convolution filters over spatial frequency: roughness, spectra, and scrambled phases."""

from typing import Any

import torch
from torch import Tensor


def roughness(w: Tensor) -> Tensor:
    """Share of the energy of each filter outside the lowest spatial frequencies, (m,), in [0, 1].

    Of filters w (m, channels, h, w). The lowest frequencies are those below half of the Nyquist
    frequency in both directions: 0 is a smooth filter, white noise has the share of the frequencies
    that are counted as high.
    """
    power = torch.fft.fft2(w.float()).abs() ** 2  # (m, c, h, w)
    low = [torch.fft.fftfreq(n, device=w.device).abs() < 0.25 for n in w.shape[-2:]]
    mask = low[0][:, None] & low[1][None, :]
    return 1 - (power * mask).sum((1, 2, 3)) / power.sum((1, 2, 3)).clamp(min=1e-30)


def spectrum(w: Tensor) -> tuple[Tensor, Tensor]:
    """Energy of filters w (m, channels, h, w) over spatial frequency, relative to white noise.

    Returns the frequencies (k,), in cycles a pixel, and the mean over filters, each scaled to the
    same energy, (k,): white noise has 1 at each.
    """
    power = (torch.fft.fft2(w.float()).abs() ** 2).sum(1)  # (m, h, w)
    power = (power / power.mean((1, 2), keepdim=True).clamp(min=1e-30)).mean(0)
    down, across = (torch.fft.fftfreq(n, device=w.device) for n in w.shape[-2:])
    size = (down[:, None] ** 2 + across**2).sqrt().mul(1000).round().div(1000)
    frequency, which, count = size.unique(return_inverse=True, return_counts=True)
    total = torch.zeros_like(frequency).scatter_add_(0, which.flatten(), power.flatten())
    return frequency, total / count


def scrambled(w: Tensor, rng: torch.Generator) -> Tensor:
    """Filters w (m, channels, h, w) with random phases: their shape is lost, the spectrum kept.

    One draw for all channels of a filter, so that colours are kept as well.
    """
    like: dict[str, Any] = {"generator": rng, "dtype": torch.float32, "device": w.device}
    noise = torch.fft.fft2(torch.randn(len(w), 1, *w.shape[2:], **like))
    return torch.fft.ifft2(torch.fft.fft2(w) * noise / noise.abs()).real
