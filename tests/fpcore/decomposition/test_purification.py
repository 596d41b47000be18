import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpcore.decomposition.layers import decompose_layers, neurons
from fpcore.decomposition.purification import (
    chance_cosine,
    cosine,
    decompose,
    features,
    live,
    replaced,
    top_part,
)
from fpcore.models.convnet import ConvNet
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding

seeds = st.integers(0, 10**6)


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pair(seed, m=40, d=6):
    """Two matrices whose rows are correlated to every degree."""
    a, b = normal(seed, m, d), normal(seed + 1, m, d)
    return a, torch.linspace(-1, 1, m)[:, None] * a + 0.5 * b


@given(seeds)
def test_the_parts_add_up_and_the_residual_is_orthogonal(seed):
    w, w_adv = pair(seed)
    parts = decompose(w, w_adv)
    torch.testing.assert_close(parts.pure + parts.residual, w)
    torch.testing.assert_close(parts.pure, parts.beta[:, None] * w_adv)
    scale = (w.norm(dim=1) * w_adv.norm(dim=1)).max()
    assert (parts.residual * w_adv).sum(1).abs().max() < 1e-5 * scale
    squares = parts.pure.norm(dim=1) ** 2 + parts.residual.norm(dim=1) ** 2
    torch.testing.assert_close(squares, w.norm(dim=1) ** 2)


@given(seeds)
def test_beta_is_the_least_squares_scalar(seed):
    w, w_adv = pair(seed)
    parts = decompose(w, w_adv)
    for step in (-0.1, 0.1):
        other = w - (parts.beta + step)[:, None] * w_adv
        assert (other.norm(dim=1) >= parts.residual.norm(dim=1)).all()


@given(seeds)
def test_a_neuron_is_dominated_by_its_pure_part_iff_its_cosine_is_large(seed):
    parts = decompose(*pair(seed))
    settled = (parts.cos.abs() - math.sqrt(0.5)).abs() > 1e-4
    assert torch.equal(parts.dominant[settled], (parts.cos.abs() > math.sqrt(0.5))[settled])
    assert parts.dominant.any() and not parts.dominant.all()


@given(seeds, st.sampled_from([1e-10, 1e-3, -1.0, 7.0, 1e10]))
def test_the_parts_do_not_depend_on_the_size_of_the_adversarial_weights(seed, scale):
    w, w_adv = pair(seed)
    a, b = decompose(w, w_adv), decompose(w, scale * w_adv)
    torch.testing.assert_close(a.pure, b.pure, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(a.cos, math.copysign(1, scale) * b.cos, rtol=1e-4, atol=1e-5)
    settled = (a.cos.abs() - math.sqrt(0.5)).abs() > 1e-4
    assert torch.equal(a.dominant[settled], b.dominant[settled])


def test_a_purified_neuron_of_zero_explains_nothing():
    w = normal(0, 3, 5)
    parts = decompose(w, torch.zeros(3, 5))
    assert torch.equal(parts.residual, w) and not parts.pure.any() and not parts.beta.any()
    assert not parts.cos.any() and not parts.dominant.any()


def test_a_neuron_that_adversarial_training_only_scales_is_all_pure():
    w = normal(0, 3, 5)
    parts = decompose(w, -4 * w)
    torch.testing.assert_close(parts.beta, torch.full((3,), -0.25))
    torch.testing.assert_close(parts.cos, torch.full((3,), -1.0))
    assert parts.dominant.all() and parts.residual.abs().max() < 1e-6


@pytest.mark.parametrize("shapes", [((3, 5), (3, 4)), ((3, 5), (2, 5)), ((5,), (5,))])
def test_matrices_that_do_not_match_are_an_error(shapes):
    with pytest.raises(ValueError, match="two matrices of the same shape") as error:
        decompose(*(torch.ones(s) for s in shapes))
    assert all(str(s) in str(error.value) for s in shapes)


def test_of_filters_the_error_says_to_flatten_them():
    with pytest.raises(ValueError, match=r"same shape, w.flatten\(1\) and w_adv.flatten\(1\)"):
        decompose(torch.ones(2, 3, 5, 5), torch.ones(2, 3, 5, 5))


def test_the_cosine_is_that_of_the_rows():
    a = torch.tensor([[1.0, 0], [1, 1], [0, 0], [-2, 0]])
    b = torch.tensor([[0.0, 1], [1, 0], [1, 1], [5, 0]])
    torch.testing.assert_close(cosine(a, b), torch.tensor([0, math.sqrt(0.5), 0, -1]))


@pytest.mark.parametrize("d", [4, 64])
def test_the_chance_level_is_the_spread_of_random_cosines(d):
    cosines = cosine(normal(0, 20_000, d), normal(1, 20_000, d))
    assert cosines.std().item() == pytest.approx(chance_cosine(d), rel=0.03)


@pytest.mark.parametrize(("alpha", "c"), [(1.0, 0.0), (1.0, 0.3), (-2.0, 0.5), (0.4, -0.3)])
def test_planted_neurons_have_their_known_purity_and_dense_part(alpha, c, sparse):
    w = (alpha * sparse.features + c * sparse.u_star[:, None]).T
    held = features(w, sparse.features, sparse.u_star)
    root = math.sqrt(sparse.d)
    on_top = alpha + c * sparse.w_star / root
    norm = (alpha**2 + c**2 + 2 * alpha * c * sparse.w_star / root).sqrt()
    assert torch.equal(held.top, torch.arange(sparse.d))
    torch.testing.assert_close(held.norm, norm)
    torch.testing.assert_close(held.purity, on_top.abs() / norm)
    dense_part = abs(c) * (1 - 1 / sparse.d) / norm
    torch.testing.assert_close(held.dense_part, dense_part, rtol=1e-4, atol=1e-5)


def test_the_dense_direction_is_the_least_pure(sparse):
    held = features(sparse.u_star[None], sparse.features, sparse.u_star)
    assert held.purity.item() == pytest.approx(1 / math.sqrt(sparse.d), rel=1e-4)
    assert held.dense_part.item() == pytest.approx(1 - 1 / sparse.d, rel=1e-4)


@given(seeds, st.floats(1e-6, 1e6))
def test_purity_and_dense_part_keep_to_their_bounds_at_every_size(seed, scale):
    data = SparseCoding(16, 4, margin=1.0, seed=seed % 7)
    w = torch.cat([normal(seed, 20, 16), data.features.T, data.u_star[None]])
    held, scaled = (features(x, data.features, data.u_star) for x in (w, scale * w))
    assert held.purity.min() >= 1 / 4 - 1e-5 and held.purity.max() <= 1
    assert held.dense_part.min() >= 0 and ((held.purity**2 + held.dense_part**2) <= 1 + 1e-5).all()
    torch.testing.assert_close(held.purity, scaled.purity, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(held.dense_part, scaled.dense_part, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scaled.norm, scale * w.norm(dim=1), rtol=1e-4, atol=0)


def test_a_neuron_of_zero_has_finite_measures(sparse):
    held = features(torch.zeros(1, sparse.d), sparse.features, sparse.u_star)
    assert all(torch.isfinite(v).all() for v in (held.purity, held.dense_part, held.norm))


def test_neurons_are_rows_of_every_layer():
    net = ConvNet(1 / 4)
    found = neurons(net)
    assert {name: tuple(w.shape) for name, w in found.items()} == {
        "conv1": (8, 75),
        "conv2": (16, 72),
        "conv3": (24, 144),
        "conv4": (16, 216),
        "conv5": (16, 144),
        "linear": (10, 64),
    }
    assert torch.equal(found["conv2"][3], net.conv2.weight[3].flatten())
    assert not found["conv2"].requires_grad
    two = TwoLayer(5, 3)
    assert torch.equal(neurons(two)["hidden"], two.weight)


def test_layers_are_decomposed_one_by_one():
    clean, adversarial = ConvNet(1 / 8), ConvNet(1 / 8).to(memory_format=torch.channels_last)
    parts = decompose_layers(clean, adversarial)
    assert list(parts) == ["conv1", "conv2", "conv3", "conv4", "conv5", "linear"]
    for name, part in parts.items():
        expected = decompose(neurons(clean)[name], neurons(adversarial)[name])
        assert torch.equal(part.residual, expected.residual) and torch.equal(part.cos, expected.cos)
    assert all(part.dominant.all() for part in decompose_layers(clean, clean).values())


@pytest.mark.parametrize("other", [lambda: ConvNet(1 / 4), lambda: TwoLayer(4, 3)])
def test_networks_of_another_architecture_are_an_error(other):
    with pytest.raises(ValueError, match=r"same shape|same architecture"):
        decompose_layers(ConvNet(1 / 8), other())


def test_replacing_the_weights_leaves_the_original_alone(sparse, planted):
    net, other = planted(dense=0.5, threshold=0.3), planted(noise=0.3)
    before = net.weight.detach().clone()
    twin = replaced(net, other.weight)
    assert torch.equal(net.weight, before) and torch.equal(twin.weight, other.weight)
    assert twin.threshold == net.threshold and twin.weight.requires_grad
    with torch.no_grad():
        twin.weight.mul_(2)
    assert torch.equal(other.weight, planted(noise=0.3).weight) and torch.equal(net.weight, before)


def test_weights_of_another_shape_are_an_error(planted):
    with pytest.raises(ValueError, match=r"weight is \(3, 48\): give \(48, 48\)"):
        replaced(planted(), torch.zeros(3, 48))


def test_deleting_the_dense_component_makes_the_network_blind_to_it(sparse, planted):
    net = planted(dense=0.5, noise=0.3)
    w, u = net.weight.detach(), sparse.u_star
    cut = replaced(net, w - (w @ u)[:, None] * u)
    assert (cut.weight @ u).abs().max() < 1e-5
    x, _ = sparse.test_set(20, seed=0)
    torch.testing.assert_close(cut(x + 3 * u), cut(x), rtol=1e-3, atol=1e-4)


def test_the_top_part_is_the_projection_on_the_top_feature(sparse, planted):
    w = planted(dense=0.5, noise=0.3).weight.detach()
    part, held = top_part(w, sparse.features), features(w, sparse.features, sparse.u_star)
    alone = features(part, sparse.features, sparse.u_star)
    torch.testing.assert_close(alone.purity, torch.ones(48), rtol=1e-4, atol=0)
    assert torch.equal(alone.top, held.top) and alone.dense_part.max() < 1e-5
    torch.testing.assert_close(alone.norm, held.purity * held.norm)
    assert ((w - part) * part).sum(1).abs().max() < 1e-5
    pure = -2 * planted().weight.detach()
    torch.testing.assert_close(top_part(pure, sparse.features), pure, rtol=1e-4, atol=1e-5)


def test_live_neurons_have_a_norm_near_the_largest():
    net = TwoLayer(3, 4)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([2.0, 0.3, 0.1, 0.0])[:, None] * torch.eye(3)[0])
    assert live(net).tolist() == [True, True, False, False]
    assert live(net, share=0.01).tolist() == [True, True, True, False]


SCALES = [1e-36, 1e-30, 1e-25, 1e-18, 1e-10, 1.0, 1e10, 1e18, 1e19, 1e30, 1e36]
ANGLE = 1e-5  # what rounding in float32 leaves of a right angle


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("scale_adv", SCALES)
def test_rows_are_split_at_every_scale(scale, scale_adv):
    w, w_adv = scale * normal(0, 20, 30), scale_adv * normal(1, 20, 30)
    parts = decompose(w, w_adv)
    a, b = w.double(), w_adv.double()
    beta = (a * b).sum(1) / (b * b).sum(1)
    cos = torch.nn.functional.cosine_similarity(a, b, dim=1, eps=0)
    pure, v = parts.pure.double(), parts.residual.double()
    torch.testing.assert_close(parts.ratio, beta, rtol=1e-4, atol=0)
    if beta.abs().max() < 3e38:
        torch.testing.assert_close(parts.beta, parts.ratio.float(), rtol=0, atol=0)
    else:
        with pytest.raises(ValueError, match=r"beta of row \d+ is more than float32 holds: take"):
            parts.beta
    torch.testing.assert_close(parts.cos, cos.float(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(cosine(w, w_adv), parts.cos)
    if 1e-5 < scale / scale_adv < 1e37:  # beta or beta w' is not rounded to a subnormal number
        assert ((v * b).sum(1).abs() <= ANGLE * v.norm(dim=1) * b.norm(dim=1)).all()
    torch.testing.assert_close((pure + v) / scale, a / scale, rtol=1e-4, atol=1e-5)
    assert torch.equal(parts.dominant, cos.abs() > math.sqrt(0.5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_cosines_keep_to_one_in_every_precision(dtype, scale):
    w = (scale * normal(0, 200, 25)).to(dtype)
    other = (scale * normal(1, 200, 25)).to(dtype)
    for a, b in ((w, w), (w, other), (w, -w)):
        parts = decompose(a, b)
        wanted = decompose(a.double(), b.double())
        assert parts.cos.abs().max() <= 1 and cosine(a, b).abs().max() <= 1
        assert parts.beta.dtype == torch.promote_types(dtype, torch.float32)
        torch.testing.assert_close(parts.beta.double(), wanted.beta, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(parts.cos.double(), wanted.cos, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-36, 1e-25, 1e25, 1e36])
def test_features_are_measured_at_every_scale(scale, sparse, planted):
    w = planted(dense=0.5, noise=0.3).weight.detach()
    one, other = (features(a, sparse.features, sparse.u_star) for a in (w, scale * w))
    assert torch.equal(one.top, other.top)
    torch.testing.assert_close(other.purity, one.purity, rtol=1e-4, atol=0)
    torch.testing.assert_close(other.dense_part, one.dense_part, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other.norm, scale * one.norm, rtol=1e-4, atol=0)
    half = features(w.half(), sparse.features, sparse.u_star)
    torch.testing.assert_close(half.purity, one.purity, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(wrong, sparse):
    w = normal(0, 4, sparse.d)
    broken = w.clone()
    broken[2, 1] = wrong
    with pytest.raises(ValueError, match="w_adv is not finite in row 2"):
        decompose(w, broken)
    with pytest.raises(ValueError, match="a is not finite in row 2"):
        cosine(broken, w)
    with pytest.raises(ValueError, match="w is not finite in row 2"):
        features(broken, sparse.features, sparse.u_star)


EXTREMES = {  # by type: between which powers of two it holds numbers of a few bits
    torch.float64: (-1070, 1015),
    torch.float32: (-145, 120),
    torch.bfloat16: (-130, 120),
    torch.float16: (-22, 10),
}
MOST = {torch.float64: 1024, torch.float32: 128}


def times_power(values, power):
    """Values (float64) times a power of two, however small or large."""
    return values * 2.0 ** (power // 2) * 2.0 ** (power - power // 2)


@given(seeds, st.sampled_from([*EXTREMES]), st.data())
def test_parts_are_right_or_an_error_at_the_extremes_of_every_type(seed, dtype, data):
    """Beside the parts of the same rows of whole numbers: powers of two scale them exactly."""
    ends = EXTREMES[dtype]
    power, other = (data.draw(st.sampled_from(ends) | st.integers(*ends)) for _ in "ab")
    a, b = ((3 * normal(seed + i, 5, 6).double()).round() for i in (0, 1))
    b = b + seed % 2 * a
    w, w_adv = times_power(a, power).to(dtype), times_power(b, other).to(dtype)
    parts, whole = decompose(w, w_adv), decompose(a, b)
    torch.testing.assert_close(parts.cos.double(), whole.cos, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cosine(w_adv, w), parts.cos)
    kind = parts.pure.dtype
    precise = 1e-5 if kind == torch.float32 else 1e-12
    coarse = torch.finfo(kind).smallest_normal * torch.finfo(kind).eps  # of what is subnormal
    for part in ("pure", "residual"):
        found = getattr(parts, part).double()
        wanted = times_power(getattr(whole, part), power)
        slack = precise * wanted.abs().max().item() + 2 * coarse
        torch.testing.assert_close(found, wanted, rtol=precise, atol=slack)
    exponent = torch.frexp(whole.beta.abs().max()).exponent.item() + power - other
    if exponent < 1024:
        wanted = times_power(whole.beta, power - other)
        slack = precise * wanted.abs().max().item()
        torch.testing.assert_close(parts.ratio, wanted, rtol=precise, atol=slack)
    if exponent < MOST[kind]:
        torch.testing.assert_close(parts.beta, parts.ratio.to(kind), rtol=0, atol=0)
    elif exponent > MOST[kind]:
        with pytest.raises(
            ValueError, match=r"beta of row \d is more than float(32|64) holds: take"
        ):
            parts.beta


def test_a_row_that_has_all_but_vanished_has_parts_and_no_beta_in_float32():
    w, w_adv = normal(0, 3, 5), normal(1, 3, 5)
    w_adv[1] *= 1e-43 / w_adv[1].abs().max()  # a subnormal number
    w_adv[2] = 0.0
    parts = decompose(w, w_adv)
    assert parts.pure.isfinite().all() and parts.ratio.isfinite().all() and parts.ratio[2] == 0
    torch.testing.assert_close(parts.pure + parts.residual, w)
    with pytest.raises(ValueError, match=r"beta of row 1 is more than float32 holds: take .ratio"):
        parts.beta
    assert decompose(w[::2], w_adv[::2]).beta[1] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_larger_than_its_type_holds_is_an_error(dtype):
    size = torch.tensor([[1.0], [torch.finfo(dtype).max]], dtype=dtype)
    w = torch.tensor([[1.0, 1.0], [1.0, 0.3]], dtype=dtype) * size
    w_adv = torch.tensor([[1.0, 0.0], [1.0, 0.2]], dtype=dtype)
    kind = str(dtype).removeprefix("torch.")
    for scale in (1.0, 1e-30):
        with pytest.raises(ValueError, match=rf"beta w' of row 1 is more than {kind} holds: give"):
            decompose(w, scale * w_adv)
    eye, u_star = torch.eye(2, dtype=dtype), torch.ones(2, dtype=dtype)
    with pytest.raises(ValueError, match=rf"\|w\| of row 1 is more than {kind} holds: give"):
        features(w, eye, u_star)
    turned = torch.tensor([[0.98, -0.2], [0.2, 0.98]], dtype=dtype)
    with pytest.raises(ValueError, match=rf"<w, M_j> M_j of row 1 is more than {kind} holds: give"):
        top_part(w, turned)
    torch.testing.assert_close(top_part(w, eye), w * eye[:1])
