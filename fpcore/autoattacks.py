"""AutoAttack, the field's standard evaluation (Croce and Hein, 2020), resumable: what was found lies beside the checkpoints."""

import copy
from importlib.metadata import version

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from fpcore import checks
from fpcore.attacks import Ball
from fpcore.cifar import digest
from fpcore.experiments import cache_path, read_json
from fpcore.models import correct, evaluating, one_label_each
from fpcore.results import write_json

THREATS = {"l2 0.25": ("l2", 0.25), "l2 0.5": ("l2", 0.5), "linf 4/255": ("linf", 4 / 255), "linf 8/255": ("linf", 8 / 255)}
NORMS = {"l2": "L2", "linf": "Linf"}


def autoattack(net: nn.Module, x: Tensor, y: Tensor, ball: Ball, chunk: int = 250, seed: int = 0) -> Tensor:
    """Which samples survive AutoAttack's standard version (APGD-CE, APGD-T, FAB-T, Square): shape (n,), bool.

    x (n, 3, h, w) in [0, 1]; `net` gives scores of four classes or more. Each finished chunk is kept under a name made from
    the network, its answers, the images and the ball, so a run that was stopped goes on where it was. Its mean is an upper
    bound on robust accuracy.
    """
    checks.positive_int("chunk", chunk), checks.positive_int("number of images", len(x))
    if ball.box != (0.0, 1.0):
        raise ValueError(f"box = {ball.box}: AutoAttack works in (0.0, 1.0)")
    ball.check(x)
    one_label_each(x, y)
    y, state = y.long(), net.state_dict()
    with torch.no_grad(), evaluating(net):
        scores = torch.cat([net(part) for part in x.split(chunk)])
    if scores.ndim != 2 or scores.shape[1] < 4:
        raise ValueError(f"the network gives {tuple(scores.shape)}: AutoAttack wants scores of 4 classes or more, (n, classes)")
    # Weights do not tell one activation from another: answers do, and unlike scores they have no last bits.
    held = [*state.values(), x, y, scores.argmax(1)]
    kinds = [(key, v.dtype, tuple(v.shape)) for key, v in [*state.items(), ("x", x)]]
    name = (digest(held), str(net), kinds, ball, chunk, seed, version("pyautoattack"))
    path = cache_path("autoattack", *name, sources=("autoattacks", "attacks", "models", "resnet")).with_suffix(".json")
    parts = list(zip(x.split(chunk), y.split(chunk)))
    done = read_json(path) if path.exists() else []
    if [isinstance(part, list) and len(part) for part in done] != [len(a) for a, _ in parts][: len(done)]:
        raise ValueError(f"{path} holds other chunks than these: delete it to compute it anew")
    for a, b in parts[len(done) :]:
        done.append(_survivors(net, a.contiguous(), b, ball, seed).tolist())
        write_json(path, done)
    return torch.tensor([survived for part in done for survived in part], device=x.device)


def _survivors(net: nn.Module, x: Tensor, y: Tensor, ball: Ball, seed: int) -> Tensor:
    from pyautoattack import AutoAttack

    with torch.random.fork_rng():  # the library seeds the global generator
        twin = frozen(net)
        attack = AutoAttack(twin, norm=NORMS[ball.norm], eps=ball.radius, seed=seed, device=x.device)
        # Its targeted attacks try nine wrong classes, of which there may be fewer.
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, twin(x[:1]).shape[1] - 1)
        found, _ = attack.run_standard_evaluation(x, y, batch_size=len(x))
        found = x + ball.project(found - x, x)  # whatever the library's rounding, inside the ball and the box
        with torch.no_grad(), evaluating(net):
            return correct(net(x), y) & correct(net(found), y)


def frozen(net: nn.Module) -> nn.Module:
    """A copy of `net` to be attacked: in evaluation mode, weights without gradients (FAB would leave them in `net`).

    Batch normalisation becomes part of the convolution it follows: the same function up to rounding, a fifth faster. A
    network that torch.fx cannot trace stays as it is.
    """
    twin = copy.deepcopy(net).eval().requires_grad_(False)
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    try:
        return fuse(twin) if normalised else twin
    except Exception:  # whatever its code makes of a tracer
        return twin
