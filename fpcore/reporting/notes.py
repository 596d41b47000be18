"""What may not be concluded from a report."""

import math
from collections.abc import Mapping
from typing import Any

from fpcore.reporting.lookup import found
from fpcore.reporting.shown import interval_of_share

NEAR = 0.05  # a control's median cosine so little above that of w' is comparable
SMALL = 30  # fan-in below which even random vectors have a sizeable |cos|


def notes(content: Mapping[str, Any], chosen: list[str]) -> list[str]:
    """What may not be concluded, one sentence or two each, from what was measured.

    content  of the report, as far as it is measured
    chosen   the layers measured one by one
    """
    return [
        *_of_networks(content),
        *_of_layers(content, chosen),
        *_of_accuracies(content),
    ]


def _of_networks(content: Mapping[str, Any]) -> list[str]:
    """What the networks that are not there, or that are alike, forbid to conclude."""
    networks, records = content["about"]["networks"], content["records"]
    said = []
    if "control" not in networks:
        said.append(
            "No control was given: a large cosine of w' with w is no sign of purification by "
            "itself, since training on, clean, by a gentle schedule leaves large cosines too."
        )
    else:
        own, its = (found(records, "cos_to_clean", role) for role in ("purified", "control"))
        if own is not None and its is not None and its < own + NEAR:
            said.append(
                f"The control's median cosine with w ({its:.2f}) is no larger than that of w' "
                f"({own:.2f}), or hardly: by its cosines w' is as near to w as training on, clean."
                if its >= own
                else f"The control's median cosine with w ({its:.2f}) is below that of w' "
                f"({own:.2f}): the cosines say nothing special about adversarial training."
            )
    if "init" not in networks:
        said.append(
            "No initial network was given: nothing is said about what clean training had found "
            "when it ended, against where it began."
        )
    if "scratch" not in networks:
        said.append(
            "No network trained adversarially from scratch was given: nothing is said about "
            "whether its neurons would be those of w as well."
        )
    said.append(
        "One pair of networks was measured: other seeds, schedules and architectures may differ."
    )
    return said


def _of_layers(content: Mapping[str, Any], chosen: list[str]) -> list[str]:
    """What is left out of the weights, or says little."""
    coverage, records, said = content["coverage"], content["records"], []
    if coverage["left_out"]:
        named = ", ".join(coverage["left_out"])
        said.append(
            f"The layers hold {coverage['share']:.1%} of the matrices' weights; left out: {named}."
        )
    left = [row["name"] for row in content["layers"] if row["name"] not in chosen]
    if left:
        said.append(
            f"Layers that the pattern left out of the measures of weights, of the pooled ones too: "
            f"{', '.join(left)}. The networks made from the pair change all layers."
        )
    for role in ("clean", "purified", "control", "scratch"):
        share = found(records, "share_switched_on", role)
        if share is not None and share < 1:
            said.append(
                f"{1 - share:.1%} of the hidden neurons of the {role} network are switched off; "
                "cosines leave them out."
            )
    small = [r["name"] for r in content["layers"] if r["fan_in"] < SMALL and r["name"] in chosen]
    if small:
        said.append(
            f"In {', '.join(small)} neurons have fewer than {SMALL} inputs: there random vectors "
            f"have a |cos| of about {1 / math.sqrt(SMALL):.2f} or more."
        )
    said.append("Biases and normalisation are no part of w = beta w' + v.")
    return said


def _of_accuracies(content: Mapping[str, Any]) -> list[str]:
    """What the accuracies cannot say."""
    data, ball, records = content["about"]["data"], content["about"]["ball"], content["records"]
    if data is None:
        return ["No images were given: the report is of weights alone, without any accuracy."]
    if ball is None:
        return [
            "No ball was given: nothing was attacked, accuracies are clean ones; nothing is said "
            "about robustness."
        ]
    widest = {n: 0.98 / math.sqrt(n) for n in (data["attacked"], data["attacked_variants"])}
    counted = " and ".join(f"{100 * half:.1f} points for {n} images" for n, half in widest.items())
    said = [
        "Robust accuracies are upper bounds: an attack that fails proves nothing, and a stronger "
        "one may find more. Compare with AutoAttack before you rely on them.",
        f"By the number of attacked images alone, 95% intervals are up to +- {counted} wide.",
    ]
    if ball["box"] is None:
        said.append(
            "The ball has no box: attacked images may leave the range of valid images, which makes "
            "the attack stronger than it could be in the world."
        )
    before, after = (found(records, "robust_accuracy", role) for role in ("clean", "purified"))
    if before is not None and after is not None:
        n = data["attacked"]
        own, its = interval_of_share(after, n), interval_of_share(before, n)
        if own is None or its is None or own[0] <= its[1]:
            said.append(
                f"w' was not shown to be more robust than w ({after:.1%} against {before:.1%} of "
                f"{n} images): what was taken from w says nothing about robustness here."
            )
    return said
