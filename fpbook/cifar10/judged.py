"""Our evaluation beside AutoAttack's, on the published networks: accuracies, and time.

python -m fpbook evaluation --help.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fpbook.cifar10.experiment import CIFAR, THREATS
from fpbook.cifar10.judgements import JUDGED
from fpbook.cifar10.networks import TRAINED, first_images, published_networks
from fpbook.cifar10.own_networks import published_own
from fpbook.results.cache import kept
from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpbook.results.store import published, published_arrays
from fpcore import checks, seeding
from fpcore.attacks import robust_correct
from fpcore.auto_attack import autoattack
from fpcore.ball import Ball
from fpcore.images import COUNTS, Images, load_cifar10
from fpcore.models.outputs import classified

WITHSTOOD = "cifar10-robustness"  # the published result that holds AutoAttack's, image by image
_CPU = torch.device("cpu")
GROUPS = 2  # of the images on which AutoAttack runs as well: each has a ratio of times
AS_PUBLISHED, BESIDE = "AutoAttack as published", "AutoAttack run beside"  # who judges
# Where AutoAttack runs beside it, for a minute a case: an architecture, the seeds of its networks.
RUN_BESIDE = (("convnet", (0,)), ("resnet18", (0,)), ("transformer", (0,)))
NETWORKS_BESIDE = ("clean", "purified")
THREATS_BESIDE = ("l2 0.5", "linf 4/255")


@dataclass(frozen=True)
class Case:
    """What is evaluated: a published network of a seed, and a name in THREATS."""

    architecture: str
    network: str
    seed: int
    threat: str

    @property
    def ball(self) -> Ball:
        """The threat, of pixels in [0, 1]."""
        norm, radius = THREATS[self.threat]
        return Ball(norm, radius, (0.0, 1.0))

    def record(self, quantity: str, value: float, check: str, **more: Any) -> dict[str, Any]:
        """One record of this case; `check` is who judges."""
        named = {"threat": self.threat, "architecture": self.architecture, "check": check}
        return record(quantity, value, self.network, seed=self.seed, **named, **more)


def our_outcomes(net: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> dict[str, Any]:
    """Which images `robust_correct` leaves right, as it is by default, and its seconds.

    net   in evaluation mode
    x, y  images (n, c, h, w) and labels (n,)
    ball  the threat

    Seconds are those that the process computed, on one thread: other work beside it does not count.
    """
    rng = seeding.generator(0, "evaluation")
    right, seconds = _clocked(lambda: robust_correct(net, x, y, ball, rng=rng))
    return {"right": right.tolist(), "seconds": seconds}


def outcomes_beside(net: nn.Module, x: Tensor, y: Tensor, ball: Ball) -> dict[str, Any]:
    """What `our_outcomes` has, and under "theirs" what AutoAttack leaves right, with its seconds.

    net   in evaluation mode
    x, y  images (n, c, h, w) and labels (n,)
    ball  the threat
    """
    ours = our_outcomes(net, x, y, ball)
    right, seconds = _clocked(lambda: autoattack(net, x, y, ball))
    return {**ours, "theirs": {"right": right.tolist(), "seconds": seconds}}


def _clocked(call: Callable[[], Tensor]) -> tuple[Tensor, float]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start = time.process_time()
        return call(), time.process_time() - start
    finally:
        torch.set_num_threads(before)


def published_of(architecture: str, seed: int) -> dict[str, nn.Module]:
    """The published networks of a seed, {name: network}, of any architecture in RUN_BESIDE."""
    checks.choice("architecture", architecture, [name for name, _ in RUN_BESIDE])
    if architecture == "transformer":
        return published_own()
    config = CIFAR["full" if architecture == "convnet" else "narrow-resnet"]
    return published_networks(seed=seed, config=config)


def cases_published() -> list[Case]:
    """Those of which AutoAttack's outcomes are published, seed by seed."""
    every = [
        Case("convnet", network, seed, threat)
        for seed in range(CIFAR["full"].seeds)
        for network in TRAINED
        for threat in THREATS
    ]
    there = published_arrays(WITHSTOOD)
    return [one for one in every if one.threat in there.get(_key(one), {})]


def cases_beside() -> list[Case]:
    """Those on which AutoAttack runs as well, a seed of each architecture first."""
    return [
        Case(architecture, network, seed, threat)
        for turn in range(max(len(seeds) for _, seeds in RUN_BESIDE))
        for architecture, seeds in RUN_BESIDE
        for seed in seeds[turn : turn + 1]
        for network in NETWORKS_BESIDE
        for threat in THREATS_BESIDE
    ]


def judged_by_published(test: Images, count: int) -> Iterator[dict[str, Any]]:
    """Our evaluation of the cases of `cases_published`, as records.

    test   test images, the first of which AutoAttack's outcomes are of
    count  how many of them

    ValueError where a network is wrong on images that AutoAttack left right.
    """
    outcomes, nets = published_arrays(WITHSTOOD), {}
    x, y = first_images(test, "images", count)
    for case in cases_published():
        if case.seed not in nets:
            nets = {case.seed: published_of(case.architecture, case.seed)}
        net, theirs = nets[case.seed][case.network], outcomes[_key(case)][case.threat][:count]
        if (theirs & ~classified(net, x, y)).any():
            found = f"{_key(case)} is wrong on images that it withstood in results/{WITHSTOOD}"
            raise ValueError(f"{found}: it is of other images or networks, publish it again")
        ours = kept(our_outcomes, net, x, y, case.ball)
        yield from _compared(case, AS_PUBLISHED, ours["right"], theirs.tolist())
        yield case.record("core_time", ours["seconds"], AS_PUBLISHED, images=count)
        _tell(case, count, ours["right"], theirs.tolist(), ours["seconds"])


def judged_beside(test: Images, count: int) -> Iterator[dict[str, Any]]:
    """Both evaluations of the cases of `cases_beside`, as records; times by groups of the images.

    test   test images
    count  how many of them, the first; 0: no case
    """
    if not count:
        return
    x, y = first_images(test, "beside", count)
    for case in cases_beside():
        net = published_of(case.architecture, case.seed)[case.network]
        groups = list(zip(x.chunk(GROUPS), y.chunk(GROUPS)))
        found = [kept(outcomes_beside, net, *group, case.ball) for group in groups]
        ours = [right for one in found for right in one["right"]]
        theirs = [right for one in found for right in one["theirs"]["right"]]
        yield from _compared(case, BESIDE, ours, theirs)
        for number, one in enumerate(found):
            of: dict[str, Any] = {"images": len(one["right"]), "group": number}
            ratio = one["theirs"]["seconds"] / one["seconds"]
            yield case.record("core_time", one["seconds"], BESIDE, **of)
            yield case.record("autoattack_time", one["theirs"]["seconds"], BESIDE, **of)
            yield case.record("speed_ratio", ratio, BESIDE, **of)
        _tell(case, count, ours, theirs, sum(one["seconds"] for one in found))


def _key(case: Case) -> str:
    """Under which AutoAttack's outcomes are published."""
    return f"seed {case.seed}, {case.network}"


def _compared(
    case: Case, check: str, ours: Sequence[bool], theirs: Sequence[bool]
) -> list[dict[str, Any]]:
    """Both accuracies, what is between them in points, and on how many images they differ."""
    n = len(ours)
    values = {
        "robust_accuracy": sum(ours) / n,
        "autoattack_accuracy": sum(theirs) / n,
        "accuracy_gap": 100 * (sum(ours) - sum(theirs)) / n,
        "outcomes_differ": sum(a != b for a, b in zip(ours, theirs)) / n,
    }
    return [case.record(name, value, check, images=n) for name, value in values.items()]


def _tell(
    case: Case, count: int, ours: Sequence[bool], theirs: Sequence[bool], seconds: float
) -> None:
    of = f"{case.architecture}, {case.network}, seed {case.seed}, {case.threat}"
    said = f"{sum(ours)} of {count} stand, under AutoAttack {sum(theirs)}, {seconds:.1f} s"
    print(f"{of}: {said}", flush=True)


def _check_sizes(images: int, beside: int) -> None:
    """ValueError unless AutoAttack's outcomes are of so many images, and each group has one."""
    checks.positive_int("images", images)
    if 0 < checks.whole("beside", beside) < GROUPS:
        raise ValueError(f"beside = {beside}: give 0, or at least {GROUPS}, one image a group")
    if beside > COUNTS["test"]:
        raise ValueError(f"beside = {beside}: CIFAR-10 has {COUNTS['test']}, give at most so many")
    outcomes: Mapping[str, Mapping[str, Tensor]] = published_arrays(WITHSTOOD)
    known = min(len(one) for each in outcomes.values() for one in each.values())
    if images > known:
        found = f"images = {images}: AutoAttack's published outcomes are of {known}"
        raise ValueError(f"{found}, give at most so many")


def main(arguments: Sequence[str]) -> None:
    """The command `evaluation`: both evaluations of published networks; published on request."""
    parser = argparse.ArgumentParser(prog="python -m fpbook evaluation", description=__doc__)
    parser.add_argument("--images", type=int, default=200, help="the first so many (200)")
    parser.add_argument(
        "--beside", type=int, default=32, help="on how many AutoAttack runs as well (32); 0: none"
    )
    parser.add_argument("--publish", action="store_true", help="write results/evaluation.json")
    given = parser.parse_args(arguments)
    _check_sizes(given.images, given.beside)
    _, test = load_cifar10(None, 1, max(given.images, given.beside), _CPU)
    of = published(WITHSTOOD)
    if of is not None and not of.provenance["setting"].endswith(f" {test.name}"):
        found = f"the images here are {test.name}, results/{WITHSTOOD} is of other ones"
        raise ValueError(f"{found} ({of.provenance['setting']}): name its data by FPCORE_DATA")
    measured = table([*judged_by_published(test, given.images), *judged_beside(test, given.beside)])
    setting = (
        f"published networks, {given.images:,} images of {test.name}, one thread; beside "
        f"AutoAttack {given.beside:,} in {GROUPS} groups"
    )
    publish(JUDGED, measured, "full" if given.publish else "quick", _CPU, setting)
