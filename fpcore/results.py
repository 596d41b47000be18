"""The results store: what a full run publishes, with its provenance; intervals over seeds, and how they are shown."""

import datetime
import io
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file, save
from scipy import stats
from torch import Tensor

from fpcore.training import arithmetic, write_atomically

ROOT = Path(__file__).resolve().parents[1]


def folder() -> Path:
    """The results folder: $FPCORE_RESULTS, else `results/` beside the package."""
    return Path(os.environ.get("FPCORE_RESULTS") or ROOT / "results")


def interval(values: list[float], share: bool = False) -> dict[str, Any]:
    """Mean and 95% Student-t interval over seeds: {"value", "low", "high", "n"}; no interval from a single seed.

    With `share`, the interval is cut to [0, 1], unless a value lies outside (an explained share may be negative).
    """
    array = np.asarray(values, dtype=float)
    if not len(array) or not np.isfinite(array).all():
        raise ValueError(f"values = {values!r}: give at least one finite number, one a seed")
    mean, n = float(array.mean()), len(array)
    if n == 1:
        return {"value": mean, "low": None, "high": None, "n": 1}
    half = float(stats.t.ppf(0.975, n - 1) * array.std(ddof=1) / np.sqrt(n))
    low, high = mean - half, mean + half
    share = share and bool((array >= 0).all() and (array <= 1).all())
    return {"value": mean, "low": max(low, 0.0) if share else low, "high": min(high, 1.0) if share else high, "n": n}


def provenance(profile: str, device: torch.device, seeds: list[int], **more: Any) -> dict[str, Any]:
    """Where a number comes from: profile, device and what it trains in, versions, seeds, date, commit, whatever else is passed.

    The commit is "-dirty" if anything but results, which a run writes itself, differs from it.
    """
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} cores"
    return {
        "profile": profile,
        "device": f"{device.type} ({hardware}, {platform.machine()}, {str(arithmetic(device)).removeprefix('torch.')})",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "torchvision": version("torchvision")},
        "seeds": list(seeds),
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        **more,
    }


def _commit() -> str:
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        return "unknown"
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if found.returncode:
        return "unknown"
    changed = subprocess.run([*git, "status", "--porcelain", "--", ".", ":(exclude)results"], capture_output=True)
    return found.stdout.strip() + ("-dirty" if changed.stdout else "")


def publish_arrays(name: str, arrays: dict[str, Tensor]) -> None:
    """Write results/<name>.safetensors, atomically; the arrays' names are "network/parameter"."""
    content = save({k: v.detach().contiguous().cpu() for k, v in arrays.items()})
    write_atomically(folder() / f"{name}.safetensors", content)


def publish_figure(name: str, figure: Figure) -> None:
    """Write results/<name>.png, atomically."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    write_atomically(folder() / f"{name}.png", content.getvalue())


def published(name: str) -> dict[str, Any] | None:
    """The published {"measured", "provenance"} of an experiment, or None if none was published."""
    path = folder() / f"{name}.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        return {"measured": content["measured"], "provenance": content["provenance"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no published result ({error!r}): restore it, or delete it and publish again") from error


def beside(name: str, here: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """This run's figures, if it has any, and the published ones, if others: title -> figures, for panels side by side."""
    found = published(name)
    shown = {"this run": here} if here else {}
    return shown | ({"published": found["measured"]} if found and found["measured"] != here else {})


def published_arrays(name: str) -> dict[str, dict[str, Tensor]]:
    """The published arrays of an experiment, {network: {parameter: array}}."""
    path = folder() / f"{name}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: restore it, or publish it again with make full")
    try:
        arrays = load_file(path)
    except Exception as error:
        raise ValueError(f"{path} cannot be read ({error}): restore it, or publish it again with make full") from error
    networks: dict[str, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        network, parameter = key.split("/", 1)
        networks.setdefault(network, {})[parameter] = array
    return networks


def write_json(path: Path, content: Any) -> None:
    write_atomically(path, encode(content))


def encode(content: Any) -> bytes:
    """The bytes of a JSON file; a NaN is an error."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def comparison(name: str, here: dict[str, dict[str, Any]], labels: dict[str, str], percent: bool = True) -> str:
    """A Markdown table: each labelled figure as measured in this run, beside the published one (mean, 95% interval).

    Rows and columns without a figure are left out; if all are, a line says so.
    """
    found = published(name)
    theirs = found["measured"] if found else {}
    title = "published" if not found else f"published ({found['provenance'].get('setting', found['provenance']['profile'])})"
    columns = {head: figures for head, figures in {"this run": here, title: theirs}.items() if labels.keys() & figures.keys()}
    if not columns:
        return "*Not measured in this profile, and not yet published: a full run does both.*"
    known = [(key, label) for key, label in labels.items() if any(key in figures for figures in columns.values())]
    table = [["", *columns], ["---"] * (1 + len(columns))]
    table += [[label, *(show(figures.get(key), percent) for figures in columns.values())] for key, label in known]
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


def show(number: dict[str, Any] | None, percent: bool = True) -> str:
    """An interval as text: "98.2% [97.9%, 98.5%]", "98.2%" for a single seed or where all agree, "-" for none."""
    if number is None:
        return "-"
    form = "{:.1%}" if percent else "{:.3f}"
    text = form.format(number["value"])
    alone = number["low"] is None or number["high"] - number["low"] < 1e-9
    return text if alone else f"{text} [{form.format(number['low'])}, {form.format(number['high'])}]"


def unfavourable(number: Mapping[str, Any], sign: str) -> float:
    """The end of an interval that is furthest from meeting a bound ">" or "<"; of a single seed, its value."""
    return ends(number)[0 if sign == ">" else 1]


def ends(number: Mapping[str, Any]) -> tuple[float, float]:
    """Both ends of an interval; of a single seed, its value twice."""
    low, high = (number["value"] if end is None else end for end in (number["low"], number["high"]))
    return low, high
