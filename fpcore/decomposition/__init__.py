"""w = beta w' + v: neuron by neuron, layer by layer, and what its parts do and look like."""

from fpcore.decomposition.ablation import (
    effective_rank,
    random_like,
    removed,
    swapped,
    truncated,
    update_spectra,
)
from fpcore.decomposition.feature_images import (
    activity,
    coding_error,
    exciting,
    maximise,
    patches,
    thresholds,
)
from fpcore.decomposition.filter_spectra import roughness, scrambled, spectrum
from fpcore.decomposition.layers import (
    Coverage,
    Neurons,
    decompose_layers,
    neurons,
    paired,
    switched_on,
)
from fpcore.decomposition.preactivations import preactivation
from fpcore.decomposition.purification import (
    Decomposition,
    Features,
    active_share,
    chance_cosine,
    cosine,
    decompose,
    features,
    live,
    replaced,
    top_part,
)
from fpcore.decomposition.relations import (
    LeftOutWarning,
    explained,
    layer_relations,
    matched,
    same_neuron,
)

__all__ = [
    "Coverage",
    "Decomposition",
    "Features",
    "LeftOutWarning",
    "Neurons",
    "active_share",
    "activity",
    "chance_cosine",
    "coding_error",
    "cosine",
    "decompose",
    "decompose_layers",
    "effective_rank",
    "exciting",
    "explained",
    "features",
    "layer_relations",
    "live",
    "matched",
    "maximise",
    "neurons",
    "paired",
    "patches",
    "preactivation",
    "random_like",
    "removed",
    "replaced",
    "roughness",
    "same_neuron",
    "scrambled",
    "spectrum",
    "swapped",
    "switched_on",
    "thresholds",
    "top_part",
    "truncated",
    "update_spectra",
]
