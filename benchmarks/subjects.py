"""What `report.py` measures, one subject a process: `python benchmarks/subjects.py NAME THREADS`.

Pairs are random networks and the same with noise, a tenth as long as each weight matrix. The last
line that is printed is a row of the benchmark, as JSON.
"""

import copy
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader

import fpcore as fp
from fpcore.loading import load_images
from fpcore.models import ResNet
from fpcore.reporting.accuracies import STEPS, chunk_of

NOISE = 0.1
BALL = fp.Ball("l2", 0.5, (0.0, 1.0))
TIMED = 50  # images whose whole attack is timed, for the worst case


def pair(make: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module]:
    """A random network, and the same with noise in its weight matrices.

    make  gives the network
    """
    torch.manual_seed(0)
    clean = make().eval()
    other = copy.deepcopy(clean)
    with torch.no_grad():
        for weight in other.parameters():
            if weight.ndim > 1:
                scale = NOISE * weight.norm() / weight.numel() ** 0.5
                weight += scale * torch.randn_like(weight)
    return clean, other


def cifar(count: int) -> tuple[Tensor, Tensor, str]:
    """The first images of CIFAR-10's test set, their labels, a name; random ones if it is not here.

    count  so many
    """
    try:
        data = load_images("cifar10", count)
    except FileNotFoundError:
        rng = torch.Generator().manual_seed(0)
        x = torch.rand(count, 3, 32, 32, generator=rng)
        return x, torch.randint(0, 10, (count,), generator=rng), "random"
    return data.x, data.y, data.name


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a call returns, and its seconds of wall clock and of CPU.

    call  takes no arguments
    """
    wall, cpu = time.monotonic(), time.process_time()
    found = call()
    seconds = {"wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - cpu}
    return found, {name: round(value, 1) for name, value in seconds.items()}


def weights_alone(name: str) -> dict[str, Any]:
    """The row of the report on weights alone, files included, of a network of torchvision.

    name  the network's
    """
    clean, other = pair(lambda: torchvision.models.get_model(name))
    with tempfile.TemporaryDirectory() as out:
        found, seconds = timed(lambda: fp.report(clean, other, out=out, progress=False))
    layers = len(found.content["layers"])
    return {"tool": "fp.report", **seconds, "images": 0, "note": f"weights alone, {layers} layers"}


def with_images(count: int) -> dict[str, Any]:
    """The row of the report with an attack, and what it takes if no attack stops early.

    count  number of images
    """
    clean, other = pair(ResNet)
    x, y, name = cifar(count)
    with tempfile.TemporaryDirectory() as out:
        found, seconds = timed(
            lambda: fp.report(clean, other, images=(x, y), ball=BALL, out=out, progress=False)
        )
    data, records = found.content["about"]["data"], found.content["records"]
    attacked, stood = 0, 0.0
    for record in records:
        if record["quantity"] == "robust_accuracy":
            given = record["network"] in ("clean", "purified")
            images = data["attacked" if given else "attacked_variants"]
            attacked += images
            stood += images * record["value"]
    right = next(r["value"] for r in records if r["quantity"] == "clean_accuracy")
    each = whole_attack(clean, x, y)
    worst = round(seconds["wall_s"] + each * (attacked - stood))
    note = (
        f"{name}; w is right on {right:.1%}, so that most attacks stop at once: {stood:.0f} of "
        f"{attacked} attacks ran to the end. worst_wall_s: had all, at {each:.2f} s each"
    )
    extra = {"note": note, "worst_wall_s": worst, "attacks": attacked}
    return {"tool": "fp.report", **seconds, "images": count, **extra}


def whole_attack(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Seconds that an image takes on which no attack succeeds.

    net  gives class scores
    x    images (n, ...)
    y    their labels (n,)
    """
    count = min(TIMED, chunk_of(x))
    some, labels = x[:count], y[:count]
    start = time.monotonic()
    fp.fgm(net, some, labels, BALL)
    fp.pgd(net, some, labels, BALL, STEPS, stop=False)
    return (time.monotonic() - start) / count


def aligned(make: Callable[[], nn.Module], x: Tensor, batch: int, name: str) -> dict[str, Any]:
    """The row of centred kernel alignment, of the layers that the report measures as well.

    make   gives the network
    x      images (n, ...)
    batch  so many at a time
    name   of the images
    """
    try:
        from cka import compute_cka
    except ImportError as error:
        advice = "pip install --no-deps --requirement requirements-bench.txt"
        raise SystemExit(f"pytorch-cka is not here: {advice}") from error
    clean, other = pair(make)
    kinds = (nn.Conv2d, nn.Linear)
    layers = [layer for layer, module in clean.named_modules() if isinstance(module, kinds)]
    loader = DataLoader(x, batch_size=batch)
    options: dict[str, Any] = {"layers": layers, "device": "cpu", "progress": False}
    _, seconds = timed(lambda: compute_cka(clean, other, loader, **options))
    note = f"{name}; {len(layers)} layers against each other, {batch} images at a time"
    return {"tool": "pytorch-cka", **seconds, "images": len(x), "note": note}


def aligned_large() -> dict[str, Any]:
    """`aligned` of a network of torchvision."""
    x = torch.rand(64, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return aligned(lambda: torchvision.models.get_model("resnet50"), x, 32, "random images")


def aligned_small() -> dict[str, Any]:
    """`aligned` of the network that the report attacks."""
    x, _, name = cifar(500)
    return aligned(ResNet, x, 100, name)


SUBJECTS: dict[str, Callable[[], dict[str, Any]]] = {
    "resnet50-report": lambda: weights_alone("resnet50"),
    "vit_b_16-report": lambda: weights_alone("vit_b_16"),
    "resnet50-cka": aligned_large,
    "cifar-cka": aligned_small,
    "cifar-report": lambda: with_images(1000),
}


def main(name: str, threads: int) -> None:
    """Print the row of one subject.

    name     the subject's
    threads  of PyTorch
    """
    torch.set_num_threads(threads)
    row = SUBJECTS[name]()
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    print(json.dumps({**row, "peak_gb": round(peak, 2)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
