import copy
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fpcore import attacks
from fpcore.attacks import along, fgm, pgd, robust_accuracy, robust_correct, transfer
from fpcore.ball import Ball, finite_rows
from fpcore.gradients import loss_alone, loss_and_grad, margin
from fpcore.models.convnet import ConvNet
from fpcore.models.outputs import accuracy, correct, loss
from fpcore.models.two_layer import TwoLayer

NORMS, BOX = ("l2", "linf"), (0.0, 1.0)
norms = st.sampled_from(NORMS)
radii = st.one_of(st.just(0.0), st.floats(1e-3, 10))
boxes = st.sampled_from([None, BOX])
seeds = st.integers(0, 10**6)
shapes = st.sampled_from([(5,), (3, 4, 4)])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(seed, *shape):
    return torch.randn(shape, generator=rng(seed))


def size(delta, norm):
    return delta.flatten(1).norm(dim=1) if norm == "l2" else delta.flatten(1).abs().amax(1)


def linear(d=12, seed=0):
    """A network without threshold, f(x) = <w, x>, and w."""
    net = TwoLayer(d, 5, threshold=0.0, init_norm=2.0, rng=rng(seed))
    return net, net.weight.detach().sum(0)


def inside(adversarial, x, ball):
    """Whether all samples keep to the ball and its box."""
    boxed = ball.box is None or bool(((adversarial >= -1e-6) & (adversarial <= 1 + 1e-6)).all())
    return boxed and size(adversarial - x, ball.norm).max() <= ball.radius + 1e-6


@pytest.fixture(scope="module")
def broken(sparse, planted):
    """A network with a dense part, which attacks break now and then, and samples for it."""
    return planted(dense=2.0, noise=0.1), *sparse.test_set(200, seed=1)


@pytest.fixture
def images():
    """A ConvNet of mixed modes, gradients, frozen parameters; images, labelled as it has them."""
    torch.manual_seed(0)
    net, x = ConvNet(1 / 8), torch.rand(24, 3, 32, 32)
    net.train()
    loss(net(x), torch.zeros(24, dtype=torch.long)).mean().backward()
    net.bn2.eval()
    net.conv3.weight.requires_grad_(False)
    net.conv3.weight.grad = None
    with torch.no_grad():
        y = copy.deepcopy(net).eval()(x).argmax(1)
    return net, x, y


@given(norms, radii, boxes, seeds, shapes, st.floats(1e-6, 1e6))
def test_a_projection_lies_in_the_ball_and_in_the_box(norm, radius, box, seed, shape, scale):
    ball, x = Ball(norm, radius, box), torch.rand((6, *shape), generator=rng(seed))
    delta = ball.project(scale * normal(seed + 1, 6, *shape), x)
    assert (ball.size(delta) <= radius * (1 + 1e-5) + 1e-6).all()
    torch.testing.assert_close(ball.size(delta), size(delta, norm))
    if box:
        assert (x + delta >= -1e-6).all() and (x + delta <= 1 + 1e-6).all()


@given(norms, radii, boxes, seeds, st.floats(1e-3, 1e3))
def test_projecting_twice_is_projecting_once(norm, radius, box, seed, scale):
    ball, x = Ball(norm, radius, box), torch.rand((6, 8), generator=rng(seed))
    once = ball.project(scale * normal(seed + 1, 6, 8), x)
    torch.testing.assert_close(ball.project(once, x), once, rtol=1e-5, atol=1e-6)


@given(norms, seeds)
def test_what_lies_in_the_ball_stays(norm, seed):
    delta = normal(seed, 6, 8)
    ball = Ball(norm, size(delta, norm).max().item() * 1.001)
    torch.testing.assert_close(ball.project(delta, torch.zeros(6, 8)), delta)


@given(norms, seeds)
def test_no_point_of_the_ball_is_nearer_than_the_projection(norm, seed):
    ball, x, delta = Ball(norm, 0.7), torch.zeros(50, 4), normal(seed, 1, 4).expand(50, 4)
    projected, other = ball.project(delta, x), ball.random(x, rng(seed))
    assert ((projected - delta).norm(dim=1) <= (other - delta).norm(dim=1) + 1e-6).all()


@given(norms, seeds, shapes, st.floats(1e-15, 1e15))
def test_the_steepest_direction_has_unit_norm_and_rises_most(norm, seed, shape, scale):
    ball, grad = Ball(norm, 1.0), normal(seed, 6, *shape)
    step = ball.steepest(scale * grad)
    torch.testing.assert_close(ball.size(step), torch.ones(6), rtol=1e-4, atol=0)
    rise = (grad * step).flatten(1).sum(1)
    dual = grad.flatten(1).norm(dim=1) if norm == "l2" else grad.flatten(1).abs().sum(1)
    torch.testing.assert_close(rise, dual, rtol=1e-4, atol=1e-5)
    other = ball.random(grad, rng(seed))
    assert ((grad * other).flatten(1).sum(1) <= rise + 1e-4).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_direction_of_no_gradient_is_zero(norm):
    assert torch.equal(Ball(norm, 1.0).steepest(torch.zeros(2, 3)), torch.zeros(2, 3))


@given(norms, radii, seeds, shapes)
def test_random_points_lie_in_the_ball_and_are_seeded(norm, radius, seed, shape):
    ball, x = Ball(norm, radius), torch.zeros(40, *shape)
    points = ball.random(x, rng(seed))
    assert points.shape == x.shape and (ball.size(points) <= radius * (1 + 1e-5)).all()
    assert torch.equal(points, ball.random(x, rng(seed)))


def test_random_points_are_uniform_in_the_ball():
    x = torch.zeros(4000, 3)
    points = Ball("l2", 2.0).random(x, rng())
    assert stats.kstest(((points.norm(dim=1) / 2) ** 3).numpy(), "uniform").pvalue > 1e-3
    assert (points.mean(0).abs() < 5 * 2 / math.sqrt(5 * 4000)).all()
    cube = Ball("linf", 2.0).random(x, rng())
    assert stats.kstest((cube.flatten().numpy() + 2) / 4, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("radius", [-0.1, math.nan, math.inf, None, "0.1"])
def test_a_bad_radius_is_named(radius):
    with pytest.raises(ValueError) as error:
        Ball("l2", radius)
    assert f"radius = {radius!r}" in str(error.value)
    with pytest.raises(ValueError, match="radius = "):
        along(torch.ones(3) / 3**0.5, radius)


def test_a_direction_that_is_no_unit_vector_is_named():
    with pytest.raises(ValueError, match=r"\|direction\| = 2: give a unit vector"):
        along(torch.ones(4), 0.1)


@pytest.mark.parametrize("attack", [fgm, pgd, robust_correct])
def test_images_outside_the_box_and_labels_of_another_shape_are_refused(attack, images):
    net, x, y = images
    with pytest.raises(ValueError, match=r"x spans 0.* to 25.*box = \(0.0, 1.0\)"):
        attack(net, 255 * x, y, Ball("linf", 8 / 255, BOX))
    with pytest.raises(ValueError, match=r"x spans nan"):
        attack(net, x * math.nan, y, Ball("linf", 8 / 255, BOX))
    with pytest.raises(ValueError, match=r"y is \(24, 1\): give one label a sample, \(24,\)"):
        attack(net, x, y[:, None], Ball("l2", 0.1))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_random_point_and_a_step_have_the_dtype_of_the_input(norm, dtype):
    ball, x = Ball(norm, 0.1), torch.ones(4, 12, dtype=dtype)
    assert ball.random(x, rng()).dtype == dtype
    grad = torch.cat([torch.zeros(2, 12), torch.ones(2, 12)]).to(dtype)
    for delta in (ball.steepest(grad), Ball(norm, 0.0).project(grad, x)):
        assert delta.dtype == dtype and delta.isfinite().all()


def test_an_empty_batch_stays_empty(images):
    net, x, y = images
    ball = Ball("l2", 0.1, BOX)
    x, y = x[:0], y[:0]
    assert fgm(net, x, y, ball).shape == x.shape
    assert pgd(net, x, y, ball, restarts=2, stop=False).shape == x.shape
    assert robust_correct(net, x, y, ball).shape == (0,)


def test_an_unknown_norm_is_named():
    with pytest.raises(ValueError, match="norm = 'l1': choose one of 'l2', 'linf'"):
        Ball("l1", 0.1)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"steps": 0}, "steps = 0"),
        ({"restarts": 0}, "restarts = 0"),
        ({"step_size": math.nan}, "step_size = nan"),
    ],
)
def test_bad_options_of_pgd_are_named(options, named):
    net, _ = linear()
    with pytest.raises(ValueError, match=named):
        pgd(net, torch.zeros(1, 12), torch.ones(1), Ball("l2", 0.1), **options)


def every_attack(net, x, y, ball):
    yield fgm(net, x, y, ball)
    yield pgd(net, x, y, ball, steps=5, restarts=2, rng=rng())
    yield pgd(net, x, y, ball, steps=2, step_size=3 * ball.radius)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [0.01, 0.3, 2.0])
def test_attacks_keep_to_the_ball(norm, radius, broken):
    net, x, y = broken
    ball = Ball(norm, radius)
    for adversarial in every_attack(net, x, y, ball):
        assert adversarial.shape == x.shape and not adversarial.requires_grad
        assert inside(adversarial, x, ball)
        assert not torch.equal(adversarial, x)


@pytest.mark.parametrize(("norm", "radius"), [("l2", 2.0), ("linf", 0.1)])
def test_attacks_keep_to_the_box(norm, radius, images):
    net, x, y = images
    ball = Ball(norm, radius, BOX)
    for adversarial in every_attack(net, x, y, ball):
        assert inside(adversarial, x, ball)
        assert not torch.equal(adversarial, x)


@pytest.mark.parametrize("norm", NORMS)
def test_radius_zero_is_the_identity(norm, broken, images):
    net, x, y = broken
    for adversarial in every_attack(net, x, y, Ball(norm, 0.0)):
        assert torch.equal(adversarial, x)
    assert torch.equal(along(x[0] / x[0].norm(), 0.0)(net, x, y), x)
    net, x, y = images
    for adversarial in every_attack(net, x, y, Ball(norm, 0.0, BOX)):
        torch.testing.assert_close(adversarial, x, rtol=0, atol=1e-6)


@given(seeds, st.floats(0.01, 3))
def test_fgm_has_its_closed_form_on_a_linear_model(seed, radius):
    net, w = linear(seed=seed)
    x = normal(seed, 9, 12)
    y = normal(seed + 1, 9).sign()
    l2, linf = (fgm(net, x, y, Ball(norm, radius)) for norm in NORMS)
    torch.testing.assert_close(l2, x - radius * y[:, None] * w / w.norm(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(linf, x - radius * y[:, None] * w.sign(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("share", [1.0, 2.0**-10, 2.0**-22, 2.0**-23])
def test_a_gradient_however_small_leads_to_the_sphere_in_every_type(norm, dtype, share):
    """In float16 a step over such a gradient's length is an infinity; that is no fault of it."""
    w = share * normal(0, 12).sign()
    net = torch.nn.Linear(12, 2, bias=False)
    net.weight.data = torch.stack([w, -w])
    x, y = normal(1, 6, 12).to(dtype), torch.zeros(6, dtype=torch.long)
    radius = 4.0 * 12**0.5 if norm == "l2" else 4.0
    attack = fgm(net.to(dtype), x, y, Ball(norm, radius))
    slack = 8 * torch.finfo(dtype).eps
    expected = x.double() - 4 * w.sign().double()
    torch.testing.assert_close(attack.double(), expected, rtol=slack, atol=8 * slack)
    # pgd stops at a wrong one; none has to be, in a small ball
    moved = pgd(net, x, y, Ball(norm, radius / 8), steps=3, stop=False)
    torch.testing.assert_close(
        moved.double(), x - w.sign().double() / 2, rtol=slack, atol=8 * slack
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_differences_of_large_scores_in_float16_are_no_infinity(sign):
    net = torch.nn.Linear(1, 2, bias=False).half()
    net.weight.data = sign * torch.tensor([[1.0], [-1.0]]).half()
    x, y = torch.full((3, 1), 5e4).half(), torch.zeros(3, dtype=torch.long)
    for rise in (None, margin):
        _, values, grad = loss_and_grad(net, x, y, rise)
        torch.testing.assert_close(values, torch.full((3,), -sign * 1e5), rtol=1e-3, atol=0)
        assert torch.equal(loss_alone(net, x, y, rise)[1], values) and grad.isfinite().all()


@given(norms, seeds, st.floats(0.01, 1))
def test_pgd_reaches_the_exact_worst_case_of_a_linear_model(norm, seed, radius):
    net, w = linear(seed=seed)
    x = normal(seed, 60, 12)
    y = net(x).detach().sign()
    clean, reach = y * net(x).detach(), radius * (w.norm() if norm == "l2" else w.abs().sum())
    ball = Ball(norm, radius)
    attacked = y * net(pgd(net, x, y, ball, steps=10)).detach()
    alive = attacked > 0
    torch.testing.assert_close(attacked[alive], (clean - reach)[alive], rtol=1e-3, atol=1e-4)
    settled = (clean - reach).abs() > 1e-4
    assert torch.equal(alive[settled], (clean > reach)[settled])
    survived = robust_correct(net, x, y, ball, steps=10, restarts=1)
    assert torch.equal(survived[settled], (clean > reach)[settled])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("step_size", [None, 0.5])
def test_pgd_breaks_a_sample_or_its_loss_does_not_fall(norm, step_size, broken, images):
    for (net, x, y), radius in ((broken, 0.1), (images, 0.02)):
        ball = Ball(norm, radius if norm == "l2" else radius / math.sqrt(x[0].numel()))
        adversarial = pgd(net, x, y, ball, steps=6, restarts=2, step_size=step_size, rng=rng())
        net = copy.deepcopy(net).eval()
        with torch.no_grad():
            before, after = loss(net(x), y), loss(net(adversarial), y)
            alive = correct(net(adversarial), y)
        rise = (after - before)[alive]
        assert (rise >= -1e-6).all() and (rise > 1e-4).any()
        if y.is_floating_point():
            assert (after >= before - 1e-6).all()


def test_pgd_leaves_broken_samples_alone(broken):
    net, x, y = broken
    wrong = ~correct(net(x), -y)
    adversarial = pgd(net, x, -y, Ball("l2", 0.3), steps=3)
    assert wrong.any() and torch.equal(adversarial[wrong], x[wrong])


def test_more_restarts_never_save_a_sample(broken):
    net, x, y = broken
    ball = Ball("l2", 0.15)
    found = [pgd(net, x, y, ball, 3, restarts, rng=rng(1)) for restarts in (1, 2, 5)]
    alive = [correct(net(adversarial), y) for adversarial in found]
    for few, many in itertools.pairwise(alive):
        assert not (many & ~few).any()
    assert 0 < alive[0].sum() < len(x)


def test_restarts_start_at_random_points_of_the_ball():
    class Valley(torch.nn.Module):
        """Flat at the origin, and broken away from it: only a random start finds a way out."""

        def forward(self, x):
            return 1 - 4 * (x.norm(dim=1) - 0.1).clamp(min=0)

    x, y, ball = torch.zeros(20, 3), torch.ones(20), Ball("l2", 0.5)
    assert correct(Valley()(pgd(Valley(), x, y, ball, steps=5)), y).all()
    assert not correct(Valley()(pgd(Valley(), x, y, ball, steps=5, restarts=3, rng=rng())), y).any()


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_of_one_full_step_is_fgm(norm):
    net, _ = linear()
    x = normal(0, 20, 12)
    y = net(x).detach().sign()
    ball = Ball(norm, 0.2)
    torch.testing.assert_close(pgd(net, x, y, ball, steps=1, step_size=0.2), fgm(net, x, y, ball))


def test_pgd_returns_the_worst_point_that_it_met():
    class Bowl(torch.nn.Module):
        """The margin falls at the origin, and is larger one step on."""

        def forward(self, x):
            return 2 - 4 * x[:, 0] + 6 * x[:, 0] ** 2

    x, y = torch.zeros(1, 1), torch.ones(1)
    assert torch.equal(pgd(Bowl(), x, y, Ball("l2", 1.0), steps=1, step_size=1.0), x)
    assert pgd(Bowl(), x, y, Ball("l2", 1.0), steps=2, step_size=0.3) == pytest.approx(0.3)


def test_pgd_prefers_a_broken_sample_to_a_large_loss():
    class Crossing(torch.nn.Module):
        """Three classes, all likely at the origin; one step on the first is wrong, but likelier."""

        def forward(self, x):
            u = x[:, 0]
            second, third = 0.05 * u - 0.01, -10 * torch.relu(u - 0.3) - 0.02
            return torch.stack([torch.zeros_like(u), second, third], 1)

    net, x, y = Crossing(), torch.zeros(1, 1), torch.zeros(1, dtype=torch.long)
    adversarial = pgd(net, x, y, Ball("l2", 1.0), steps=1, step_size=1.0)
    assert loss(net(adversarial), y) < loss(net(x), y)
    assert correct(net(x), y) and not correct(net(adversarial), y)


@pytest.mark.parametrize("norm", NORMS)
def test_without_stopping_the_boundary_is_crossed_and_the_radius_used_up(norm, sparse, planted):
    net, ball = planted(), Ball(norm, 0.3)
    x, y = sparse.test_set(50, seed=3)
    wrong = -y  # all broken to begin with
    assert torch.equal(pgd(net, x, wrong, ball, steps=4), x)
    far = pgd(net, x, wrong, ball, steps=4, stop=False)
    assert (ball.size(far - x) > 0.29).float().mean() > 0.9
    assert (loss(net(far), wrong) >= loss(net(x), wrong) - 1e-6).all()


def test_a_transferred_attack_is_made_on_the_source_and_does_not_stop_at_its_boundary(
    broken, planted
):
    net, x, y = broken
    ball = Ball("l2", 0.5)
    attack = transfer(net, ball, steps=5)
    assert torch.equal(attack(planted(), x, y), attack(None, x, y))
    assert torch.equal(attack(None, x, y), pgd(net, x, y, ball, steps=5, stop=False))
    stopped = ball.size(pgd(net, x, y, ball, steps=5) - x)
    assert (ball.size(attack(None, x, y) - x) > stopped + 0.05).any()


def snapshot(net):
    """All that an attack must leave as it is."""
    return (
        {k: v.clone() for k, v in net.state_dict().items()},
        [m.training for m in net.modules()],
        [p.requires_grad for p in net.parameters()],
        [None if p.grad is None else p.grad.clone() for p in net.parameters()],
    )


@pytest.mark.parametrize(
    "attack",
    [
        lambda net, x, y, ball: fgm(net, x, y, ball),
        lambda net, x, y, ball: pgd(net, x, y, ball, steps=3, restarts=2, rng=rng()),
        lambda net, x, y, ball: robust_correct(net, x, y, ball, steps=3, restarts=2, rng=rng()),
    ],
    ids=["fgm", "pgd", "robust_correct"],
)
def test_attacks_leave_the_model_and_its_input_as_they_are(attack, images):
    net, x, y = images
    (state, *rest), original = snapshot(net), x.clone()
    assert set(rest[0]) == {True, False} and any(g is not None for g in rest[2])
    attack(net, x, y, Ball("l2", 0.5, BOX))
    state_after, *rest_after = snapshot(net)
    assert all(torch.equal(state[k], state_after[k]) for k in state)
    assert rest_after[:2] == rest[:2]
    for before, after in zip(rest[2], rest_after[2]):
        assert (before is None and after is None) or torch.equal(before, after)
    assert torch.equal(x, original) and x.grad is None and not x.requires_grad


def test_an_exception_within_an_attack_puts_the_modes_back(images):
    net, x, y = images
    before = [m.training for m in net.modules()]

    def fail(*_):
        if torch.is_grad_enabled():  # not while it is tried out
            raise RuntimeError("within")

    net.linear.register_forward_hook(fail)
    for attack in (fgm, pgd, robust_correct):
        with pytest.raises(RuntimeError, match="within"):
            attack(net, x, y, Ball("l2", 0.5))
        assert [m.training for m in net.modules()] == before


def test_attacks_see_the_model_in_evaluation_mode(images):
    net, x, y = images
    still, ball = copy.deepcopy(net).eval(), Ball("l2", 0.3, BOX)
    assert torch.equal(fgm(net, x, y, ball), fgm(still, x, y, ball))
    assert torch.equal(pgd(net, x, y, ball, steps=3), pgd(still, x, y, ball, steps=3))
    assert torch.equal(*(robust_correct(n, x, y, ball, steps=3, restarts=1) for n in (net, still)))


def test_attacks_work_without_gradients_switched_on(broken):
    net, x, y = broken
    ball = Ball("l2", 0.2)
    with torch.no_grad():
        one, many = fgm(net, x, y, ball), pgd(net, x, y, ball, steps=3)
        assert not torch.is_grad_enabled()
    assert torch.equal(one, fgm(net, x, y, ball))
    assert torch.equal(many, pgd(net, x, y, ball, steps=3))
    assert torch.is_grad_enabled()


def test_along_moves_against_the_label(sparse, broken):
    net, x, y = broken
    moved = along(sparse.u_star, 0.3)(net, x, y)
    torch.testing.assert_close(moved - x, -0.3 * y[:, None] * sparse.u_star, rtol=1e-4, atol=1e-6)


def test_robust_accuracy_falls_with_the_radius_from_the_clean_accuracy(broken):
    net, x, y = broken
    clean = correct(net(x), y)
    balls = [Ball("l2", radius) for radius in (0.0, 0.1, 0.2, 0.4)]
    survived = [robust_correct(net, x, y, ball, steps=5, restarts=1) for ball in balls]
    assert torch.equal(survived[0], clean)
    assert all((s <= clean).all() for s in survived)
    shares = [s.float().mean().item() for s in survived]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0.9 and shares[-1] < 0.1


def test_robust_correct_takes_the_worst_of_its_attacks(broken, monkeypatch):
    net, x, y = broken
    ball = Ball("l2", 0.2)
    worst = robust_correct(net, x, y, ball, restarts=1)
    for attack in (fgm, pgd):
        assert not (worst & ~correct(net(attack(net, x, y, ball)), y)).any()
    monkeypatch.setattr(attacks, "fgm", lambda _, x, *args: x)
    everything = torch.ones(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.bool)
    monkeypatch.setattr(attacks, "withstand", lambda _, x, *args: [a[: len(x)] for a in everything])

    def flip_the_positive(_, x, y):
        return torch.where(y[:, None] > 0, -x, x)

    flipped = robust_correct(net, x, y, Ball("l2", 99), extra=(flip_the_positive,))
    assert not flipped[y > 0].any() and flipped[y < 0].any()
    nothing = [*reversed(everything)]
    monkeypatch.setattr(attacks, "withstand", lambda _, x, *args: [a[: len(x)] for a in nothing])
    assert not robust_correct(net, x, y, Ball("l2", 0.01)).any()
    monkeypatch.undo()
    monkeypatch.setattr(attacks, "fgm", lambda _, x, *args: -x)
    assert not robust_correct(net, x, y, Ball("l2", 0.01), steps=1).any()


def textbook(net, x, y):
    """An attack as a user writes it: it calls the network, and asks for the gradient."""
    moved = x.clone().requires_grad_()
    loss(net(moved), y).sum().backward()
    return moved + 0.5 * moved.grad / moved.grad.flatten(1).norm(dim=1)[:, None, None, None]


def test_an_extra_attack_has_gradients_and_the_model_in_evaluation_mode(images):
    net, x, y = images
    before = copy.deepcopy(net.state_dict())
    survived = robust_correct(net, x, y, Ball("l2", 0.5), steps=1, restarts=1, extra=(textbook,))
    assert not survived.requires_grad
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("ball", "says"),
    [
        (Ball("l2", 0.3), "moved x by 0.5: give one of radius 0.3"),
        (Ball("linf", 1.0, (-9, 0.2)), r"spans .* box = \(-9, 0.2\)"),
    ],
)
def test_an_extra_attack_that_leaves_the_ball_is_an_error(ball, says, broken, monkeypatch):
    net, x, y = broken
    monkeypatch.setattr(attacks, "fgm", lambda _, a, *rest: a)
    x, step = x.clamp(max=0.2), 0.5 * torch.eye(x.shape[1])[0]
    options = {"steps": 1, "restarts": 1, "extra": (lambda _, a, b: a + step,)}
    assert robust_correct(net, x, y, Ball("l2", 0.5), **options).shape == y.shape
    with pytest.raises(ValueError, match=says):
        robust_correct(net, x, y, ball, **options)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_robust_correct_does_not_depend_on_the_chunk(chunk, broken):
    net, x, y = (part[:30] if torch.is_tensor(part) else part for part in broken)
    survived = robust_correct(net, x, y, Ball("l2", 0.15), steps=4, restarts=1, chunk=chunk)
    assert torch.equal(survived, robust_correct(net, x, y, Ball("l2", 0.15), steps=4, restarts=1))
    assert 0 < survived.sum() < 30


@pytest.mark.parametrize("scale", [1e-3, 10.0, 1000.0])
def test_scaling_the_weights_does_not_hide_a_network_from_attacks(scale, broken):
    net, x, y = broken
    scaled, ball = copy.deepcopy(net), Ball("l2", 0.2)
    with torch.no_grad():
        scaled.weight.mul_(scale)
    shares = [robust_accuracy(n, x, y, ball, steps=5, restarts=1) for n in (net, scaled)]
    assert abs(shares[0] - shares[1]) <= 0.02
    assert 0.1 < shares[0] < 0.8


@pytest.mark.parametrize("scale", [100.0, 1e5])
def test_scaling_the_class_scores_does_not_hide_a_convnet_from_attacks(scale, images):
    net, x, y = images
    scaled, ball = copy.deepcopy(net), Ball("l2", 0.4, BOX)
    with torch.no_grad():
        scaled.linear.weight.mul_(scale)
        scaled.linear.bias.mul_(scale)
    shares = [robust_accuracy(n, x, y, ball, steps=5, restarts=1) for n in (net, scaled)]
    assert shares[1] <= shares[0] + 0.1 and 0 < shares[0] < 0.8


@pytest.mark.parametrize(
    ("net", "x", "y", "named"),
    [
        # 0 and 1 in place of -1 and +1
        (TwoLayer(6, 5), torch.rand(8, 6), torch.arange(8) // 4 * 1.0, r"\[0.0\]"),
        (ConvNet(1 / 8), torch.rand(8, 3, 32, 32), torch.arange(8) + 3, "classes 3 to 10"),
    ],
    ids=["one logit", "class scores"],
)
def test_labels_that_no_output_has_are_an_error_and_not_a_low_accuracy(net, x, y, named):
    with pytest.raises(ValueError, match=named):
        robust_correct(net, x, y, Ball("l2", 0.1, BOX))
    with pytest.raises(ValueError, match=named):
        accuracy(net, x, y)


def test_pgd_computes_no_gradient_that_nobody_reads(monkeypatch):
    calls, gradient = [], attacks.loss_and_grad

    def counted(*given):
        calls.append(1)
        return gradient(*given)

    monkeypatch.setattr(attacks, "loss_and_grad", counted)
    net, x = ConvNet(1 / 8), torch.rand(4, 3, 32, 32, generator=rng(1))
    ball = Ball("l2", 0.1, BOX)
    pgd(net, x, torch.arange(4), ball, steps=5, restarts=2, stop=False, rng=rng())
    assert len(calls) == 10


class Rooted(torch.nn.Module):
    """One logit, sqrt|x_0| + 1: at 0 it has no gradient."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * (x[:, 0].abs().sqrt() + 1) + x[:, 1]


@pytest.mark.parametrize("norm", NORMS)
def test_a_gradient_that_is_not_a_number_breaks_no_sample_and_is_said(norm):
    net, x, y, ball = Rooted(), torch.zeros(6, 3), torch.ones(6), Ball(norm, 0.1)
    x[4:, 0] = 1.0
    for attack in (fgm, pgd):
        with pytest.warns(attacks.GradientWarning, match="for 4 of 6 samples") as said:
            moved = attack(net, x, y, ball)
        assert len(said) == 1 and moved.isfinite().all()
        assert torch.equal(moved[:4], x[:4]) and (moved[4:] != x[4:]).any(1).all()
    with pytest.warns(attacks.GradientWarning, match=r"4 of 6 .* may be too high") as said:
        survived = robust_correct(net, x, y, ball, steps=3, restarts=1, chunk=2)
    assert len(said) == 1 and survived.all()
    assert robust_correct(net, x, y, Ball(norm, 0.0), steps=3, restarts=2).all()


def test_an_output_that_is_not_a_number_is_no_success_of_an_attack():
    class Undefined(torch.nn.Module):
        """sqrt(x) + 1, which is no number to the left of 0, where the gradient leads."""

        def forward(self, x):
            return x[:, 0].sqrt() + 1

    x, y, ball = torch.full((3, 1), 0.01), torch.ones(3), Ball("l2", 0.5)
    with pytest.warns(attacks.GradientWarning, match="for 3 of 3 samples"):
        moved = pgd(Undefined(), x, y, ball, steps=2)
    assert Undefined()(moved).isfinite().all()
    with pytest.warns(attacks.GradientWarning, match="for 3 of 3 samples"):
        assert robust_correct(Undefined(), x, y, ball, steps=2, restarts=1).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_direction_of_a_gradient_that_is_not_finite_is_zero(norm):
    grad = torch.tensor([[math.nan, 1.0], [math.inf, 0.0], [3.0, 4.0]])
    direction = Ball(norm, 1.0).steepest(grad)
    assert not direction[:2].any() and direction[2].all()


def test_attacks_work_in_inference_mode(broken):
    net, x, y = broken
    ball, options = Ball("l2", 0.2), {"steps": 3, "restarts": 2}

    def extra(model, a, b):
        a = a.clone().requires_grad_()
        (grad,) = torch.autograd.grad(loss(model(a), b).sum(), a)
        return (a + 0.1 * Ball("l2", 0.1).steepest(grad)).detach()

    def all_of_them(x, y):
        yield fgm(net, x, y, ball)
        yield pgd(net, x, y, ball, **options, rng=rng())
        yield robust_correct(net, x, y, ball, **options, rng=rng(), extra=(extra,))

    expected = [*all_of_them(x, y)]
    with torch.inference_mode():
        found = [*all_of_them(x, y), *all_of_them(x.clone(), y.clone())]
        copied = x.clone(), y.clone()
    found += all_of_them(*copied)
    assert all(torch.equal(a, b) for a, b in zip(found, expected * 3))


@pytest.mark.parametrize("attack", [fgm, pgd, robust_correct])
def test_a_model_made_in_inference_mode_is_refused(attack):
    with torch.inference_mode():
        net = TwoLayer(4, 3)
    with pytest.raises(ValueError, match=r"weight was made under torch.inference_mode\(\)"):
        attack(net, torch.ones(2, 4), torch.ones(2), Ball("l2", 0.1))


@pytest.mark.parametrize(
    "box",
    [(0.0, math.inf), (-math.inf, math.inf), (math.nan, 1.0), (1.0,), 1.0, (None, 1.0), (1, 0)],
)
def test_a_box_of_other_than_two_numbers_in_order_is_named(box):
    with pytest.raises(ValueError, match="box = "):
        Ball("l2", 0.1, box)


@given(norms, radii, boxes, seeds, shapes, st.floats(1e-20, 1e20))
def test_a_step_in_few_passes_is_the_step_of_its_definition(norm, radius, box, seed, shape, scale):
    ball, x = Ball(norm, radius, box), torch.rand((6, *shape), generator=rng(seed))
    at = x + ball.project(normal(seed + 1, 6, *shape), x)
    grad = scale * normal(seed + 2, 6, *shape)
    grad[0], grad[1, 0], grad[2, 0] = 0, math.nan, math.inf
    moved, finite = ball.step(at, grad, x, 0.4)
    expected = x + ball.project(at - x + 0.4 * ball.steepest(grad), x)
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5 * max(1.0, radius))
    assert finite.tolist() == [True, False, False, True, True, True]
    within, again = ball.step(at, grad, x, 0.4, out=grad)  # not all finite: it is still read
    assert torch.equal(within, moved) and torch.equal(again, finite)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_step_may_be_written_where_its_gradient_is(norm):
    ball, x, grad = Ball(norm, 0.3), normal(0, 6, 5), normal(1, 6, 5)
    moved, finite = ball.step(x, grad, x, 0.3)
    within, again = ball.step(x, grad, x, 0.3, out=grad)
    assert within.data_ptr() == grad.data_ptr()
    assert torch.equal(within, moved) and finite.all() and again.all()
    for other in (torch.empty(6, 5).half(), torch.empty(3)):  # not of its type or shape: not used
        elsewhere, _ = ball.step(x, normal(1, 6, 5), x, 0.3, out=other)
        assert torch.equal(elsewhere, moved)


def test_directions_are_computed_under_a_transform():
    grad = normal(0, 2, 3, 4)
    each = torch.func.vmap(Ball("l2", 0.3).steepest)(grad)
    torch.testing.assert_close(each, torch.stack([Ball("l2", 0.3).steepest(g) for g in grad]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rows_of_finite_numbers_are_told_from_others(dtype):
    most = torch.finfo(dtype).max
    rows = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=dtype)
    assert finite_rows(rows).tolist() == [True, True]
    rows = torch.tensor([[most, most], [-most, most], [1, 1]], dtype=dtype)  # their sum overflows
    assert finite_rows(rows).tolist() == [True, True, True]
    bad = [[math.inf, 1], [-math.inf, math.inf], [math.nan, 0], [most, most]]
    assert finite_rows(torch.tensor(bad, dtype=dtype)).tolist() == [False, False, False, True]
