"""The command on files as others save them, and the report on networks of every kind."""

import json
import math
import warnings

import pytest
import torch
from architectures import ARCHITECTURES, make
from safetensors.torch import save_file

from fpcore import command
from fpcore.decomposition.layers import neurons
from fpcore.models.acting import unwrapped
from fpcore.models.convnet import ConvNet
from fpcore.reporting import report


@pytest.fixture
def files(tmp_path):
    """Two networks and images: in a pickle with prefixes, in safetensors, as tensors."""
    nets = ConvNet(1 / 16), ConvNet(1 / 16)
    wrapped = {f"module.{key}": value for key, value in nets[0].state_dict().items()}
    torch.save({"state_dict": wrapped}, tmp_path / "w.pt")
    save_file(nets[1].state_dict(), tmp_path / "adv.safetensors")
    torch.save({"x": torch.rand(8, 3, 32, 32), "y": torch.arange(8)}, tmp_path / "images.pt")
    return tmp_path


def test_real_files_become_a_report(files, capsys):
    arguments = ["report", f"{files}/w.pt", f"{files}/adv.safetensors"]
    arguments += ["--arch", "fpcore:ConvNet:0.0625", "--data", f"{files}/images.pt"]
    arguments += ["--ball", "l2:0.1", "--out", f"{files}/out", "--images", "8", "--attacked", "2"]
    assert command.main([*arguments, "--device", "cpu"]) == 0
    content = json.loads((files / "out" / "report.json").read_text())
    assert any("module." in note for note in content["about"]["networks"]["clean"]["notes"])
    assert [row["name"] for row in content["layers"]] == [*neurons(ConvNet(1 / 16))]
    assert "l2 ball of radius 0.1" in (files / "out" / "report.html").read_text()
    assert command.main([*arguments, "--control", f"{files}/none.pt"]) == 2
    assert "none.pt" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_report_of_weights_is_made_of_networks_of_every_kind(name):
    net, other, _ = make(name)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries
        found = report(net, other, progress=False)
    assert all(math.isfinite(row["value"]) for row in found.records)
    assert found.content["coverage"]["left_out"].keys() == set(ARCHITECTURES[name].left_out)
    assert [row["name"] for row in found.content["layers"]] == [*neurons(unwrapped(net))]
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items())
    assert "<svg" in found._repr_html_()
