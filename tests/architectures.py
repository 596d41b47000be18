"""Networks of many kinds, made at random: what the measures must cope with."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

from fpcore.models.acting import copied, unwrapped
from fpcore.models.low_rank_update import low_rank


@dataclass(frozen=True)
class Architecture:
    """A network, what it is called with, and which of its weights no neuron speaks of."""

    make: Callable[[], nn.Module]
    x: Callable[[], Any] = lambda: torch.rand(3, 3, 32, 32)
    left_out: tuple[str, ...] = ()
    needs: str = "torch"
    observed: bool = True  # whether it gives scores (n, classes) for images


class Recurrent(nn.Module):
    """Rows of pixels, read one after the other."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any):
        super().__init__()
        self.head = nn.Linear(12, 5)  # registered first, met last
        self.cells = kind(96, 12, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.cells(x.permute(0, 2, 1, 3).flatten(2))
        return self.head(out[:, -1])


class Tied(nn.Module):
    """Words, whose scores are read by the matrix that holds them."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.hidden = nn.Linear(8, 8)
        self.scores = nn.Linear(8, 20, bias=False)
        self.scores.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(torch.tanh(self.hidden(self.words(x).mean(1))))


class Untraceable(nn.Module):
    """A network whose path depends on the data."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 5)
        self.first = nn.Linear(3 * 32 * 32, 16)
        self.second = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x.flatten(1)))
        if h.sum() > -1:
            h = torch.relu(self.second(h))
        return self.head(h)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 16), nn.ReLU(inplace=True), nn.Linear(16, 5))


def grouped() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4),
        nn.BatchNorm2d(8, affine=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 12, 1, groups=4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )


def transposed() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 8, stride=8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 81, 5),
    )


def volumes() -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8, 5))


def normed(old: bool) -> nn.Sequential:
    net = mlp()
    net[1] = weight_norm(net[1]) if old else parametrizations.weight_norm(net[1])
    net[3] = parametrizations.spectral_norm(net[3])
    return net


def vit() -> nn.Module:
    return tv.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)


def hugging_face(name: str, **options: Any) -> nn.Module:
    import transformers

    config = getattr(transformers, f"{name}Config")(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, **options
    )
    kinds = {"Bert": "BertForSequenceClassification", "ViT": "ViTForImageClassification"}
    return getattr(transformers, kinds[name])(config)


def timm(name: str, **options: Any) -> nn.Module:
    import timm

    return timm.create_model(name, num_classes=5, **options)


def mixer() -> nn.Module:
    from timm.models import MlpMixer

    return MlpMixer(num_classes=5, img_size=32, patch_size=8, num_blocks=2, embed_dim=16)


def words() -> Tensor:
    return torch.randint(20, (3, 6))


TOKENS = ("class_token", "encoder.pos_embedding")
SMALL = {"weights": None, "num_classes": 5}
ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture(mlp),
    "torchvision resnet18": Architecture(lambda: tv.resnet18(**SMALL)),
    "torchvision vit": Architecture(vit, left_out=TOKENS),
    "torchvision densenet": Architecture(lambda: tv.DenseNet(8, (2, 2), 16, num_classes=5)),
    "torchvision googlenet": Architecture(
        lambda: tv.googlenet(**SMALL, aux_logits=True, init_weights=False)
    ),
    "torchvision mobilenet": Architecture(lambda: tv.mobilenet_v3_small(**SMALL)),
    "torchvision shufflenet": Architecture(lambda: tv.shufflenet_v2_x0_5(**SMALL)),
    "torchvision squeezenet": Architecture(lambda: tv.squeezenet1_1(**SMALL)),
    "torchvision convnext": Architecture(
        lambda: tv.ConvNeXt([tv.convnext.CNBlockConfig(8, None, 2)], num_classes=5),
        left_out=("features.1.0.layer_scale", "features.1.1.layer_scale"),
    ),
    "torchvision swin": Architecture(
        lambda: tv.SwinTransformer([4, 4], 8, [2], [2], [4, 4], num_classes=5),
        left_out=tuple(f"features.1.{i}.attn.relative_position_bias_table" for i in range(2)),
    ),
    "lstm": Architecture(lambda: Recurrent(nn.LSTM)),
    "lstm, two layers, both ways": Architecture(
        lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True, proj_size=6)
    ),
    "gru": Architecture(lambda: Recurrent(nn.GRU)),
    "rnn": Architecture(lambda: Recurrent(nn.RNN)),
    "grouped": Architecture(grouped),
    "transposed": Architecture(transposed),
    "volumes": Architecture(volumes, lambda: torch.rand(3, 2, 4, 4, 4)),
    "weight norm, old": Architecture(lambda: normed(old=True)),
    "weight norm": Architecture(lambda: normed(old=False)),
    "low rank": Architecture(lambda: low_rank(mlp(), 2, seed=0)),
    "tied": Architecture(Tied, words, observed=False),
    "compiled": Architecture(lambda: torch.compile(mlp())),
    "in parallel": Architecture(lambda: nn.DataParallel(mlp())),
    "untraceable": Architecture(Untraceable),
    "float16": Architecture(lambda: mlp().half(), lambda: torch.rand(3, 3, 32, 32).half()),
    "bfloat16": Architecture(
        lambda: vit().bfloat16(), lambda: torch.rand(3, 3, 32, 32).bfloat16(), left_out=TOKENS
    ),
    "float64": Architecture(lambda: grouped().double(), lambda: torch.rand(3, 3, 32, 32).double()),
    "timm vit": Architecture(
        lambda: timm("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2),
        left_out=("cls_token", "pos_embed"),
        needs="timm",
    ),
    "timm mixer": Architecture(mixer, needs="timm"),
    "transformers bert": Architecture(
        lambda: hugging_face("Bert", vocab_size=20, num_labels=5),
        words,
        needs="transformers",
        observed=False,
    ),
    "transformers vit": Architecture(
        lambda: hugging_face("ViT", image_size=32, patch_size=8, num_labels=5),
        left_out=("vit.embeddings.cls_token", "vit.embeddings.position_embeddings"),
        needs="transformers",
        observed=False,
    ),
}


def make(name):
    """A random network, another near it, and what they are called with."""
    architecture = ARCHITECTURES[name]
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries
        torch.manual_seed(0)
        try:
            net, x = architecture.make(), architecture.x()
        except ModuleNotFoundError as error:
            pytest.skip(f"{architecture.needs} is not installed, or not all it needs ({error})")
        _disturb(net, 0.1)  # some are initialised at 0
        other = copied(unwrapped(net))
        _disturb(other, 0.3)
    return net, other, x


@torch.no_grad()
def _disturb(net, size):
    for p in net.parameters():
        p += size * (p.abs().mean() + 0.1) * torch.randn(p.shape).to(p)
