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
    MODELS,
    TRAININGS,
    lower_bounds,
    measure_model,
    measure_networks,
    measure_width,
    measure_witness,
    model_accuracies,
    smoothed_pgd,
)
from fpbook.synthetic.narrow import largest_step, measure_narrow, narrow_experiment
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
    home_settings,
    measure_limit,
    measure_scaling,
    measure_separation,
)

__all__ = [
    "LOW_COMPLEXITY",
    "MODELS",
    "SCALING_SIZES",
    "SWEEP_SEEDS",
    "SYNTHETIC",
    "TRAININGS",
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
    "home_settings",
    "largest_step",
    "lower_bounds",
    "measure_control",
    "measure_limit",
    "measure_model",
    "measure_narrow",
    "measure_networks",
    "measure_scaling",
    "measure_separation",
    "measure_synthetic",
    "measure_width",
    "measure_witness",
    "model_accuracies",
    "narrow_experiment",
    "power_law",
    "robust_correct_with_dense",
    "run_control",
    "run_grid",
    "run_scratch",
    "run_synthetic",
    "smoothed_pgd",
    "soundness",
    "synthetic_nulls",
]
