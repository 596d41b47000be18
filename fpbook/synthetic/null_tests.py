"""What knows nothing of the sparse coding model scores where the ledger's claims have bounds."""

from dataclasses import replace
from typing import Any

import torch

from fpbook.results.records import record
from fpbook.synthetic.measures import accuracy_bounds, features_kept, medians
from fpbook.synthetic.power_laws import INSIDE, power_law
from fpbook.synthetic.protocol import SyntheticExperiment, SyntheticRun
from fpbook.synthetic.sweeps import SCALING_SIZES, at_size
from fpcore import seeding
from fpcore.decomposition.purification import cosine, decompose, features
from fpcore.models.two_layer import TwoLayer

NULL_SAMPLES = 100  # test samples that are attacked: none of the stand-ins is near a bound


def synthetic_nulls(
    experiment: SyntheticExperiment, seed: int, device: torch.device, result: str = "synthetic"
) -> list[dict[str, Any]]:
    """What stand-ins score of a seed, as records; nothing is trained.

    experiment: the protocol, at whose sizes they are measured
    seed:       of data, test samples and random weights
    device:     to measure on
    result:     the published result that they are held against; for "synthetic" those that are
                held against what follows from its protocol, or from the law of the data, as well

    "init" is the untrained network; "random", weights of another draw in the place of w or w';
    "constant", one answer to every sample; "clean", w in the place of w', whose relations to itself
    are the same whatever w is; "protocol", the threshold in the place of the certified radius. The
    column `experiment` names the published result that each is held against.
    """
    init, other = (
        experiment.network(seed, device),
        TwoLayer(
            experiment.d,
            experiment.width,
            experiment.thresholds[0],
            experiment.init_norm,
            seeding.generator(seed, "another network"),
        ).to(device),
    )
    data = experiment.data(seed, device)
    x, y = data.test_set(experiment.test_samples, seed)
    right = (y > 0).float().mean().item()
    run = SyntheticRun(
        experiment=experiment,
        seed=seed,
        data=data,
        x=x[:NULL_SAMPLES],
        y=y[:NULL_SAMPLES],
        networks={"init": init, "clean": init, "purified": init, "random": other},
        histories={},
    )
    accuracies = ("clean_accuracy", "robust_accuracy", "certified_accuracy")
    found = [
        *(
            row
            for row in accuracy_bounds(run, "init", 1, branches=1)
            if row["quantity"] in accuracies
        ),
        *(record(quantity, right, "constant") for quantity in accuracies),
        *_relations(run, "random"),
        *_relations(replace(run, networks=run.networks | {"random": init}), "clean"),
    ]
    found = [row | {"experiment": result} for row in found]
    if result != "synthetic":
        return found
    constant = record("robust_accuracy", right, "constant", experiment="lower-bounds")
    return [*found, constant, *_one_answer_by_law(), _built_in()]


def _one_answer_by_law() -> list[dict[str, Any]]:
    """The constant where bounds are computed from the law of the data: by symmetry it has 1/2."""
    large = [(10**e, round(0.45 * 10 ** (e / 2))) for e in (8, 10)]
    rows: list[dict[str, Any]] = [{"quantity": "class_bound", "d": 12288, "k": 50}]
    for d, k in large:
        for quantity in ("robust_accuracy", "certified_accuracy"):
            rows.append({"quantity": quantity, "d": d, "k": k, "setting": 0.45})
    same: dict[str, Any] = {"network": "constant", "experiment": "lower-bounds-law"}
    return [record(**row, value=0.5, **same) for row in rows]


def _relations(run: SyntheticRun, network: str) -> list[dict[str, Any]]:
    """How the weights "random" relate to those of "clean" and "init": records of `network`."""
    w0, w, stand_in = (run.named(n).weight.detach() for n in ("init", "clean", "random"))
    share = decompose(w, stand_in).dominant.float().mean().item()
    kept = ("same_feature", "features_gained", "features_lost")
    rows = [
        record("share_dominant", share, network),
        record("share_dominant_live", share, network),  # the neurons of w0 are all live
        *(r for r in features_kept(run, "random") if r["quantity"] in kept),
    ]
    held = features(stand_in, run.data.features, run.data.u_star)
    if network == "random":
        rows += medians(network, cos_to_init=cosine(w0, stand_in), dense_part=held.dense_part)
    return [row | {"network": network} for row in rows]


def _built_in() -> dict[str, Any]:
    """The exponent of the protocol's own threshold in k, fitted as that of the certified radius."""
    sizes = [(d, k) for d, k in SCALING_SIZES["full"] if k < d**0.5]
    thresholds = [at_size(d, k).thresholds[1] for d, k in sizes]
    fit = power_law({"k": [k for _, k in sizes]}, thresholds)["k"]
    law: dict[str, Any] = {"fitted": "certified_radius", "factor": "k", "sizes": INSIDE}
    return record("exponent", fit.value, "protocol", **law, experiment="scaling")
