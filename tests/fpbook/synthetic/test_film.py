import pytest
import torch

from fpbook.synthetic.film import (
    FRAMES,
    Film,
    Frame,
    pack,
    positions,
    record_training,
    unpack,
)
from fpbook.synthetic.protocol import SyntheticExperiment, run_synthetic
from fpcore.theory.symmetric_networks import symmetric_network

CPU = torch.device("cpu")


def test_a_film_is_the_run_and_is_kept(tiny, film, shared_cache, no_batches):
    one = run_synthetic(tiny, 0, CPU, progress=False)
    clean = [frame for frame in film.frames if frame.stage == "clean"]
    for frame, net in (
        (clean[0], one.init),
        (clean[-1], one.clean),
        (film.frames[-1], one.purified),
    ):
        assert torch.allclose(frame.net.weight, net.weight, rtol=1e-3, atol=1e-6)
        assert frame.net.threshold == net.threshold
    steps = [frame.step for frame in film.frames]
    assert steps == sorted({*steps})
    assert (steps[0], steps[-1]) == (0, tiny.clean_steps + tiny.adversarial_steps)
    every = max(1, tiny.clean_steps // FRAMES)
    assert [f.step for f in clean] == [*range(0, tiny.clean_steps, every), tiny.clean_steps]
    no_batches()
    again = record_training(tiny, 0, CPU, progress=False)
    assert all(torch.equal(a.net.weight, b.net.weight) for a, b in zip(film.frames, again.frames))


def test_weights_survive_packing():
    w = torch.randn(7, 5) * 0.01
    assert torch.allclose(unpack(pack(w), w), w, rtol=1e-3, atol=1e-6)


def test_positions_split_a_neuron_into_feature_and_mixture(tiny, film):
    at = positions(film)
    assert at.feature.shape == at.dense.shape and len(at.feature) == len(film.frames)
    assert (at.feature**2 + at.dense**2).max() <= 1 + 1e-4
    frames = [
        Frame("clean", i, symmetric_network(film.data, 0.1, r)) for i, r in enumerate((0.0, 2.0))
    ]
    at, d = positions(Film(tiny, film.data, film.x, film.y, frames)), film.data.d
    long = (1 + 4 / d**0.5 + 4) ** 0.5
    feature, dense = (
        torch.tensor([[a], [b]]).expand(2, d)
        for a, b in ((1, (1 + 2 / d**0.5) / long), (0, 2 * (d - 1) / d / long))
    )
    torch.testing.assert_close(
        (at.feature, at.dense), (feature.float(), dense.float()), atol=1e-5, rtol=1e-4
    )


def test_what_does_not_fit_into_a_history_is_not_filmed(shared_cache):
    with pytest.raises(ValueError, match="width x d = 5120 x 1024: too large to film"):
        record_training(SyntheticExperiment(1024, 16, 5120, 1, 4, 4), 0, CPU)
