import math

import pytest
import torch
from scipy import stats

from fpcore import seeding
from fpcore.members import Member
from fpcore.sparse_coding import SparseCoding

N = 20_000
SETTINGS = [(48, 6, 0.0), (48, 6, 1.2), (30, 30, 1.0), (40, 1, 0.5), (64, 48, 0.0)]  # d, k, margin


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def exact_scores(data, z):
    """<w*, z> sqrt(k) as whole numbers, free of rounding."""
    return ((z * math.sqrt(data.k)).round() @ data.w_star).long()


def kept(d, k, margin):
    """The mean number k E|z|^2 of non-zeros of codes within the margin, from binomial laws."""
    probability = mean = 0.0
    for n in range(d + 1):
        scores = 2 * torch.arange(n + 1) - n
        inside = (scores.abs() >= max(margin * math.sqrt(k) - 1e-6, 0.5)).numpy()
        share = stats.binom.pmf(n, d, k / d) * stats.binom.pmf(range(n + 1), n, 0.5)[inside].sum()
        probability, mean = probability + share, mean + n * share
    return mean / probability


def test_features_are_an_orthonormal_rotation_with_its_dense_direction(sparse):
    m = sparse.features
    torch.testing.assert_close(m.T @ m, torch.eye(48), atol=1e-5, rtol=0)
    torch.testing.assert_close(m @ m.T, torch.eye(48), atol=1e-5, rtol=0)
    assert m.abs().max() < 0.9  # no feature lies along an axis
    assert set(sparse.w_star.tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(sparse.u_star.norm(), torch.tensor(1.0))
    torch.testing.assert_close(sparse.u_star, m @ sparse.w_star / math.sqrt(48))


def test_the_rotation_is_haar_distributed_over_seeds():
    rotations = [SparseCoding(4, 2, margin=0.5, seed=seed).features for seed in range(400)]
    # an entry has mean 0, standard deviation 1/2
    assert torch.stack(rotations).mean(0).abs().max() < 5 * 0.5 / math.sqrt(400)


@pytest.mark.parametrize(("d", "k", "margin"), SETTINGS)
def test_codes_have_the_law_of_the_model(d, k, margin):
    data = SparseCoding(d, k, margin, seed=1)
    z = data.codes(N, generator())
    active = z != 0
    torch.testing.assert_close(z[active].abs(), torch.full((int(active.sum()),), 1 / math.sqrt(k)))
    error = active.sum(1).double().mean().item() - kept(d, k, margin)
    assert abs(error) < 5 * math.sqrt(k * (1 - k / d) / N) + 1e-6
    assert abs(z.sign()[active].mean()) < 5 / math.sqrt(int(active.sum()))
    by_position = active.float().mean(0)
    assert by_position.max() - by_position.min() < 10 * math.sqrt(0.25 / N)


@pytest.mark.parametrize(("d", "k", "margin"), SETTINGS)
def test_sign_counts_have_the_law_of_rejection_sampling(d, k, margin):
    """Against the definition: draw every z_j on its own and keep the codes within the margin."""
    data, rng = SparseCoding(d, k, margin, seed=3), generator(5)
    active = torch.rand(20 * N, d, generator=rng) < k / d
    free = active * (2.0 * torch.randint(0, 2, (20 * N, d), generator=rng) - 1)
    score = (free @ data.w_star).long()
    free = free[score.abs() >= max(margin * math.sqrt(k) - 1e-6, 1)][:N]
    drawn = data.codes(N, generator(6)) * math.sqrt(k)
    for statistic in (
        lambda z: z.abs().sum(1),
        lambda z: (z @ data.w_star).abs(),
        lambda z: z[:, 0] * z[:, 1],
    ):
        ours, theirs = (statistic(z).round().long() + d for z in (drawn, free))
        counts = [torch.bincount(v, minlength=2 * d + 1) for v in (ours, theirs)]
        counts = torch.stack(counts).numpy()
        frequent = counts[:, counts.sum(0) > 20]
        if frequent.shape[1] > 1:
            assert stats.chi2_contingency(frequent).pvalue > 1e-4


@pytest.mark.parametrize(("d", "k", "margin"), SETTINGS)
def test_labels_are_the_sign_of_the_score_and_the_margin_is_kept(d, k, margin):
    data = SparseCoding(d, k, margin, noise=0.0, seed=2)
    x, y = data.sample(5000, generator(1))
    scores = exact_scores(data, x @ data.features)
    assert torch.equal(scores.sign().float(), y)
    assert scores.abs().min() >= max(margin * math.sqrt(k) - 1e-4, 1)
    assert abs(y.mean()) < 5 / math.sqrt(5000)


def test_the_smallest_score_beyond_the_margin_does_occur(sparse):
    scores = exact_scores(sparse, sparse.codes(5000, generator())).abs()
    assert scores.min() == math.ceil(1.2 * math.sqrt(6))


def test_samples_are_sums_of_the_features_that_are_active(sparse):
    x, y = sparse.sample(300, generator(7))
    z = sparse.codes(300, generator(7))
    noise = x - z @ sparse.features.T
    assert abs(noise.norm(dim=1).mean() - 0.2) < 0.01  # no feature of norm 1/sqrt(6) is missed
    assert torch.equal((z @ sparse.w_star).sign(), y)


def test_noise_is_isotropic_with_the_stated_norm():
    data = SparseCoding(48, 6, margin=1.2, noise=0.3)
    x, _ = data.sample(N, generator(4))
    noise = x - data.codes(N, generator(4)) @ data.features.T
    assert abs(noise.square().sum(1).mean() - 0.09) < 5 * 0.09 * math.sqrt(2 / 48 / N)
    assert abs(noise.mean(0)).max() < 5 * 0.3 / math.sqrt(48 * N)
    variances = noise.var(0) * 48 / 0.09
    assert (variances - 1).abs().max() < 5 * math.sqrt(2 / N)
    assert stats.kstest((noise[:, 0] * math.sqrt(48) / 0.3).numpy(), "norm").pvalue > 1e-3


def test_a_batch_is_a_pure_function_of_seed_and_step(sparse):
    x, y = sparse.batch(16, seed=5, step=7)
    torch.manual_seed(123)
    sparse.batch(9, seed=1, step=1)
    again, labels = sparse.batch(16, seed=5, step=7)
    assert torch.equal(x, again) and torch.equal(y, labels)
    assert x.shape == (16, 48) and y.shape == (16,) and x.dtype == y.dtype == torch.float32
    for seed, step in ((5, 8), (6, 7), (7, 5)):
        assert not torch.equal(sparse.batch(16, seed, step)[0], x)


def test_no_training_step_sees_the_test_set(sparse):
    held_out, _ = sparse.test_set(32, seed=5)
    assert torch.equal(sparse.test_set(32, seed=5)[0], held_out)
    for step in range(20):
        x, _ = sparse.batch(32, seed=5, step=step)
        assert torch.cdist(x, held_out).min() > 0.01


def test_the_model_is_a_pure_function_of_its_seed():
    a, b, c = (SparseCoding(16, 4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(a.features, b.features) and torch.equal(a.w_star, b.w_star)
    assert not torch.equal(a.features, c.features)


def test_with_k_equal_d_every_coordinate_is_active():
    z = SparseCoding(12, 12, margin=0.5).codes(50, generator())
    assert (z != 0).all()
    torch.testing.assert_close(z.square().sum(1), torch.ones(50))


def test_facts_along_the_dense_direction_do_not_depend_on_the_rotation(sparse):
    identity = SparseCoding(48, 6, margin=1.2, noise=0.2, seed=3)
    identity.features = torch.eye(48)
    identity.u_star = identity.w_star / math.sqrt(48)
    rotated, _ = sparse.sample(4000, generator(1))
    plain, _ = identity.sample(4000, generator(2))
    along = (rotated @ sparse.u_star).numpy(), (plain @ identity.u_star).numpy()
    assert stats.ks_2samp(*along).pvalue > 1e-3
    sizes = (rotated @ sparse.features).abs().amax(1), plain.abs().amax(1)
    assert stats.ks_2samp(*(s.numpy() for s in sizes)).pvalue > 1e-3


@pytest.mark.parametrize("block", [1, 4, 12])
def test_blocks_are_rotated_one_by_one(block):
    m = SparseCoding(12, 4, member=Member(block=block)).features
    torch.testing.assert_close(m.T @ m, torch.eye(12), atol=1e-5, rtol=0)
    inside = torch.block_diag(*torch.ones(12 // block, block, block)) > 0
    assert (m[~inside] == 0).all() and (m[inside] != 0).all()
    assert m.abs().sum(1).max() <= block**0.5 + 1e-5  # ||M||_inf


def test_bounded_noise_fills_its_bound_in_every_coordinate():
    member = Member(bounded=0.4)
    data = SparseCoding(24, 4, margin=1.0, noise=0.0, member=member)
    x, _ = data.sample(N, generator(4))
    noise = (x @ data.features - data.codes(N, generator(4))) * math.sqrt(4)
    assert noise.abs().max() <= 0.4 + 1e-5
    for j in (0, 11):
        assert stats.kstest(noise[:, j].numpy() / 0.8 + 0.5, "uniform").pvalue > 1e-4
    correlation = torch.corrcoef(noise.T) - torch.eye(24)
    assert correlation.abs().max() < 5 / math.sqrt(N)


def test_without_noise_the_dense_direction_carries_the_whole_score():
    data = SparseCoding(32, 5, margin=1.0, noise=0.0)
    x, y = data.sample(300, generator())
    z = data.codes(300, generator())
    torch.testing.assert_close(x @ data.u_star, z @ data.w_star / math.sqrt(32), atol=1e-5, rtol=0)
    assert ((x @ data.u_star).sign() == y).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"d": 8, "k": 9}, "k = 9"),
        ({"d": 0, "k": 1}, "d = 0"),
        ({"d": 8, "k": 0}, "k = 0"),
        ({"d": 8.5, "k": 2}, "d = 8.5"),
        ({"d": 16, "k": 4, "margin": math.nan}, "margin = nan"),
        ({"d": 16, "k": 4, "margin": -1.0}, "margin = -1.0"),
        ({"d": 16, "k": 4, "margin": 2.1}, "margin = 2.1"),
        ({"d": 16, "k": 16, "margin": 3.5}, "margin = 3.5"),
        ({"d": 16, "k": 4, "noise": math.nan}, "noise = nan"),
        ({"d": 16, "k": 4, "noise": -0.1}, "noise = -0.1"),
        ({"d": 16, "k": 4, "device": "tpu"}, "device = 'tpu'"),
        ({"d": 16, "k": 4, "member": (1, 3)}, "member = tuple"),
        ({"d": 16, "k": 4, "member": Member(block=5)}, "block = 5"),
    ],
)
def test_bad_input_is_an_error_that_names_the_value(arguments, named):
    with pytest.raises(ValueError) as error:
        SparseCoding(**arguments)
    assert named in str(error.value)


def test_a_sample_of_nothing_is_an_error(sparse):
    with pytest.raises(ValueError, match="n = 0"):
        sparse.sample(0, generator())


@pytest.mark.parametrize("k", range(1, 10))
def test_every_margin_that_is_accepted_can_be_sampled(k):
    largest = min(3.0, math.sqrt(k))
    z = SparseCoding(k, k, margin=largest, noise=0.0).codes(4, seeding.generator(0))
    assert len(z) == 4 and z.isfinite().all()
