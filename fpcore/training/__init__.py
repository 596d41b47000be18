"""One training loop, clean or adversarial: any network, optimiser, loss and data; resumable."""

from fpcore.training.batches import Data
from fpcore.training.configuration import Schedule, Training
from fpcore.training.loop import train

__all__ = ["Data", "Schedule", "Training", "train"]
