"""What is measured on CIFAR-10 networks: accuracies under attack, and how neurons of one network relate to another's."""

import torch

from fpcore import seeding
from fpcore.attacks import Ball, robust_correct
from fpcore.cifar import Images
from fpcore.cifar_experiments import CifarExperiment, CifarRun
from fpcore.decomposition import cosine, neurons
from fpcore.models import accuracy


def measure_cifar(run: CifarRun, test: Images, config: CifarExperiment, attacked: int = 1000) -> dict[str, float]:
    """The ledger's figures of one seed on CIFAR-10: accuracies on test images, cosines as the median over neurons."""
    ball, out = Ball("l2", config.radius, (0.0, 1.0)), {"radius": config.radius}
    x, y = test.x[:attacked], test.y[:attacked]
    rng = seeding.generator(0, "attack", device=x.device)
    for suffix, net in (("", run.clean), ("_adv", run.purified), ("_control", run.control)):
        out[f"clean_accuracy{suffix}"] = accuracy(net, test.x, test.y)
        out[f"robust_accuracy{suffix}"] = robust_correct(net, x, y, ball, restarts=2, rng=rng).float().mean().item()
    layers = {name: neurons(getattr(run, name)) for name in ("init", "clean", "purified", "control")}
    pairs = {
        "cos_init_clean": ("init", "clean"),
        "cos_init_adv": ("init", "purified"),
        "cos_clean_adv": ("clean", "purified"),
        "cos_clean_adv_control": ("clean", "control"),
    }
    for name, (one, other) in pairs.items():
        each = {layer: cosine(layers[one][layer], layers[other][layer]) for layer in layers["init"]}
        out[name] = torch.cat([*each.values()]).median().item()
        out |= {f"{name}/{layer}": values.median().item() for layer, values in each.items()}
        if one == "clean":  # |beta w'| > |v| is cos^2 > 1/2
            share = (torch.cat([*each.values()]) ** 2 > 0.5).float().mean().item()
            out[name.replace("cos_clean_adv", "share_dominant")] = share
    out["cos_clean_adv_difference"] = out["cos_clean_adv_control"] - out["cos_clean_adv"]
    return out
