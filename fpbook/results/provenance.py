"""Where a number comes from: profile, device, versions, seeds, date and commit."""

import datetime
import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from typing import Any

import torch

from fpbook.results.files import ROOT
from fpcore.checks import arithmetic


def provenance(profile: str, device: torch.device, seeds: list[int], **more: Any) -> dict[str, Any]:
    """Where a number comes from, as published beside it.

    profile: whose sizes were run
    device:  what trained; named with its hardware and the arithmetic that networks are trained in
    seeds:   of the runs
    more:    whatever else belongs there

    The commit is "-dirty" if anything but results, which a run writes itself, differs from it.
    """
    hardware = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} cores"
    )
    kind = str(arithmetic(device)).removeprefix("torch.")
    return {
        "profile": profile,
        "device": f"{device.type} ({hardware}, {platform.machine()}, {kind})",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),
        },
        "seeds": [*seeds],
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
    but_results = ["--", ".", ":(exclude)results"]
    changed = subprocess.run([*git, "status", "--porcelain", *but_results], capture_output=True)
    return found.stdout.strip() + ("-dirty" if changed.stdout else "")
