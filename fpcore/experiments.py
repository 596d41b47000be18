"""What all experiments share: profiles, checkpoints named by their lineage, the opening of a chapter, summaries."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fpcore import checks, figures
from fpcore.results import ROOT, interval, provenance, write_json
from fpcore.training import arithmetic

PROFILES = ("quick", "full")  # minutes on two CPU cores; the published sizes

# Changing any of these files changes what a checkpoint would hold, so it changes the checkpoint's name.
SOURCES = ("seeding", "sparse_coding", "cifar", "models", "attacks", "decomposition", "training")


def cache_path(label: str, *lineage: Any, sources: tuple[str, ...] | None = None) -> Path:
    """Where a training keeps its checkpoint: $FPCORE_CACHE, else `_build/cache`, under a name made from its lineage.

    The lineage is all that decides the outcome: trainings, seeds, data, earlier stages; and the code, torch's version, and
    what the processor trains in.
    `sources` are the modules whose code that is, if fewer or others than most experiments'. A folder in which nothing can be
    written is an error, unless what is asked for lies in it.
    """
    folder = Path(os.environ.get("FPCORE_CACHE") or ROOT / "_build" / "cache")
    plain = [repr(part) for part in lineage]
    if arithmetic(torch.device("cpu")) == torch.bfloat16:  # a cache may be carried to a machine that trains in float32
        plain.append("bfloat16")
    digest = hashlib.sha256(json.dumps([*plain, torch.__version__]).encode())
    for source in sources or SOURCES:
        digest.update((Path(__file__).parent / f"{source}.py").read_bytes())
    path = folder / f"{label}-{digest.hexdigest()[:16]}.safetensors"
    if not any(folder.glob(f"{path.stem}.*")):
        _check_writable(folder)
    return path


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"nothing can be kept in {folder} ({error}): give another folder by FPCORE_CACHE") from error


def kept(measure: Callable[..., Any], *arguments: Any, sources: tuple[str, ...]) -> Any:
    """What `measure(*arguments)` finds, as JSON has it, or found before: an interrupted sweep loses nothing it finished.

    It is kept beside the checkpoints, as `cache_path` names them; `sources` are the modules that matter beside SOURCES.
    """
    path = cache_path(measure.__name__, *arguments, sources=(*SOURCES, *sources)).with_suffix(".json")
    if not path.exists():
        write_json(path, measure(*arguments))
    return read_json(path)


def read_json(path: Path) -> Any:
    """What `write_json` wrote there; ValueError, with the way out, if that is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}): delete it to compute it anew") from error


def start(profile: str, device: str, seed: int) -> torch.device:
    """Open a chapter: check its parameters before any work, set the figures' style, say where the numbers come from."""
    checks.choice("profile", profile, PROFILES)
    checks.whole("seed", seed)
    target = checks.resolve_device(device)
    figures.style()
    source = provenance(profile, target, [seed])
    print(f"profile {profile} · {source['device']} · torch {torch.__version__} · seed {seed}")
    return target


def summarise(measured: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean and 95% interval of each figure over the seeds that have it; accuracies, shares and purities are cut to [0, 1]."""
    shares = ("accuracy", "share", "purity", "dense", "feature", "exact")
    found: dict[str, list[float]] = {}
    for one in measured:
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return {name: interval(values, share=any(word in name for word in shares)) for name, values in found.items()}


def held_out(measured: list[dict[str, float]], tuned: int, *names: str) -> dict[str, dict[str, Any]]:
    """`summarise` of the figures `names`, as "name_held_out", without the first `tuned` seeds, on which choices were made."""
    rest = [{f"{name}_held_out": one[name] for name in names} for one in measured[tuned:]]
    return summarise(rest)
