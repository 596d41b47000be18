"""Networks, and networks made from another: low-rank updates, linearisations, new statistics."""

from fpcore.models.acting import merged
from fpcore.models.batch_norm import recalibrated
from fpcore.models.convnet import ConvNet
from fpcore.models.linearised import Linearised
from fpcore.models.low_rank_update import low_rank, trained_parameters
from fpcore.models.outputs import accuracy, classified, correct, evaluating, loss
from fpcore.models.resnet import ResNet
from fpcore.models.rows import Rows, add_layer_type
from fpcore.models.two_layer import TwoLayer

__all__ = [
    "ConvNet",
    "Linearised",
    "ResNet",
    "Rows",
    "TwoLayer",
    "accuracy",
    "add_layer_type",
    "classified",
    "correct",
    "evaluating",
    "loss",
    "low_rank",
    "merged",
    "recalibrated",
    "trained_parameters",
]
