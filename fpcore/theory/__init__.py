"""What the theorems speak of, computed: scores, bounds on classes, kernels, symmetric networks."""

from fpcore.theory.breaking_radius import breaking_radius
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
from fpcore.theory.sharp_linear_bound import few_features_accuracy, sharp_linear_bound
from fpcore.theory.symmetric_networks import stationary_mixture, symmetric_network
from fpcore.theory.symmetric_polynomials import (
    SymmetricPolynomials,
    draw_histograms,
    thresholded_margin,
)

__all__ = [
    "Cubic",
    "KernelMachine",
    "Linear",
    "Separation",
    "Sizes",
    "SymmetricPolynomials",
    "Tangent",
    "breaking_radius",
    "certify_cubic",
    "critical_radius",
    "cubic_accuracy",
    "dense_accuracy",
    "draw_histograms",
    "even_part_bound",
    "few_features",
    "few_features_accuracy",
    "linear_bound",
    "linear_bound_at",
    "linear_optimum",
    "narrowest_margin",
    "polynomial",
    "quadratic_bound",
    "score_law",
    "share_kept",
    "sharp_linear_bound",
    "stationary_mixture",
    "symmetric_accuracy",
    "symmetric_network",
    "tangent_kernel",
    "tangent_witness",
    "thresholded_margin",
    "train_kernel",
]
