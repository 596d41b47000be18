"""A copy of a network for attacks, which call it a thousand times: the same function, faster."""

import math
import operator

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from fpcore.models.acting import copied
from fpcore.models.outputs import evaluating

ROUNDING = 256  # times eps: by what a copy may differ from its network, in shares of the outputs
BENT = 0.01  # by what its gradient may, in shares: by rounding a few ReLUs switch
FEW_CHANNELS = 4  # a convolution of so few, with a stride, is faster in another form
WORTH = 1000  # samples times steps: for fewer a copy takes longer to make than it saves
CACHED = 128  # images at a time: what a convolution gives for them stays in a CPU's cache


def parts(x: Tensor) -> list[slice]:
    """Slices of samples x (n, ...) that are best attacked at once, part by part."""
    at_once = CACHED if x.ndim == 4 and x.device.type == "cpu" else max(len(x), 1)
    return [slice(first, first + at_once) for first in range(0, max(len(x), 1), at_once)]


def taken(x: Tensor, index: Tensor) -> Tensor:
    """x[index], some of samples x (n, ...), in the memory format of x: copied sample by sample."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
    return x.index_select(0, index)


@torch.no_grad()
def folded(model: nn.Module, x: Tensor) -> nn.Module:
    """A copy that gives what `model` gives in evaluation mode, up to rounding, or `model` itself.

    model  any network; it stays as it is
    x      samples (n, ...), as it takes them: on the first two the copy is compared with it

    There is a copy of a network of convolutions, in float32 or float64, that torch.fx can trace
    and that has no hooks: those of a user would not be called. Outputs are compared, and gradients:
    a tracer does not see `torch.no_grad()`, nor the backward pass of a `torch.autograd.Function`.
    """
    weights = [*model.parameters(), *model.buffers()]
    kinds = {each.dtype for each in weights if each.is_floating_point()}
    usual = x.ndim == 4 and kinds == {x.dtype} and x.dtype in (torch.float32, torch.float64)
    if not usual or torch.is_autocast_enabled(x.device.type) or any(map(_hooked, model.modules())):
        return model
    if not convolves(model):
        return model
    try:
        twin = faster(model)
        with evaluating(model):
            same = _alike(_asked(twin, x[:2]), _asked(model, x[:2]))
    except Exception:  # whatever its code makes of a tracer
        return model
    return twin if same else model


def _asked(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What `model` gives for x (n, ...), and the gradient in x of a sum in which nothing cancels.

    model  in evaluation mode
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().detach().requires_grad_()
        output = model(x)
        weights = torch.arange(output.numel(), device=x.device).cos().view_as(output)
        (grad,) = torch.autograd.grad((output * weights).sum(), x)
    return output.detach(), grad


def _alike(copy: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor]) -> bool:
    """Whether outputs and gradients of a copy are a network's own, up to rounding."""
    (ours, bent), (theirs, grad) = copy, own
    slack = ROUNDING * torch.finfo(theirs.dtype).eps * theirs.abs().max().item()
    near = torch.allclose(ours, theirs, rtol=0, atol=slack)
    return near and bool((bent - grad).double().norm() <= BENT * grad.double().norm())


def convolves(model: nn.Module) -> bool:
    """Whether there are convolutions of images in a network."""
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


def faster(model: nn.Module) -> nn.Module:
    """A traced copy in evaluation mode, its weights without gradients, channels last.

    Batch normalisation becomes part of the convolution that it follows, else a scale and a shift;
    a convolution of few channels with a stride sees its pixels as channels; ReLU and max-pooling
    change places.
    """
    twin = copied(model).eval().requires_grad_(False)
    traced = fuse(twin, inplace=True)
    assert isinstance(traced, fx.GraphModule)
    _normalise_later(traced)
    for name in [str(node.target) for node in traced.graph.nodes if node.op == "call_module"]:
        module = traced.get_submodule(name)
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            traced.set_submodule(name, Affine(module))
        elif isinstance(module, nn.Conv2d) and _strided(module):
            traced.set_submodule(name, Unshuffled(module))
    _pool_first(traced)
    traced.recompile()
    return traced.requires_grad_(False).to(memory_format=torch.channels_last)


def _normalise_later(traced: fx.GraphModule) -> None:
    """Pixels over their standard deviation, a buffer, then a convolution: its weights over it."""
    for division in [*traced.graph.nodes]:
        if division.target is not operator.truediv or len(division.users) != 1:
            continue
        (conv,), (above, below) = division.users, division.args
        module = traced.get_submodule(conv.target) if conv.op == "call_module" else None
        if type(module) is nn.Conv2d and getattr(below, "op", None) == "get_attr":
            deviation = operator.attrgetter(below.target)(traced)
            if module.groups == 1 and deviation.shape == (module.in_channels, 1, 1):
                module.weight /= deviation
                division.replace_all_uses_with(above)
                traced.graph.erase_node(division)


def _pool_first(traced: fx.GraphModule) -> None:
    """max(ReLU(x)) = ReLU(max(x)), with the same gradient, and ReLU has less to do."""

    def is_one(node: object, function: object, kind: type[nn.Module]) -> bool:
        if not isinstance(node, fx.Node):
            return False
        if node.op == "call_module":
            return type(traced.get_submodule(str(node.target))) is kind
        return node.op == "call_function" and node.target is function

    for pool in [*traced.graph.nodes]:
        if not is_one(pool, F.max_pool2d, nn.MaxPool2d) or not pool.args:
            continue
        relu = pool.args[0]
        if not is_one(relu, F.relu, nn.ReLU) or len(relu.users) > 1 or not relu.args:
            continue
        pool.replace_all_uses_with(relu)
        pool.update_arg(0, relu.args[0])
        relu.update_arg(0, pool)
        pool.append(relu)  # after it


class Affine(nn.Module):
    """Batch normalisation by running statistics: x (n, c, h, w) -> scale x + shift."""

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__()
        assert norm.running_var is not None and norm.running_mean is not None
        scale = (norm.running_var + norm.eps).rsqrt()
        if norm.affine:
            scale = scale * norm.weight
        shift = -norm.running_mean * scale
        if norm.affine:
            shift = shift + norm.bias
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("shift", shift[:, None, None])
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


class Unshuffled(nn.Module):
    """A convolution of stride s as one of stride 1, of the s x s pixels that it passes at once.

    They become channels, and the kernel is framed by zeros up to a multiple of s.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        assert not isinstance(conv.padding, str)
        kernel, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
        before, after = math.ceil(padding / stride), (kernel - 1 - padding) // stride
        width = before + after + 1  # of the kernel, in steps of the stride
        outputs, inputs = conv.weight.shape[:2]
        framed = conv.weight.new_zeros(outputs, inputs, width * stride, width * stride)
        first = before * stride - padding
        framed[:, :, first : first + kernel, first : first + kernel] = conv.weight
        cells = framed.view(outputs, inputs, width, stride, width, stride)
        weight = cells.permute(0, 3, 5, 1, 2, 4).reshape(outputs, -1, width, width)
        self.weight, self.bias = nn.Parameter(weight), conv.bias
        self.stride, self.before, self.after = stride, before, after

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        down, right = h // self.stride, w // self.stride
        cells = x.permute(0, 2, 3, 1).reshape(n, down, self.stride, right, self.stride, c)
        x = cells.transpose(2, 3).reshape(n, down, right, -1).permute(0, 3, 1, 2)
        if self.before == self.after:
            return F.conv2d(x, self.weight, self.bias, padding=self.before)
        return F.conv2d(F.pad(x, (self.before, self.after) * 2), self.weight, self.bias)


def _strided(conv: nn.Conv2d) -> bool:
    """Whether it is one for `Unshuffled`: square, of few channels, an output each stride."""
    square = all(len({*pair}) == 1 for pair in (conv.kernel_size, conv.stride, conv.padding))
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    if not square or not plain or isinstance(conv.padding, str):
        return False
    kernel, stride, frame = conv.kernel_size[0], conv.stride[0], 2 * conv.padding[0]
    return conv.in_channels <= FEW_CHANNELS and stride > 1 and kernel - stride <= frame < kernel


def _hooked(module: nn.Module) -> bool:
    """Whether something runs beside its forward."""
    return any(
        getattr(module, f"_{kind}_hooks", None)
        for kind in ("forward", "forward_pre", "backward", "backward_pre")
    )
