"""What is measured of a run on the sparse coding model: accuracies between their bounds, and what the neurons hold."""

import torch
from torch import Tensor, nn

from fpbook.synthetic.protocol import SyntheticRun
from fpcore import seeding
from fpcore.attacks import Ball, along, robust_correct
from fpcore.certificates.certificate import BRANCHES, certify
from fpcore.decomposition.purification import chance_cosine, cosine, decompose, features, live
from fpcore.models.outputs import accuracy
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding


def measure_synthetic(run: SyntheticRun, restarts: int = 5) -> dict[str, float]:
    """All of the ledger's figures of one seed, on its held-out test set, at the experiment's radius."""
    out = {"radius": run.experiment.radius, "cos_chance": chance_cosine(run.experiment.d)}
    for suffix, net, branches in (("", run.clean, 1), ("_adv", run.purified, BRANCHES)):
        out |= {
            f"{name}{suffix}": value
            for name, value in accuracy_bounds(run, net, restarts, branches).items()
        }
    w0, w, w1 = (n.weight.detach() for n in (run.init, run.clean, run.purified))
    parts, alive = decompose(w, w1), live(run.purified)
    out["share_live"] = alive.float().mean().item()
    out["share_dominant"] = parts.dominant.float().mean().item()
    out["share_dominant_live"] = parts.dominant[alive].float().mean().item()
    cosines = {
        "cos_clean_adv": parts.cos,
        "cos_init_clean": cosine(w0, w),
        "cos_init_adv": cosine(w0, w1),
    }
    for name, values in cosines.items():
        out[name], out[f"{name}_live"] = values.median().item(), values[alive].median().item()
    for suffix, net in (("_init", run.init), ("", run.clean), ("_adv", run.purified)):
        held = features(net.weight.detach(), run.data.features, run.data.u_star)
        out[f"purity{suffix}"] = held.purity[alive].median().item()
        out[f"dense_part{suffix}"] = held.dense_part[alive].median().item()
    removed = cosine(parts.residual[alive], run.data.u_star.expand_as(parts.residual[alive])).abs()
    out["cos_removed_dense"] = removed.median().item()
    return out | features_kept(run.data, run.clean, run.purified)


def measure_control(run: SyntheticRun, restarts: int = 5) -> dict[str, float]:
    """Of a run of `run_control`: what the figures of FGM training are to be told from, each as "name_control".

    Its certificate does not branch (`branches` = 1): hardly anything is certified, and branching takes longest where it fails.
    """
    w, w_c, alive = run.clean.weight.detach(), run.control.weight.detach(), live(run.control)
    held, parts = features(w_c[alive], run.data.features, run.data.u_star), decompose(w, w_c)
    out = accuracy_bounds(run, run.control, restarts, branches=1)
    out |= {"purity": held.purity.median().item(), "dense_part": held.dense_part.median().item()}
    kept = features_kept(run.data, run.clean, run.control)
    out |= {
        "share_dominant": parts.dominant.float().mean().item(),
        "same_feature": kept["same_feature"],
    }
    return {f"{name}_control": value for name, value in out.items()}


def features_kept(data: SparseCoding, clean: TwoLayer, after: TwoLayer) -> dict[str, float]:
    """Which features live neurons hold, each its top feature, in w and after a second stage, in w' say.

    `same_feature`: share of the live neurons of w' that hold the same feature in w. `features_held`: share of all features
    that some live neuron of w' holds; `features_gained`: that none of w did; `features_lost`: that one of w did, and none of
    w' does; `features_missed_by_chance`: that none would hold, were each of the live neurons of w' given one at random.
    """
    alive = live(after)
    old, new = (features(n.weight.detach(), data.features, data.u_star).top for n in (clean, after))
    was, now = (torch.bincount(top, minlength=data.d) > 0 for top in (old[live(clean)], new[alive]))
    return {
        "same_feature": (old == new)[alive].float().mean().item(),
        "features_held": now.float().mean().item(),
        "features_gained": (now & ~was).float().mean().item(),
        "features_lost": (was & ~now).float().mean().item(),
        "features_missed_by_chance": (1 - 1 / data.d) ** int(alive.sum()),
    }


def robust_correct_with_dense(
    net: nn.Module,
    data: SparseCoding,
    x: Tensor,
    y: Tensor,
    radius: float,
    restarts: int = 5,
    rng: torch.Generator | None = None,
) -> Tensor:
    """Which samples survive FGM, the dense direction and PGD with `restarts`, at an l2 radius: (n,), bool; an upper bound."""
    rng = rng or seeding.generator(0, "attack", device=x.device)
    extra = (along(data.u_star, radius),)
    return robust_correct(net, x, y, Ball("l2", radius), restarts=restarts, extra=extra, rng=rng)


def accuracy_bounds(
    run: SyntheticRun, net: TwoLayer, restarts: int = 5, branches: int = BRANCHES
) -> dict[str, float]:
    """Clean, robust (worst attack: an upper bound) and certified (a lower bound) accuracy at the run's radius.

    Networks that are far from robust cost the certificate most and gain least: give `branches` = 1 for them. A certified
    sample that an attack breaks is an error: it would disprove the certificate.
    """
    survived = robust_correct_with_dense(
        net, run.data, run.x, run.y, run.experiment.radius, restarts
    )
    certificate = certify(net, run.x, run.y, run.experiment.radius, branches)
    if broken := int((certificate.robust & ~survived).sum()):
        raise ArithmeticError(
            f"an attack broke {broken} samples that are certified at {run.experiment.radius}: report this bug"
        )
    return {
        "clean_accuracy": accuracy(net, run.x, run.y),
        "robust_accuracy": survived.float().mean().item(),
        "certified_accuracy": certificate.robust.float().mean().item(),
        "certificate_exact": certificate.exact.float().mean().item(),
    }


def soundness(
    net: TwoLayer,
    x: Tensor,
    y: Tensor,
    radii: list[float],
    branches: int = BRANCHES,
    restarts: int = 2,
    rng: torch.Generator | None = None,
) -> dict[str, int]:
    """Attack all that is certified: how many (sample, radius) `pairs` there are, `certified` ones, and `broken` ones of those.

    The attacks are FGM and PGD with `restarts`. A single broken pair would disprove the certificate.
    """
    counts = {"pairs": 0, "certified": 0, "broken": 0}
    for radius in radii:
        robust = certify(net, x, y, radius, branches).robust
        survived = robust_correct(
            net, x[robust], y[robust], Ball("l2", radius), restarts=restarts, rng=rng
        )
        counts["pairs"] += len(x)
        counts["certified"] += len(survived)
        counts["broken"] += int((~survived).sum())
    return counts
