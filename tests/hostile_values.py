"""Wrong values by the kind of argument that they are given for, made from a good one."""

import math

import numpy as np
import torch
from torch import nn


class Wrapped(nn.Module):
    """A network whose outputs, or inputs, something is done to."""

    def __init__(self, net, after):
        super().__init__()
        self.net, self.after = net, after

    def forward(self, x):
        return self.after(self.net(x), x)


class Failing(nn.Module):
    def forward(self, x):
        raise KeyError("deep inside")


class Constant(nn.Module):
    """Of what is not connected with x there is no gradient."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    @torch.no_grad()
    def forward(self, x):
        return self.net(x)


def changed(tensor, value):
    """A copy of which one number is another."""
    copy = tensor.clone().contiguous()
    copy.view(-1)[0] = value
    return copy


def of_x(x):
    """Samples that are none."""
    yield "None", None
    yield "list", x.tolist()
    yield "numpy", x.numpy()
    yield "text", "x"
    yield "number", 1.0
    yield "bytes", (255 * x).byte()
    yield "integers", x.long()
    yield "bool", x > 0
    yield "complex", x + 0j
    yield "one sample", x[0]
    yield "no axis", x.flatten()[0]
    yield "nan", changed(x, math.nan)
    yield "inf", changed(x, math.inf)
    yield "fewer", x[:-1]
    yield "narrow", x[:, :-1]
    yield "no numbers", x[:, :0]
    yield "flat", x.flatten(1)[:, :-1]
    yield "deep", x[..., None, None]
    yield "meta", x.to("meta")
    yield "sparse", x.to_sparse()
    yield "float64", x.double()
    yield "float16", x.half()


def of_outputs(x):
    """Outputs that are none; what is not finite in them is not finite in their losses."""
    yield from ((wrong, value) for wrong, value in of_x(x) if wrong not in ("nan", "inf"))


def of_signs(y):
    """Labels that are not -1 and +1, one a sample."""
    yield from of_labels(y)
    yield "0 and 1", (y + 1) / 2
    yield "two", 2 * y
    yield "nan", changed(y.float(), math.nan)
    yield "bool", y > 0
    yield "bytes", (y > 0).byte()


def of_classes(y):
    """Class numbers that are none."""
    yield from of_labels(y)
    yield "from one", y + 100
    yield "negative", y - 100
    yield "floats", y.float()
    yield "int32", y.int()
    yield "one hot", nn.functional.one_hot(y)
    yield "bool", y > 0


def of_class_numbers(y):
    """What is no class number, of whatever type."""
    yield from ((wrong, v) for wrong, v in of_classes(y) if wrong not in ("floats", "int32"))


def of_labels(y):
    yield "None", None
    yield "list", y.tolist()
    yield "numpy", y.numpy()
    yield "text", "y"
    yield "number", 1
    yield "column", y[:, None]
    yield "fewer", y[:-1]
    yield "more", torch.cat([y, y])
    yield "none", y[:0]
    yield "one", y[0]
    yield "complex", y + 0j
    yield "meta", y.to("meta")


def of_boxed(x):
    """Samples that are none, or outside the box (0, 1)."""
    yield from of_x(x)
    yield "above the box", 255 * x
    yield "below the box", x - 1
    yield "huge", 1e38 * x


def of_network(net):
    """Networks that are none, or that do what none should."""
    yield "None", None
    yield "function", lambda x: x.sum(1)
    yield "class", type(net)
    yield "text", "resnet18"
    yield "weights", net.state_dict()
    yield "meta", meta(net)
    yield "tuple", Wrapped(net, lambda out, x: (out, out))
    yield "dict", Wrapped(net, lambda out, x: {"logits": out})
    yield "nan", Wrapped(net, lambda out, x: out * math.nan)
    yield "squeezed", Wrapped(net, lambda out, x: out.flatten(1).sum(1) if 0 else out.mean())
    yield "one row less", Wrapped(net, lambda out, x: out[1:])
    yield "three axes", Wrapped(net, lambda out, x: out.view(len(x), 1, -1))
    yield "one column", Wrapped(net, lambda out, x: out.view(len(x), -1)[:, :1])
    yield "classes", Wrapped(net, lambda out, x: out.long())
    yield "complex", Wrapped(net, lambda out, x: out + 0j)
    yield "failing", Failing()


def meta(net):
    """A copy without values."""
    import copy

    return copy.deepcopy(net).to("meta")


def of_attacked(net):
    """Those, and one that has no gradient."""
    yield from of_network(net)
    yield "no gradient", Constant(net)
    yield "random", Wrapped(net, lambda out, x: out + torch.randn_like(out))
    yield "batch", Wrapped(net, lambda out, x: out - out.mean(0))


def of_layers_network(net):
    """Networks whose weights cannot be read."""
    yield "None", None
    yield "function", lambda x: x
    yield "text", "resnet18"
    yield "weights", net.state_dict()
    yield "other", nn.Sequential(nn.Linear(3, 2))
    yield "meta", meta(net)
    bad = torch.nn.utils.parameters_to_vector(net.parameters()) * math.nan
    import copy

    twin = copy.deepcopy(net)
    torch.nn.utils.vector_to_parameters(bad, twin.parameters())
    yield "nan", twin


def of_any_network(net):
    """What is no network at all, or has no weights."""
    yield "None", None
    yield "function", lambda x: x
    yield "text", "resnet18"
    yield "weights", net.state_dict()


def of_two_layer(net):
    """What is no `TwoLayer` with weights."""
    yield from of_any_network(net)
    yield "linear", nn.Linear(4, 1)
    yield "meta", meta(net)


def of_count(value):
    """What is no whole number of at least 1."""
    yield from of_whole(value)
    yield "zero", 0


def of_size(value):
    """What is no whole number of at least 1 of which there can be a matrix."""
    yield from of_count(value)
    yield "huge", 10**15


def of_whole(value):
    """What is no whole number of at least 0."""
    yield "negative", -1
    yield "bool", True
    yield "float", 2.0
    yield "nan", math.nan
    yield "inf", math.inf
    yield "text", "3"
    yield "list", [3]
    yield "tensor", torch.tensor(3)
    yield "numpy", np.float64(2)
    yield "complex", 1j


def of_seed(value):
    yield from of_whole(value)
    yield "None", None


def of_real(value):
    """What is no finite number of at least 0."""
    yield "negative", -1.0
    yield "bool", True
    yield "nan", math.nan
    yield "inf", math.inf
    yield "text", "0.1"
    yield "list", [0.1]
    yield "tensor", torch.tensor(0.1)
    yield "numpy", np.float32(0.1)
    yield "complex", 1j


def of_signed(value):
    """What is no finite number."""
    yield from ((wrong, bad) for wrong, bad in of_real(value) if wrong != "negative")


def of_rng(value):
    yield "seed", 0
    yield "text", "seed"
    yield "numpy", np.random.default_rng(0)


def of_ball(value):
    yield "None", None
    yield "radius", 0.1
    yield "text", "l2"
    yield "pair", ("l2", 0.1)


def of_norm(value):
    yield "other", "l1"
    yield "number", 2
    yield "None", None
    yield "list", ["l2"]
    yield "inf", math.inf


def of_box(value):
    yield "number", 1.0
    yield "one", (0.0,)
    yield "three", (0.0, 0.5, 1.0)
    yield "reversed", (1.0, 0.0)
    yield "equal", (1.0, 1.0)
    yield "nan", (math.nan, 1.0)
    yield "inf", (0.0, math.inf)
    yield "None", (None, 1.0)
    yield "text", "01"
    yield "tensor", torch.tensor([0.0, 1.0])


def of_matrix(value):
    """What is no matrix of finite numbers."""
    yield "None", None
    yield "list", value.tolist()
    yield "numpy", value.numpy()
    yield "text", "w"
    yield "complex", value + 0j
    yield "integers", value.long()
    yield "one row", value[0]
    yield "no axis", value[0, 0]
    yield "deep", value[..., None]
    yield "nan", changed(value, math.nan)
    yield "inf", changed(value, -math.inf)
    yield "meta", value.to("meta")
    yield "sparse", value.to_sparse()
    yield "narrow", value[:, :-1]


def of_choice(value):
    yield "other", "nonsense"
    yield "empty", ""
    yield "None", None
    yield "number", 3
    yield "list", [value]


def of_device(value):
    yield "other", "tpu"
    yield "absent", "cuda:77"
    yield "None", None
    yield "number", 0


def of_function(value):
    yield "text", "attack"
    yield "number", 3
    yield "list", [1]


def of_layer(value):
    yield "other", "nowhere"
    yield "None", None
    yield "number", 3


def of_path(value):
    """Files that are not there, or hold something else."""
    folder = value if value.is_dir() else value.parent
    yield "absent", folder / "absent.pt"
    yield "nowhere", "/nowhere/at all"
    yield "empty text", ""
    yield "number", 3
    for name, content in {
        "text.pt": b"no weights",
        "empty.pt": b"",
        "zip.pt": b"PK\x03\x04" + bytes(60),
        "text.safetensors": b"no tensors at all",
        "huge.safetensors": (2**62).to_bytes(8, "little") + b"{}",
        "text.parquet": b"PAR1 and no more",
        "text.png": b"\x89PNG",
    }.items():
        path = folder / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        yield name, path
    evil = folder / "files" / "evil.pt"
    torch.save({"weight": Evil(folder / "written")}, evil)
    yield "code", evil
    empty = folder / "an empty folder"
    empty.mkdir(exist_ok=True)
    yield "empty folder", empty


def of_word(value):
    yield "other", "nonsense"
    yield "empty", ""
    yield "number", "7"
    yield "injected", "a; rm -rf /"


def of_threat(value):
    for wrong in ("l2", "l1:0.1", "l2:", "l2:x", "l2:-1", "l2:nan", "l2:inf", "l2:1/0", ":", ""):
        yield wrong, wrong


def of_integer(value):
    for wrong in ("-1", "1.5", "x", "", "nan", "1e3"):
        yield wrong, wrong


def of_digits(value):
    yield from of_integer(value)
    yield "0", "0"


class Evil:
    """Read by pickle, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def of_pair(value):
    yield "one", (0.5,)
    yield "late", (2.0, 1.0)
    yield "negative", (0.0, -1.0)
    yield "nan", (0.0, math.nan)
    yield "text", ("a", "b")
    yield "None", None
    yield "number", 0.5


def of_control(value):
    yield "seed", 0
    yield "text", "random"
    yield "tensor", torch.ones(2)


KINDS = {name[3:]: one for name, one in list(globals().items()) if name.startswith("of_")}
