"""The experiments on CIFAR-10."""

from fpbook.cifar10.experiment import CIFAR, THREATS, CifarExperiment
from fpbook.cifar10.features import measure_activity, measure_coding
from fpbook.cifar10.few_images import (
    few_images,
    publish_images,
    publish_pictures,
    published_images,
    published_pictures,
)
from fpbook.cifar10.layers import measure_explained, measure_relations, measure_two_seeds
from fpbook.cifar10.low_rank_and_ntk import (
    low_rank_variants,
    measure_beside_scratch,
    measure_low_rank,
    measure_tangent,
    smallest_rank,
)
from fpbook.cifar10.measures import (
    autoattack_correct,
    measure_accuracies,
    measure_autoattack,
    measure_cifar,
    pgd_accuracy,
)
from fpbook.cifar10.networks import (
    SYMBOLS,
    TRAINED,
    Variant,
    cifar_runs,
    of_each_seed,
    open_cifar10,
    publish_networks,
    published_networks,
    setting,
)
from fpbook.cifar10.null_tests import cifar_nulls, measure_sparsity
from fpbook.cifar10.own_networks import (
    OWN,
    OwnExperiment,
    measure_own,
    own_arrays,
    published_own,
    run_own,
)
from fpbook.cifar10.removal import measure_removal, removal_variants
from fpbook.cifar10.runs import run_adversarial_scratch, run_cifar, run_linearised, run_low_rank

__all__ = [
    "CIFAR",
    "OWN",
    "SYMBOLS",
    "THREATS",
    "TRAINED",
    "CifarExperiment",
    "OwnExperiment",
    "Variant",
    "autoattack_correct",
    "cifar_nulls",
    "cifar_runs",
    "few_images",
    "low_rank_variants",
    "measure_accuracies",
    "measure_activity",
    "measure_autoattack",
    "measure_beside_scratch",
    "measure_cifar",
    "measure_coding",
    "measure_explained",
    "measure_low_rank",
    "measure_own",
    "measure_relations",
    "measure_removal",
    "measure_sparsity",
    "measure_tangent",
    "measure_two_seeds",
    "of_each_seed",
    "open_cifar10",
    "own_arrays",
    "pgd_accuracy",
    "publish_images",
    "publish_networks",
    "publish_pictures",
    "published_images",
    "published_networks",
    "published_own",
    "published_pictures",
    "removal_variants",
    "run_adversarial_scratch",
    "run_cifar",
    "run_linearised",
    "run_low_rank",
    "run_own",
    "setting",
    "smallest_rank",
]
