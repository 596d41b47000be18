"""The whole report: its contract, what it leaves alone, what a notebook shows, its files."""

import json
import random
import warnings
import weakref
from collections.abc import Mapping

import pytest
import torch
from reported_networks import BALL, convolutional, five, images, moved, perceptron, value
from torch import nn

from fpbook.results.records import table
from fpcore.ball import Ball
from fpcore.images import Images
from fpcore.models import TwoLayer
from fpcore.reporting import Report, assembly, report


@pytest.fixture(scope="module")
def whole():
    nets = five()
    x, y = images()
    return report(**nets, images=Images(x, y, "noise"), ball=BALL, progress=False)


def test_it_keeps_the_contract(whole):
    content = whole.content
    assert [*content] == [
        "about", "coverage", "layers", "records", "histograms", "spectra", "notes", "summary",
    ]  # fmt: skip
    about = content["about"]
    assert [*about["networks"]] == ["clean", "purified", "control", "init", "scratch"]
    assert all({*one} == {"source", "notes"} for one in about["networks"].values())
    assert {"fpcore", "torch", "seed", "seconds", "architecture", "attack"} <= {*about}
    assert {"name", "images", "attacked", "classes"} <= {*about["data"]}
    assert about["ball"] == {"norm": "l2", "radius": 0.3, "box": [0.0, 1.0]}
    assert {*content["coverage"]} == {"share", "left_out", "tied", "order", "notes"}
    assert content["coverage"]["share"] == 1
    for row in content["layers"]:
        assert {*row} == {"name", "type", "neurons", "fan_in", "weights", "head", "heads"}
    assert [row["name"] for row in content["layers"] if row["head"]] == ["9"]
    for layers in content["histograms"]["cos_to_clean"].values():
        assert all(len(counts) == 40 for counts in layers.values())
    assert {*content["spectra"]} == {"removed", "update"}
    assert len(content["summary"]) == 10
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_every_record_is_one_of_the_book_and_no_two_are_of_the_same(whole):
    found = table(whole.records)
    assert len(found) == len(whole.records) > 100
    assert {*found["quantity"]} == {
        "cos_to_clean", "share_dominant", "share_switched_on", "cos_to_init", "same_neuron_share",
        "explained_by_clean", "cos_chance", "effective_rank_removed", "effective_rank_update",
        "roughness", "parameter_share", "clean_accuracy", "robust_accuracy",
    }  # fmt: skip
    accuracies = found[found["quantity"] == "robust_accuracy"]
    assert {*accuracies["network"]} == {
        "clean", "purified", "control", "init", "scratch",
        "w - v", "w - random", "w - v_c", "beta w'", "w + rank r",
    }  # fmt: skip


def state_of(net):
    """Everything of a network that a report must leave alone."""
    return {
        "modes": [module.training for module in net.modules()],
        "tensors": {
            name: (value.detach().clone(), value.requires_grad)
            for name, value in [*net.named_parameters(), *net.named_buffers()]
        },
        "gradients": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "hooks": [len(module._forward_hooks) for module in net.modules()],
    }


def assert_same_state(one, other):
    assert one["modes"] == other["modes"] and one["hooks"] == other["hooks"]
    for name, (tensor, wanted) in one["tensors"].items():
        assert (
            torch.equal(tensor, other["tensors"][name][0]) and wanted == other["tensors"][name][1]
        )
    for grad, left in zip(one["gradients"], other["gradients"]):
        assert (grad is None) == (left is None) and (grad is None or torch.equal(grad, left))


def test_networks_and_random_states_are_left_bitwise_as_they_were():
    nets = five()
    x, y = images()
    for number, net in enumerate(nets.values()):  # in training mode, or mixed, with gradients
        net.train(number % 2 == 0)
        net[1].train(number % 3 == 0)
        nn.functional.cross_entropy(net(x), y).backward()
        net[0].weight.requires_grad_(number != 3)
    before = [state_of(net) for net in nets.values()]
    image = x.clone()
    streams = torch.get_rng_state(), random.getstate()
    first = report(**nets, images=(x, y), ball=BALL, progress=False)
    for net, state in zip(nets.values(), before):
        assert_same_state(state, state_of(net))
    assert torch.equal(x, image)
    assert torch.equal(streams[0], torch.get_rng_state())
    assert streams[1] == random.getstate()
    for net in nets.values():  # and the mode that they are in makes no difference
        net.eval()
    again = report(**nets, images=(x, y), ball=BALL, progress=False)
    assert again.records == first.records


def test_without_images_it_is_of_weights_alone_and_says_so():
    nets = five(perceptron)
    found = report(nets["clean"], nets["adversarial"], progress=False)
    assert found.content["about"]["data"] is None and found.content["about"]["ball"] is None
    assert not any("accuracy" in r["quantity"] for r in found.records)
    assert any("weights alone" in note for note in found.notes)
    assert len(found.content["summary"]) == 10


def test_a_network_of_one_logit_is_attacked_too():
    class Logit(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.net = perceptron(seed, 1)

        def forward(self, x):
            return self.net(x).squeeze(1)

    clean = Logit(1)
    x, y = images(12, classes=2)
    found = report(clean, moved(clean, 0.3, 2), (x, 2.0 * y - 1), BALL, progress=False)
    assert 0 <= value(found, "robust_accuracy", "w - v", alpha=1.0) <= 1
    assert found.content["about"]["data"]["classes"] == 2


def test_gradients_that_are_not_finite_are_noted_with_the_network():
    class Steep(nn.Module):
        """Scores right, gradients infinite: the root of zero."""

        def __init__(self, seed):
            super().__init__()
            self.net = perceptron(seed)

        def forward(self, x):
            return self.net(x) + (x.flatten(1).sum(1, keepdim=True) * 0).sqrt()

    clean = Steep(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, y = images(12)
        y = clean(x).argmax(1)
        found = report(clean, moved(clean, 0.01, 2), (x, y), BALL, progress=False)
    assert any(note.startswith("clean: for ") and "not finite" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "No control was given"),
        ({}, "No initial network was given"),
        ({}, "upper bounds"),
        ({}, "95% intervals are up to +- 28.3 points for 12 images"),
        ({}, "was not shown to be more robust"),
        ({"ball": Ball("l2", 0.3)}, "The ball has no box"),
        ({"images": None, "ball": None}, "weights alone"),
        ({"ball": None}, "nothing was attacked"),
        ({"control": 0.01}, "hardly|no larger"),
        ({"control": 3.0}, "below that of w'"),
    ],
)
def test_what_may_not_be_concluded_is_said(options, said):
    clean = perceptron(1)
    given = {"images": images(12), "ball": BALL} | options
    if "control" in given:
        given["control"] = moved(clean, given["control"], 5)
    found = report(clean, moved(clean, 0.03, 2), **given, progress=False)
    assert any(word in note for note in found.notes for word in said.split("|"))
    assert ("control" in options) != any("No control" in note for note in found.notes)


def test_a_robust_network_is_not_called_no_more_robust():
    clean = perceptron(1)
    x, _ = images(60)
    y = clean(x).argmax(1)
    wrong = moved(clean, 0.2, 2)
    found = report(wrong, clean, (x, y), Ball("l2", 1e-4, (0, 1)), progress=False)
    before, after = (value(found, "robust_accuracy", n) for n in ("clean", "purified"))
    note = any("not shown to be more robust" in n for n in found.notes)
    assert note == (after - before < 0.15) and after == 1


def test_matrices_that_no_layer_holds_are_named():
    class Extra(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.net = perceptron(seed)
            self.table = nn.Parameter(torch.randn(5, 20))

        def forward(self, x):
            return self.net(x)

    found = report(Extra(1), Extra(2), progress=False)
    share = (108 * 16 + 48) / (108 * 16 + 48 + 100)
    assert found.content["coverage"]["share"] == pytest.approx(share)
    assert found.content["coverage"]["left_out"] == {"table": 100}
    assert any("left out: table" in note for note in found.notes)


def test_a_two_layer_network_is_measured_by_its_weights():
    nets = [TwoLayer(20, 8, 0.1, rng=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    found = report(*nets, progress=False)
    assert [row["name"] for row in found.content["layers"]] == ["hidden"]
    assert -1 <= value(found, "cos_to_clean", "purified") <= 1


def test_one_matrix_of_each_network_is_in_memory_at_a_time(monkeypatch):
    made = []
    real = assembly.pairs

    class Fresh(Mapping):
        """Matrices that are made when they are asked for, and counted while they live."""

        def __init__(self, found):
            self.found = found

        def __getitem__(self, layer):
            found = tuple(w.clone() for w in self.found[layer])
            made.extend(weakref.ref(w) for w in found)
            alive = sum(one() is not None for one in made)
            assert alive <= 8, f"{alive} matrices are alive"
            return found

        def __iter__(self):
            return iter(self.found)

        def __len__(self):
            return len(self.found)

    def fresh(*given):
        return {role: Fresh(one) for role, one in real(*given).items()}

    monkeypatch.setattr(assembly, "pairs", fresh)
    layers = [nn.Linear(5, 5) for _ in range(12)]
    clean = nn.Sequential(*layers)
    found = report(clean, moved(clean, 0.3, 1), init=moved(clean, 3, 2), progress=False)
    assert len(made) > 60 and len(found.content["layers"]) == 12


def test_it_is_shown_and_saved(whole, tmp_path):
    assert whole.summary.count("\n") == 9 and repr(whole) == whole.summary
    shown = whole._repr_mimebundle_()
    assert shown["text/plain"] == whole.summary
    assert shown["text/html"].count("<li>") == 10 and "<svg" in shown["text/html"]
    assert "<script" not in shown["text/html"]
    path = whole.save(tmp_path / "new" / "folder")
    assert "Sequential" in path.read_text() and "</html>" in path.read_text()
    assert json.loads((path.parent / "report.json").read_text()) == whole.content
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="it is a file"):
        whole.save(tmp_path / "file")


def test_what_is_shown_is_escaped(whole):
    content = whole.content | {"summary": ["<script>alert(1)</script>"]}
    assert "<script>" not in Report(content)._repr_html_()


def test_bars_are_shown_or_not(capsys):
    nets = convolutional(1), convolutional(2)
    report(*nets, progress=False)
    assert capsys.readouterr().err == ""
    report(*nets)
    assert "layers" in capsys.readouterr().err
