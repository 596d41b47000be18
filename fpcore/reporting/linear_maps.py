"""What a linear map of the clean network's neurons explains of another's, layer by layer."""

import math
import warnings
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from fpcore.decomposition.relations import LeftOutWarning, explained
from fpcore.reporting.subjects import Labelled, fitted
from fpcore.reporting.weights import Record

ENOUGH = 250  # images on which the map is fitted, if they are small


def images_for(x: Tensor) -> int:
    """On how many of the images x the map is fitted, and on as many others measured."""
    return max(1, min(ENOUGH, len(x) // 2, max(8, 200_000 // math.prod(x.shape[1:]))))


def measure_maps(
    clean: nn.Module,
    other: nn.Module,
    images: Labelled,
    chosen: Collection[str],
    record: Record,
    name: str,
) -> dict[str, Any]:
    """The medians over neurons of the variance explained, as records, by layer and pooled.

    clean   the network whose neurons explain
    other   the one that is explained
    images  on the first of which the map is fitted, and on the following measured
    chosen  the layers that are told of
    record  as `recorder` makes it
    name    of `other`, in the records

    A neuron whose output does not vary on the images has no value; a note says how many.
    """
    count = images_for(images.x)
    x = fitted(images.x[: 2 * count], clean)
    part: dict[str, Any] = {"records": [], "notes": []}
    if fitted(x, other).dtype != x.dtype:
        part["notes"].append(f"explained_by_clean of {name}: its precision is another, left out")
        return part
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            each = explained(clean, other, x[:count], x[count:])
        left_out = [w.message for w in told if isinstance(w.message, LeftOutWarning)]
        part["notes"] += [f"explained_by_clean of {name}: {message}" for message in left_out]
    except (RuntimeError, IndexError, ValueError) as error:
        line = str(error).strip().split("\n")[0]
        part["notes"].append(f"explained_by_clean of {name} could not be measured: {line}")
        return part
    values, constant = [], 0
    for layer in [layer for layer in each if layer in chosen]:
        varying = each[layer][each[layer].isfinite()]
        constant += len(each[layer]) - len(varying)
        if len(varying):
            median = varying.median()
            part["records"].append(record("explained_by_clean", median, name, layer))
            values.append(varying)
    if values:
        median = torch.cat(values).median()
        part["records"].append(record("explained_by_clean", median, name))
    if constant:
        part["notes"].append(
            f"explained_by_clean of {name}: {constant} neurons do not vary on the images, left out"
        )
    return part
