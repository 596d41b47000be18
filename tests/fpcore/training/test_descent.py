"""Optimisers and schedulers of the user: what they do, resumed to the bit, and what is refused."""

import copy
import functools
import math

import pytest
import torch
from torch.optim import SGD, AdamW, RMSprop
from torch.optim import lr_scheduler as schedulers
from trainings import (
    QUICK,
    Constant,
    Stopped,
    Stopping,
    measure,
    network,
    same_history,
    same_state,
)

from fpcore.checkpoint import read_checkpoint
from fpcore.models.outputs import loss as usual_loss
from fpcore.training import Schedule, Training, train

STEPS = 10
CONFIG = Training(steps=STEPS, batch=16, radius=0.1, seed=1)


class Two(torch.nn.Module):
    """A network with two layers, which can have different rates."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Linear(32, 8), torch.nn.Linear(8, 1)
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, x):
        return self.last(self.dropout(torch.relu(self.first(x)))).squeeze(1)


def grouped(parameters):
    first, *others = parameters
    return AdamW([{"params": [first], "lr": 0.1}, {"params": others, "lr": 0.01}], betas=(0.8, 0.9))


OPTIMIZERS = {
    "AdamW": functools.partial(AdamW, lr=0.01),
    "amsgrad": functools.partial(AdamW, lr=0.01, amsgrad=True),
    "RMSprop": functools.partial(RMSprop, lr=0.01, momentum=0.5, centered=True),
    "SGD": functools.partial(SGD, lr=0.1, momentum=0.9, nesterov=True),
    "groups": grouped,
    "Adafactor": functools.partial(torch.optim.Adafactor, lr=0.01),
}
SCHEDULERS = {
    "none": None,
    "OneCycleLR": functools.partial(
        schedulers.OneCycleLR, max_lr=0.02, total_steps=STEPS, cycle_momentum=False
    ),
    "CycleMomentum": functools.partial(schedulers.OneCycleLR, max_lr=0.02, total_steps=STEPS),
    "CosineAnnealingLR": functools.partial(schedulers.CosineAnnealingLR, T_max=STEPS),
    "MultiStepLR": functools.partial(schedulers.MultiStepLR, milestones=[2, 6]),
    "LambdaLR": functools.partial(schedulers.LambdaLR, lr_lambda=lambda step: 1 / (1 + step)),
    "SequentialLR": lambda optimizer: schedulers.SequentialLR(
        optimizer,
        [schedulers.ConstantLR(optimizer), schedulers.CosineAnnealingLR(optimizer, 5)],
        [4],
    ),
}
PAIRS = [(one, "none") for one in OPTIMIZERS] + [("groups", one) for one in SCHEDULERS]
PAIRS += [(None, "CosineAnnealingLR"), ("SGD", "CycleMomentum"), ("AdamW", "CycleMomentum")]


def with_lr(optimizer):
    """The configuration for an optimiser: SGD's own takes its rate from it."""
    return Training(STEPS, lr=0.1, batch=16, momentum=0.9, seed=1) if optimizer is None else CONFIG


@pytest.mark.parametrize(("optimizer", "scheduler"), PAIRS)
def test_a_run_that_stops_repeats_an_unbroken_one(optimizer, scheduler, data, tmp_path):
    settings = {"measure": measure, "every": 2}
    settings |= {"optimizer": OPTIMIZERS.get(optimizer), "scheduler": SCHEDULERS[scheduler]}
    path, config = tmp_path / "c", with_lr(optimizer)
    unbroken, resumed = Two(), Two()
    history = train(unbroken, data, config, **settings)
    for at in (5, 8):
        with pytest.raises(Stopped):
            train(Two(), Stopping(data, at), config, checkpoint=path, **settings)
    again = train(resumed, data, config, checkpoint=path, **settings)
    assert same_state(unbroken, resumed) and same_history(history, again)
    assert not same_state(unbroken, Two())


@pytest.mark.parametrize(("optimizer", "scheduler"), [pair for pair in PAIRS if pair[0]])
def test_the_steps_are_those_of_the_usual_loop_in_torch(optimizer, scheduler, data):
    net, reference = Two().eval(), Two().eval()
    for one in (net, reference):
        one.dropout.p = 0.0
    config = Training(STEPS, batch=16, seed=1, precision="float32")
    make, schedule = OPTIMIZERS[optimizer], SCHEDULERS[scheduler]
    train(net, data, config, optimizer=make, scheduler=schedule)
    stepped = make(reference.parameters())
    scheduled = None if schedule is None else schedule(stepped)
    for step in range(STEPS):
        x, y = data.batch(16, 1, step)
        stepped.zero_grad()
        usual_loss(reference(x), y).mean().backward()
        stepped.step()
        if scheduled is not None:
            scheduled.step()
    assert same_state(net, reference)


def test_a_schedule_is_a_factor_on_the_rate_of_each_group():
    net, seen = Two(), []

    def watched(parameters):
        seen.append(grouped(parameters))
        return seen[0]

    rates = []

    def note(_):
        rates.append([group["lr"] for group in seen[0].param_groups])
        return {}

    config = Training(steps=3, lr=Schedule((0, 1), (1, 0.5)))
    nothing_pulls = Constant(torch.zeros(4, 32), torch.ones(4))
    train(net, nothing_pulls, config, optimizer=watched, measure=note, every=1)
    first, last = zip(*rates)
    assert first == pytest.approx([0.1, 0.1, 0.075, 0.05])
    assert last == pytest.approx([0.01, 0.01, 0.0075, 0.005])


def test_parameters_without_a_group_stay_and_take_no_part_in_the_clipping(data):
    net = Two()
    before = copy.deepcopy(net)
    config = Training(steps=4, batch=16, clip=0.01)

    def last(_):
        return SGD(net.last.parameters(), lr=1.0)

    train(net, data, config, optimizer=last)
    assert same_state(net.first, before.first)
    moved = [(a - b).norm() for a, b in zip(net.last.parameters(), before.last.parameters())]
    assert 0.5 * 0.01 < torch.stack(moved).norm() <= 4 * 0.0101


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optimizer": functools.partial(AdamW, lr=0.02)}, ["optimizer.0.lr = 0.01, not 0.02"]),
        ({"optimizer": functools.partial(RMSprop, lr=0.01)}, ["optimizer = AdamW, not RMSprop"]),
        ({"optimizer": None}, ["optimizer = AdamW, not None"]),
        ({"scheduler": functools.partial(schedulers.StepLR, step_size=3)}, ["StepLR"]),
        ({"loss": lambda model, x, y, ball: model(x).sum()}, ["loss = None, not", "<lambda>"]),
    ],
)
def test_a_checkpoint_of_another_optimiser_scheduler_or_loss_is_an_error(
    change, named, data, tmp_path
):
    settings = {"optimizer": OPTIMIZERS["AdamW"]}
    train(Two(), data, CONFIG, checkpoint=tmp_path / "c", **settings)
    content, net = (tmp_path / "c").read_bytes(), Two()
    config = CONFIG if settings | change != {"optimizer": None} else QUICK
    with pytest.raises(ValueError, match="another configuration") as error:
        train(net, Stopping(data, 0), config, checkpoint=tmp_path / "c", **settings | change)
    assert all(name in str(error.value) for name in named)
    assert (tmp_path / "c").read_bytes() == content and same_state(net, Two())


def plateau(optimizer):
    return schedulers.ReduceLROnPlateau(optimizer)


def foreign(_):
    return AdamW(Two().parameters())


def of_another(_):
    return schedulers.StepLR(AdamW(Two().parameters()), 3)


def too_short(optimizer):
    return schedulers.OneCycleLR(optimizer, 0.1, total_steps=STEPS - 1)


def unkept(optimizer):
    scheduler = schedulers.StepLR(optimizer, 3)
    scheduler.strange = Stopped()
    return scheduler


ADAM = OPTIMIZERS["AdamW"]


@pytest.mark.parametrize(
    ("settings", "fields", "says"),
    [
        ({"scheduler": plateau, "optimizer": ADAM}, {}, "ReduceLROnPlateau: it goes by a measured"),
        ({"scheduler": too_short, "optimizer": ADAM}, {}, "total_steps = 9: give it all of the 10"),
        ({"scheduler": of_another, "optimizer": ADAM}, {}, "scheduler is of another optimizer"),
        ({"scheduler": unkept, "optimizer": ADAM}, {}, "cannot be kept"),
        ({"scheduler": plateau}, {"lr": Schedule((0, 1.0))}, "give a number for SGD"),
        ({"optimizer": foreign}, {}, "holds 4 parameters that are not the model's"),
        ({"optimizer": AdamW(Two().parameters())}, {}, "optimizer = AdamW: give a function"),
        ({"optimizer": "AdamW"}, {}, "optimizer = str: give a function"),
        ({"optimizer": list}, {}, "optimizer returns list, no Optimizer"),
        ({"optimizer": torch.optim.LBFGS}, {}, "optimizer = LBFGS"),
        ({"optimizer": functools.partial(SGD, lr=math.inf)}, {}, "lr of parameter group 0 = inf"),
        (
            {"optimizer": functools.partial(AdamW, weight_decay=math.inf)},
            {},
            "weight_decay of parameter group 0 = inf",
        ),
        ({"optimizer": ADAM}, {"lr": 0.1}, "lr = 0.1: give it to your optimizer"),
        ({"optimizer": ADAM}, {"momentum": 0.9}, "momentum = 0.9: leave it at 0"),
        ({"optimizer": ADAM}, {"weight_decay": 0.9}, "weight_decay = 0.9: leave it at 0"),
        ({}, {}, "lr = None: give a number or a Schedule"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(settings, fields, says, data, tmp_path):
    net = Two()
    config = Training(steps=STEPS, batch=16, **fields)
    with pytest.raises(ValueError, match=says):
        train(net, Stopping(data, 0), config, checkpoint=tmp_path / "c", **settings)
    assert same_state(net, Two()) and not (tmp_path / "c").exists()


def test_the_state_in_the_file_is_torchs_own_and_sgd_alone_keeps_its_momentum(data, tmp_path):
    train(network(), data, CONFIG, optimizer=ADAM, checkpoint=tmp_path / "adamw")
    _, tensors = read_checkpoint("adamw", (tmp_path / "adamw").read_bytes())
    assert set(tensors) == {"model.weight", "model.threshold", "optimizer"}
    train(network(), data, QUICK, checkpoint=tmp_path / "sgd")
    assert set(read_checkpoint("sgd", (tmp_path / "sgd").read_bytes())[1]) == {
        "model.weight",
        "model.threshold",
    }


def test_the_bar_shows_loss_and_rate(data, capsys):
    config = Training(steps=2, lr=0.125, batch=4)
    train(network(), data, config, every=1, progress="clean")
    shown = capsys.readouterr().err
    assert "loss=0." in shown and "lr=0.125" in shown
