"""The image encoders by name."""

from __future__ import annotations

from medfuse.models.convnext import ConvNext
from medfuse.models.densenet import DenseNet121
from medfuse.models.image_encoder import ImageEncoder
from medfuse.models.inflated_resnet import InflatedResNet
from medfuse.models.multiple_instance import MultipleInstance
from medfuse.models.residual_networks import ResNet10, ResNet18, ResNet34, ResNet50, SeResNet
from medfuse.models.small_cnns import ShapeCnn, SmallCnn

__all__ = ["IMAGE_ENCODERS", "ImageEncoder", "ResNet18", "ShapeCnn", "SmallCnn"]

IMAGE_ENCODERS: dict[str, type[ImageEncoder]] = {
    "convnext": ConvNext,
    "densenet121": DenseNet121,
    "inflated_resnet": InflatedResNet,
    "mil": MultipleInstance,
    "resnet10": ResNet10,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
    "se_resnet": SeResNet,
    "shape_cnn": ShapeCnn,
    "small_cnn": SmallCnn,
}
