"""What single neurons of a run hold: their coefficients, and how alike they stay."""

from torch import Tensor

from fpbook.synthetic.protocol import SyntheticRun
from fpcore.decomposition.purification import cosine, live
from fpcore.sparse_coding import SparseCoding


def coefficients(w: Tensor, data: SparseCoding) -> Tensor:
    """<w, w*_j M_j> for each feature j: (..., d), of neurons w (..., d).

    Coefficients of one sign add up along the dense direction u*.
    """
    return (w @ data.features) * data.w_star


def live_cosines(run: SyntheticRun) -> Tensor:
    """cos(w_i, w_i') of the neurons that are live after FGM training."""
    alive = live(run.purified)
    return cosine(run.clean.weight.detach()[alive], run.purified.weight.detach()[alive])


def typical_neuron(run: SyntheticRun) -> tuple[int, float]:
    """The live neuron whose cosine before and after FGM training is the median, and that cosine."""
    alive = live(run.purified).nonzero().flatten()
    cosines = live_cosines(run)
    middle = cosines.argsort()[len(cosines) // 2]
    return int(alive[middle]), cosines[middle].item()
