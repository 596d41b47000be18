"""Networks and losses that nothing can be trained with are refused before the first step."""

import pytest
import torch
from torch import nn

from fpcore.training.configuration import Training
from fpcore.training.loop import train

DATA = [(torch.rand(6, 4), torch.arange(6) % 3)]
CONFIG = Training(steps=1, lr=0.1)


class Several(nn.Linear):
    """A network that returns more than scores."""

    def __init__(self, returns):
        super().__init__(4, 3)
        self.returns = returns

    def forward(self, x):
        return self.returns(super().forward(x))


def diverged(value):
    net = nn.Linear(4, 3)
    net.weight.data[0, 0] = value
    return net


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (nn.Linear(4, 3).requires_grad_(False), "no parameter of which requires a gradient"),
        (nn.Linear(4, 3, device="meta"), r"weight has no values \(device meta\)"),
        (diverged(torch.nan), "weight is not finite"),
        (diverged(torch.inf), "weight is not finite"),
        (Several(lambda scores: (scores, 1)), "the model gives a tuple: wrap"),
        (Several(lambda scores: {"logits": scores}), "the model gives a dict: wrap"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused(net, says):
    with pytest.raises(ValueError, match=says):
        train(net, DATA, CONFIG)


@pytest.mark.parametrize("loss", ["ce", nn.CrossEntropyLoss(), 3.0], ids=str)
def test_a_loss_of_scores_alone_is_refused(loss):
    with pytest.raises(ValueError, match=r"loss = .*give a function of \(model, x, y, ball\)"):
        train(nn.Linear(4, 3), DATA, CONFIG, loss=loss)


def test_training_in_inference_mode_or_of_a_network_made_there_is_refused():
    net = nn.Linear(4, 3)
    with torch.inference_mode():
        made_there = nn.Linear(4, 3)
        with pytest.raises(ValueError, match=r"in torch\.inference_mode\(\): call it outside"):
            train(net, DATA, CONFIG)
    with pytest.raises(ValueError, match=r"weight was made under torch\.inference_mode\(\): make"):
        train(made_there, DATA, CONFIG)
