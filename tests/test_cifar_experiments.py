import dataclasses

import pytest
import torch

from fpcore import Images, measure_cifar, run_cifar
from fpcore.cifar_experiments import CifarExperiment

TINY = CifarExperiment(1 / 8, 64, 32, clean_epochs=2, adversarial_epochs=1, seeds=1, batch=32)


def same_weights(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def random_images(n, seed):
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, 32, 32, generator=rng).contiguous(memory_format=torch.channels_last)
    return Images(x, torch.arange(n) % 10, "random")


def test_the_control_differs_from_adversarial_training_in_the_radius_alone():
    data = random_images(64, 0)
    adversarial, control = (TINY.adversarial(data, 0, radius) for radius in (TINY.radius, 0.0))
    assert dataclasses.replace(control, radius=adversarial.radius, box=adversarial.box) == adversarial
    assert adversarial.box == (0.0, 1.0) and adversarial.radius == TINY.radius > 0
    clean = TINY.clean(data, 0)
    assert clean.radius == control.radius == 0.0 and clean.box is None
    assert (clean.steps, control.steps) == (4, 2)


def test_a_small_run_goes_from_end_to_end_and_is_read_the_second_time(cache, no_batches, check_figures):
    data, test = random_images(64, 0), random_images(32, 1)
    run = run_cifar(TINY, data, 0, progress=False)
    assert len(list(cache.iterdir())) == 3 and not any(m.training for m in run.purified.modules())
    nets = [run.init, run.clean, run.purified, run.control]
    assert not any(same_weights(a, b) for i, a in enumerate(nets) for b in nets[:i])
    assert [run.histories[name][-1]["step"] for name in ("clean", "adversarial", "control")] == [4, 2, 2]
    no_batches()
    again = run_cifar(TINY, data, 0, progress=False)
    for name in ("init", "clean", "purified", "control"):
        assert same_weights(getattr(run, name), getattr(again, name))
    assert repr(again.histories) == repr(run.histories)
    figures = measure_cifar(again, test, TINY, attacked=16)
    check_figures(figures, "cifar10")
    assert figures["radius"] == TINY.radius
    with pytest.raises(RuntimeError, match="a training step is made"):
        run_cifar(TINY, data, 1, progress=False)


def test_a_run_and_its_figures_are_pure_functions_of_the_seed(cache, monkeypatch):
    data, test, found = random_images(64, 0), random_images(32, 1), []
    for folder in ("one", "two"):
        monkeypatch.setenv("FPCORE_CACHE", str(cache / folder))
        torch.manual_seed(len(found))
        run = run_cifar(TINY, data, 3, progress=False)
        found.append((run, measure_cifar(run, test, TINY, attacked=8)))
    (one, figures), (two, again) = found
    for name in ("init", "clean", "purified", "control"):
        assert same_weights(getattr(one, name), getattr(two, name))
    assert figures == again and repr(one.histories) == repr(two.histories)


def test_the_second_stages_start_from_the_clean_weights(cache):
    still = dataclasses.replace(TINY, adversarial_lr=1e-30)
    run = run_cifar(still, random_images(64, 0), 0, progress=False)
    for net in (run.purified, run.control):
        assert all(torch.equal(p, q) for p, q in zip(net.parameters(), run.clean.parameters()))
    figures = measure_cifar(run, random_images(16, 1), still, attacked=8)
    assert figures["share_dominant"] == figures["share_dominant_control"] == 1.0
    assert figures["cos_clean_adv"] == pytest.approx(1.0, abs=1e-5)
    assert figures["cos_init_clean"] == pytest.approx(figures["cos_init_adv"])


@pytest.mark.parametrize("change", [{"name": "other"}, {"flip": False}, {"shift": 0}])
def test_other_images_do_not_read_the_checkpoints(change, cache, no_batches):
    data = random_images(64, 0)
    run_cifar(TINY, data, 0, progress=False)
    no_batches()
    with pytest.raises(RuntimeError, match="a training step is made"):
        run_cifar(TINY, dataclasses.replace(data, **change), 0, progress=False)
