"""What the theorems speak of, computed: scores, bounds on classes, kernels, symmetric networks."""

from fpcore.theory.class_bounds import (
    critical_radius,
    dense_accuracy,
    even_part_bound,
    few_features,
    linear_bound,
    linear_bound_at,
    linear_optimum,
    quadratic_bound,
)
from fpcore.theory.cubic import Cubic, certify_cubic, cubic_accuracy
from fpcore.theory.kernels import (
    KernelMachine,
    Linear,
    Tangent,
    polynomial,
    tangent_kernel,
    tangent_witness,
    train_kernel,
)
from fpcore.theory.scores import Sizes, score_law
from fpcore.theory.separation import (
    Separation,
    narrowest_margin,
    share_kept,
    symmetric_accuracy,
)
from fpcore.theory.symmetric_networks import stationary_mixture, symmetric_network

__all__ = [
    "Cubic",
    "KernelMachine",
    "Linear",
    "Separation",
    "Sizes",
    "Tangent",
    "certify_cubic",
    "critical_radius",
    "cubic_accuracy",
    "dense_accuracy",
    "even_part_bound",
    "few_features",
    "linear_bound",
    "linear_bound_at",
    "linear_optimum",
    "narrowest_margin",
    "polynomial",
    "quadratic_bound",
    "score_law",
    "share_kept",
    "stationary_mixture",
    "symmetric_accuracy",
    "symmetric_network",
    "tangent_kernel",
    "tangent_witness",
    "train_kernel",
]
