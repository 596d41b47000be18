import pytest
import torch

from fpcore.decomposition.filter_spectra import roughness, scrambled, spectrum
from fpcore.seeding import generator


def test_a_constant_filter_is_smooth_a_checkerboard_rough_and_noise_between():
    flat = torch.ones(2, 3, 4, 4)
    board = (torch.arange(4)[:, None] + torch.arange(4)) % 2 * 2.0 - 1
    noise = torch.randn(200, 3, 4, 4, generator=generator(0, "noise"))
    assert roughness(flat).max() < 1e-6 and roughness(board.expand(2, 3, 4, 4)).min() > 1 - 1e-6
    assert abs(roughness(noise).mean() - 15 / 16) < 0.02  # one of 16 frequencies is low


def test_the_spectrum_of_white_noise_is_flat_and_that_of_a_wave_is_a_peak():
    rng = torch.Generator().manual_seed(0)
    at, flat = spectrum(torch.randn(4000, 2, 8, 8, generator=rng))
    assert at[0] == 0 and at[-1] == pytest.approx(0.5 * 2**0.5, abs=1e-3)
    torch.testing.assert_close(flat, torch.ones_like(flat), atol=0.05, rtol=0)
    wave = torch.cos(2 * torch.pi * torch.arange(8) / 4)  # a quarter of a cycle a pixel
    _, peak = spectrum(wave.expand(3, 2, 8, 8))
    assert torch.equal(peak > 1e-6, at == 0.25)


def test_scrambling_keeps_each_filters_spectrum_and_colours():
    w = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    twin = scrambled(w, torch.Generator().manual_seed(1))
    for a, b in zip(torch.fft.fft2(w), torch.fft.fft2(twin)):
        torch.testing.assert_close(a.abs(), b.abs(), atol=1e-4, rtol=1e-4)
        colours = [(one[0] * one[1].conj()).abs() for one in (a, b)]
        torch.testing.assert_close(*colours, atol=1e-3, rtol=1e-3)
    assert (w - twin).norm() > 0.5 * w.norm()
