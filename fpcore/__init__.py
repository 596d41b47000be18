"""fpcore: feature purification, executable. This page is the table of contents.

Data        SparseCoding                     x = M z + xi with known features M
            load_cifar10, Images             CIFAR-10 on the device, in [0, 1]
Models      TwoLayer, ConvNet, ResNet        the paper's two-layer network; an AlexNet-like ConvNet; PreActResNet-18
            low_rank                         low-rank updates of a trained network
            Linearised, recalibrated         a network's linearisation (NTK); batch-norm statistics anew
            loss, correct, accuracy
Attacks     Ball                             l2 and linf: project, steepest step, random point
            fgm, pgd, along, robust_correct  upper bounds on robustness; transfer: found on another network
Training    train, Training, Schedule        one loop, clean or adversarial, resumable
Measures    decompose, decompose_layers      w = beta w' + v
            features, cosine, neurons        purity, dense part, correlation
Certificate certify, certified_accuracy,     lower bounds on robustness, against any l2 perturbation
            certified_radius, soundness      the largest that is certified, sample by sample; attacks on all of it
Symmetric   symmetric_network,               the networks of the theory, written down; the mixture at which
            stationary_mixture               clean training of them rests
Low         linear_bound, quadratic_bound    upper bounds on whole classes, whoever trains them
complexity  linear_optimum, certify_cubic    their best loss; what degree 3 can do
            score_law                        the law of the scores, from which all follow
            Linear, Cubic, Tangent           the classes: linear, a cubic, the network's tangent kernel,
            KernelMachine                    and polynomial or infinite-width kernels
Experiments SYNTHETIC, run_synthetic         the book's runs, by profile
            run_control, run_scratch         clean training only; FGM training only
            worst_attack, robustness         how robust a network of these is, from above and from below
            variations                       other sizes, and what breaks it
            CIFAR, run_cifar                 w0 -> w -> w' and the control; from scratch; low rank; NTK
            run_adversarial_scratch, run_low_rank, run_linearised
            open_cifar10, cifar_runs         the networks of all seeds, trained or read
            published_networks               the published ones, rebuilt
            LOW_COMPLEXITY, attacked         the classes side by side at one radius
            explorer_grid, run_grid          training radius x width x seed, all networks at once
On images   measure_cifar, measure_relations accuracies; cosines between networks, layer by layer, with controls
            explained                        what a linear map of one network's neurons explains of another's
            autoattack, withstood            AutoAttack, the field's standard evaluation
            removed, swapped, removal_rows   w - alpha v without training, and its controls
            switched_on                      neurons that weight decay has left on
            maximise, exciting, activity     features people can look at
            low_rank_rows, tangent_rows      a seed's low-rank updates; its linearisations
            measure_low_rank, measure_tangent, measure_accuracies
Widgets     measure_grid, Explorer           sliders over the grid; with a kernel, any values live
            shoot, projector                 a slider over the time of one training
            examples, image_explorer         CIFAR-10 under attack, image by image
Results     publish, published, interval     what a full run publishes, and the claims ledger
"""

from fpcore.attacks import Ball, along, fgm, pgd, robust_correct, transfer
from fpcore.autoattacks import THREATS, autoattack
from fpcore.batch_norm import recalibrated
from fpcore.certificates import certified_accuracy, certified_radius, certify
from fpcore.checks import resolve_device
from fpcore.cifar import CLASSES, DataNotFoundError, Images, load_cifar10
from fpcore.cifar_experiments import CIFAR, run_adversarial_scratch, run_cifar, run_linearised, run_low_rank
from fpcore.cifar_measures import (
    attacked_accuracy,
    explained,
    layer_relations,
    matched,
    measure_accuracies,
    measure_autoattack,
    measure_cifar,
    measure_explained,
    measure_relations,
    measure_two_seeds,
    withstood,
)
from fpcore.cifar_networks import NETWORKS, cifar_runs, open_cifar10, publish_networks, published_networks
from fpcore.cifar_updates import (
    effective_rank,
    low_rank_rows,
    measure_low_rank,
    measure_tangent,
    smallest_rank,
    tangent_rows,
    update_spectra,
)
from fpcore.decomposition import chance_cosine, cosine, decompose, decompose_layers, features, neurons, replaced, top_part
from fpcore.experiments import PROFILES, held_out, start, summarise
from fpcore.explorer import Explorer, alike, measure_grid
from fpcore.film import positions, projector, shoot
from fpcore.grid import Grid, explorer_grid, run_grid
from fpcore.image_explorer import examples, first_layer, image_explorer, strongest
from fpcore.kernels import Cubic, KernelMachine, Linear, Tangent, polynomial, tangent_kernel, train_kernel
from fpcore.ledger import claims, ledger_sources, ledger_table, publish
from fpcore.linearised import Linearised
from fpcore.low_rank import low_rank, trained_parameters
from fpcore.lower_bounds import (
    Sizes,
    certify_cubic,
    critical_radius,
    dense_accuracy,
    even_part_bound,
    few_features,
    linear_bound,
    linear_bound_at,
    linear_optimum,
    quadratic_bound,
    score_law,
)
from fpcore.models import ConvNet, TwoLayer, accuracy, correct, loss
from fpcore.removal import removal_rows, removed, roughness, swapped
from fpcore.resnet import ResNet
from fpcore.results import (
    beside,
    comparison,
    interval,
    provenance,
    publish_figure,
    published,
    published_arrays,
    show,
)
from fpcore.seeding import generator
from fpcore.separation import (
    LOW_COMPLEXITY,
    attacked,
    cubic_accuracy,
    lower_bound_figures,
    run_low_complexity,
    run_separation,
    run_widths,
    tangent_witness,
)
from fpcore.sparse_coding import SparseCoding
from fpcore.switched import switched_on
from fpcore.symmetric import stationary_mixture, symmetric_network
from fpcore.synthetic_experiments import (
    SYNTHETIC,
    features_kept,
    live,
    measure_control,
    measure_synthetic,
    robustness,
    run_control,
    run_scratch,
    run_synthetic,
    soundness,
    worst_attack,
)
from fpcore.training import Schedule, Training, train
from fpcore.visible import activity, coding_error, exciting, maximise, patches, thresholds

__all__ = [
    "CIFAR",
    "CLASSES",
    "LOW_COMPLEXITY",
    "NETWORKS",
    "PROFILES",
    "SYNTHETIC",
    "THREATS",
    "Ball",
    "ConvNet",
    "Cubic",
    "DataNotFoundError",
    "Explorer",
    "Grid",
    "Images",
    "KernelMachine",
    "Linear",
    "Linearised",
    "ResNet",
    "Schedule",
    "Sizes",
    "SparseCoding",
    "Tangent",
    "Training",
    "TwoLayer",
    "accuracy",
    "activity",
    "alike",
    "along",
    "attacked",
    "attacked_accuracy",
    "autoattack",
    "beside",
    "certified_accuracy",
    "certified_radius",
    "certify",
    "certify_cubic",
    "chance_cosine",
    "cifar_runs",
    "claims",
    "coding_error",
    "comparison",
    "correct",
    "cosine",
    "critical_radius",
    "cubic_accuracy",
    "decompose",
    "decompose_layers",
    "dense_accuracy",
    "effective_rank",
    "even_part_bound",
    "examples",
    "exciting",
    "explained",
    "explorer_grid",
    "features",
    "features_kept",
    "few_features",
    "fgm",
    "first_layer",
    "generator",
    "held_out",
    "image_explorer",
    "interval",
    "layer_relations",
    "ledger_sources",
    "ledger_table",
    "linear_bound",
    "linear_bound_at",
    "linear_optimum",
    "live",
    "load_cifar10",
    "loss",
    "low_rank",
    "low_rank_rows",
    "lower_bound_figures",
    "matched",
    "maximise",
    "measure_accuracies",
    "measure_autoattack",
    "measure_cifar",
    "measure_control",
    "measure_explained",
    "measure_grid",
    "measure_low_rank",
    "measure_relations",
    "measure_synthetic",
    "measure_tangent",
    "measure_two_seeds",
    "neurons",
    "open_cifar10",
    "patches",
    "pgd",
    "polynomial",
    "positions",
    "projector",
    "provenance",
    "publish",
    "publish_figure",
    "publish_networks",
    "published",
    "published_arrays",
    "published_networks",
    "quadratic_bound",
    "recalibrated",
    "removal_rows",
    "removed",
    "replaced",
    "resolve_device",
    "robust_correct",
    "robustness",
    "roughness",
    "run_adversarial_scratch",
    "run_cifar",
    "run_control",
    "run_grid",
    "run_linearised",
    "run_low_complexity",
    "run_low_rank",
    "run_scratch",
    "run_separation",
    "run_synthetic",
    "run_widths",
    "score_law",
    "shoot",
    "show",
    "smallest_rank",
    "soundness",
    "start",
    "stationary_mixture",
    "strongest",
    "summarise",
    "swapped",
    "switched_on",
    "symmetric_network",
    "tangent_kernel",
    "tangent_rows",
    "tangent_witness",
    "thresholds",
    "top_part",
    "train",
    "train_kernel",
    "trained_parameters",
    "transfer",
    "update_spectra",
    "withstood",
    "worst_attack",
]
