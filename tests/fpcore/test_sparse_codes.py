import math

import pytest
import torch
from scipy import stats

from fpcore.members import Member
from fpcore.sparse_codes import distinct
from fpcore.sparse_coding import SparseCoding

N = 20_000
MEMBERS = [
    Member(magnitudes=(1, 3)),
    Member(weights=(0.5, 2), spread="two-valued"),
    Member((1, 3), (0.5, 2), "two-valued"),
    Member((1, 3), (0.5, 2)),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def spread(ends, which, shape, rng):
    low, high = ends
    u = torch.rand(shape, generator=rng)
    return low + (high - low) * (u if which == "uniform" else (u < 0.5).float())


@pytest.mark.parametrize(("d", "count"), [(5, 1), (5, 3), (4, 4), (40, 2)])
def test_distinct_numbers_come_in_every_order_equally_often(d, count):
    rows = torch.full((60 * d**count, 1), count)
    drawn, place = distinct(d, rows, generator(d))
    assert torch.equal(place.sort(1).values[:, -count:], torch.arange(count).expand(len(rows), -1))
    code = (drawn * (place >= 0) * d ** place.clamp(min=0)).sum(1)  # an order as one number
    counts = torch.bincount(code, minlength=d**count)
    possible = counts[counts > 0]
    assert len(possible) == math.perm(d, count)
    assert stats.chisquare(possible.numpy()).pvalue > 1e-4


def test_rows_of_several_lengths_are_drawn_at_once():
    wanted = torch.arange(8)[:, None].repeat(500, 1)
    drawn, place = distinct(8, wanted, generator(1))
    assert torch.equal((place >= 0).sum(1, keepdim=True), wanted)
    assert torch.equal(place.amax(1, keepdim=True), wanted - 1)
    used = torch.where(place >= 0, drawn, 8 + torch.arange(drawn.shape[1])).sort(1).values
    assert (used[:, 1:] != used[:, :-1]).all()


def by_definition(data, rng, n):
    """Codes as the model is stated, every z_j on its own, those within the margin: (a, d)."""
    member, shape = data.member, (n, data.d)
    active = torch.rand(shape, generator=rng) < data.k / data.d
    sign = 2.0 * torch.randint(0, 2, shape, generator=rng) - 1
    size = spread(member.magnitudes, member.spread, shape, rng)
    z = active * sign * size / math.sqrt(data.k)
    score = (z @ data.w_star).abs()
    one = spread(member.magnitudes, member.spread, (200_000,), generator(9))
    deviation = (one.square().mean() * data.w_star.square().mean()).sqrt()
    return z[score >= max(data.margin * deviation, 1e-4)]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("margin", [0.0, 1.2])
def test_spread_codes_have_the_law_of_rejection_sampling(member, margin):
    data = SparseCoding(24, 5, margin, seed=3, member=member)
    theirs, ours = by_definition(data, generator(5), 4 * N), data.codes(N, generator(6))
    heavy = data.w_star.abs().argmax()
    for statistic in (
        lambda z: (z @ data.w_star).abs(),
        lambda z: z.square().sum(1),
        lambda z: z.abs().amax(1),
        lambda z: (z != 0).sum(1).double(),
        lambda z: z[:, heavy],
        lambda z: z[:, 0] * z[:, 1],
    ):
        pair = (statistic(z).double().mul(1e4).round().numpy() for z in (ours, theirs))
        assert stats.ks_2samp(*pair).pvalue > 1e-4


@pytest.mark.parametrize("member", MEMBERS)
def test_spread_codes_keep_margin_and_labels(member):
    data = SparseCoding(64, 8, 2.0, noise=0.0, seed=1, member=member)
    x, y = data.sample(4000, generator(1))
    score = x @ data.features @ data.w_star
    assert torch.equal(score.sign(), y) and abs(y.mean()) < 5 / math.sqrt(4000)
    square = member.mean_square(member.magnitudes) * data.w_star.square().mean()
    assert score.abs().min() > 2.0 * square.sqrt() - 1e-3
    assert (score.abs() < 2.1 * square.sqrt()).any()  # the margin is no larger than stated


def test_the_size_of_all_features_changes_nothing_else():
    plain, large = (SparseCoding(40, 5, member=m) for m in (Member(), Member((2, 2), (3, 3))))
    torch.testing.assert_close(2 * plain.codes(50, generator()), large.codes(50, generator()))
    torch.testing.assert_close(3 * plain.w_star, large.w_star)


def test_candidates_are_accepted_more_often_than_the_models_own_codes():
    data = SparseCoding(200, 8, 2.5, member=Member((1, 3), (0.5, 2)))
    assert data._codes.rate > 0.08  # 8 times the 1% of a normal score


def test_a_margin_that_leaves_nothing_is_an_error():
    # 9 features, all active: half of weight 1/2, the others 2, and no code has 3 deviations
    with pytest.raises(ValueError, match=r"margin = 3.0: it leaves \(almost\) nothing of d = 9"):
        SparseCoding(9, 9, 3.0, member=Member(weights=(0.5, 2), spread="two-valued"))
