"""The experiments on the sparse coding model."""

from fpbook.synthetic.many_at_once import Grid, explorer_grid, run_grid
from fpbook.synthetic.measures import (
    accuracy_bounds,
    features_kept,
    measure_control,
    measure_synthetic,
    robust_correct_with_dense,
    soundness,
)
from fpbook.synthetic.model_classes import (
    LOW_COMPLEXITY,
    lower_bounds,
    model_accuracies,
    run_low_complexity,
    run_widths,
)
from fpbook.synthetic.null_tests import synthetic_nulls
from fpbook.synthetic.power_laws import exponent_picks, exponents, power_law
from fpbook.synthetic.protocol import (
    SYNTHETIC,
    SyntheticExperiment,
    SyntheticRun,
    run_control,
    run_scratch,
    run_synthetic,
)
from fpbook.synthetic.sweeps import (
    SCALING_SIZES,
    SWEEP_SEEDS,
    at_size,
    base_experiment,
    limits,
    run_limits,
    run_scaling,
    run_separation,
)

__all__ = [
    "LOW_COMPLEXITY",
    "SCALING_SIZES",
    "SWEEP_SEEDS",
    "SYNTHETIC",
    "Grid",
    "SyntheticExperiment",
    "SyntheticRun",
    "accuracy_bounds",
    "at_size",
    "base_experiment",
    "explorer_grid",
    "exponent_picks",
    "exponents",
    "features_kept",
    "limits",
    "lower_bounds",
    "measure_control",
    "measure_synthetic",
    "model_accuracies",
    "power_law",
    "robust_correct_with_dense",
    "run_control",
    "run_grid",
    "run_limits",
    "run_low_complexity",
    "run_scaling",
    "run_scratch",
    "run_separation",
    "run_synthetic",
    "run_widths",
    "soundness",
    "synthetic_nulls",
]
