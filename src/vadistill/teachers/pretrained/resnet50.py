"""ResNet-50 as a source of targets for distillation."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vadistill.teachers.pretrained.weights import load_weights, torchvision_models

CLASSES = 1000
SIDE = 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green, blue (torchvision)


class ImageNetOutputs:
    """A frozen network's outputs of crops; no module, so that whatever holds it does not take it into its state."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, crops: Tensor) -> Tensor:
        """Return the outputs before softmax (N, 1000) of crops (N, 3, S, S), RGB in [0, 1], on their device."""
        mean, deviation = (crops.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        resized = F.interpolate(crops, (SIDE, SIDE), mode="bilinear")
        return self.network.to(crops.device)((resized - mean) / deviation)


def load_resnet50(path: Path) -> ImageNetOutputs:
    """Return torchvision's ResNet-50 with the weights in a file.

    Raises:
        InputError: The file does not hold the state of a ResNet-50 with 1000 classes, or torchvision is not installed.
    """
    network = torchvision_models().resnet50(weights=None)
    load_weights(network, path, f"ResNet-50 with {CLASSES} classes")
    return ImageNetOutputs(network)
