"""Two measures of purity of a seed's CIFAR-10 networks: sparse activity, and few atoms a patch."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from fpbook.results import record
from fpcore import seeding
from fpcore.decomposition.feature_images import activity, coding_error, patches, thresholds
from fpcore.decomposition.filter_spectra import scrambled
from fpcore.decomposition.layers import switched_on
from fpcore.images import Images
from fpcore.models.batch_norm import recalibrated


def measure_activity(
    nets: Mapping[str, nn.Module], train: Images, test: Images
) -> list[dict[str, Any]]:
    """How active the neurons of each layer are on test images, and where their ReLU opens.

    As records. The statistics of w0, which mean nothing yet, are estimated on training images.
    """
    found = []
    for name, net in nets.items():
        if name == "init":
            net = recalibrated(net, train.x[:5000])
        shares = activity(net, test.x[:1000])
        found += [record("active_share", v, name, layer) for layer, v in shares.items()]
        found += [record("opens", v, name, layer) for layer, v in thresholds(net).items()]
    return found


def measure_coding(
    nets: Mapping[str, nn.Module], test: Images, seed: int, atoms: Sequence[int]
) -> list[dict[str, Any]]:
    """What is left of patches of test images, coded by first-layer filters, as records.

    nets   the networks, convolutional
    test   test images
    seed   of the run
    atoms  how many filters a patch may take

    "scrambled" are the filters of w' with their phases scrambled.
    """
    filters = {name: _first_filters(net) for name, net in nets.items()}
    rng = seeding.generator(seed, "scrambled", device=filters["purified"].device)
    filters["scrambled"] = scrambled(filters["purified"], rng)
    pieces = patches(test.x.cpu(), filters["clean"].shape[-1], 1000)
    return [
        record("unexplained_share", coding_error(w.flatten(1), pieces, k), name, atoms=k)
        for name, w in filters.items()
        for k in atoms
    ]


def _first_filters(net: nn.Module) -> Tensor:
    """The filters of the first layer that are switched on, (neurons, 3, h, w)."""
    weight = net.get_submodule("conv1").weight
    assert isinstance(weight, Tensor)
    return weight.detach()[switched_on(net)["conv1"]]
