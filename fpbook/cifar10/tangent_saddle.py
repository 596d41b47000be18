"""E2 without its optimiser: tangent kernels solved, clean and under attack, with a bound on all.

python -m fpbook kernel --help.
"""

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fpbook.cifar10.experiment import CIFAR
from fpbook.cifar10.measures import pgd_correct
from fpbook.cifar10.networks import needed_cifar10
from fpbook.cifar10.tangent_kernel import Answer, InfiniteAnswer, NetworkAnswer, centred_targets
from fpbook.results.cache import kept
from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpcore import checks, seeding
from fpcore.attacks import robust_accuracy, transfer
from fpcore.ball import Ball
from fpcore.images import Images
from fpcore.models.linearised import Linearised
from fpcore.models.outputs import accuracy
from fpcore.training import train

KERNEL_RESULT = "cifar10-kernel"  # of the published result
WIDTHS = (0.125, 0.25, 0.0)  # times the network's; 0: the closed form at infinite width
KERNEL_SEEDS = (1, 2, 3)  # none of which was used for a choice; 0 was


@dataclass(frozen=True)
class KernelExperiment:
    """Sizes of the saddle problem min over theta, max over attacks, of the mean squared loss.

    images        of training; seed s takes the s-th so many of the training set
    test_images   the first so many
    rounds        of attack and solution, at most
    ridge         of the penalty, in kernels of an image with itself over the number of images
    clean_ridge   of the clean solution: so small that it interpolates
    radius        of the attack in training, in pixels of [0, 1], l2
    steps         of the attack in training
    epochs        of the network's training, doubled until its robust training accuracy is still
    most_epochs   at which the doubling ends
    """

    images: int = 200
    test_images: int = 500
    rounds: int = 10
    ridge: float = 0.1
    clean_ridge: float = 0.01
    radius: float = 0.5
    steps: int = 10
    epochs: int = 40
    most_epochs: int = 160

    def __post_init__(self):
        for name in ("images", "test_images", "rounds", "steps", "epochs", "most_epochs"):
            checks.positive_int(name, getattr(self, name))
        for name in ("ridge", "clean_ridge"):
            if not checks.finite(name, getattr(self, name)):
                raise ValueError(f"{name} = 0: give a number above 0, the dual bound divides by it")
        Ball("l2", self.radius)  # its checks


def at_rest(losses: Sequence[float], change: float = 0.01, rounds: int = 3) -> bool:
    """Whether a loss has changed by less than a share of itself, over its last rounds.

    losses  one of each round
    change  the share
    rounds  how many are looked at, and the one before them
    """
    last = losses[-rounds - 1 :]
    return len(last) > rounds and max(last) - min(last) < change * last[-1]


def squared_off(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The squared loss of each image, (n,); 1 for the scores 0."""
    return (model(x) - centred_targets(y)).square().sum(1)


def worst_images(
    model: nn.Module, x: Tensor, y: Tensor, ball: Ball, steps: int, start: Tensor
) -> tuple[Tensor, Tensor]:
    """The images in a ball with the largest squared loss that ascent met, and that loss (n,).

    model  gives class scores
    x      images (n, ...)
    y      their labels (n,)
    ball   the threat
    steps  of the ascent
    start  where it starts (n, ...), in the ball
    """
    best, most, at = start.clone(), x.new_full((len(x),), -1.0), start.clone()
    for step in range(steps + 1):
        at.requires_grad_()
        loss = squared_off(model, at, y)
        grad = torch.autograd.grad(loss.sum(), at)[0]
        at, loss = at.detach(), loss.detach()
        better = loss > most
        best[better], most[better] = at[better], loss[better]
        if step < steps:
            at = ball.step(at.clone(), grad, x, 2.5 * ball.radius / steps)[0]
    return best, most


def robust_answer(
    answer: Answer, data: Images, config: KernelExperiment
) -> tuple[nn.Module, list[tuple[float, float]]]:
    """Solve the saddle problem; the last answer, and of each round what it reaches and the bound.

    answer  has the clean images alone
    data    the training images
    config  the experiment

    The adversary plays its best reply to the last answer, the class its best answer to the mixture
    of all replies so far (Frank-Wolfe on the concave dual, with shares 2/(t + 2)). The first number
    is the loss with penalty on the newest replies; the second is what no member of the class falls
    below on the mixture, and so under attack, however weak the attacks were.
    """
    ball = Ball("l2", config.radius, (0.0, 1.0))
    model, least, penalty = answer.solve(config.ridge)
    found, moved = [], data.x
    for turn in range(config.rounds + 1):
        moved, losses = worst_images(model, data.x, data.y, ball, config.steps, moved)
        found.append((losses.mean().item() + penalty, least))
        if turn == config.rounds or at_rest([loss for loss, _ in found]):
            break
        answer.mix(moved, data.y, 2 / (turn + 2))
        model, least, penalty = answer.solve(config.ridge)
    return model, found


def trained_until_still(
    net: nn.Module, data: Images, config: KernelExperiment, width: float, seed: int
) -> nn.Module:
    """The network itself, trained under PGD for twice as long until it is no more robust there.

    net     at initialization
    data    the training images, not augmented, as the kernels have them
    config  the experiment
    width   times the network's
    seed    of the batches
    """
    ball = Ball("l2", config.radius, (0.0, 1.0))
    epochs, before, found = config.epochs, -1.0, net
    while epochs <= config.most_epochs:
        schedule = replace(
            CIFAR["full"], width=width, clean_epochs=epochs, batch=50, attack_steps=5
        )
        tried = copy.deepcopy(net)
        train(tried, data, replace(schedule.scratch(data, seed), weight_decay=0.0))
        robust = pgd_correct(tried.eval(), data.x, data.y, ball).float().mean().item()
        if robust > before:
            found = tried
        if robust < before + 0.01:
            break
        before, epochs = robust, 2 * epochs
    return found


def measure_tangent_kernel(
    config: KernelExperiment, data: Images, test: Images, width: float, seed: int
) -> list[dict[str, Any]]:
    """What a class reaches, clean and under attack, beside the network, as records.

    config  sizes
    data    training images
    test    test images
    width   times the network's; 0: the fully connected network's of infinite width
    seed    of the initial weights

    Attacked by `robust_accuracy`, and a kernel also by what PGD finds on the network of the same
    images: its frozen ReLUs jump where its gradient does not show it.
    """
    sized = replace(CIFAR["full"], width=width or WIDTHS[0])
    net = sized.initial(seed)
    answer: Answer = NetworkAnswer(Linearised(net, data.x).eval()) if width else InfiniteAnswer()
    network = trained_until_still(net, data, config, sized.width, seed)
    answer.mix(data.x, data.y, 1.0)
    clean = copy.deepcopy(answer.solve(config.clean_ridge)[0])
    robust, rounds = robust_answer(answer, data, config)
    of: dict[str, Any] = {"width_factor": width} if width else {}
    kind = "NTK" if width else "infinite NTK"
    models = {f"{kind}, clean": clean, f"{kind}, adversarial": robust}
    if width:
        models["network, adversarial"] = network
    loss = squared_off(clean, data.x, data.y).mean().item()
    found = [record("clean_loss", loss, f"{kind}, clean", **of)]
    for name, model in models.items():
        measured = _accuracies(model, network, data, test, config.radius, seed)
        found += [record(**row, network=name, **of) for row in measured]
    name = f"{kind}, adversarial"
    for turn, (loss, least) in enumerate(rounds):
        found += [
            record("attacked_loss", loss, name, round=turn, **of),
            record("least_attacked_loss", least, name, round=turn, **of),
        ]
    losses, bounds = zip(*rounds)
    return [
        *found,
        record("attacked_loss", min(losses), name, **of),
        record("least_attacked_loss", max(bounds), name, **of),
    ]


def _accuracies(
    model: nn.Module, network: nn.Module, data: Images, test: Images, radius: float, seed: int
) -> list[dict[str, Any]]:
    """Accuracies on training and test images, at rest, at half the radius and at all of it."""
    found = []
    for name, some in (("train", data), ("", test)):
        robust = f"{name}_robust_accuracy".lstrip("_")
        found.append(record(f"{name or 'clean'}_accuracy", accuracy(model, some.x, some.y)))
        for size in (radius / 2, radius):
            ball = Ball("l2", size, (0.0, 1.0))
            rng = seeding.generator(seed, "attack")
            extra = (transfer(network, ball),)
            share = robust_accuracy(model, some.x, some.y, ball, extra=extra, rng=rng)
            found.append(record(robust, share, radius=size))
    return found


def main(arguments: Sequence[str]) -> None:
    """The command `kernel`: solve for widths and seeds, print each, publish on request."""
    parser = argparse.ArgumentParser(
        prog="python -m fpbook kernel",
        description="Solve tangent kernels, clean and under attack, and bound every member.",
    )
    default = KernelExperiment()
    parser.add_argument("--images", type=int, default=default.images, help="of training")
    parser.add_argument("--rounds", type=int, default=default.rounds, help="at most")
    parser.add_argument("--widths", type=float, nargs="+", default=WIDTHS, help="0: infinite")
    parser.add_argument("--seeds", type=int, nargs="+", default=KERNEL_SEEDS)
    parser.add_argument(
        "--publish", action="store_true", help=f"write results/{KERNEL_RESULT}.json"
    )
    given = parser.parse_args(arguments)
    for name, values in (("seeds", given.seeds), ("widths", given.widths)):
        if len({*values}) < len(values):
            raise ValueError(f"{name} = {[*values]}: give each once")
    for seed in given.seeds:
        checks.whole("seed", seed)
    for width in given.widths:
        if checks.finite("width", width, high=1.0):  # 0: no network
            replace(CIFAR["full"], width=width)  # its checks
    config = KernelExperiment(images=given.images, rounds=given.rounds)
    enough = config.images * (max(given.seeds) + 1)
    images, test = needed_cifar10(enough, config.test_images)
    found = []
    for seed in given.seeds:
        part = slice(config.images * seed, config.images * (seed + 1))
        data = Images(images.x[part], images.y[part], images.name, shift=0, flip=False)
        for width in given.widths:
            one = kept(measure_tangent_kernel, config, data, test, width, seed)
            print(f"seed {seed}, width {width or 'infinite'}: {_in_words(one)}", flush=True)
            found += [record(**row, seed=seed) for row in one]
    setting = f"{images.name}, {config.images} training images a seed, {len(given.seeds)} seeds"
    profile = "full" if given.publish else "quick"
    publish(KERNEL_RESULT, table(found), profile, torch.device("cpu"), setting)


def _in_words(measured: Sequence[dict[str, Any]]) -> str:
    """What was measured of a width and a seed, without its rounds, in one line."""
    said = [
        f"{row.get('network', '')} {row['quantity']} {row.get('radius', '')} {row['value']:.3f}"
        for row in measured
        if "round" not in row
    ]
    return "; ".join(said)
