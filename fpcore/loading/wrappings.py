"""What training code wraps around a state dict: dicts, name prefixes, a normalisation in front."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fpcore.loading.tensor_files import SAVE_STATE

# Where checkpoints keep the state dict; of several the first is taken, averages last.
CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "module", "state_dict_ema", "ema")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
NORMALISATION = re.compile(r"(?P<owner>.*?)(?P<leaf>mean|mu|std|sigma)")
OWNER = re.compile(
    rf"({'|'.join(map(re.escape, PREFIXES))})*(0|\w*(norm|preproc|standard)\w*)\.|", re.IGNORECASE
)
CHANNELS = 4  # a normalisation has one number for all channels, or one for each


def state_dict_in(content: Any, metadata: dict[str, str]) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict in what a file holds, and what was taken and left to get there.

    content   of a file, as `read_tensor_file` gives it
    metadata  of a safetensors file: it tells the checkpoints of `fpcore.train`

    Raises ValueError that says what there is instead of a state dict.
    """
    notes = []
    for _ in range(len(CONTAINERS)):  # one in another
        inner = [key for key in CONTAINERS if _is_mapping(content, key)]
        if not inner:
            break
        left = [str(key) for key in content if key != inner[0]]
        notes.append(f"took {inner[0]}" + (f", left {listed(left)}" if left else ""))
        content = content[inner[0]]
    if not isinstance(content, Mapping):
        raise ValueError(f"holds a {type(content).__name__}, no state dict: {SAVE_STATE}")
    trained = {"config", "step"} <= metadata.keys()
    state = {}
    dropped = []
    for key, value in content.items():
        ours = not trained or str(key).startswith("model.")
        if isinstance(key, str) and isinstance(value, Tensor) and ours and key != "n_averaged":
            state[key.removeprefix("model.") if trained else key] = value.detach()
        else:
            dropped.append(str(key))
    if not state:
        raise ValueError(f"holds no state dict but {listed(map(str, content))}: {SAVE_STATE}")
    if trained:
        notes.append(f"a checkpoint of fpcore.train after step {metadata['step']}")
    if dropped:
        notes.append(f"left {listed(dropped)}")
    return state, notes


def _is_mapping(content: Any, key: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(key), Mapping)


def without_prefixes(state: Mapping[str, Tensor]) -> tuple[dict[str, str], list[str]]:
    """For each name of a state dict the name without the prefixes that all share; and those.

    A normalisation in front of the network (`normalisation_in`) may have names of its own.
    """
    short = {name: name for name in state}
    undone: list[str] = []
    while True:
        pair = normalisation_in({short[name]: value for name, value in state.items()})
        rest = [name for name in short.values() if name not in pair]
        second = pair and pair[0].startswith("0.") and "1." not in undone
        prefixes = (*PREFIXES, "1.") if second else PREFIXES
        shared = [prefix for prefix in prefixes if all(name.startswith(prefix) for name in rest)]
        if not rest or not shared:
            return short, undone
        shorter = {name: value.removeprefix(shared[0]) for name, value in short.items()}
        if len({*shorter.values()}) < len(shorter):  # two would have one name
            return short, undone
        short = shorter
        undone += shared[:1]


def normalisation_in(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The names of the mean and deviation of a normalisation in front, () if there is none.

    They are "mean" and "std", or "mu" and "sigma", at the top or in a module of such a name as
    "0" or "normalize", with one number a channel.
    """
    found: dict[str, dict[str, str]] = {}
    for name, value in state.items():
        match = NORMALISATION.fullmatch(name)
        if match and OWNER.fullmatch(match["owner"]) and value.numel() <= CHANNELS:
            found.setdefault(match["owner"], {})[match["leaf"]] = name
    pairs = [
        (leaves[mean], leaves[std])
        for leaves in found.values()
        for mean, std in (("mean", "std"), ("mu", "sigma"))
        if leaves.keys() >= {mean, std}
    ]
    return pairs[0] if len(pairs) == 1 else ()


def listed(names, most: int = 4) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
