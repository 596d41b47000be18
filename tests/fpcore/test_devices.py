"""The same on a GPU as on the CPU: data, steps, attacks, certificates; skipped where there is none.

FPCORE_TEST_DEVICE=cpu compares the CPU with itself: so the tests are tried without a GPU as well.
"""

import copy
import os

import pytest
import torch

import fpcore as fp

DEVICE = torch.device(os.environ.get("FPCORE_TEST_DEVICE", "cuda"))
HERE = torch.device("cpu")
BALL = fp.Ball("l2", 0.5, (0.0, 1.0))
pytestmark = pytest.mark.skipif(
    DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="no CUDA device is here"
)


@pytest.fixture(autouse=True)
def exact():
    """Products in full float32, on both."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    yield
    for place, value in zip(places, before):
        place.allow_tf32 = value


def pair(net):
    """The same network on the CPU and on the device."""
    return net, copy.deepcopy(net).to(DEVICE)


def images(n=16):
    rng = torch.Generator().manual_seed(0)
    return torch.rand(n, 3, 32, 32, generator=rng), torch.arange(n) % 10


def test_the_features_are_the_same_and_the_samples_have_the_same_law():
    here, there = (fp.SparseCoding(64, 8, margin=1.5, device=one) for one in (HERE, DEVICE))
    torch.testing.assert_close(there.features.cpu(), here.features)
    x, y = there.test_set(4000, 0)
    scores = x.double() @ there.u_star.double() * 8
    assert (scores.sign() == y).float().mean() > 0.99  # a margin of 1.5, a noise of 0.2
    assert x.norm(dim=1).square().mean().item() == pytest.approx(
        here.test_set(4000, 0)[0].norm(dim=1).square().mean().item(), rel=0.05
    )


@pytest.mark.parametrize("radius", [0.0, 0.15])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_training_step_is_the_same(radius, momentum):
    rng = torch.Generator().manual_seed(1)
    data = fp.SparseCoding(64, 8, margin=1.5)
    batches = [data.batch(32, 0, step) for step in range(5)]
    one, other = pair(fp.TwoLayer(64, 96, 0.05, init_norm=0.5, rng=rng))
    config = fp.Training(
        steps=5, lr=1.0, momentum=momentum, radius=radius, weight_decay=1e-3, precision="float32"
    )
    fp.train(one, batches, config)
    fp.train(other, [(x.to(DEVICE), y.to(DEVICE)) for x, y in batches], config)
    torch.testing.assert_close(other.weight.cpu(), one.weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path, precision):
    data = fp.SparseCoding(64, 8, margin=1.5, device=DEVICE)
    start = fp.TwoLayer(64, 96, 0.05, rng=torch.Generator().manual_seed(1)).to(DEVICE)
    config = fp.Training(steps=8, lr=1.0, momentum=0.9, radius=0.1, precision=precision)
    whole, stopped = copy.deepcopy(start), copy.deepcopy(start)
    fp.train(whole, data, config)

    class Ended(Exception):
        pass

    class Ends:
        def batch(self, size, seed, step):
            if step == 5:
                raise Ended
            return data.batch(size, seed, step)

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Ended):
        fp.train(stopped, Ends(), config, every=4, checkpoint=path)
    again = copy.deepcopy(start)
    fp.train(again, data, config, every=4, checkpoint=path)
    torch.testing.assert_close(again.weight, whole.weight, rtol=1e-5, atol=1e-7)


def test_an_image_network_learns_in_the_device_s_own_arithmetic():
    x, y = images(32)
    data = fp.Images(x.to(DEVICE), y.to(DEVICE), "random", shift=0, flip=False)
    net = fp.ConvNet(0.5).to(DEVICE)
    config = fp.Training(steps=60, lr=0.05, batch=32, momentum=0.9, radius=0.1, box=(0.0, 1.0))
    history = fp.train(net, data, config, every=20)
    assert history[-1]["loss"] < 0.5 * history[1]["loss"]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_attacks_stay_in_ball_and_box_and_find_the_same(norm):
    x, y = images()
    one, other = pair(fp.ConvNet(0.25, 10).eval())
    ball = fp.Ball(norm, 0.5 if norm == "l2" else 8 / 255, (0.0, 1.0))
    for attack in (fp.fgm, lambda *a: fp.pgd(*a, steps=5, stop=False)):
        here = attack(one, x, y, ball)
        there = attack(other, x.to(DEVICE), y.to(DEVICE), ball).cpu()
        moved = (there - x).flatten(1)
        size = moved.norm(dim=1) if norm == "l2" else moved.abs().amax(1)
        assert (size <= ball.radius * (1 + 1e-5)).all()
        assert 0 <= there.min() <= there.max() <= 1
        losses = [fp.loss(one(v), y).mean().item() for v in (here, there)]
        assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_certificates_are_the_same_and_no_attack_breaks_one():
    data = fp.SparseCoding(64, 8, margin=1.5)
    x, y = data.test_set(200, 0)
    one, other = pair(fp.TwoLayer(64, 128, 0.2))
    rows = (data.features * data.w_star).T.repeat(2, 1)
    noise = 0.03 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(2))
    for net in (one, other):
        net.weight.data = (rows + noise).to(net.weight.device)
    a, b = x.to(DEVICE), y.to(DEVICE)
    for branches in (0, 20):
        here, there = fp.certify(one, x, y, 0.15, branches), fp.certify(other, a, b, 0.15, branches)
        assert (here.robust == there.robust.cpu()).float().mean() > 0.99
        if not branches:
            torch.testing.assert_close(there.margin.cpu(), here.margin, rtol=1e-4, atol=1e-5)
        stands = fp.robust_correct(other, a, b, fp.Ball("l2", 0.15), restarts=1)
        assert not (there.robust & ~stands).any()
        assert 0 < there.robust.float().mean() < 1 or branches


def test_the_decomposition_is_the_same():
    rng = torch.Generator().manual_seed(3)
    w, w_adv = torch.randn(2, 50, 40, generator=rng)
    here, there = fp.decompose(w, w_adv), fp.decompose(w.to(DEVICE), w_adv.to(DEVICE))
    for name in ("beta", "residual", "cos"):
        torch.testing.assert_close(getattr(there, name).cpu(), getattr(here, name))
