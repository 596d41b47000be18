"""Networks made from the pair, no training: what becomes of w without v, and of w' without rank."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpcore import seeding
from fpcore.decomposition.ablation import removed, truncated
from fpcore.decomposition.layers import neurons, paired
from fpcore.decomposition.purification import decompose
from fpcore.models.acting import copied, merged
from fpcore.models.batch_norm import recalibrated
from fpcore.reporting.subjects import device_of, fitted

ALPHAS = (0.5, 1.0)
RANKS = (1, 4, 16)


@dataclass(frozen=True)
class Trial:
    """A network to be made: what it is called, what over, and how it is made."""

    name: str
    over: dict[str, float]
    make: Callable[[], nn.Module]

    @property
    def title(self) -> str:
        """Its name with what it is over, "w - v, alpha 0.5"."""
        return ", ".join([self.name, *(f"{key} {value:g}" for key, value in self.over.items())])


def trials(
    networks: Mapping[str, nn.Module], seed: int, x: Tensor, calibrating: int, chunk: int
) -> list[Trial]:
    """The variants of a pair, each to be made, measured and dropped before the next is made.

    networks     {role: network}: clean, purified, and if given control
    seed         of the random vectors, the same for every alpha
    x            images (n, ...)
    calibrating  the last so many are those on which batch statistics are estimated anew
    chunk        of these at a time

    w - v       the clean network without alpha v; its biases and normalisation stay its own
    w - random  the same with random vectors orthogonal to w', as long as v neuron by neuron
    w - v_c     the same with the control's residual, as long as v
    beta w'     the purified network, its biases and normalisation, with the weights beta w' of
                w = beta w' + v
    w + rank r  the purified network, with each layer's update w' - w cut to rank r
    """
    clean, purified = networks["clean"], networks["purified"]

    def made(make: Callable[[nn.Module, nn.Module], nn.Module]) -> Callable[[], nn.Module]:
        """How a variant is made of the pair in float32 at least, and brought to w's precision."""

        def built() -> nn.Module:
            twin = make(_wide(clean), _wide(purified))
            if calibrating:
                twin = recalibrated(twin, fitted(x[len(x) - calibrating :], twin), chunk)
            return _as_precise(twin, clean)

        return built

    def without(alpha: float, control: str | None = None) -> Callable[[], nn.Module]:
        """w - alpha v, or less what a control of this kind gives."""

        def make(one: nn.Module, other: nn.Module) -> nn.Module:
            instead: torch.Generator | nn.Module | None = None
            if control == "random":
                instead = seeding.generator(seed, "random control", device=device_of(one))
            elif control:
                instead = _wide(networks[control])
            return removed(one, other, alpha, control=instead)

        return made(make)

    kinds: dict[str, str | None] = {"w - v": None, "w - random": "random"}
    if "control" in networks:
        kinds["w - v_c"] = "control"
    found = [
        Trial(name, {"alpha": alpha}, without(alpha, control))
        for name, control in kinds.items()
        for alpha in ALPHAS
    ]
    found.append(Trial("beta w'", {}, made(_pure)))
    for rank in RANKS:
        found.append(Trial("w + rank r", {"rank": rank}, made(_cut(rank, x[-2:]))))
    return found


def _cut(rank: int, some: Tensor) -> Callable[[nn.Module, nn.Module], nn.Module]:
    """`truncated` at a rank, its statistics still to be estimated on more images than `some`."""

    def make(one: nn.Module, other: nn.Module) -> nn.Module:
        return truncated(one, other, rank, fitted(some, one))

    return make


@torch.no_grad()
def _pure(clean: nn.Module, purified: nn.Module) -> nn.Module:
    """The purified network with the weights beta w'."""
    twin = merged(purified)
    written = neurons(twin)
    for name, (w, w_adv) in paired(clean, purified).items():
        written.write(name, decompose(w, w_adv).pure)
    return twin


def _half(net: nn.Module) -> bool:
    """Whether some weights of a network are in half precision."""
    return any(p.dtype in (torch.float16, torch.bfloat16) for p in net.parameters())


def _wide(net: nn.Module) -> nn.Module:
    """The network, or if it is in half precision a copy in float32: sums and SVDs want it."""
    return copied(net).float() if _half(net) else net


@torch.no_grad()
def _as_precise(twin: nn.Module, like: nn.Module) -> nn.Module:
    """`twin`, made from `like`, each tensor in the precision that it has there."""
    if _half(like):
        wanted = {n: v.dtype for n, v in [*like.named_parameters(), *like.named_buffers()]}
        for name, value in [*twin.named_parameters(), *twin.named_buffers()]:
            value.data = value.data.to(wanted.get(name, value.dtype))
    return twin


def update_share(networks: Mapping[str, nn.Module], rank: int) -> float:
    """Share of the parameters that an update of rank r has: two factors a layer, all other ones.

    networks  {role: network}: clean, purified
    rank      r

    That is what `fpcore.models.low_rank` would train; a layer's factors count at most as the layer.
    """
    clean = networks["clean"]
    total = sum(p.numel() for p in clean.parameters())
    layers = [w for w, _ in paired(clean, networks["purified"]).values()]
    rest = total - sum(w.numel() for w in layers)
    factors = sum(min(min(rank, *w.shape) * sum(w.shape), w.numel()) for w in layers)
    return (rest + factors) / total
