"""fpcore: feature purification in PyTorch. This page is the table of contents.

Data           SparseCoding, Images, load_cifar10      labelled samples, their features known or not
Models         TwoLayer, ConvNet, ResNet               what the paper studies; networks made from
               low_rank, Linearised, recalibrated      another: an update, its NTK, statistics anew
               loss, correct, accuracy                 of one logit, or of class scores
Attacks        Ball, fgm, pgd, autoattack              inside an l2 or linf ball
               robust_correct, robust_accuracy         the worst of them: upper bounds
Certificates   certify, certified_accuracy,            any perturbation: lower bounds, of TwoLayer
               certified_radius
Training       train, Training, Schedule               one loop: any network, loss, optimiser
Decomposition  decompose, decompose_layers             w = beta w' + v
               cosine, chance_cosine, features, live   what a neuron holds
               neurons, switched_on                    the neurons of any network, layer by layer
               layer_relations                         how two networks relate
               removed                                 w - alpha v, and its controls, no training
Your networks  report, load_network                    all of it, of any pair of checkpoints
Seeds, device  generator, resolve_device

One dotted name away: fpcore.attacks, .models, .decomposition, .certificates, .loading, .reporting,
and .theory, which holds the law of the scores, the bounds on linear and polynomial classes,
kernels, and symmetric networks.
"""

from fpcore.attacks import fgm, pgd, robust_accuracy, robust_correct
from fpcore.auto_attack import autoattack
from fpcore.ball import Ball
from fpcore.certificates import certified_accuracy, certified_radius, certify
from fpcore.checks import resolve_device
from fpcore.decomposition import (
    chance_cosine,
    cosine,
    decompose,
    decompose_layers,
    features,
    layer_relations,
    live,
    neurons,
    removed,
    switched_on,
)
from fpcore.images import DataNotFoundError, Images, load_cifar10
from fpcore.loading import load_network
from fpcore.models import (
    ConvNet,
    Linearised,
    ResNet,
    TwoLayer,
    accuracy,
    correct,
    loss,
    low_rank,
    recalibrated,
)
from fpcore.moved import __getattr__ as __getattr__
from fpcore.reporting import report
from fpcore.seeding import generator
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Schedule, Training, train

__version__ = "0.3.0"
