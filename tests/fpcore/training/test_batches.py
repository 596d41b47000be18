"""Iterables as data: which batch comes when, also after a stop, and what is no batch."""

import itertools
import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from trainings import D, Stopped, measure, network, same_history, same_state

from fpcore.training import Training, train
from fpcore.training.batches import batches

CPU = torch.device("cpu")
CONFIG = Training(steps=10, lr=0.5, radius=0.1, seed=1)


def pairs(n=3, size=8):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n, size, D, generator=rng)
    return [(one, one[:, 0].sign()) for one in x]


def loader(**options):
    x, y = (torch.cat(parts) for parts in zip(*pairs()))
    return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True, **options)


class Augmented(torch.utils.data.Dataset):
    """Samples that are moved at random, by torch, whenever they are drawn."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        return torch.randn(D) + i, torch.tensor(1.0)


def drawn(data, steps, start=0, seed=1):
    return list(itertools.islice(batches(data, 0, seed, start, CPU), steps))


def equal(some, others):
    return len(some) == len(others) and all(
        torch.equal(a, b) for one, other in zip(some, others) for a, b in zip(one, other)
    )


SOURCES = {
    "list": pairs,
    "DataLoader": loader,
    "DataLoader with a generator": lambda: loader(generator=torch.Generator().manual_seed(7)),
    "DataLoader that augments": lambda: DataLoader(Augmented(), batch_size=8, shuffle=True),
    "function": lambda: lambda: iter(pairs()),
    "generator": lambda: (pair for _ in range(4) for pair in pairs()),
    "random generator": lambda: ((torch.randn(4, D), torch.ones(4)) for _ in itertools.count()),
    "lists of two": lambda: [list(pair) for pair in pairs()],
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("start", [0, 2, 3, 7])
def test_resuming_goes_on_with_the_right_batch(kind, start):
    whole = drawn(SOURCES[kind](), 10)
    torch.manual_seed(99)  # of no account
    assert equal(drawn(SOURCES[kind](), 10 - start, start), whole[start:])


@pytest.mark.parametrize("kind", SOURCES)
def test_a_run_that_stops_repeats_an_unbroken_one(kind, tmp_path):
    unbroken, resumed = network(), network()
    history = train(unbroken, SOURCES[kind](), CONFIG, every=2, measure=measure)

    def stopping(net):
        calls.append(net)
        if len(calls) == 4:
            raise Stopped
        return measure(net)

    calls, settings = [], {"every": 2, "checkpoint": tmp_path / "c"}
    with pytest.raises(Stopped):
        train(network(), SOURCES[kind](), CONFIG, measure=stopping, **settings)
    again = train(resumed, SOURCES[kind](), CONFIG, measure=measure, **settings)
    assert same_state(unbroken, resumed) and same_history(history, again)


def test_an_iterable_is_gone_through_again_from_its_beginning():
    assert equal(drawn(pairs(), 7), [*pairs(), *pairs(), pairs()[0]])
    assert equal(drawn(lambda: (pair for pair in pairs()), 7), [*pairs(), *pairs(), pairs()[0]])


def test_epochs_of_a_shuffled_loader_hold_all_samples_in_new_orders():
    whole = drawn(loader(), 6)
    epochs = [torch.cat([x for x, _ in part]) for part in (whole[:3], whole[3:])]
    everything = torch.cat([x for x, _ in pairs()])
    for epoch in epochs:
        assert torch.equal(epoch.sort(0).values, everything.sort(0).values)
    assert not torch.equal(*epochs)
    assert not equal(whole, drawn(loader(), 6, seed=2))


def test_drawing_leaves_torchs_random_numbers_as_they_were():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    drawn(loader(), 4)
    assert torch.equal(torch.rand(3), expected)


def test_a_sampler_is_told_each_epoch():
    class Told(torch.utils.data.RandomSampler):
        def set_epoch(self, epoch):
            epochs.append(epoch)

    epochs = []
    x, y = (torch.cat(parts) for parts in zip(*pairs()))
    told = Told(x)
    drawn(DataLoader(TensorDataset(x, y), batch_size=8, sampler=told), 7)
    assert epochs == [0, 1, 2]


@pytest.mark.parametrize("length", [0, 1, 7])
def test_a_generator_that_ends_early_is_an_error_that_names_the_step(length):
    source = (pair for pair in (pairs() * 4)[:length])
    with pytest.raises(ValueError, match=f"the data ended after {length} steps: give a list"):
        train(network(), source, CONFIG)


def test_a_generator_that_ends_before_a_resumed_step_is_an_error():
    with pytest.raises(ValueError, match="the data ended after 3 steps"):
        drawn(iter(pairs()), 1, start=5)


@pytest.mark.parametrize("data", [3, None, "images", torch.rand(4, D)])
def test_what_gives_no_batches_is_refused_before_any_work(data, tmp_path):
    with pytest.raises(ValueError, match="give an object with"):
        train(network(), data, CONFIG, checkpoint=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def a_value(x, value):
    x = x.clone()
    x[1, 2] = value
    return x


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: x, r"is \(Tensor\): give \(x, y\)"),
        (lambda x, y: (x, y, y), r"is \(Tensor, Tensor, Tensor\): give \(x, y\)"),
        (lambda x, y: {"x": x, "y": y}, r"is \(dict\): give \(x, y\)"),
        (lambda x, y: (x.numpy(), y), r"is \(ndarray, Tensor\): give \(x, y\)"),
        (lambda x, y: (x[:0], y[:0]), "holds no samples"),
        (lambda x, y: ((255 * x).byte(), y), "x is torch.uint8: give floats"),
        (lambda x, y: (a_value(x, math.nan), y), "x is not finite .* in 1 of 8"),
        (lambda x, y: (a_value(x, math.inf), y), "x is not finite .* in 1 of 8"),
        (lambda x, y: (x, y[:7]), r"y is \(7,\)"),
        (lambda x, y: (x, y[:, None]), r"y is \(8, 1\)"),
        (lambda x, y: (x, (y + 1) / 2), "give labels -1 and"),
        (lambda x, y: (100 * x, y), "x spans"),
    ],
)
def test_a_batch_that_does_not_fit_is_an_error_whenever_it_comes(change, says, at):
    source = pairs()
    source[at] = change(*source[at])
    config = Training(steps=3, lr=0.1, box=(-9.0, 9.0))
    with pytest.raises(ValueError, match=says):
        train(network(), source, config)


@pytest.mark.parametrize("classes", [2, 3, 1000])
@pytest.mark.parametrize("label", ["many", "one"])
def test_any_number_of_classes_is_trained_also_a_batch_of_one_class(classes, label):
    net = torch.nn.Linear(D, classes)
    y = torch.arange(8) % classes if label == "many" else torch.full((8,), classes - 1)
    config = Training(steps=30, lr=1.0, radius=0.01)
    history = train(net, [(pairs()[0][0], y)], config, every=10)
    assert history[-1]["loss"] < 0.5 * history[1]["loss"]


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32])
@pytest.mark.parametrize(("classes", "label"), [(3, 3), (3, -1), (1000, 1000)])
def test_a_label_of_no_class_is_an_error_whenever_it_comes(at, dtype, classes, label):
    source = [(x, torch.arange(8) % 3) for x, _ in pairs()]
    source[at] = (source[at][0], torch.full((8,), label).to(dtype))
    says = f"y holds classes {label} to {label}" if dtype == torch.int64 else f"y is {dtype}"
    with pytest.raises(ValueError, match=says):
        train(torch.nn.Linear(D, classes), source, Training(steps=3, lr=0.1))


def test_scores_of_one_class_are_refused():
    with pytest.raises(ValueError, match=r"it must give one logit a sample, \(n,\), or scores"):
        train(torch.nn.Linear(D, 1), [(torch.rand(4, D), torch.zeros(4).long())], CONFIG)
