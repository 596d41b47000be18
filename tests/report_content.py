"""Content of a report that could be true, made up: any number of layers, with and without parts."""

import math
import random

SUMMARY = (
    "In {share:.1%} of the neurons of w, what w' keeps outweighs what it removes.",
    "The median cosine of a neuron of w with the same neuron of w' is {cos:.3f}.",
    "Two random vectors of the same size have a cosine of about 0.03.",
    "The layer that moved most is the last convolution; the one that moved least is the head.",
    "98.9% of the weights are in neurons that were compared; batch norm and biases are not.",
    "The removed part v has an effective rank of 61 in the median layer, of 512 at most.",
    "v is rougher than w: 58% of its energy lies in high spatial frequencies, of w 31%.",
    "beta w' alone, without any training, is right on fewer images than w.",
    "Without v, w withstands the attack on more images; without a random part, on no more.",
    "One pair of networks was measured, with one seed.",
)
NOTES = (
    "Robust accuracies are upper bounds: a stronger attack could find more.",
    "One pair of networks says nothing of how much another pair would differ.",
    "A large cosine does not say that a neuron does the same on images.",
)


def made_up(layers=10, data=True, control=True, init=True, scratch=True, seed=0):
    """The content of a report.

    layers   how many layers the networks have
    data     whether images were given: without, nothing about accuracies
    control  whether a control was given
    init     whether initial weights were given
    scratch  whether a network from scratch was given
    seed     of all numbers
    """
    rng = random.Random(seed)
    names = residual_names(layers) if layers <= 60 else transformer_names(layers)
    extra = [("init", init), ("control", control), ("scratch", scratch)]
    networks = ["clean", "purified", *(name for name, given in extra if given)]
    compared = [name for name in networks if name not in ("clean", "init")]
    described = [described_layer(name, i, layers) for i, name in enumerate(names)]
    records, histograms = neuron_records(described, compared, init, rng)
    if data:
        records += [
            {"quantity": "explained_by_clean", "network": net, "layer": name, "value": rng.random()}
            for net in compared
            for name in names[:-1]
        ]
        records += accuracy_records(networks, rng)
    spectra = {
        kind: {one["name"]: falling(one, slope, rng) for one in described}
        for kind, slope in (("removed", 3), ("update", 4))
    }
    share, cos = 0.982, 0.973
    return {
        "about": about(networks, data),
        "coverage": {
            "share": 0.9894,
            "left_out": {f"bn{i}.weight": 64 * i for i in range(1, 4)} | {"pos_embed": 9600},
            "tied": {"head.weight": "embed.weight"},
            "order": "as data meets them",
            "notes": ["embed: a row is a token's vector, not a neuron"],
        },
        "layers": described,
        "records": [{"seed": 0, **record} for record in records],
        "histograms": {"cos_to_clean": histograms},
        "spectra": spectra,
        "notes": [*NOTES],
        "summary": [line.format(share=share, cos=cos) for line in SUMMARY],
    }


def residual_names(n):
    """Names as in a residual network."""
    blocks = [f"layer{1 + i // 4}.{i // 2 % 2}.conv{1 + i % 2}" for i in range(16)]
    blocks += [f"layer5.{i}.conv1" for i in range(60)]
    return ["conv1", *blocks[: max(n - 2, 0)], "fc"][:n]


def transformer_names(n):
    """Names as in a vision transformer."""
    parts = ("attn.query", "attn.key", "attn.value", "attn.proj", "mlp.fc1", "mlp.fc2")
    blocks = [f"blocks.{i}.{part}" for i in range(n) for part in parts]
    return ["patch_embed.proj", *blocks[: n - 2], "head"]


def described_layer(name, i, n):
    """What is said of a layer."""
    kind = "Conv2d" if "conv" in name or "patch" in name else "Linear"
    neurons, fan_in = (10 if i == n - 1 else 64 * 2 ** (4 * i // n)), 27 if i == 0 else 576
    return {
        "name": name,
        "type": kind,
        "neurons": neurons,
        "fan_in": fan_in,
        "weights": neurons * fan_in,
        "head": i == n - 1,
    }


def neuron_records(layers, compared, init, rng):
    """What is measured of neurons, by layer and pooled; and histograms of cosines."""
    records, histograms = [], {net: {} for net in compared}
    middle = {"purified": 0.95, "control": 0.99, "scratch": 0.03}
    for i, one in enumerate(layers):
        name, depth = one["name"], i / len(layers)
        base = {"layer": name}
        chance = 1 / math.sqrt(one["fan_in"])
        records.append({"quantity": "cos_chance", **base, "value": chance})
        for net in compared:
            spread = {"purified": 0.18, "control": 0.02, "scratch": chance}[net]
            wave = 0.5 + 0.5 * math.sin(9 * depth + 1)
            cos = min(1, middle[net] - spread * wave * rng.random())
            records += [
                {"quantity": "cos_to_clean", "network": net, **base, "value": cos},
                {
                    "quantity": "share_dominant",
                    "network": net,
                    **base,
                    "value": 0.0 if net == "scratch" else 1 - 0.2 * rng.random() ** 4 * wave,
                },
            ]
            draws = (max(-1, min(1, rng.gauss(cos, spread / 2 + 0.02))) for _ in range(200))
            counts = [0] * 40
            for draw in draws:
                counts[min(39, int(20 * (draw + 1)))] += 1
            histograms[net][name] = counts
        for net in ["clean", *compared]:
            share = None if one["head"] else 1 - 0.1 * rng.random()
            records.append(
                {"quantity": "share_switched_on", "network": net, **base, "value": share}
            )
            if init:
                value = rng.random() * 0.2
                records.append({"quantity": "cos_to_init", "network": net, **base, "value": value})
        for quantity, factor in (("effective_rank_removed", 0.4), ("effective_rank_update", 0.3)):
            most = min(one["neurons"], one["fan_in"])
            value = 1 + most * factor * (0.5 + 0.5 * rng.random())
            records.append({"quantity": quantity, **base, "value": value})
        if one["type"] == "Conv2d":
            records += [
                {"quantity": "roughness", "network": net, **base, "value": value}
                for net, value in (("clean", 0.31), ("purified", 0.22), ("v", 0.58 - 0.1 * depth))
            ]
        records.append({"quantity": "parameter_share", **base, "value": 1 / len(layers)})
    pooled = {"purified": (0.9733, 0.9821), "control": (0.9912, 0.9994), "scratch": (0.021, 0.0)}
    for net in compared:
        for quantity, value in zip(("cos_to_clean", "share_dominant"), pooled[net]):
            records.append({"quantity": quantity, "network": net, "value": value})
        records.append({"quantity": "same_neuron_share", "network": net, "value": 0.9})
        records.append({"quantity": "explained_by_clean", "network": net, "value": 0.87})
    return records, histograms


def accuracy_records(networks, rng):
    """Clean and robust accuracy of every network and variant."""
    found = {"clean": (0.931, 0.004), "purified": (0.894, 0.452), "control": (0.938, 0.031)}
    found |= {"scratch": (0.871, 0.467), "init": (0.1, 0.02)}
    rows = [({"network": name}, *found[name]) for name in networks]
    for alpha in (0.25, 0.5, 0.75, 1.0):
        rows.append(({"network": "w - v", "alpha": alpha}, 0.93 - 0.1 * alpha, 0.2 * alpha))
        rows.append(({"network": "w - random", "alpha": alpha}, 0.93 - 0.04 * alpha, 0.01))
        if "control" in networks:
            rows.append(({"network": "w - v_c", "alpha": alpha}, 0.93 - 0.05 * alpha, 0.02))
    rows.append(({"network": "beta w'"}, 0.83, 0.21))
    rows += [({"network": "w + rank r", "rank": r}, 0.92, 0.07 * math.log2(r)) for r in (4, 16, 64)]
    return [
        record
        for keys, clean, robust in rows
        for record in (
            {"quantity": "clean_accuracy", **keys, "value": clean},
            {"quantity": "robust_accuracy", **keys, "threat": "l2 0.5", "value": robust},
        )
    ]


def falling(one, slope, rng):
    """Singular values over the largest, at most 64 of them."""
    k = min(64, one["neurons"], one["fan_in"])
    slope *= 0.5 + rng.random()
    return [math.exp(-slope * i / k) * (1 - 0.3 * i / k) for i in range(k)]


def about(networks, data):
    """How it was made."""
    return {
        "fpcore": "0.2.0",
        "torch": "2.14.0",
        "seed": 0,
        "seconds": 754.2,
        "architecture": "torchvision:resnet18",
        "networks": {
            name: {
                "source": f"runs/cifar10 resnet18/{name}.safetensors",
                "notes": ["prefix `module.` taken off"] if name == "purified" else [],
            }
            for name in networks
        },
        "data": {"name": "cifar10", "images": 10000, "attacked": 1000, "classes": 10}
        if data
        else None,
        "ball": {"norm": "l2", "radius": 0.5, "box": [0.0, 1.0]} if data else None,
        "attack": "PGD, 50 steps, 2 restarts" if data else None,
    }
