"""What a stranger's files become: weights in a network, labelled images; no code in them is run."""

from fpcore.loading.architectures import build_network
from fpcore.loading.image_sources import load_images
from fpcore.loading.labelled_data import LabelledData, labelled
from fpcore.loading.networks import Normalised, load_network
from fpcore.loading.weights import load_into, read_weights

__all__ = [
    "LabelledData",
    "Normalised",
    "build_network",
    "labelled",
    "load_images",
    "load_into",
    "load_network",
    "read_weights",
]
