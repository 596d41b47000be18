"""Good calls of the public functions: arguments that work, and of which kind each is."""

import contextlib
import copy
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import fpcore as fp
from fpcore import attacks, decomposition, models, theory
from fpcore.command import main
from fpcore.loading import labelled, load_images, read_weights


@dataclass(frozen=True)
class Good:
    """A call that works, and the kinds of those of its arguments that are given wrong."""

    name: str
    call: Callable[..., Any]
    given: dict[str, Any]
    kinds: dict[str, str]
    may_pass: frozenset[str] = field(default=frozenset())  # wrong values that are right here


def good_calls(folder: Path) -> Iterator[Good]:
    """All good calls.

    folder  empty, for files that are read
    """
    torch.manual_seed(0)
    yield from _attacks()
    yield from _certificates()
    yield from _outputs()
    yield from _numbers()
    yield from _matrices()
    yield from _networks()
    yield from _data(folder)
    yield from _training()
    yield from _theory()
    yield from _commands(folder)


def vectors():
    x = torch.rand(6, 5)
    return {"model": fp.TwoLayer(5, 4), "x": x, "y": torch.tensor([1.0, -1.0]).repeat(3)}


def images(side=4):
    inputs = 4 * (side - 2) ** 2
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(inputs, 4))
    return {"model": net, "x": torch.rand(6, 3, side, side), "y": torch.arange(6) % 4}


OF_LOGIT = {"model": "attacked", "x": "x", "y": "signs"}
OF_SCORES = {"model": "attacked", "x": "boxed", "y": "classes"}


def _attacks():
    ball, box = fp.Ball("l2", 0.1), fp.Ball("linf", 0.1, (0.0, 1.0))
    pgd = {"steps": "count", "restarts": "count", "step_size": "real", "rng": "rng"}
    robust = {**pgd, "chunk": "count", "extra": "function"}
    del robust["step_size"]
    few = {"steps": 2, "restarts": 2}
    for name, given, kinds, threat in (
        ("logit", vectors(), OF_LOGIT, ball),
        ("scores", images(), OF_SCORES, box),
    ):
        kinds = {**kinds, "ball": "ball"}
        yield Good(f"fgm of {name}", fp.fgm, {**given, "ball": threat}, kinds)
        yield Good(f"pgd of {name}", fp.pgd, {**given, "ball": threat, **few}, {**kinds, **pgd})
        for one in (fp.robust_correct, fp.robust_accuracy):
            more = {**given, "ball": threat, **few}
            yield Good(f"{one.__name__} of {name}", one, more, {**kinds, **robust})
    given = {**images(8), "ball": fp.Ball("l2", 0.1, (0.0, 1.0))}
    given["net"] = given.pop("model")
    kinds = {"net": "network", "x": "boxed", "y": "class_numbers", "ball": "ball"}
    kinds |= {"chunk": "count", "seed": "seed"}
    yield Good("autoattack", fp.autoattack, given, kinds)
    direction = nn.functional.normalize(torch.rand(1, 5))[0]
    given = {"direction": direction, "radius": 0.1}
    yield Good("along", attacks.along, given, {"radius": "real", "direction": "norm"})
    given = {"source": vectors()["model"], "ball": ball}
    yield Good("transfer", attacks.transfer, given, {"source": "any_network", "ball": "ball"})


def _certificates():
    kinds = {"model": "two_layer", "x": "x", "y": "signs"}
    of_radius = {**kinds, "radius": "real", "branches": "whole"}
    given = vectors()
    near = {**given, "radius": 0.01}
    yield Good("certify", fp.certify, near, {**of_radius, "chunk": "count"})
    yield Good("certified_accuracy", fp.certified_accuracy, near, of_radius)
    more = {"branches": "whole", "steps": "count", "chunk": "count"}
    yield Good("certified_radius", fp.certified_radius, {**given, "steps": 3}, {**kinds, **more})


def _outputs():
    for name, given, kinds in (("logit", vectors(), OF_LOGIT), ("scores", images(), OF_SCORES)):
        kinds = {**kinds, "model": "network", "x": "x"}
        for one in (fp.accuracy, models.classified):
            yield Good(f"{one.__name__} of {name}", one, given, {**kinds, "chunk": "count"})
        output = given["model"](given["x"]).detach()
        for one in (fp.loss, fp.correct):
            both = {"output": output, "y": given["y"]}
            yield Good(f"{one.__name__} of {name}", one, both, {"y": kinds["y"]})
    both = {"output": torch.rand(6, 4), "y": torch.arange(6) % 4}
    passed = frozenset({"nan", "inf", "float64", "float16", "narrow", "flat"})
    for one in (fp.loss, fp.correct):
        yield Good(f"{one.__name__} of outputs", one, both, {"output": "outputs"}, passed)


def _numbers():
    given = {"norm": "l2", "radius": 0.1, "box": (0.0, 1.0)}
    yield Good("Ball", fp.Ball, given, {"norm": "norm", "radius": "real", "box": "box"})
    ball, x = fp.Ball("l2", 0.1), torch.rand(6, 5)
    yield Good("Ball.check", ball.check, {"x": x}, {"x": "x"}, MOST_X)
    given = {"d": 12, "k": 3, "margin": 1.0, "noise": 0.1, "seed": 0, "device": "cpu"}
    kinds = {"d": "size", "k": "size", "margin": "real", "noise": "real", "seed": "seed"}
    yield Good("SparseCoding", fp.SparseCoding, given, {**kinds, "device": "device"})
    data = fp.SparseCoding(12, 3, 1.0)
    for one in (data.sample, data.codes):
        given = {"n": 4, "rng": fp.generator(0)}
        yield Good(one.__qualname__, one, given, {"n": "size", "rng": "rng"})
    given, kinds = {"size": 4, "seed": 0, "step": 1}, {"size": "count", "seed": "seed"}
    kinds["step"] = "seed"
    yield Good("SparseCoding.batch", data.batch, given, kinds)
    given = {"n": 4, "seed": 0}
    yield Good("SparseCoding.test_set", data.test_set, given, {"n": "size", "seed": "seed"})
    yield Good(
        "generator",
        lambda seed: fp.generator(seed).initial_seed(),
        {},
        {"seed": "seed"},
        frozenset({"text"}),
    )
    yield Good("resolve_device", fp.resolve_device, {"device": "cpu"}, {"device": "device"})
    yield Good("chance_cosine", fp.chance_cosine, {"d": 4}, {"d": "count"})
    given = {"d": 4, "m": 3, "threshold": 0.1, "init_norm": 0.1}
    kinds = {"d": "size", "m": "size", "threshold": "real", "init_norm": "real", "rng": "rng"}
    yield Good("TwoLayer", fp.TwoLayer, given, kinds)
    for net in (fp.ConvNet, fp.ResNet):
        given = {"width": 1 / 16, "classes": 3}
        yield Good(net.__name__, net, given, {"width": "real", "classes": "count"})


MOST_X = frozenset(
    {"bytes", "integers", "bool", "one sample", "no axis", "nan", "inf", "fewer", "narrow"}
    | {"no numbers", "flat", "deep", "float64", "float16"}
)


def _matrices():
    w, other = torch.randn(7, 5), torch.randn(7, 5)
    both = {"w": w, "w_adv": other}
    yield Good("decompose", fp.decompose, both, {"w": "matrix", "w_adv": "matrix"})
    yield Good("cosine", fp.cosine, {"a": w, "b": other}, {"a": "matrix", "b": "matrix"})
    m = torch.linalg.qr(torch.randn(5, 5)).Q
    given = {"w": w, "m": m, "u_star": m[0]}
    yield Good("features", fp.features, given, {"w": "matrix", "m": "matrix"})
    wrong_u = {"u_star": "matrix"}
    yield Good(
        "features of u",
        lambda u_star: fp.features(w, m, m[0] if u_star is m else u_star),
        {"u_star": m},
        wrong_u,
        frozenset({"one row"}),
    )
    given = {"w": w, "m": m}
    yield Good("top_part", decomposition.top_part, given, {"w": "matrix", "m": "matrix"})
    net = fp.TwoLayer(5, 7)
    yield Good(
        "replaced",
        decomposition.replaced,
        {"model": net, "weight": w},
        {"model": "two_layer", "weight": "matrix"},
    )
    yield Good("live", fp.live, {"net": net, "share": 0.1}, {"net": "two_layer", "share": "real"})
    given = {"dictionary": w, "rows": other, "atoms": 2}
    kinds = {"dictionary": "matrix", "rows": "matrix", "atoms": "count"}
    yield Good("coding_error", decomposition.coding_error, given, kinds)
    one_row = torch.rand(1, 5)
    spectrum = {"spectrum": one_row}
    of_row = frozenset({"deep", "narrow", "one row", "no axis"})
    yield Good(
        "effective_rank",
        lambda spectrum: decomposition.effective_rank(
            spectrum[0] if spectrum is one_row else spectrum
        ),
        spectrum,
        {"spectrum": "matrix"},
        of_row,
    )


def _networks():
    clean, pure = images()["model"], images()["model"]
    x = images()["x"]
    both = {"clean": clean, "purified": pure}
    kinds = {"clean": "layers_network", "purified": "layers_network"}
    one = {"model": clean, "adversarial": pure}
    of_one = {"model": "layers_network", "adversarial": "layers_network"}
    yield Good("decompose_layers", fp.decompose_layers, one, of_one)
    given = {"one": clean, "other": pure}
    of_two = {"one": "layers_network", "other": "layers_network"}
    yield Good("layer_relations", fp.layer_relations, given, of_two)
    some = {"layer": "layer", "draws": "count"}
    matched = {**given, "layer": "0", "draws": 2}
    yield Good("matched", decomposition.matched, matched, {**of_two, **some})
    calibrated = {**both, "alpha": 1.0, "calibration": x}
    more = {"alpha": "real", "layers": "layer", "calibration": "x", "control": "control"}
    yield Good("removed", fp.removed, calibrated, {**kinds, **more}, frozenset({"None", "fewer"}))
    yield Good(
        "swapped",
        decomposition.swapped,
        {**both, "calibration": x},
        {**kinds, "calibration": "x"},
        frozenset({"fewer"}),
    )
    truncated = {**both, "rank": 1, "calibration": x}
    yield Good(
        "truncated",
        decomposition.truncated,
        truncated,
        {**kinds, "rank": "whole", "calibration": "x"},
        frozenset({"fewer"}),
    )
    yield Good("update_spectra", decomposition.update_spectra, both, kinds)
    yield Good("neurons", fp.neurons, {"model": clean}, {"model": "any_network"})
    yield Good("switched_on", fp.switched_on, {"net": clean}, {"net": "layers_network"})
    given = {"model": clean, "rank": 1, "seed": 0}
    yield Good(
        "low_rank", fp.low_rank, given, {"model": "layers_network", "rank": "whole", "seed": "seed"}
    )
    given = {"model": clean, "x": x, "chunk": 3}
    yield Good(
        "recalibrated",
        fp.recalibrated,
        given,
        {"model": "any_network", "x": "x", "chunk": "count"},
        frozenset({"fewer"}),
    )
    given = {"net": clean, "calibration": x}
    yield Good(
        "Linearised",
        fp.Linearised,
        given,
        {"net": "any_network", "calibration": "x"},
        frozenset({"fewer"}),
    )
    given = {"clean": clean, "adversarial": pure, "progress": False}
    kinds = {"clean": "layers_network", "adversarial": "layers_network", "seed": "seed"}
    kinds |= {"attacked": "count", "ball": "ball", "images": "ball"}
    yield Good("report", fp.report, given, kinds, frozenset({"None"}))
    given = {"net": clean, "layer": "0", "neuron": 1, "x": x, "count": 2, "chunk": 2}
    kinds = {"net": "layers_network", "layer": "layer", "neuron": "seed", "x": "x"}
    kinds |= {"count": "count", "chunk": "count"}
    yield Good("exciting", decomposition.exciting, given, kinds, frozenset({"fewer"}))
    kinds = {"x": "x", "size": "count", "count": "count", "seed": "seed"}
    given = {"x": x, "size": 2, "count": 5, "seed": 0}
    yield Good("patches", decomposition.patches, given, kinds, frozenset({"fewer"}))
    given = {"one": clean, "other": pure, "x": torch.rand(40, 3, 4, 4), "held": x}
    kinds = {**of_two, "x": "x", "held": "x"}
    yield Good("explained", decomposition.explained, given, kinds, frozenset({"fewer"}))


def _data(folder):
    x, y = torch.rand(6, 3, 4, 4), torch.arange(6) % 4
    given = {"x": x, "y": y, "name": "some", "shift": 1, "flip": True}
    kinds = {"x": "boxed", "y": "classes", "shift": "whole"}
    passed = frozenset({"from one", "float64", "float16"})
    yield Good("Images", fp.Images, given, kinds, passed)
    data = fp.Images(x, y, "some", shift=1)
    given, kinds = {"size": 4, "seed": 0, "step": 1}, {"size": "count", "seed": "seed"}
    kinds["step"] = "seed"
    yield Good("Images.batch", data.batch, given, kinds)
    yield Good(
        "Images.steps", data.steps, {"epochs": 1, "size": 2}, {"epochs": "count", "size": "count"}
    )
    given = {"folder": folder, "train_images": 1, "test_images": 1, "download": False}
    kinds = {"folder": "path", "train_images": "count", "test_images": "count"}
    kinds["device"] = "device"
    yield Good("load_cifar10", fp.load_cifar10, given, kinds)
    tensors = folder / "tensors.pt"
    torch.save({"x": x, "y": y}, tensors)
    given = {"spec": tensors, "count": 2}
    kinds = {"spec": "path", "count": "count", "classes": "count", "size": "count"}
    yield Good("load_images", load_images, given, kinds)
    weights = folder / "weights.pt"
    torch.save(fp.ConvNet(1 / 16).state_dict(), weights)
    given = {"path": weights, "arch": "fpcore:ConvNet:0.0625"}
    kinds = {"path": "path", "arch": "choice"}
    yield Good("load_network", fp.load_network, given, kinds)
    yield Good("read_weights", read_weights, {"path": weights}, {"path": "path"})
    yield Good(
        "labelled", labelled, {"images": (x, y), "count": 2}, {"images": "ball", "count": "count"}
    )


def _training():
    point = {"point": "pair"}
    yield Good("Schedule", lambda point: fp.Schedule(point), {}, point)
    given = {"steps": 2, "lr": 0.1, "batch": 2}
    kinds = {name: "count" for name in ("steps", "batch", "attack_steps")}
    reals = ("lr", "radius", "threshold", "clip", "weight_decay", "momentum", "attack_step_size")
    kinds |= {name: "real" for name in reals}
    kinds |= {"norm": "norm", "box": "box", "seed": "seed", "precision": "choice"}
    kinds["random_start"] = "choice"
    yield Good("Training", fp.Training, given, kinds)
    x, y = vectors()["x"], vectors()["y"]
    config = fp.Training(2, lr=0.1, batch=2, radius=0.1)

    def trained(**given):
        net = given.pop("model", None) or fp.TwoLayer(5, 4)
        data = [(given.pop("x"), given.pop("y"))]
        return fp.train(net, data, config, **given)[1:]

    given = {"x": x, "y": y, "every": 1}
    kinds = {"x": "x", "y": "signs", "every": "count", "loss": "function"}
    kinds |= {"optimizer": "function", "scheduler": "function", "measure": "function"}
    yield Good("train", trained, given, kinds, frozenset({"one row less"}))

    def on(model, data, config):
        if isinstance(model, nn.Module) and model is given["model"]:
            model = copy.deepcopy(model)
        return fp.train(model, data, config)[1:]

    given = {"model": fp.TwoLayer(5, 4), "data": [(x, y)], "config": config}
    kinds = {"model": "attacked", "data": "function", "config": "function"}
    yield Good("train on", on, given, kinds, frozenset({"random", "batch"}))


def _theory():
    data = theory.Sizes(12, 3, 1.0, 0.1)
    kinds = {"d": "count", "k": "count", "margin": "real", "noise": "real"}
    yield Good("Sizes", theory.Sizes, {"d": 12, "k": 3}, kinds)
    for bound in (theory.dense_accuracy, theory.linear_bound, theory.quadratic_bound):
        given = {"data": data, "radius": 0.1}
        yield Good(bound.__name__, bound, given, {"radius": "real"})
    given = {"data": data, "radius": 0.1, "cosine": 0.5}
    yield Good(
        "linear_bound_at", theory.linear_bound_at, given, {"radius": "real", "cosine": "real"}
    )
    q = torch.randn(3, 12)
    given = {"q": q, "radius": 0.01, "linear": 0.5, "steps": 3}
    kinds = {"q": "matrix", "radius": "real", "linear": "signed", "steps": "count"}
    yield Good("certify_cubic", theory.certify_cubic, given, kinds, frozenset({"narrow"}))
    yield Good(
        "polynomial",
        lambda coefficients: theory.polynomial(coefficients),
        {},
        {"coefficients": "real"},
    )
    yield Good(
        "tangent_kernel",
        theory.tangent_kernel,
        {"threshold": 0.1, "terms": 2},
        {"threshold": "real", "terms": "count"},
    )
    sparse = fp.SparseCoding(12, 3, 1.0)
    yield Good("few_features", theory.few_features, {"data": sparse, "size": 2}, {"size": "count"})
    yield Good(
        "symmetric_network",
        theory.symmetric_network,
        {"data": sparse, "threshold": 0.1, "mixture": 0.1},
        {"threshold": "real", "mixture": "real"},
    )


def _commands(folder):
    """`fpcore report`: what it prints on its error stream is the error."""
    files = [folder / f"{role}.pt" for role in ("clean", "adversarial")]
    for path in files:
        torch.save(fp.ConvNet(1 / 16).state_dict(), path)
    data = folder / "data.pt"
    torch.save({"x": torch.rand(8, 3, 32, 32), "y": torch.arange(8)}, data)
    given = {
        "clean": files[0],
        "adversarial": files[1],
        "arch": "fpcore:ConvNet:0.0625",
        "data": data,
        "ball": "l2:0.1",
        "out": folder / "report",
        "images": "8",
        "attacked": "4",
        "seed": "0",
        "device": "cpu",
        "layers": "conv1",
    }
    kinds = {"clean": "path", "adversarial": "path", "data": "path", "arch": "word"}
    kinds |= {"ball": "threat", "images": "digits", "attacked": "digits", "seed": "integer"}
    kinds |= {"device": "word", "layers": "word"}
    yield Good("command", commanded, given, kinds)


def commanded(**given):
    """Run the command line; what it says of an error is raised."""
    words = ["report", str(given.pop("clean")), str(given.pop("adversarial"))]
    words += [f"--{name}={value}" for name, value in given.items()]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(words)
        except SystemExit as left:
            status = left.code
    text = said.getvalue()
    if status:
        assert status == 2 and "Traceback" not in text, text
        raise Refused(text)
    return text


class Refused(Exception):
    """The command line's own error."""
