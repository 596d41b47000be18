"""What single neurons hold: their coefficients."""

from torch import Tensor

from fpcore.sparse_coding import SparseCoding


def coefficients(w: Tensor, data: SparseCoding) -> Tensor:
    """<w, w*_j M_j> for each feature j: (..., d), of neurons w (..., d).

    Coefficients of one sign add up along the dense direction u*.
    """
    return (w @ data.features) * data.w_star
