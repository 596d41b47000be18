"""A network with the weights of a file: its number of classes and its normalisation from there."""

from pathlib import Path

from torch import Tensor, nn

from fpcore.loading.architectures import build_network, takes_classes
from fpcore.loading.weights import fill, read_weights
from fpcore.loading.wrappings import normalisation_in, without_prefixes


class Normalised(nn.Module):
    """A network behind a normalisation: x -> network((x - mean) / std), x in [0, 1].

    network  takes images (n, c, h, w)
    mean     of the channels, c numbers or one, of any shape
    std      their standard deviation, as many, > 0
    """

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor):
        super().__init__()
        finite = bool(mean.isfinite().all() and std.isfinite().all())
        if mean.numel() != std.numel() or not finite or not (std > 0).all():
            found = f"mean = {mean.flatten().tolist()}, std = {std.flatten().tolist()}"
            raise ValueError(f"{found}: give as many finite numbers of both, std > 0")
        self.register_buffer("mean", mean.detach().float().reshape(-1, 1, 1).clone())
        self.register_buffer("std", std.detach().float().reshape(-1, 1, 1).clone())
        self.mean: Tensor
        self.std: Tensor
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.std)


def load_network(path: str | Path, arch: str) -> tuple[nn.Module, list[str]]:
    """A network with the weights of a file, in evaluation mode; notes that say what was done.

    path  a file of weights, as for `read_weights`
    arch  as for `build_network`; the number of classes is the file's

    A normalisation in front that the file has and the architecture has not is kept: the network
    is then a `Normalised`. Raises what `read_weights`, `build_network` and `load_into` raise.
    """
    state, notes = read_weights(path)
    model = build_network(arch)
    if takes_classes(arch):
        head, own = [(name, p) for name, p in model.named_parameters() if p.ndim >= 2][-1]
        rows = state[head].shape[0] if head in state and state[head].ndim else len(own)
        if rows and rows != len(own):
            model = build_network(arch, rows)
            notes.append(f"{rows} classes, the rows of {head}")
    _check_stem(model, state, path, arch)
    front = normalisation_in(state)
    if not front or set(front) & set(without_prefixes(model.state_dict())[0].values()):
        notes += fill(model, state, str(path))
        return model.eval(), notes
    weights = {name: value for name, value in state.items() if name not in front}
    notes += fill(model, weights, str(path))
    try:
        normalised = Normalised(model, *(state[name] for name in front))
    except ValueError as error:
        raise ValueError(f"{path}, the normalisation in front: {error}") from None
    notes.append(f"kept the normalisation in front, (x - {front[0]}) / {front[1]}")
    return normalised.eval(), notes


def _check_stem(model: nn.Module, state: dict[str, Tensor], path: str | Path, arch: str) -> None:
    """Raise ValueError for a ResNet made for small images, which torchvision has not."""
    from torchvision.models import ResNet

    stem = state.get("conv1.weight")
    if not isinstance(model, ResNet) or stem is None or stem.ndim != 4:
        return
    size, own = (" x ".join(map(str, w.shape[2:])) for w in (stem, model.conv1.weight))
    if size != own:
        found = f"{path}: conv1.weight is {tuple(stem.shape)}, of {size}"
        fix = f"{arch} has a stem of {own}, for ImageNet: give the function that makes yours"
        raise ValueError(f"{found}; {fix}, my.module:factory")
