"""(being replaced)"""

import datetime
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file, save
from scipy import stats
from torch import Tensor

from fpcore.checkpoint import write_atomically
from fpcore.checks import arithmetic

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
    return {
        "value": mean,
        "low": max(low, 0.0) if share else low,
        "high": min(high, 1.0) if share else high,
        "n": n,
    }


def provenance(profile: str, device: torch.device, seeds: list[int], **more: Any) -> dict[str, Any]:
    """Where a number comes from: profile, device and what it trains in, versions, seeds, date, commit, whatever else is passed.

    The commit is "-dirty" if anything but results, which a run writes itself, differs from it.
    """
    hardware = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} cores"
    )
    return {
        "profile": profile,
        "device": f"{device.type} ({hardware}, {platform.machine()}, {str(arithmetic(device)).removeprefix('torch.')})",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),
        },
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
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", ".", ":(exclude)results"], capture_output=True
    )
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
        raise ValueError(
            f"{path} is no published result ({error!r}): restore it, or delete it and publish again"
        ) from error


def beside(name: str, here: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """This run's figures, if it has any, and the published ones, if others: title -> figures, for panels side by side."""
    found = published(name)
    shown = {"this run": here} if here else {}
    return shown | ({"published": found["measured"]} if found and found["measured"] != here else {})


def published_arrays(name: str) -> dict[str, dict[str, Tensor]]:
    """The published arrays of an experiment, {network: {parameter: array}}."""
    path = folder() / f"{name}.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there: restore it, or publish it again with make full"
        )
    try:
        arrays = load_file(path)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read ({error}): restore it, or publish it again with make full"
        ) from error
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


def comparison(
    name: str, here: dict[str, dict[str, Any]], labels: dict[str, str], percent: bool = True
) -> str:
    """A Markdown table: each labelled figure as measured in this run, beside the published one (mean, 95% interval).

    Rows and columns without a figure are left out; if all are, a line says so.
    """
    found = published(name)
    theirs = found["measured"] if found else {}
    title = (
        "published"
        if not found
        else f"published ({found['provenance'].get('setting', found['provenance']['profile'])})"
    )
    columns = {
        head: figures
        for head, figures in {"this run": here, title: theirs}.items()
        if labels.keys() & figures.keys()
    }
    if not columns:
        return "*Not measured in this profile, and not yet published: a full run does both.*"
    known = [
        (key, label)
        for key, label in labels.items()
        if any(key in figures for figures in columns.values())
    ]
    table = [["", *columns], ["---"] * (1 + len(columns))]
    table += [
        [label, *(show(figures.get(key), percent) for figures in columns.values())]
        for key, label in known
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


def show(number: dict[str, Any] | None, percent: bool = True) -> str:
    """An interval as text: "98.2% [97.9%, 98.5%]", "98.2%" for a single seed or where all agree, "-" for none."""
    if number is None:
        return "-"
    form = "{:.1%}" if percent else "{:.3f}"
    text = form.format(number["value"])
    alone = number["low"] is None or number["high"] - number["low"] < 1e-9
    return (
        text if alone else f"{text} [{form.format(number['low'])}, {form.format(number['high'])}]"
    )


def unfavourable(number: Mapping[str, Any], sign: str) -> float:
    """The end of an interval that is furthest from meeting a bound ">" or "<"; of a single seed, its value."""
    return ends(number)[0 if sign == ">" else 1]


def ends(number: Mapping[str, Any]) -> tuple[float, float]:
    """Both ends of an interval; of a single seed, its value twice."""
    low, high = (number["value"] if end is None else end for end in (number["low"], number["high"]))
    return low, high


def cache_path(label: str, *lineage: Any) -> Path:
    """Where a training keeps its checkpoint: $FPCORE_CACHE, else `_build/cache`, under a name made from its lineage.

    The lineage is all that decides the outcome: trainings, seeds, data, earlier stages; and the code, torch's version, and
    what the processor trains in.
    `sources` are the modules whose code that is, if fewer or others than most experiments'. A folder in which nothing can be
    written is an error, unless what is asked for lies in it.
    """
    folder = Path(os.environ.get("FPCORE_CACHE") or ROOT / "_build" / "cache")
    plain = [repr(part) for part in lineage]
    if (
        arithmetic(torch.device("cpu")) == torch.bfloat16
    ):  # a cache may be carried to a machine that trains in float32
        plain.append("bfloat16")
    digest = hashlib.sha256(json.dumps([*plain, torch.__version__]).encode())
    path = folder / f"{label}-{digest.hexdigest()[:16]}.safetensors"
    if not any(folder.glob(f"{path.stem}.*")):
        _check_writable(folder)
    return path


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            f"nothing can be kept in {folder} ({error}): give another folder by FPCORE_CACHE"
        ) from error


def kept(measure: Callable[..., Any], *arguments: Any) -> Any:
    """What `measure(*arguments)` finds, as JSON has it, or found before: an interrupted sweep loses nothing it finished.

    It is kept beside the checkpoints, as `cache_path` names them; `sources` are the modules that matter beside SOURCES.
    """
    path = cache_path(measure.__name__, *arguments).with_suffix(".json")
    if not path.exists():
        write_json(path, measure(*arguments))
    return read_json(path)


def read_json(path: Path) -> Any:
    """What `write_json` wrote there; ValueError, with the way out, if that is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read ({error}): delete it to compute it anew"
        ) from error


def summarise(measured: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean and 95% interval of each figure over the seeds that have it; accuracies, shares and purities are cut to [0, 1]."""
    shares = ("accuracy", "share", "purity", "dense", "feature", "exact")
    found: dict[str, list[float]] = {}
    for one in measured:
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return {
        name: interval(values, share=any(word in name for word in shares))
        for name, values in found.items()
    }


def held_out(
    measured: list[dict[str, float]], tuned: int, *names: str
) -> dict[str, dict[str, Any]]:
    """`summarise` of the figures `names`, as "name_held_out", without the first `tuned` seeds, on which choices were made."""
    rest = [{f"{name}_held_out": one[name] for name in names} for one in measured[tuned:]]
    return summarise(rest)


@dataclass(frozen=True)
class Claim:
    """A claim of the seed documents, and what would confirm it: `threshold` maps a measured name to (">" | "<", bound).

    `experiment` names the published result that measures it, `figures` maps the ledger's names to that result's; what that
    does not hold is taken from the published result `also`.
    """

    id: str
    statement: str
    chapter: str
    experiment: str | None = None
    figures: dict[str, str] | None = None
    threshold: dict[str, tuple[str, float]] | None = None
    also: str | None = None

    def entry(self) -> dict[str, Any]:
        """The ledger's row, with its `verdict`.

        A claim "holds" if the unfavourable end of each interval meets its bound, and "fails" if even the favourable end of one
        misses it; otherwise it is "undecided", and "not yet measured" while a number that the threshold names is missing.
        """
        result = published(self.experiment) if self.experiment else None
        more = published(self.also) if result and self.also else None
        measured: dict[str, Any] = {}
        if result:
            known = (more["measured"] if more else {}) | result["measured"]
            found = {name: known.get(source) for name, source in (self.figures or {}).items()}
            measured = {
                name: {k: f[k] for k in ("value", "low", "high")} for name, f in found.items() if f
            }
        threshold = self.threshold or {}
        verdict = "not yet measured"
        if threshold and threshold.keys() <= measured.keys():
            met = [_meets(measured[name], sign, bound) for name, (sign, bound) in threshold.items()]
            verdict = "fails" if False in met else "undecided" if None in met else "holds"
        return {
            "id": self.id,
            "statement": self.statement,
            "chapter": self.chapter,
            "measured": measured,
            "threshold": {name: f"{sign} {bound:g}" for name, (sign, bound) in threshold.items()},
            "verdict": verdict,
            "provenance": [run["provenance"] for run in (result, more) if run],
        }


def _meets(number: dict[str, Any], sign: str, bound: float) -> bool | None:
    """Whether both ends of an interval meet a bound, or neither does; None if one does."""
    met = {end > bound if sign == ">" else end < bound for end in ends(number)}
    return met.pop() if len(met) == 1 else None


def _same(*names: str) -> dict[str, str]:
    """Figures that the ledger calls as the result does."""
    return {name: name for name in names}


SYNTHETIC, LOWER_BOUNDS = "synthetic", "lower-bounds"
CIFAR, ROBUSTNESS, TANGENTS, LOW_RANK = (
    "cifar10",
    "cifar10-robustness",
    "cifar10-ntk",
    "cifar10-low-rank",
)
RESIDUAL = "cifar10-resnet"
CLAIMS = (
    Claim(
        "P1",
        "The principle: for most neurons there are a scalar β and a vector v with w = βw' + v and ‖βw'‖ > ‖v‖.",
        "chapters/adversarial-training",
        SYNTHETIC,
        _same("share_dominant", "share_dominant_live", "share_dominant_control", "cos_clean_adv"),
        {"share_dominant": (">", 0.5), "share_dominant_live": (">", 0.5)},
    ),
    Claim(
        "P2",
        "Both w and w' have nearly zero correlation with the initial weights w⁰.",
        "chapters/adversarial-training",
        SYNTHETIC,
        _same("cos_init_clean", "cos_init_adv", "cos_chance"),
        {"cos_init_clean": ("<", 0.2), "cos_init_adv": ("<", 0.2)},
    ),
    Claim(
        "P3",
        "Clean training already discovers a big portion of the robust features; adversarial training neither learns new "
        "ones nor removes old ones: it purifies.",
        "chapters/adversarial-training",
        SYNTHETIC,
        _same(
            "same_feature",
            "features_held",
            "features_gained",
            "features_lost",
            "features_missed_by_chance",
        ),
        {"same_feature": (">", 0.9), "features_gained": ("<", 0.05), "features_lost": ("<", 0.05)},
    ),
    Claim(
        "P4",
        "Small dense mixtures accumulate in the hidden weights during clean training and are one of the causes of "
        "adversarial examples; adversarial training removes them.",
        "chapters/adversarial-training",
        SYNTHETIC,
        {
            **_same("dense_part", "dense_part_adv", "dense_part_control", "dense_part_init"),
            "robust_accuracy_dense_back": "dense_back/robust_accuracy",
            "robust_accuracy_random_back": "random_back/robust_accuracy",
        },
        {
            "dense_part": (">", 0.3),
            "dense_part_adv": ("<", 0.15),
            "robust_accuracy_dense_back": ("<", 0.2),
            "robust_accuracy_random_back": (">", 0.8),
        },
        also="interventions",
    ),
    Claim(
        "T1",
        "Clean training reaches > 99% clean accuracy but < 1% robust accuracy against small perturbations of some radius.",
        "chapters/clean-training",
        SYNTHETIC,
        _same(
            "clean_accuracy",
            "robust_accuracy_held_out",
            "robust_accuracy",
            "robust_accuracy_control",
            "radius",
        ),
        {"clean_accuracy": (">", 0.99), "robust_accuracy_held_out": ("<", 0.01)},
    ),
    Claim(
        "T2",
        "Adversarial training with FGM makes the network provably robust (> 99%) against any perturbation of that radius.",
        "chapters/adversarial-training",
        SYNTHETIC,
        {
            "certified_accuracy_held_out": "certified_accuracy_adv_held_out",
            "certified_accuracy": "certified_accuracy_adv",
            "robust_accuracy": "robust_accuracy_adv",
            "certified_accuracy_control": "certified_accuracy_control",
            "radius": "radius",
        },
        {"certified_accuracy_held_out": (">", 0.99)},
    ),
    Claim(
        "L1",
        "Linear classifiers cannot defend against perturbations of that radius.",
        "chapters/linear-and-polynomial",
        LOWER_BOUNDS,
        {
            "class_bound": "class_bound_linear_accuracy",
            "robust_accuracy": "robust_accuracy_linear",
            "radius": "radius",
        },
        {"class_bound": ("<", 0.1), "robust_accuracy": ("<", 0.01)},
    ),
    Claim(
        "L2",
        "Low-degree polynomials cannot defend against perturbations of that radius.",
        "chapters/linear-and-polynomial",
        LOWER_BOUNDS,
        {
            "class_bound_degree2": "class_bound_degree2_accuracy",
            "robust_accuracy_degree2": "robust_accuracy_degree2",
            "robust_accuracy_degree3": "robust_accuracy_degree3",
            "certified_degree3": "certified_accuracy_witness",
            "radius": "radius",
        },
        {"class_bound_degree2": ("<", 0.55), "certified_degree3": ("<", 0.55)},
    ),
    Claim(
        "L3",
        "The NTK of this network, at any width, cannot defend against perturbations of that radius.",
        "chapters/ntk",
        LOWER_BOUNDS,
        {
            "robust_accuracy": "robust_accuracy_ntk",
            "robust_accuracy_infinite_width": "robust_accuracy_ntk_limit",
            "certified_infinite_width": "certified_accuracy_witness",
            "radius": "radius",
        },
        {"robust_accuracy": ("<", 0.55), "certified_infinite_width": ("<", 0.55)},
    ),
    Claim(
        "P1-layers",
        "The principle (P1) in every layer of a ConvNet on CIFAR-10.",
        "chapters/cifar10-layers",
        CIFAR,
        _same(
            "share_dominant_held_out",
            "share_dominant_lowest",
            "share_dominant_control",
            "share_dominant_scratch",
            "cos_clean_adv_lowest_held_out",
            "robust_gain",
            "cos_clean_adv",
            "cos_clean_adv_control",
            "cos_clean_adv_difference",
            "cos_two_seeds",
        ),
        {
            "share_dominant_held_out": (">", 0.9),
            "share_dominant_lowest": (">", 0.9),
            "cos_clean_adv_lowest_held_out": (">", 0.85),
            "robust_gain": (">", 0.2),
        },
    ),
    Claim(
        "P2-layers",
        "Nearly zero correlation with the initial weights (P2) in every convolution of that ConvNet, for w and w'.",
        "chapters/cifar10-layers",
        CIFAR,
        _same("cos_init_clean_highest", "cos_init_adv_highest"),
        {"cos_init_clean_highest": ("<", 0.2), "cos_init_adv_highest": ("<", 0.2)},
    ),
    Claim(
        "P3-layers",
        "Neurons keep their identity in that ConvNet (necessary for P3, not sufficient): those of w' are nearest to their own "
        "ancestors in w.",
        "chapters/cifar10-layers",
        CIFAR,
        _same(
            "same_neuron_share",
            "same_neuron_share_control",
            "same_neuron_share_scratch",
            "explained_share_adv_lowest",
            "explained_share_control_lowest",
            "explained_share_scratch_lowest",
            "explained_share_init_lowest",
        ),
        {"same_neuron_share": (">", 0.9), "same_neuron_share_scratch": ("<", 0.5)},
    ),
    Claim(
        "P1-residual",
        "The principle (P1), for nine neurons in ten of every layer, in a narrow ResNet-18 on CIFAR-10, trained by the recipe "
        "of the ConvNet.",
        "chapters/cifar10-layers",
        RESIDUAL,
        _same(
            "share_dominant",
            "share_dominant_lowest",
            "share_dominant_control",
            "cos_clean_adv_lowest",
            "robust_gain",
            "robust_accuracy",
            "robust_accuracy_control",
            "cos_clean_adv",
            "cos_clean_adv_control",
            "cos_clean_adv_difference",
            "cos_init_clean",
        ),
        {  # those of P1-layers
            "share_dominant": (">", 0.9),
            "share_dominant_lowest": (">", 0.9),
            "cos_clean_adv_lowest": (">", 0.85),
            "robust_gain": (">", 0.2),
        },
    ),
    Claim(
        "E1",
        "Experiments on CIFAR-10 illustrate the principle in multi-layer networks.",
        "chapters/cifar10-robustness",
        ROBUSTNESS,
        {
            "autoattack_accuracy": "autoattack_accuracy/l2 0.5",
            "autoattack_accuracy_adv": "autoattack_accuracy_adv/l2 0.5",
            "autoattack_accuracy_control": "autoattack_accuracy_control/l2 0.5",
            **_same(
                "autoattack_ratio",
                "clean_accuracy",
                "clean_lost",
                "radius",
                "cos_init_clean_highest",
                "cos_clean_adv_lowest_held_out",
                "share_dominant_held_out",
            ),
        },
        {
            "clean_accuracy": (">", 0.76),
            "clean_lost": ("<", 0.08),
            "autoattack_ratio": (">", 3),
            "autoattack_accuracy_control": ("<", 0.15),
            "cos_init_clean_highest": ("<", 0.2),
            "cos_clean_adv_lowest_held_out": (">", 0.85),
            "share_dominant_held_out": (">", 0.9),
        },
        also=CIFAR,
    ),
    Claim(
        "E2",
        "NTK models, as trained here, stay non-robust on CIFAR-10, even when adversarially trained.",
        "chapters/cifar10-ntk",
        TANGENTS,
        {
            "robust_accuracy_ntk": "ntk, adversarial/robust_accuracy/0.5",
            "robust_accuracy_network": "network from scratch/robust_accuracy/0.5",
            "robust_accuracy_ntk_longer": "ntk, longer/robust_accuracy/0.5",
            "robust_accuracy_ntk_pgd": "ntk, PGD/robust_accuracy/0.5",
            "robust_accuracy_constant": "constant_accuracy",
            "clean_accuracy_ntk": "ntk, adversarial/clean_accuracy",
            "kept_ntk": "ntk, adversarial/kept_share/0.5",
            "kept_network": "network from scratch/kept_share/0.5",
            "robust_ratio": "robust_ratio",
            "robust_ratio_pgd": "robust_ratio_pgd",
            "clean_accuracy_narrow_network": "width 0.0625/network/clean_accuracy",
            "robust_accuracy_narrow_network": "width 0.0625/network/robust_accuracy/0.5",
        },
        {"robust_ratio": ("<", 0.5), "robust_ratio_pgd": ("<", 0.5)},
    ),
    Claim(
        "E3",
        "Low-rank updates of the clean weights suffice for adversarial training (version 4).",
        "chapters/cifar10-low-rank",
        LOW_RANK,
        {
            "regained_rank16": "adversarial/16/regained",
            "parameters_rank16": "adversarial/16/parameter_share",
            "regained_rank0": "adversarial/0/regained",
            "regained_random_rank16": "random/16/regained",
            "regained_clean_rank16": "clean/16/regained",
            "regained_full": "full/regained",
            "regained_of_full_rank16": "adversarial/16/regained_of_full",
        },
        {
            "regained_rank16": (">", 0.8),
            "regained_of_full_rank16": (">", 0.8),
            "parameters_rank16": ("<", 0.5),
            "regained_clean_rank16": ("<", 0.2),
        },
    ),
)


def publish(
    name: str,
    measured: dict[str, Any],
    source: dict[str, Any],
    arrays: dict[str, Tensor] | None = None,
) -> None:
    """Write results/<name>.json, and results/<name>.safetensors for arrays, each atomically; then refresh the ledger.

    The same figures as are published already are left as they are, with the provenance of the run that found them first,
    unless that was of code that was not committed.
    """
    before = published(name)
    text = encode(
        {"measured": measured, "provenance": source}
    )  # a NaN is an error before anything is written
    if arrays:
        publish_arrays(name, arrays)
    if (
        not before
        or before["measured"] != measured
        or str(before["provenance"].get("commit")).endswith("-dirty")
    ):
        write_atomically(folder() / f"{name}.json", text)
    write_json(folder() / "claims.json", claims())


def claims() -> list[dict[str, Any]]:
    """The ledger: one entry a claim, from published measurements only."""
    return [claim.entry() for claim in CLAIMS]


def ledger_table(entries: list[dict[str, Any]]) -> str:
    """The ledger as a Markdown table: verdict, claim, measured figures (mean, 95% interval) with their thresholds."""
    rows = ["| id | verdict | claim | measured, **required** |", "|---|---|---|---|"]
    for entry in entries:
        measured, threshold = entry["measured"], entry["threshold"]
        figures = []
        for name in dict.fromkeys((*threshold, *measured)):
            value = show(measured[name], percent=False) if name in measured else "-"
            figures.append(
                f"`{name}` {value}" + (f", **{threshold[name]}**" if name in threshold else "")
            )
        link = f"[{entry['statement']}]({Path(entry['chapter']).name})"
        verdict = (
            entry["verdict"]
            if entry["verdict"] == "not yet measured"
            else f"**{entry['verdict']}**"
        )
        rows.append(f"| {entry['id']} | {verdict} | {link} | {'<br>'.join(figures) or '-'} |")
    return "\n".join(rows)


def ledger_sources(entries: list[dict[str, Any]]) -> str:
    """Where the ledger's figures come from: one Markdown row for each run, with the claims that were measured by it."""
    runs: dict[str, dict[str, None]] = {}
    for entry in entries:
        for source in entry["provenance"] if entry["measured"] else ():
            versions = ", ".join(f"{name} {number}" for name, number in source["versions"].items())
            setting = source.get("setting", source["profile"])
            if "amended" in source:  # figures measured again by themselves, after the rest
                setting += f"; amended {source['amended']}"
            seeds = ", ".join(map(str, source["seeds"]))
            run = " | ".join(
                (
                    setting,
                    source["device"],
                    seeds,
                    versions,
                    source["date"],
                    f"`{source['commit']}`",
                )
            )
            runs.setdefault(run, {})[entry["id"]] = None  # once, in the ledger's order
    rows = [
        "| claims | setting | device | seeds | versions | date | commit |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*rows, *(f"| {', '.join(ids)} | {run} |" for run, ids in runs.items())])
