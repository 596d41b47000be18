"""AutoAttack, the field's standard evaluation (Croce and Hein, 2020), resumable: what was found lies beside the checkpoints."""

import copy
import json
from importlib.metadata import version

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from fpcore import checks
from fpcore.attacks import Ball
from fpcore.cifar import digest
from fpcore.experiments import cache_path
from fpcore.models import correct, evaluating
from fpcore.results import write_json

THREATS = {"l2 0.25": ("l2", 0.25), "l2 0.5": ("l2", 0.5), "linf 4/255": ("linf", 4 / 255), "linf 8/255": ("linf", 8 / 255)}
NORMS = {"l2": "L2", "linf": "Linf"}


def autoattack(net: nn.Module, x: Tensor, y: Tensor, ball: Ball, chunk: int = 250, seed: int = 0) -> Tensor:
    """Which samples survive AutoAttack's standard version (APGD-CE, APGD-T, FAB-T, Square): shape (n,), bool.

    x (n, 3, h, w) in [0, 1]; `net` gives class scores. Each finished chunk is kept under a name made from the weights, the
    images and the ball, so a run that was stopped goes on where it was. Its mean is an upper bound on robust accuracy.
    """
    checks.positive_int("chunk", chunk)
    if ball.box != (0.0, 1.0):
        raise ValueError(f"box = {ball.box}: AutoAttack works in (0.0, 1.0)")
    name = (digest([*net.state_dict().values(), x, y]), ball, chunk, seed, version("pyautoattack"))
    path = cache_path("autoattack", *name, sources=("autoattacks", "attacks", "models", "resnet")).with_suffix(".json")
    done = json.loads(path.read_text()) if path.exists() else []
    parts = list(zip(x.split(chunk), y.split(chunk)))
    for a, b in parts[len(done) :]:
        done.append(_survivors(net, a.contiguous(), b, ball, seed).tolist())
        write_json(path, done)
    return torch.tensor([survived for part in done for survived in part], device=x.device)


def _survivors(net: nn.Module, x: Tensor, y: Tensor, ball: Ball, seed: int) -> Tensor:
    from pyautoattack import AutoAttack

    with torch.random.fork_rng():  # the library seeds the global generator
        attack = AutoAttack(frozen(net), norm=NORMS[ball.norm], eps=ball.radius, seed=seed, device=x.device)
        found, _ = attack.run_standard_evaluation(x, y, batch_size=len(x))
        found = x + ball.project(found - x, x)  # whatever the library's rounding, inside the ball and the box
        with torch.no_grad(), evaluating(net):
            return correct(net(x), y) & correct(net(found), y)


def frozen(net: nn.Module) -> nn.Module:
    """A copy of `net` to be attacked: in evaluation mode, weights without gradients (FAB would leave them in `net`).

    Batch normalisation becomes part of the convolution it follows: the same function up to rounding, a fifth faster.
    """
    twin = copy.deepcopy(net).eval().requires_grad_(False)
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    return fuse(twin) if normalised else twin
