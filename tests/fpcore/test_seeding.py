import itertools

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from fpcore import seeding

entropy = st.tuples(
    st.integers(0, 2**40), st.sampled_from(["batch", "test", "init"]), st.integers(1, 10**6)
)


def draw(*entropy, n=8):
    return torch.randn(n, generator=seeding.generator(*entropy))


@given(entropy)
def test_equal_entropy_gives_equal_streams(e):
    assert torch.equal(draw(*e), draw(*e))


@given(entropy, entropy)
def test_different_entropy_gives_different_streams(a, b):
    assume(a != b)
    assert not torch.equal(draw(*a), draw(*b))


def test_the_order_of_entropy_matters():
    assert not torch.equal(draw(1, 2), draw(2, 1))


def test_steps_and_seeds_next_to_each_other_are_uncorrelated():
    places = itertools.product(range(4), range(4))
    streams = torch.stack([draw(seed, "batch", step, n=4000) for seed, step in places])
    off_diagonal = torch.corrcoef(streams) - torch.eye(len(streams))
    assert off_diagonal.abs().max() < 5 / 4000**0.5


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = draw(5, "batch", 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(draw(5, "batch", 1), first)


def test_a_negative_seed_is_an_error():
    with pytest.raises(ValueError, match=r"seed = \(-1, 'batch'\).*at least 0"):
        seeding.generator(-1, "batch")


def test_a_seeded_block_repeats_and_leaves_torchs_generator_as_it_was():
    device = torch.device("cpu")

    def drawn(*entropy):
        with seeding.seeded(*entropy, device=device):
            return torch.rand(4)

    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    first, again, other = drawn(1, "step", 2), drawn(1, "step", 2), drawn(1, "step", 3)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.rand(5), expected)
    with pytest.raises(ValueError, match="give whole numbers of at least 0"):
        drawn(-1)
