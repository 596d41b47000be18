"""The symmetric networks of the theory: one neuron a feature, all with the same dense mixture."""

import math

from fpcore import checks, seeding
from fpcore.models.two_layer import TwoLayer
from fpcore.sparse_coding import SparseCoding
from fpcore.theory.scores import HasSizes, score_law


def symmetric_network(data: SparseCoding, threshold: float, mixture: float = 0.0) -> TwoLayer:
    """The network of neurons w*_j M_j + r u*, one for each of the d features.

    The mixture r is in units of the feature: the network is pure at r = 0. It is on the device of
    `data`; `threshold` as in `TwoLayer`.
    """
    checks.finite("mixture", mixture)
    net = TwoLayer(data.d, data.d, threshold, rng=seeding.generator(0)).to(data.device)
    net.weight.data = data.w_star[:, None] * data.features.T + mixture * data.u_star
    return net


def stationary_mixture(data: HasSizes) -> float:
    """The mixture r at which clean training of a symmetric network rests, while the loss is flat.

    In units of the feature r = sqrt(d) (n - 1)/(d - n) with n = E[N |S|]/E|S|, N being the number
    of active features: about k/sqrt(d), and more with a margin. Infinite if all features are always
    active: then no neuron can tell its own.
    """
    if data.k >= data.d:
        return math.inf
    law = score_law(data)
    n = law.mean(law.score * law.energy) * data.k / law.mean(law.score)
    return math.sqrt(data.d) * (n - 1) / (data.d - n)
