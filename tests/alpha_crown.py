"""A plain alpha-CROWN of the two-layer network, in float64: an oracle that shares no code of ours.

It sees two ReLUs a neuron, y f = sum_i ReLU(p_i - b_i) - ReLU(-p_i - b_i) with p_i = y <w_i, x>.
Source: Xu et al. (2021).
"""

import torch


def alpha_crown(weight, threshold, x, y, radius, steps=30):
    """Lower bounds on y f(x + delta), |delta|_2 <= radius, (n,), by projected ascent on slopes.

    weight     (m, d)
    threshold  in units of |w_i|
    x          (n, d)
    y          (n,), -1 or +1
    radius     of the ball
    steps      of the ascent

    Roundings are not paid for.
    """
    weight, x, y = weight.detach().double(), x.double(), y.double()
    norm = weight.norm(dim=1)
    corner = float(threshold) * norm
    signed = y[:, None, None] * weight  # (n, m, d)
    p = (signed * x[:, None]).sum(2)
    reach = radius * norm

    # -ReLU(z), z = -p - b in [low, high], is above minus its chord.
    low, high = -p - corner - reach, -p - corner + reach
    chord = (high / (high - low)).clamp(0, 1)
    chord = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, chord))
    fixed = -chord * (-p - corner) + torch.where((low < 0) & (high > 0), chord * low, 0.0)

    # ReLU(z), z = p - b, is above alpha z for any alpha in [0, 1]: the better ones are ascended to.
    low, high = p - corner - reach, p - corner + reach
    certain = torch.where(low >= 0, 1.0, 0.0)
    bends = (low < 0) & (high > 0)
    alpha = torch.where(bends, (high > -low).double(), certain)
    best = torch.full_like(y, -torch.inf)
    for step in range(steps):
        alpha.requires_grad_()
        slope = alpha + chord  # of y f in p: the second ReLU falls in it, with a minus before
        direction = (slope[:, :, None] * signed).sum(1)
        bound = (alpha * (p - corner) + fixed).sum(1) - radius * direction.norm(dim=1)
        best = best.maximum(bound.detach())
        (grad,) = torch.autograd.grad(bound.sum(), alpha)
        size = 0.5 * (1 - step / steps)
        moved = alpha.detach() + size * grad / grad.abs().amax(1, keepdim=True).clamp(min=1e-30)
        alpha = torch.where(bends, moved.clamp(0, 1), certain)
    return best
