"""AutoAttack, the field's standard evaluation (Croce and Hein, 2020)."""

import contextlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fpcore import checks, seeding
from fpcore.ball import Ball
from fpcore.checkpoint import write_atomically
from fpcore.gradients import not_of_inference, tracked
from fpcore.images import digest
from fpcore.models.acting import copied
from fpcore.models.asked import steady, unwritten
from fpcore.models.dice import Dice
from fpcore.models.folded import folded
from fpcore.models.outputs import (
    correct,
    evaluating,
    labels_for,
    samples,
    some,
    without_nan,
)

NORMS = {"l2": "L2", "linf": "Linf"}
SMALLEST = 8  # pixels a side; in fewer the squares of Square attack may not fit
PROBED = 64  # images whose scores tell one network from another


def autoattack(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    chunk: int = 250,
    seed: int = 0,
    keep: str | Path | None = None,
) -> Tensor:
    """Which samples are right under AutoAttack's standard version: (n,), bool.

    net    gives scores of four classes or more
    x, y   images (n, 3, h, w) in [0, 1] and their class numbers (n,)
    ball   the threat; its box is (0, 1)
    chunk  images attacked at a time, and kept at a time
    seed   of the attacks
    keep   a file in which each finished chunk is kept, so that a run that was stopped goes on where
           it was; None: nothing is kept. A file of another network, other images, another ball or
           another seed is an error

    APGD-CE, APGD-T, FAB-T and Square attack run on a float32 copy of the network, and what they
    find is judged in the network's own precision; the mean is an upper bound on robust accuracy.
    """
    checks.positive_int("chunk", chunk)
    checks.whole("seed", seed)
    checks.instance("ball", ball, Ball, 'Ball("l2", 0.5, (0.0, 1.0))')
    checks.network("net", net)
    some(x)
    if ball.box != (0.0, 1.0):
        raise ValueError(f"box = {ball.box}: AutoAttack works in (0.0, 1.0)")
    ball.check(x)
    samples(x, y)
    if x.ndim != 4 or min(x.shape[2:]) < SMALLEST:
        wanted = f"images (n, c, h, w) of {SMALLEST} x {SMALLEST} pixels at least"
        raise ValueError(f"x is {tuple(x.shape)}: give {wanted}, Square attack needs them")
    not_of_inference(net)
    dice = Dice(net, x.device)
    scores = _scores(net, x[:PROBED])
    if scores.ndim != 2 or scores.shape[1] < 4:
        found = f"the network gives {tuple(scores.shape)}"
        raise ValueError(f"{found}: give one with scores of 4 classes or more, (n, classes)")
    labels_for(scores, y)
    without_nan(scores)
    with torch.no_grad(), evaluating(net):
        if not dice.random(net, x[:PROBED]):
            steady(net, x, scores)
    path = None if keep is None else checks.path("keep", keep)
    subject = _subject(net, x, y, ball, chunk, seed) if path else {}
    done = _kept(path, subject) if path and path.exists() else []
    for images, labels in list(zip(x.split(chunk), y.split(chunk)))[len(done) :]:
        done.append(_attack(net, images.contiguous(), labels, ball, seed).tolist())
        if path:
            write_atomically(path, json.dumps({**subject, "correct": done}).encode())
    return torch.tensor(
        [right for part in done for right in part], dtype=torch.bool, device=x.device
    )


def _attack(net: nn.Module, x: Tensor, y: Tensor, ball: Ball, seed: int) -> Tensor:
    from pyautoattack import AutoAttack

    # The library seeds the global generator.
    with torch.inference_mode(False), torch.random.fork_rng(), _made_in_float32():
        x, y = tracked(x), tracked(y)
        twin = frozen(net, x)
        attack = AutoAttack(
            twin, norm=NORMS[ball.norm], eps=ball.radius, seed=seed, device=x.device
        )
        # Its targeted attacks try nine wrong classes, of which there may be fewer.
        wrong = min(9, twin(x[:1].float()).shape[1] - 1)
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = wrong
        with torch.no_grad():
            some_right = bool(correct(without_nan(twin(x.float())), y).any())
        found = x  # the library divides by the number of those that are right
        if some_right:
            found, _ = attack.run_standard_evaluation(x.float(), y, batch_size=len(x))
        found = found.to(x.dtype)
        found = x + ball.project(found - x, x)  # inside ball and box, whatever its rounding
        with torch.no_grad(), evaluating(net):
            return correct(net(x), y) & correct(net(found), y)


@contextlib.contextmanager
def _made_in_float32() -> Iterator[None]:
    """The library makes its tensors in the default type, and adds them to those of the network."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def frozen(net: nn.Module, x: Tensor) -> nn.Module:
    """A copy of `net` to be attacked: float32, in evaluation mode, its weights without gradients.

    net  gives class scores
    x    images (n, c, h, w)

    FAB would leave gradients in `net`. Where there is one it is the faster copy that our own
    attacks call.
    """
    return folded(copied(net).float().eval().requires_grad_(False), x.float())


@torch.no_grad()
def _scores(net: nn.Module, x: Tensor) -> Tensor:
    with evaluating(net):
        return unwritten(net, x)


def _subject(
    net: nn.Module, x: Tensor, y: Tensor, ball: Ball, chunk: int, seed: int
) -> dict[str, Any]:
    """What a kept file is of: the images and the threat, and what the network says of them.

    Weights do not tell one activation from another: scores do, on images and between them.
    """
    some = x[:PROBED]
    rng = seeding.generator(0, "probe", device=x.device)
    between = ball.start(some, rng).to(x.dtype)
    scores = torch.cat([_scores(net, some), _scores(net, between)]).double()
    return {
        "images": digest([x.float() if x.dtype == torch.bfloat16 else x, y]),
        "ball": [ball.norm, ball.radius],
        "chunk": chunk,
        "seed": seed,
        "pyautoattack": version("pyautoattack"),
        "scores": scores.cpu().tolist(),
    }


def _kept(path: Path, subject: dict[str, Any]) -> list[list[bool]]:
    """The finished chunks in a file, if it is of this subject; scores may differ by rounding."""
    try:
        found = json.loads(path.read_text())
        theirs, ours = (
            torch.tensor(one["scores"], dtype=torch.float64, device="cpu")
            for one in (found, subject)
        )
        done = [[bool(right) for right in part] for part in found["correct"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error!r}): delete it to begin anew") from error
    differing = [key for key in subject if key != "scores" and found.get(key) != subject[key]]
    slack = 1e-4 * ours.std().item() + 1e-12
    if theirs.shape != ours.shape or not (theirs - ours).abs().max() <= slack:
        differing.append("scores of the network")
    if differing:
        advice = "give another file, or delete it to begin anew"
        raise ValueError(f"{path} is of another evaluation ({', '.join(differing)}): {advice}")
    return done
