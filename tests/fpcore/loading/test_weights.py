"""State dicts of all kinds come into a network as they were, or not at all."""

import copy

import pytest
import torch
from safetensors.torch import save_file, save_model
from shared import Noise
from torch import nn

from fpcore.loading import load_into, read_weights
from fpcore.loading.weights import ALONE
from fpcore.models import ConvNet
from fpcore.training import Training, train


class Small(nn.Module):
    """A convolution, batch normalisation, and one matrix."""

    def __init__(self, classes=10):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))


class Tied(nn.Module):
    """Two layers with one matrix."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


class Within(nn.Module):
    """A network whose names begin with a prefix of wrappers."""

    def __init__(self):
        super().__init__()
        self.model = Small()

    def forward(self, x):
        return self.model(x)


def trained(seed=1):
    """A network whose statistics and weights are not the initial ones."""
    torch.manual_seed(seed)
    model = Small()
    model(torch.rand(8, 3, 8, 8))
    return model.eval()


def images():
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def prefixed(state, *prefixes):
    return {"".join(prefixes) + name: value for name, value in state.items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth", "ckpt", "bin"])
def test_a_round_trip_is_bitwise(suffix, tmp_path):
    model, other, path = trained(), Small().eval(), tmp_path / f"w.{suffix}"
    save = save_file if suffix == "safetensors" else torch.save
    save(model.state_dict(), path)
    state, notes = read_weights(path)
    assert equal(state, model.state_dict()) and notes == []
    assert not torch.equal(other(images()), model(images()))
    assert load_into(other, path) == []
    assert torch.equal(other(images()), model(images()))
    assert all(p.requires_grad for p in other.parameters())


CONTAINERS = ["state_dict", "model", "model_state_dict", "net", "ema", "state_dict_ema", "module"]


@pytest.mark.parametrize("key", CONTAINERS)
def test_a_dict_around_the_state_dict_is_undone_and_said(key, tmp_path):
    model = trained()
    torch.save({"epoch": 3, key: model.state_dict(), "acc": 0.9}, tmp_path / "w.pt")
    state, notes = read_weights(tmp_path / "w.pt")
    assert equal(state, model.state_dict()) and notes == [f"took {key}, left epoch, acc"]


@pytest.mark.parametrize("key", ["model", "net", "state_dict"])
@pytest.mark.parametrize("average", ["ema", "state_dict_ema"])
def test_of_several_the_average_is_left_and_said(key, average, tmp_path):
    model = trained()
    torch.save({average: trained(2).state_dict(), key: model.state_dict()}, tmp_path / "w.pt")
    state, notes = read_weights(tmp_path / "w.pt")
    assert equal(state, model.state_dict()) and notes == [f"took {key}, left {average}"]


def test_dicts_in_dicts_are_undone(tmp_path):
    torch.save({"state_dict": {"model": trained().state_dict()}}, tmp_path / "w.pt")
    assert equal(read_weights(tmp_path / "w.pt")[0], trained().state_dict())


@pytest.mark.parametrize(
    "content",
    [{"epoch": 3, "weights": {"a": torch.ones(1)}}, [torch.ones(2)], torch.ones(2), {"a": 1}],
)
def test_a_file_without_a_state_dict_says_what_it_holds(content, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w.pt holds (no state dict but|a list|a Tensor).*save"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "prefixes",
    [
        ["module."],
        ["_orig_mod."],
        ["model."],
        ["net."],
        ["backbone."],
        ["module.", "_orig_mod."],
        ["_orig_mod.", "module.", "model."],
        ["module.", "module."],
    ],
)
def test_prefixes_of_all_names_are_undone_and_said(prefixes, tmp_path):
    model, other = trained(), Small().eval()
    torch.save(prefixed(model.state_dict(), *prefixes), tmp_path / "w.pt")
    state, notes = read_weights(tmp_path / "w.pt")
    assert equal(state, model.state_dict()) and all(prefix in notes[0] for prefix in prefixes)
    beside = {*prefixes} & {"model.", "net.", "backbone."}  # a wrapper that may have normalised
    assert notes[1:] == [ALONE] * bool(beside)
    load_into(other, tmp_path / "w.pt")
    assert torch.equal(other(images()), model(images()))


def test_a_prefix_of_some_names_stays(tmp_path):
    state = {"model.a": torch.ones(1), "head": torch.ones(2)}
    torch.save(state, tmp_path / "w.pt")
    found, notes = read_weights(tmp_path / "w.pt")
    assert equal(found, state) and notes == []


@pytest.mark.parametrize("wrap", [Within, lambda: nn.DataParallel(Within()), Small])
@pytest.mark.parametrize("prefix", ["", "model.", "module.model.", "_orig_mod."])
def test_the_networks_own_prefixes_need_not_be_the_files(wrap, prefix):
    model, other = trained(), wrap().eval()
    load_into(other, prefixed(model.state_dict(), prefix))
    assert torch.equal(other(images()), model(images()))


def test_a_dict_around_a_state_dict_loads_as_its_file_does():
    model, other = trained(), Small().eval()
    checkpoint = {"net": prefixed(model.state_dict(), "module."), "epoch": 3}
    assert load_into(other, checkpoint) == ["took net, left epoch"]
    assert torch.equal(other(images()), model(images()))


def test_a_network_without_values_is_named():
    with torch.device("meta"):
        model = Small()
    with pytest.raises(ValueError, match=r"the network has no values of conv.weight"):
        load_into(model, trained().state_dict())


@pytest.mark.parametrize("names", [("a.w", "module.a.w"), ("0.mean", "0.std", "1.0.mean", "1.w")])
def test_no_two_tensors_come_to_have_one_name(names, tmp_path):
    state = {name: torch.full((3,), float(i)) for i, name in enumerate(names)}
    torch.save(state, tmp_path / "w.pt")
    assert equal(read_weights(tmp_path / "w.pt")[0], state)


def test_an_averaged_model_loads(tmp_path):
    model, other = trained(), Small().eval()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    torch.save(averaged.state_dict(), tmp_path / "w.pt")
    assert "left n_averaged" in load_into(other, tmp_path / "w.pt")
    assert torch.equal(other(images()), model(images()))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_checkpoint_of_a_training_of_ours_loads(momentum, tmp_path):
    model, other, path = ConvNet(0.25), ConvNet(0.25), tmp_path / "run.safetensors"
    config = Training(steps=2, lr=0.1, batch=4, momentum=momentum)
    train(model, Noise(), config, checkpoint=path)
    state, notes = read_weights(path)
    assert equal(state, model.state_dict())
    assert "a checkpoint of fpcore.train after step 2" in notes
    assert any("momentum.0" in note for note in notes) == (momentum > 0)
    assert ALONE not in notes
    load_into(other, path)
    x = torch.rand(3, 3, 32, 32)
    assert torch.equal(other.eval()(x), model.eval()(x))


def test_tied_weights_stored_once_are_found_and_said(tmp_path):
    torch.manual_seed(3)
    model, other, x = Tied(), Tied(), torch.rand(2, 5)
    save_model(model, str(tmp_path / "w.safetensors"))
    notes = load_into(other, tmp_path / "w.safetensors")
    assert any("is tied to" in note for note in notes)
    assert torch.equal(other(x), model(x)) and other.second.weight is other.first.weight


def test_different_values_for_tied_weights_are_an_error():
    state = Tied().state_dict() | {"second.weight": torch.zeros(5, 5)}
    with pytest.raises(ValueError, match=r"different values of first.weight, second.weight"):
        load_into(Tied(), state)


def test_counters_that_are_not_stored_stay():
    model, other = trained(), Small()
    state = {k: v for k, v in model.state_dict().items() if "num_batches" not in k}
    assert "num_batches_tracked is not in the file" in load_into(other, state)[0]
    assert torch.equal(other.eval()(images()), model(images()))


def without(name):
    return lambda state: {k: v for k, v in state.items() if k != name}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("conv.weight"), "missing: conv.weight"),
        (without("bn.running_var"), "missing: bn.running_var"),
        (lambda state: state | {"head.weight": torch.ones(2)}, "unexpected: head.weight"),
        (
            lambda state: state | {"fc.weight": torch.ones(7, 4)},
            r"fc.weight holds \(7, 4\) floats, the network's \(10, 4\) floats",
        ),
        (
            lambda state: state | {"fc.weight": torch.ones(10, 4).long()},
            r"fc.weight holds \(10, 4\) integers",
        ),
        (
            lambda state: state | {"fc.weight": torch.ones(10, 4) + 0j},
            r"fc.weight holds \(10, 4\) complex",
        ),
        (lambda _: {f"l{i}": torch.ones(1) for i in range(9)}, "l0, l1, l2, l3 and 5 more"),
    ],
)
def test_what_does_not_fit_is_one_error_and_the_network_stays(change, says):
    model = Small()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=rf"the state dict does not fit Small .*{says}.*: give"):
        load_into(model, change(trained().state_dict()))
    assert equal(model.state_dict(), before)


@pytest.mark.parametrize("name", ["conv.weight", "fc.bias", "bn.weight", "bn.running_mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_tensor_that_is_not_a_number_is_named_and_the_network_stays(name, dtype, tmp_path):
    model, state = Small(), {k: v.clone() for k, v in trained().state_dict().items()}
    before = copy.deepcopy(model.state_dict())
    state[name] = state[name].to(dtype)
    state[name].view(-1)[1] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(ValueError, match=rf"nan.pt: {name} is not finite .* in 1 of"):
        load_into(model, tmp_path / "nan.pt")
    assert equal(model.state_dict(), before)


def test_numbers_too_large_for_the_network_are_not_finite_in_it():
    state = {
        k: v.double() if v.is_floating_point() else v for k, v in trained().state_dict().items()
    }
    state["fc.bias"] = torch.full((10,), 1e300, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"fc.bias is not finite .* in 10 of 10"):
        load_into(Small(), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_values_take_the_networks_dtype_and_it_is_said(dtype):
    model, other = trained().to(dtype), Small().eval()
    (note,) = load_into(other, model.state_dict())
    assert note == f"{dtype} became the network's float32".replace("torch.", "")
    assert other.fc.weight.dtype == torch.float32
    assert torch.equal(other.fc.weight, model.fc.weight.float())
    same = Small().to(dtype).eval()
    assert load_into(same, model.state_dict()) == []
    assert equal(same.state_dict(), model.state_dict())
