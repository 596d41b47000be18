"""PGD beside other libraries': a part of `bench.py`.

One thread, the published ConvNets, the same images, radius, step and number of steps, no random
start. Each library has the memory format, of two, in which it is the faster one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from device_timings import images
from growth_timings import row, unmeasured
from torch import Tensor, nn

import fpcore as fp
from fpbook.cifar10.networks import published_networks
from fpcore.auto_attack import frozen

RADIUS, STEPS, COUNT = 0.5, 20, 512
TRIED = 64  # images on which the format is chosen
STEP = 2.5 * RADIUS / STEPS  # of all of them
FORMATS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
BALL = fp.Ball("l2", RADIUS, (0.0, 1.0))
Row = dict[str, Any]
Attack = Callable[[nn.Module, Tensor, Tensor, int], Tensor]


def ours(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> Tensor:
    """`fp.pgd`, which leaves a sample that is broken."""
    return fp.pgd(net, x, y, BALL, steps, step_size=STEP)


def ours_to_the_end(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> Tensor:
    """`fp.pgd` without stopping."""
    return fp.pgd(net, x, y, BALL, steps, step_size=STEP, stop=False)


def torchattacks(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> Tensor:
    import torchattacks

    seen = Contiguous(net)
    attack = torchattacks.PGDL2(seen, eps=RADIUS, alpha=STEP, steps=steps, random_start=False)
    return attack(x.contiguous(), y)


class Contiguous(nn.Module):
    """A network, in its own memory format, of a library that reads images in one format alone."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            x.register_hook(lambda grad: grad.contiguous())
        last = torch.channels_last
        kernels = [p for p in self.net.parameters() if p.ndim == 4]
        if all(one.is_contiguous(memory_format=last) for one in kernels):
            x = x.contiguous(memory_format=last)
        return self.net(x)


def foolbox(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> Tensor:
    import foolbox

    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    attack = foolbox.attacks.L2PGD(abs_stepsize=STEP, steps=steps, random_start=False)
    return attack(model, x, y, epsilons=RADIUS)[1]


def art(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> Tensor:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    model = PyTorchClassifier(net, nn.CrossEntropyLoss(), (3, 32, 32), 10, clip_values=(0, 1))
    attack = ProjectedGradientDescentPyTorch(
        model, norm=2, eps=RADIUS, eps_step=STEP, max_iter=steps, batch_size=len(x), verbose=False
    )
    found = attack.generate(x=x.numpy(), y=np.eye(10, dtype=np.float32)[y.numpy()])
    return torch.from_numpy(found)


def bare_passes(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> Tensor:
    """As many passes forward, and backward to the images, as a PGD makes that never stops.

    Of a network whose batch normalisation is part of its convolutions: nothing else is done.
    """
    for _ in range(steps):
        given = x.detach().requires_grad_()
        torch.autograd.grad(net(given).sum(), given)
    return x


class Counted(nn.Module):
    """A network that counts the images on which it is asked for a gradient, in all its copies."""

    images = 0

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        Counted.images += len(x) * x.requires_grad
        return self.net(x)


def share_given(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> float:
    """Of the images times steps, those on which `ours` asks the network: the others are broken."""
    Counted.images = 0
    ours(Counted(net), x, y, steps)
    return Counted.images / (len(x) * steps)


PEERS: dict[str, Attack] = {"torchattacks": torchattacks, "foolbox": foolbox, "ART": art}
OURS: dict[str, Attack] = {"": ours, ", without stopping": ours_to_the_end}


def clocked(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its seconds."""
    start = time.perf_counter()
    found = call()
    return found, time.perf_counter() - start


def timed(
    attack: Attack, net: nn.Module, x: Tensor, y: Tensor, steps: int, repeats: int
) -> tuple[list[float], float, str]:
    """Seconds of an attack in its better format, the share that stands it, the format.

    attack   of `PEERS`, `OURS`, or bare passes
    net      is attacked
    x, y     images and labels
    steps    of the attack
    repeats  how often it is timed in that format
    """
    found = {}
    for name, form in FORMATS.items():
        given, labels = x[:TRIED].contiguous(memory_format=form), y[:TRIED]
        net.to(memory_format=form)  # type: ignore[call-overload]
        try:
            attack(net, given, labels, 1)  # what is made once
            _, found[name] = clocked(lambda: attack(net, given, labels, steps))  # noqa: B023
        except RuntimeError:  # torchattacks takes one format alone
            continue
    name = min(found, key=lambda one: found[one])
    net.to(memory_format=FORMATS[name])  # type: ignore[call-overload]
    given, best, each = x.contiguous(memory_format=FORMATS[name]), x, []
    for _ in range(repeats):
        best, one = clocked(lambda: attack(net, given, y, steps))
        each.append(one)
    return each, fp.accuracy(net, best, y), name


def over(peer: Sequence[float], own: Sequence[float]) -> list[float]:
    """How many times as fast, repeat by repeat."""
    return [one / other for one, other in zip(peer, own)]


def pgd_rows(name: str, net: nn.Module, count: int, steps: int, repeats: int) -> list[Row]:
    """Of one network: seconds of each library, what stands, ratios.

    name     of the network
    net      in evaluation mode
    count    images
    steps    of PGD
    repeats  of each
    """
    x, y, data = images(count, torch.device("cpu"))
    at = f"{count} of {data}, PGD-{steps}, l2 {RADIUS}, one thread"
    title, found = f"PGD on the {name} ConvNet", []
    own: dict[str, list[float]] = {}
    for label, attack in OURS.items():
        own[label], stands, form = timed(attack, net, x, y, steps, repeats)
        found += [
            row(f"{title}{label}", own[label], "s", f"{at}, {form}"),
            row(f"{title}{label}, accuracy", [100 * stands], "points", at),
        ]
    passes, _, form = timed(bare_passes, frozen(net, x), x, y, steps, repeats)
    given = share_given(net, x, y, steps)
    least = {"": [given * one for one in passes], ", without stopping": passes}
    found.append(row(f"{title}, passes alone", passes, "s", f"{at}, {form}"))
    found.append(row(f"{title}, images times steps that are asked", [given], "share", at))
    for peer, attack in PEERS.items():
        try:
            each, stands, form = timed(attack, net, x, y, steps, repeats)
        except ImportError as error:
            found.append(unmeasured(f"{title}, over {peer}", f"{peer} is not installed ({error})"))
            continue
        found += [
            row(f"{title}, by {peer}", each, "s", f"{at}, {form}"),
            row(f"{title}, by {peer}, accuracy", [100 * stands], "points", at),
            *(
                row(f"{title}{label}, over {peer}", over(each, own[label]), "x", at)
                for label in OURS
            ),
            *(
                row(f"{title}{label}, over {peer}, were it passes alone", over(each, one), "x", at)
                for label, one in least.items()
            ),
        ]
    return found


def measure(quick: bool) -> list[Row]:
    """All rows of this part.

    quick  whether at toy sizes
    """
    torch.set_num_threads(1)
    count, steps, repeats = (8, 2, 1) if quick else (COUNT, STEPS, 3)
    nets: Mapping[str, nn.Module] = published_networks()
    found = []
    for name in ("clean", "purified"):
        found += pgd_rows(name, nets[name], count, steps, repeats)
    return found
