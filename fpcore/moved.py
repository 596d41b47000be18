"""What `fpcore` answers for names it does not hold: `theory` on first use, and where others are."""

from typing import Any

REPOSITORY = "https://github.com/feature-purification/feature-purification"

# Names that an earlier edition had on `fpcore` itself, by the module that has them now.
WITHIN = {
    "fpcore.attacks": "along transfer",
    "fpcore.decomposition": (
        "activity coding_error effective_rank exciting explained matched maximise patches replaced "
        "roughness swapped thresholds top_part update_spectra"
    ),
    "fpcore.images": "CLASSES",
    "fpcore.models": "trained_parameters",
    "fpcore.theory": (
        "Cubic KernelMachine Linear Sizes Tangent certify_cubic critical_radius cubic_accuracy "
        "dense_accuracy even_part_bound few_features linear_bound linear_bound_at linear_optimum "
        "polynomial quadratic_bound score_law stationary_mixture symmetric_network tangent_kernel "
        "tangent_witness train_kernel"
    ),
}
# And those that are the book's, under this name or another: CHANGELOG.md lists them.
IN_THE_BOOK = (
    "CIFAR Explorer Grid LOW_COMPLEXITY NETWORKS PROFILES SYNTHETIC THREATS alike attacked "
    "attacked_accuracy beside cifar_runs claims comparison examples explorer_grid features_kept "
    "first_layer held_out image_explorer interval ledger_sources ledger_table low_rank_rows "
    "lower_bound_figures measure_accuracies measure_autoattack measure_cifar measure_control "
    "measure_explained measure_grid measure_low_rank measure_relations measure_synthetic "
    "measure_tangent measure_two_seeds open_cifar10 positions projector provenance publish "
    "publish_figure publish_networks published published_arrays published_networks removal_rows "
    "robustness run_adversarial_scratch run_cifar run_control run_grid run_linearised "
    "run_low_complexity run_low_rank run_scratch run_separation run_synthetic run_widths shoot "
    "show smallest_rank soundness start strongest summarise tangent_rows withstood worst_attack"
)


def __getattr__(name: str) -> Any:
    """Of `fpcore`, which has this function too: `fpcore.theory`, or an error of one line."""
    if name == "theory":  # on first use: most users need it never
        import fpcore.theory

        return fpcore.theory
    for module, names in WITHIN.items():
        if name in names.split():
            raise AttributeError(f"fpcore has no {name}: it is {module}.{name}")
    if name in IN_THE_BOOK.split():
        home = f"it is in fpbook, in the book's repository ({REPOSITORY})"
        raise AttributeError(f"fpcore has no {name}: {home}")
    raise AttributeError(f"module 'fpcore' has no attribute {name!r}")
