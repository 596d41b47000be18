"""The report on a pair of networks: checks, then each measure, then what may not be concluded."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from fpcore.ball import Ball
from fpcore.reporting import inputs
from fpcore.reporting.accuracies import ATTACK, chunk_of, network_accuracies, of_variant
from fpcore.reporting.identity import fpcore_version, outputs, said, subject
from fpcore.reporting.layout import layout, on, pairs
from fpcore.reporting.linear_maps import measure_maps
from fpcore.reporting.notes import notes
from fpcore.reporting.parts import Parts
from fpcore.reporting.result import Report
from fpcore.reporting.subjects import Shares, Subjects, first_labelled, normalised, shares
from fpcore.reporting.summary import summary
from fpcore.reporting.variants import trials
from fpcore.reporting.weights import histograms, measure_layer, pooled, recorder


def report(
    clean: nn.Module,
    adversarial: nn.Module,
    images: Any = None,
    ball: Ball | None = None,
    control: nn.Module | None = None,
    init: nn.Module | None = None,
    scratch: nn.Module | None = None,
    layers: str | list[str] | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    attacked: int = 200,
    progress: bool = True,
) -> Report:
    """What adversarial training did to a network, neuron by neuron, and what follows from it.

    clean        the network of weights w
    adversarial  the network of weights w', trained on adversarially from w
    images       fpcore Images, or tensors (x, y), of which at most 2,000 are used, the first ones;
                 None: the report is of weights alone
    ball         the threat, in the units of the images; None: nothing is attacked
    control      w trained on, clean, on the schedule of w'
    init         the network before any training
    scratch      one trained adversarially from the start
    layers       a shell pattern, or a list of them: the layers whose weights are measured
    out          a folder: each finished measurement is kept there, so that a run that was stopped
                 goes on, and the report is saved there
    seed         of random vectors and of the attack
    attacked     number of images on which networks made from the pair are attacked; those that
                 were given are attacked on up to 500
    progress     whether bars are shown

    The networks are measured in evaluation mode, and are afterwards as they were. The attack is FGM
    and APGD of 10 steps. Raises ValueError before any work, naming what is wrong and what to give
    instead. Source: Allen-Zhu & Li (2020), equation (1.1).
    """
    optional = {"control": control, "init": init, "scratch": scratch}
    given = {role: net for role, net in optional.items() if net is not None}
    subjects = Subjects(
        networks={"clean": clean, "purified": adversarial, **given},
        images=None if images is None else first_labelled(images),
        ball=ball,
        layers=inputs.patterns(layers),
        seed=seed,
        attacked=attacked,
    )
    return report_on(subjects, out, progress)


def report_on(subjects: Subjects, out: str | Path | None = None, progress: bool = True) -> Report:
    """`report` on subjects, which may say where the networks are from.

    subjects  what the report is about
    out       as in `report`
    progress  as in `report`
    """
    folder = inputs.report_folder(out)
    inputs.check(subjects)
    data, networks = subjects.images, subjects.networks
    some = None if data is None else data.x[:2]
    compared = pairs(networks, some)
    inputs.check_shapes(networks)
    plan = layout(subjects.clean, some)
    chosen = plan.chosen(subjects.layers)
    parts = Parts(folder, subject(subjects), said(subjects))
    record = recorder(subjects.seed)
    switched = on(networks, some)
    by_layer = {}
    for name in _bar(chosen, "layers", progress):
        measure = _later(measure_layer, name, plan, compared, switched, record)
        by_layer[name] = parts.measured(f"layer {name}", measure)
    split = None
    found = [*by_layer.values(), {"records": pooled(by_layer, plan.head, record), "notes": []}]
    if data is not None:
        split = shares(len(data.x), subjects.attacked, normalised(subjects.clean))
        found += _with_images(subjects, split, chosen, parts, progress)
    content: dict[str, Any] = {
        "about": _about(subjects, split, parts.seconds),
        "coverage": plan.coverage,
        "layers": plan.table,
        "records": [row for part in found for row in part["records"]],
        "histograms": {"cos_to_clean": histograms(by_layer)},
        "spectra": {
            kind: {n: p["spectra"][kind] for n, p in by_layer.items() if kind in p["spectra"]}
            for kind in ("removed", "update")
        },
    }
    told = [note for part in found for note in part["notes"]]
    content["notes"] = [*notes(content, chosen), *dict.fromkeys(told)]
    content["summary"] = summary(content)
    made = Report(content)
    if folder:
        made.save(folder)
    return made


def _with_images(
    subjects: Subjects, split: Shares, chosen: list[str], parts: Parts, progress: bool
) -> Iterable[dict[str, Any]]:
    """The parts that need images: networks given, linear maps, networks made from the pair."""
    data, networks, ball, seed = subjects.images, subjects.networks, subjects.ball, subjects.seed
    assert data is not None
    record = recorder(seed)
    jobs = {}
    for role, net in networks.items():
        counts = (len(data.x), split.given)
        jobs[f"network {role}"] = _later(
            network_accuracies, net, data, counts, ball, seed, record, role
        )
    for role, net in subjects.others.items():
        jobs[f"map {role}"] = _later(measure_maps, subjects.clean, net, data, chosen, record, role)
    chunk = max(50, 4 * chunk_of(data.x))
    for trial in trials(networks, seed, data.x, split.calibration, chunk):
        jobs[f"variant {trial.title}"] = _later(
            of_variant, trial, networks, data, split, ball, seed, record
        )
    return [parts.measured(name, jobs[name]) for name in _bar([*jobs], "networks", progress)]


def _later(function: Any, *arguments: Any) -> Any:
    """A call to be made later."""
    return lambda: function(*arguments)


def _bar(names: list[str], what: str, progress: bool) -> Iterator[str]:
    """The names one by one, with a bar that says which is at work."""
    with tqdm(names, desc=what, disable=not progress) as bar:
        for name in bar:
            bar.set_postfix_str(name)
            yield name


def _about(subjects: Subjects, split: Shares | None, seconds: float) -> dict[str, Any]:
    """What was compared, on what, by what."""
    data, ball, described = subjects.images, subjects.ball, subjects.described
    about: dict[str, Any] = {
        "fpcore": fpcore_version(),
        "torch": torch.__version__,
        "seed": subjects.seed,
        "seconds": round(seconds, 1),
        "architecture": type(subjects.clean).__name__,
        "networks": {
            role: described.get(role, {"source": f"in memory, {type(net).__name__}", "notes": []})
            for role, net in subjects.networks.items()
        },
        "data": None,
        "ball": None,
        "attack": ATTACK if ball else None,
        "command": list(subjects.command),
    }
    if data is not None and split is not None:
        scores = outputs(subjects.clean, data.x[:2])
        about["data"] = {
            "name": data.name,
            "images": len(data.x),
            "attacked": split.given if ball else 0,
            "classes": scores.shape[1] if scores.ndim == 2 else 2,
            "images_variants": split.clean,
            "attacked_variants": split.variant if ball else 0,
            "calibration": split.calibration,
            "notes": list(data.notes),
        }
    if ball is not None:
        about["ball"] = {
            "norm": ball.norm,
            "radius": ball.radius,
            "box": None if ball.box is None else list(ball.box),
        }
    return about
