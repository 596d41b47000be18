"""fpcore: feature purification, executable. This page is the table of contents.

Data        SparseCoding                     x = M z + xi with known features M
            load_cifar10, Images             CIFAR-10 on the device, in [0, 1]
Models      TwoLayer, ConvNet                the paper's two-layer network; an AlexNet-like ConvNet
            loss, correct, accuracy
Attacks     Ball                             l2 and linf: project, steepest step, random point
            fgm, pgd, along, robust_correct  upper bounds on robustness
Training    train, Training, Schedule        one loop, clean or adversarial, resumable
Measures    decompose, decompose_layers      w = beta w' + v
            features, cosine, neurons        purity, dense part, correlation
Certificate certify, certified_accuracy,     lower bounds on robustness, against any l2 perturbation
            certified_radius                 the largest that is certified, sample by sample
Experiments SYNTHETIC, run_synthetic         the book's runs, by profile
            CIFAR, run_cifar
Results     publish, published, interval     what a full run publishes, and the claims ledger
"""

from fpcore.attacks import Ball, along, fgm, pgd, robust_correct
from fpcore.certificates import certified_accuracy, certified_radius, certify
from fpcore.checks import resolve_device
from fpcore.cifar import CLASSES, DataNotFoundError, Images, load_cifar10
from fpcore.decomposition import chance_cosine, cosine, decompose, decompose_layers, features, neurons, replaced, top_part
from fpcore.experiments import (
    CIFAR,
    PROFILES,
    SYNTHETIC,
    live,
    measure_cifar,
    measure_synthetic,
    robustness,
    run_cifar,
    run_synthetic,
    soundness,
    start,
    summarise,
)
from fpcore.models import ConvNet, TwoLayer, accuracy, correct, loss
from fpcore.results import (
    claims,
    comparison,
    interval,
    ledger_sources,
    ledger_table,
    provenance,
    publish,
    publish_figure,
    published,
    published_layers,
    show,
)
from fpcore.seeding import generator
from fpcore.sparse_coding import SparseCoding
from fpcore.training import Schedule, Training, train

__all__ = [
    "CIFAR",
    "CLASSES",
    "PROFILES",
    "SYNTHETIC",
    "Ball",
    "ConvNet",
    "DataNotFoundError",
    "Images",
    "Schedule",
    "SparseCoding",
    "Training",
    "TwoLayer",
    "accuracy",
    "along",
    "certified_accuracy",
    "certified_radius",
    "certify",
    "chance_cosine",
    "claims",
    "comparison",
    "correct",
    "cosine",
    "decompose",
    "decompose_layers",
    "features",
    "fgm",
    "generator",
    "interval",
    "ledger_sources",
    "ledger_table",
    "live",
    "load_cifar10",
    "loss",
    "measure_cifar",
    "measure_synthetic",
    "neurons",
    "pgd",
    "provenance",
    "publish",
    "publish_figure",
    "published",
    "published_layers",
    "replaced",
    "resolve_device",
    "robust_correct",
    "robustness",
    "run_cifar",
    "run_synthetic",
    "show",
    "soundness",
    "start",
    "summarise",
    "top_part",
    "train",
]
