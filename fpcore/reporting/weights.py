"""What the weights say, layer by layer: cosines, what dominates, ranks, roughness; then pooled."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fpcore.decomposition.ablation import effective_rank
from fpcore.decomposition.filter_spectra import roughness
from fpcore.decomposition.purification import (
    at_least_float32,
    chance_cosine,
    cosine,
    decompose,
)
from fpcore.reporting.layout import Layout, Pairs
from fpcore.reporting.spectra import gram_spectrum, thinned

BINS = 40  # of the histograms of cosines, over [-1, 1]
NEIGHBOURS = 4096  # neurons whose nearest neighbours are sought at a time

Record = Callable[..., dict[str, Any]]


def recorder(seed: int) -> Record:
    """A function that makes records of one seed: (quantity, value, network, layer, **over)."""

    def record(
        quantity: str,
        value: float,
        network: str | None = None,
        layer: str | None = None,
        **over: Any,
    ) -> dict[str, Any]:
        columns = {"quantity": quantity, "network": network, "layer": layer, **over}
        given = {name: at for name, at in columns.items() if at is not None}
        return {**given, "seed": seed, "value": float(value)}

    return record


@torch.no_grad()
def measure_layer(
    layer: str,
    layout: Layout,
    pairs: Pairs,
    on: Mapping[str, Mapping[str, Tensor]],
    record: Record,
) -> dict[str, Any]:
    """What one layer of the networks says: records, and what `pooled` needs.

    layer   its name
    layout  of the architecture
    pairs   {role: {layer: (clean, its own) matrix (neurons, fan-in)}}
    on      {role: {layer: (neurons,) bool}}, the neurons switched on
    record  as `recorder` makes it

    One matrix of each network is in memory at a time. Cosines are of neurons switched on in both
    networks; a layer without any has none, which a note says.
    """
    w, w_adv = (at_least_float32(one) for one in pairs["purified"][layer])
    part: dict[str, Any] = {
        "records": [
            record("cos_chance", chance_cosine(w.shape[1]), layer=layer),
            record("parameter_share", layout.share(layer), layer=layer),
        ],
        "cos": {},
        "cos_to_init": {},
        "own": {},
        "on": {role: [int(on[role][layer].sum()), len(w)] for role in on if role != "init"},
        "spectra": {},
        "notes": [],
    }
    if layer != layout.head:
        for role, (count, total) in part["on"].items():
            part["records"].append(record("share_switched_on", count / total, role, layer))
    _relations(part, layer, layout, pairs, on, record)
    _ranks(part, layer, w, w_adv, record)
    if layer in layout.kernels:
        _roughness(part, layer, layout.kernels[layer], w, w_adv, on, record)
    return part


def _relations(
    part: dict[str, Any],
    layer: str,
    layout: Layout,
    pairs: Pairs,
    on: Mapping[str, Mapping[str, Tensor]],
    record: Record,
) -> None:
    """The cosines with w and with w0, and whose nearest neuron in w is their own ancestor."""
    for role in pairs:
        if role == "init":
            continue
        w, other = (at_least_float32(one) for one in pairs[role][layer])
        both = on["clean"][layer] & on[role][layer]
        if not both.any():
            part["notes"].append(f"{layer}: no neuron is switched on in both clean and {role}")
            continue
        every = cosine(w, other)
        cos = every[both]
        part["cos"][role] = cos.tolist()
        part["records"] += _of_cosines(cos, role, layer, record)
        part["records"] += _by_head(every, both, layout.heads(layer), role, layer, record)
        if layer != layout.head:
            part["own"][role] = _own_ancestors(w, other, on["clean"][layer], both)
    if "init" in pairs:
        for role in ("clean", *(role for role in pairs if role != "init")):
            start = at_least_float32(pairs["init"][layer][1])
            other = pairs["init"][layer][0] if role == "clean" else pairs[role][layer][1]
            both = on["init"][layer] & on[role][layer]
            if both.any():
                cos = cosine(at_least_float32(other), start)[both]
                part["cos_to_init"][role] = cos.tolist()
                part["records"].append(record("cos_to_init", cos.median(), role, layer))


def _of_cosines(
    cos: Tensor, role: str, layer: str | None, record: Record, **over: Any
) -> list[dict[str, Any]]:
    """Of cosines with w the median, and the share with |beta w'| > |v|, which is cos^2 > 1/2."""
    return [
        record("cos_to_clean", cos.median(), role, layer, **over),
        record("share_dominant", (cos**2 > 0.5).double().mean(), role, layer, **over),
    ]


def _by_head(
    cos: Tensor, both: Tensor, heads: int, role: str, layer: str, record: Record
) -> list[dict[str, Any]]:
    """`_of_cosines` of each head of attention whose neurons are on in both; none without heads."""
    if heads == 1:
        return []
    each = enumerate(zip(cos.chunk(heads), both.chunk(heads)))
    found = [(head, own[there]) for head, (own, there) in each if there.any()]
    return [row for head, own in found for row in _of_cosines(own, role, layer, record, head=head)]


def _own_ancestors(w: Tensor, other: Tensor, on: Tensor, both: Tensor) -> list[int]:
    """How many neurons of `other`, on in both, have the largest |cos| with their own row of w.

    Among the rows of w switched on; and of how many.
    """
    unit, target = F.normalize(w[on], dim=1), F.normalize(other[both], dim=1)
    own = (on.cumsum(0) - 1)[both]
    nearest = [(some @ unit.T).abs().argmax(1) for some in target.split(NEIGHBOURS)]
    return [int((torch.cat(nearest) == own).sum()), len(own)]


def _ranks(part: dict[str, Any], layer: str, w: Tensor, w_adv: Tensor, record: Record) -> None:
    """The spectra of v and of w' - w, and their effective ranks."""
    for name, make in {
        "removed": lambda: decompose(w, w_adv).residual,
        "update": lambda: w_adv - w,
    }.items():
        values = gram_spectrum(make())
        if values[0] > 0:
            part["spectra"][name] = thinned(values)
            rank = effective_rank(values)
            part["records"].append(record(f"effective_rank_{name}", rank, layer=layer))
        else:
            what = {"removed": "v is zero", "update": "w' - w is zero"}[name]
            part["notes"].append(f"{layer}: {what}, it has no rank")


def _roughness(
    part: dict[str, Any],
    layer: str,
    shape: tuple[int, ...],
    w: Tensor,
    w_adv: Tensor,
    on: Mapping[str, Mapping[str, Tensor]],
    record: Record,
) -> None:
    """The median roughness of the filters of w, of w' and of v, of those switched on in both."""
    both = on["clean"][layer] & on["purified"][layer]
    if both.any():
        v = decompose(w, w_adv).residual
        for name, rows in {"clean": w, "purified": w_adv, "v": v}.items():
            values = roughness(rows[both].unflatten(1, shape))
            part["records"].append(record("roughness", values.median(), name, layer))


def pooled(
    parts: Mapping[str, Mapping[str, Any]], head: str, record: Record
) -> list[dict[str, Any]]:
    """Records over the neurons of all layers measured; over the hidden ones where it says so.

    parts   {layer: what `measure_layer` found}
    head    the layer that is not hidden
    record  as `recorder` makes it
    """
    found = []
    for quantity, key in {"cos_to_clean": "cos", "cos_to_init": "cos_to_init"}.items():
        for role in _roles(parts, key):
            values = [cos for part in parts.values() for cos in part[key].get(role, [])]
            each = torch.tensor(values, dtype=torch.float64, device="cpu")
            if key == "cos":
                found += _of_cosines(each, role, None, record)
            else:
                found.append(record(quantity, each.median(), role))
    hidden = {layer: part for layer, part in parts.items() if layer != head}
    for quantity, key in {"share_switched_on": "on", "same_neuron_share": "own"}.items():
        for role in _roles(hidden, key):
            counted = [part[key][role] for part in hidden.values() if role in part[key]]
            count, total = (sum(numbers) for numbers in zip(*counted))
            found.append(record(quantity, count / total, role))
    return found


def _roles(parts: Mapping[str, Mapping[str, Any]], key: str) -> list[str]:
    """The networks of which some layer has a value under `key`, in order."""
    return list(dict.fromkeys(role for part in parts.values() for role in part[key]))


def histograms(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[int]]]:
    """{network: {layer: how many neurons have a cosine with w in each of `BINS` bins}}."""
    found: dict[str, dict[str, list[int]]] = {role: {} for role in _roles(parts, "cos")}
    for layer, part in parts.items():
        for role, cos in part["cos"].items():
            counts = torch.tensor(cos, dtype=torch.float64, device="cpu").histc(BINS, -1, 1)
            found[role][layer] = [int(count) for count in counts]
    return found
