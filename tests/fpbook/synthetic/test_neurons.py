"""The coefficients of neurons in the basis of the features."""

import torch

from fpbook.synthetic.neurons import coefficients


def test_coefficients_are_those_of_the_features_and_add_up_along_the_dense_direction(sparse):
    w = 2 * sparse.w_star[3] * sparse.features[:, 3] + 0.5 * sparse.u_star
    expected = torch.full((sparse.d,), 0.5 / sparse.d**0.5)
    expected[3] += 2
    torch.testing.assert_close(coefficients(w, sparse), expected, atol=1e-5, rtol=0)
    total = coefficients(w, sparse).sum() / sparse.d**0.5
    torch.testing.assert_close(total, w @ sparse.u_star, atol=1e-5, rtol=0)
