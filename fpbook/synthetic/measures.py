"""What is measured of a run on the sparse coding model, as records.

Accuracies between their bounds, and what the neurons hold.
"""

from typing import Any

import torch
from torch import Tensor, nn

from fpbook.results.records import record
from fpbook.synthetic.protocol import SyntheticRun
from fpcore import seeding
from fpcore.attacks import along, robust_correct
from fpcore.ball import Ball
from fpcore.certificates.certificate import BRANCHES, certify
from fpcore.decomposition.purification import chance_cosine, cosine, decompose, features, live
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding


def measure_synthetic(
    run: SyntheticRun, restarts: int = 5, branches: int = BRANCHES
) -> list[dict[str, Any]]:
    """What the ledger takes of a run of `run_synthetic`: records of "init", "clean", "purified".

    run:      whose test samples and radius are taken
    restarts: of PGD
    branches: of the certificate of "purified", as in `certify`
    """
    return [
        record("radius", run.experiment.radius),
        record("cos_chance", chance_cosine(run.experiment.d)),
        *accuracy_bounds(run, "clean", restarts, branches=1),
        *accuracy_bounds(run, "purified", restarts, branches),
        *measure_neurons(run),
        record("margin_over_rounding", margin_over_rounding(run), "purified"),
    ]


def measure_neurons(run: SyntheticRun) -> list[dict[str, Any]]:
    """How far each stage turns the neurons of a run, and what they hold: records.

    run: of `run_synthetic`
    """
    w0, w, w_purified = (net.weight.detach() for net in (run.init, run.clean, run.purified))
    alive = live(run.purified)  # they carry the purified network
    # w = beta w' + v, neuron by neuron, and how far each stage turns it
    parts = decompose(w, w_purified)
    shares = {
        "share_live": alive,
        "share_dominant": parts.dominant,
        "share_dominant_live": parts.dominant[alive],
    }
    found = [
        record(name, which.float().mean().item(), "purified") for name, which in shares.items()
    ]
    for name, network, values in (
        ("cos_to_clean", "purified", parts.cos),
        ("cos_to_init", "clean", cosine(w0, w)),
        ("cos_to_init", "purified", cosine(w0, w_purified)),
    ):
        found += medians(network, **{name: values, f"{name}_live": values[alive]})
    # what the neurons hold at each stage, and the direction of what is removed
    for network in ("init", "clean", "purified"):
        held = features(run.named(network).weight.detach(), run.data.features, run.data.u_star)
        found += medians(network, purity=held.purity[alive], dense_part=held.dense_part[alive])
    removed = cosine(parts.residual[alive], run.data.u_star.expand_as(parts.residual[alive])).abs()
    return [
        *found,
        *medians("purified", cos_removed_dense=removed),
        *features_kept(run, "purified"),
    ]


def margin_over_rounding(run: SyntheticRun) -> float:
    """The purified network's smallest certified margin, over what float64 could have missed.

    Of that each certificate has paid already: 2^-52 (m + d) sum_i |w_i| (|x| + radius), the worst
    case of rounding in all products and sums. Balls are not split: the margin of a split one is not
    the largest that could be proved. 0 if nothing is certified.
    """
    net, radius = run.purified, run.experiment.radius
    margin = certify(net, run.x, run.y, radius, branches=1).margin.double()
    total = net.weight.detach().double().norm(dim=1).sum()
    error = 2.0**-52 * sum(net.weight.shape) * total * (run.x.double().norm(dim=1) + radius)
    certified = (margin / error)[margin > 0]
    return certified.min().item() if len(certified) else 0.0


def measure_control(run: SyntheticRun, restarts: int = 5) -> list[dict[str, Any]]:
    """Of a run of `run_control`, what that of FGM training is to be told from: of "control".

    Its certificate does not branch: hardly anything is certified, and branching takes longest where
    it fails.
    """
    w, w_c, alive = run.clean.weight.detach(), run.control.weight.detach(), live(run.control)
    held, parts = features(w_c[alive], run.data.features, run.data.u_star), decompose(w, w_c)
    kept = [row for row in features_kept(run, "control") if row["quantity"] == "same_feature"]
    return [
        *accuracy_bounds(run, "control", restarts, branches=1),
        *medians("control", purity=held.purity, dense_part=held.dense_part),
        record("share_dominant", parts.dominant.float().mean().item(), "control"),
        *kept,
    ]


def medians(network: str, **values: Tensor) -> list[dict[str, Any]]:
    """Records of the medians of quantities over a network's neurons."""
    return [record(name, each.median().item(), network) for name, each in values.items()]


def features_kept(run: SyntheticRun, network: str) -> list[dict[str, Any]]:
    """Which features live neurons hold, each its top feature, before and after a second stage.

    run:     with the network "clean", from which the second stage starts
    network: the one after it, "purified" or "control"

    Of its live neurons, `same_feature` is the share that holds the same feature in w. Of all
    features, `features_held` is the share that some live neuron holds; `features_gained`, that none
    of w did; `features_lost`, that one of w did, and none does any more;
    `features_missed_by_chance`, that none would hold, were each live neuron given one at random.
    """
    data, clean, after = run.data, run.clean, run.named(network)
    alive = live(after)
    old, new = (features(n.weight.detach(), data.features, data.u_star).top for n in (clean, after))
    was, now = (torch.bincount(top, minlength=data.d) > 0 for top in (old[live(clean)], new[alive]))
    shares = {
        "same_feature": (old == new)[alive],
        "features_held": now,
        "features_gained": now & ~was,
        "features_lost": was & ~now,
    }
    missed = (1 - 1 / data.d) ** int(alive.sum())
    return [
        *(record(name, which.float().mean().item(), network) for name, which in shares.items()),
        record("features_missed_by_chance", missed, network),
    ]


def robust_correct_with_dense(
    net: nn.Module,
    data: SparseCoding,
    x: Tensor,
    y: Tensor,
    radius: float,
    restarts: int = 5,
    rng: torch.Generator | None = None,
) -> Tensor:
    """Which samples survive FGM, the dense direction and APGD: (n,), bool; an upper bound.

    net:      the model under attack
    data:     where the dense direction is known from
    x, y:     samples, (n, d) and (n,)
    radius:   l2, of all attacks
    restarts: number of runs of APGD
    rng:      of their random starts
    """
    rng = rng or seeding.generator(0, "attack", device=x.device)
    extra = (along(data.u_star, radius),)
    return robust_correct(net, x, y, Ball("l2", radius), restarts=restarts, extra=extra, rng=rng)


def accuracy_bounds(
    run: SyntheticRun, network: str, restarts: int = 5, branches: int = BRANCHES
) -> list[dict[str, Any]]:
    """Clean, robust and certified accuracy of a network, at the run's radius: records.

    run:      whose test samples and radius are taken
    network:  its name in the run
    restarts: of APGD; robust accuracy, under the worst attack, is an upper bound
    branches: of the certificate, a lower bound; networks that are far from robust cost it most and
              gain least: give 1 for them

    A certified sample that an attack breaks is an error: it would disprove the certificate.
    """
    net, radius = run.named(network), run.experiment.radius
    survived = robust_correct_with_dense(net, run.data, run.x, run.y, radius, restarts)
    certificate = certify(net, run.x, run.y, radius, branches)
    if broken := int((certificate.robust & ~survived).sum()):
        raise ArithmeticError(
            f"an attack broke {broken} samples that are certified at {radius}: report this bug"
        )
    return [
        record("clean_accuracy", accuracy(net, run.x, run.y), network),
        record("robust_accuracy", survived.float().mean().item(), network),
        record("certified_accuracy", certificate.robust.float().mean().item(), network),
        record("certificate_exact", certificate.exact.float().mean().item(), network),
    ]


def soundness(
    net: TwoLayer,
    x: Tensor,
    y: Tensor,
    radii: list[float],
    branches: int = BRANCHES,
    restarts: int = 2,
    rng: torch.Generator | None = None,
    norm: str = "l2",
) -> dict[str, int]:
    """Attack all that is certified: {"pairs", "certified", "broken"}, how many there are.

    net:      the network
    x, y:     samples, (n, d) and (n,)
    radii:    of the balls; a pair is a sample and a radius
    branches: of the certificate
    restarts: of APGD, which attacks, beside FGM, what is certified
    rng:      of its starts
    norm:     of the balls, "l2" or "linf"

    A single broken pair would disprove the certificate.
    """
    counts = {"pairs": 0, "certified": 0, "broken": 0}
    for radius in radii:
        robust = certify(net, x, y, radius, branches, norm=norm).robust
        survived = robust_correct(
            net, x[robust], y[robust], Ball(norm, radius), restarts=restarts, rng=rng
        )
        counts["pairs"] += len(x)
        counts["certified"] += len(survived)
        counts["broken"] += int((~survived).sum())
    return counts
