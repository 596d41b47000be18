"""Weights of a file put into a network: all of them, or an error and the network unchanged."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from fpcore.loading.tensor_files import read_tensor_file
from fpcore.loading.wrappings import listed, normalisation_in, state_dict_in, without_prefixes

FIX = "give the architecture that these weights were trained in, my.module:factory if it is yours"

# Wrappers of these names may have computed something themselves.
SILENT = frozenset({"model.", "net.", "network.", "backbone."})
ALONE = "what stood beside it without weights, a normalisation say, is not in the file"


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict in a file, on the CPU, its wrappings undone; and notes that say which.

    path  a file of tensors (`read_tensor_file`), a checkpoint of `fpcore.train` among them

    Undone are dicts around the state dict (`CONTAINERS`) and prefixes of all names (`PREFIXES`).
    The mean and std of a normalisation in front stay, under their names. Tensors have the file's
    dtype. Raises FileNotFoundError, or ValueError that names the file and the fix.
    """
    content, metadata = read_tensor_file(path)
    try:
        state, notes = state_dict_in(content, metadata)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    short, undone = without_prefixes(state)
    if undone:
        notes.append(f"took the prefixes {listed(undone)} off all names")
    if not SILENT.isdisjoint(undone) and not normalisation_in(state):
        notes.append(ALONE)
    return {short[name]: value for name, value in state.items()}, notes


def load_into(model: nn.Module, weights: str | Path | Mapping[str, Tensor]) -> list[str]:
    """Load weights into a network, strictly; return notes that say what was done to them.

    model    any network; its names may have other `PREFIXES` than those of the file
    weights  a file, as for `read_weights`, or a state dict, or a dict around one

    Values take the dtype of the network. What a network can do without: the second name of tied
    weights, `num_batches_tracked`. Raises ValueError for names that are missing or unexpected,
    other shapes or kinds of number, and parameters that are not finite; then nothing has changed.
    """
    if isinstance(weights, Mapping):
        source = "the state dict"
        state, notes = state_dict_in(weights, {})
    else:
        source = str(weights)
        state, notes = read_weights(weights)
    return notes + fill(model, state, source)


def fill(model: nn.Module, state: Mapping[str, Tensor], source: str) -> list[str]:
    """What `load_into` does with a state dict that is called `source` in errors."""
    own = {name: v for name, v in model.state_dict().items() if isinstance(v, Tensor)}
    if empty := [name for name, value in own.items() if value.is_meta]:
        raise ValueError(f"the network has no values of {listed(empty)} (device meta): .to_empty()")
    ours, theirs = without_prefixes(own)[0], without_prefixes(state)[0]
    full = {short: name for name, short in ours.items()}
    found = {full[short]: state[name] for name, short in theirs.items() if short in full}
    notes = _fill(model, own, found, source)
    unexpected = [name for name, short in theirs.items() if short not in full]
    missing = [name for name in own if name not in found]
    shapes = [
        f"{name} holds {_kind(value)}, the network's {_kind(own[name])}"
        for name, value in found.items()
        if _kind(value) != _kind(own[name])
    ]
    faults = {"missing": missing, "unexpected": unexpected, "different": shapes}
    if any(faults.values()):
        what = "; ".join(f"{fault}: {listed(of)}" for fault, of in faults.items() if of)
        front = set(normalisation_in(state)) & set(unexpected)
        fix = "load it by load_network, which keeps the normalisation in front" if front else FIX
        raise ValueError(f"{source} does not fit {type(model).__name__} ({what}): {fix}")
    loaded = {name: value.to(own[name]) for name, value in found.items()}  # dtype and device
    _check_finite(model, loaded, source)
    full_state = model.state_dict()
    full_state.update(loaded)  # not a new dict: this one has the modules' versions
    model.load_state_dict(full_state)
    changed = {(v.dtype, own[k].dtype) for k, v in found.items() if v.is_floating_point()}
    texts = sorted(f"{a} became the network's {b}" for a, b in changed if a != b)
    return notes + [text.replace("torch.", "") for text in texts]


def _fill(
    model: nn.Module, own: dict[str, Tensor], found: dict[str, Tensor], source: str
) -> list[str]:
    """Add to `found` what was stored once or not at all, and need not be; notes that say so."""
    notes = []
    everything = chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    )
    twins: dict[int, list[str]] = {}
    for name, tensor in everything:
        twins.setdefault(id(tensor), []).append(name)
    for names in twins.values():
        stored = [name for name in names if name in found]
        if any(not _same(found[stored[0]], found[name]) for name in stored[1:]):
            what = f"{source} has different values of {listed(stored)}"
            raise ValueError(f"{what}, which {type(model).__name__} ties: {FIX}")
        absent = [name for name in names if name in own and name not in found]
        if stored and absent:
            found.update(dict.fromkeys(absent, found[stored[0]]))
            notes.append(f"{listed(absent)} is tied to {stored[0]}, stored once")
    counters = [n for n in own if n.endswith("num_batches_tracked") and n not in found]
    if counters:
        found.update({name: own[name] for name in counters})
        notes.append("num_batches_tracked is not in the file: it stays as it was")
    return notes


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)


def _kind(value: Tensor) -> str:
    """Shape and kind of number: no integers are copied into floats."""
    kind = (
        "floats" if value.is_floating_point() else "complex" if value.is_complex() else "integers"
    )
    return f"{tuple(value.shape)} {kind}"


def _check_finite(model: nn.Module, loaded: dict[str, Tensor], source: str) -> None:
    """Raise ValueError for a parameter that is not finite; in buffers, -inf may be a mask."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, value in loaded.items():
        bad = ~value.isfinite() if name in parameters else value.isnan()
        if bad.any():
            what = f"{name} is not finite (NaN or infinity) in {int(bad.sum())} of {value.numel()}"
            raise ValueError(f"{source}: {what} numbers, the training diverged: give another file")
