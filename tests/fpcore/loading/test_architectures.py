"""A name becomes a network, or an error that has the closest names."""

import sys
import types

import pytest
import torch
import torchvision
from torch import nn

from fpcore.loading import build_network
from fpcore.models import ConvNet, ResNet


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch):
    def download(*_, **__):
        raise AssertionError("weights are downloaded")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a module of somebody's networks."""
    (tmp_path / "theirs.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self, inputs=3):\n        super().__init__(inputs, 2)\n"
        "def make():\n    import beside\n    return beside.network()\n"
        "def needs(width):\n    return Net(width)\n"
        "def fails():\n    raise OSError('no such disk')\n"
        "def text():\n    return 'net'\n"
        "net = Net()\n"
        "number = 3\n"
    )
    (tmp_path / "beside.py").write_text("from torch.nn import ReLU as network\n")
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "nets.py").write_text("from torch.nn import Identity\n")
    monkeypatch.chdir(tmp_path)
    before = {*sys.modules}
    yield tmp_path
    for name in {*sys.modules} - before:
        if name.split(".")[0] in ("theirs", "beside", "broken", "package"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("arch", "kind", "parameters"),
    [
        ("torchvision:resnet18", torchvision.models.ResNet, 11_689_512),
        ("torchvision:squeezenet1_1", torchvision.models.SqueezeNet, 1_235_496),
        ("fpcore:ConvNet", ConvNet, 171_498),
        ("fpcore:ResNet:0.125", ResNet, None),
    ],
)
def test_a_known_name_becomes_its_network(arch, kind, parameters):
    network = build_network(arch)
    assert type(network) is kind
    if parameters:
        assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("arch", ["torchvision:resnet18", "fpcore:ConvNet", "fpcore:ResNet:0.1"])
def test_the_number_of_classes_is_the_rows_of_the_last_matrix(arch):
    last = [p for p in build_network(arch, classes=7).parameters() if p.ndim == 2][-1]
    assert len(last) == 7


def test_a_width_scales_all_channels():
    assert build_network("fpcore:ConvNet:0.5").conv1.weight.shape == (16, 3, 5, 5)


@pytest.mark.parametrize(
    ("arch", "says"),
    [
        ("torchvision:resnet1", r"did you mean resnet18, "),
        ("torchvision:ResNet18", "did you mean resnet18"),
        ("torchvision:fasterrcnn_resnet50_fpn", "torchvision = 'fasterrcnn_resnet50_fpn' is not"),
        ("fpcore:Convnet", "did you mean ConvNet"),
        ("fpcore:ConvNet:wide", r"fpcore:ConvNet:wide .*give a width"),
        ("fpcore:ConvNet:-1", r"width = -1.*give a width"),
        ("resnet18", r"arch = 'resnet18': give torchvision:NAME"),
        ("torchvision:", r"arch = 'torchvision:': give"),
        (":net", r"arch = ':net': give"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_closest(arch, says):
    with pytest.raises(ValueError, match=says):
        build_network(arch)


def test_without_timm_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm:vit_tiny needs timm .*pip install timm"):
        build_network("timm:vit_tiny")


def test_timm_is_asked_for_no_weights_and_no_hub(monkeypatch):
    asked = []

    def create_model(name, **options):
        asked.append((name, options))
        return nn.Linear(2, options.get("num_classes", 1000))

    timm = types.ModuleType("timm")
    timm.list_models = lambda: ["vit_tiny", "resnet18"]
    timm.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert build_network("timm:vit_tiny", 3).out_features == 3
    build_network("timm:resnet18.a1_in1k")
    assert asked == [
        ("vit_tiny", {"pretrained": False, "num_classes": 3}),
        ("resnet18.a1_in1k", {"pretrained": False}),
    ]
    for name in ("hf-hub:somebody/resnet18", "resnet19"):
        with pytest.raises(ValueError, match="did you mean"):
            build_network(f"timm:{name}")
    assert len(asked) == 2


def test_a_function_or_class_of_the_current_folder_is_called(folder):
    path = [*sys.path]
    assert type(build_network("theirs:Net")).__name__ == "Net"
    assert isinstance(build_network("theirs:make"), nn.ReLU)
    assert isinstance(build_network("package.nets:Identity"), nn.Identity)
    assert sys.path == path


@pytest.mark.parametrize(
    ("arch", "says"),
    [
        ("theirs:needs", r"theirs:needs\(\) failed \(TypeError.*width.*without arguments"),
        ("theirs:fails", r"theirs:fails\(\) failed \(OSError: no such disk"),
        ("theirs:text", r"theirs:text\(\) made a str"),
        ("theirs:net", "theirs:net is a Net: give a function or class"),
        ("theirs:number", "theirs:number is a int: give a function"),
        ("theirs:mkae", "theirs: function or class = 'mkae' .*did you mean make"),
        ("broken:net", "module 'broken' cannot be imported .*no_such_library"),
        ("nowhere.nets:net", "module 'nowhere.nets' cannot be imported .*in its folder"),
        ("package.none:net", "module 'package.none' cannot be imported"),
    ],
)
def test_a_function_that_makes_no_network_is_named(arch, says, folder):
    path = [*sys.path]
    with pytest.raises(ValueError, match=says):
        build_network(arch)
    assert sys.path == path


def test_a_function_is_not_told_a_number_of_classes(folder):
    with pytest.raises(ValueError, match=r"classes = 3 with arch = 'theirs:Net'"):
        build_network("theirs:Net", classes=3)
