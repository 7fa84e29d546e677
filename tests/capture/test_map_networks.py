"""The map before the head of real networks is what their own layers give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.models as tv
import transformers
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn

from tests.helpers.maps import CLASSES, SIDE, build, images, take, timm_model

TIMM: dict[str, tuple[str, dict[str, Any], str]] = {
    "ResNet": ("test_resnet", {}, "layer4 (96, 1 x 2)"),
    "ResNet-D": ("resnet10t", {}, "layer4 (512, 1 x 2)"),
    "ConvNeXt": ("test_convnext", {}, "norm_pre (64, 1 x 2)"),
    "MobileNetV3": ("mobilenetv3_small_050", {}, "blocks (288, 1 x 2)"),
    "EfficientNet": ("test_efficientnet", {}, "bn2 (256, 1 x 2)"),
    "Swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": (32, 64), "window_size": 1, "depths": (1, 1, 1, 1), "embed_dim": 12},
        "norm (96, 1 x 2)",
    ),
    "ViT": ("test_vit", {"img_size": (32, 64)}, "norm (64, 2 x 4)"),
    "ViT, average": (
        "test_vit",
        {"img_size": (32, 64), "global_pool": "avg"},
        "norm (64, 2 x 4)",
    ),
    "ViT, attention pool": (
        "test_vit",
        {"img_size": (32, 64), "global_pool": "map", "class_token": False},
        "norm (64, 2 x 4)",
    ),
    "ViT, registers": ("test_vit", {"img_size": (32, 64), "reg_tokens": 3}, "norm (64, 2 x 4)"),
    "ViT, registers, average": (
        "test_vit",
        {"img_size": (32, 64), "reg_tokens": 3, "global_pool": "avg"},
        "norm (64, 2 x 4)",
    ),
}


@pytest.mark.parametrize("kind", TIMM)
def test_the_map_of_a_timm_network_is_what_its_forward_features_gives(kind: str) -> None:
    """Without the class token and registers, for which timm has a number."""
    name, changes, site = TIMM[kind]
    model = timm_model(name, **changes)
    pictures = images(6, (32, 64))
    taken = take(model, pictures, passes=3)
    assert taken.config == site
    with torch.no_grad():
        expected = model.forward_features(pictures)
    if expected.ndim == 3:
        tokens = expected[:, model.num_prefix_tokens :]
        expected = tokens.transpose(1, 2).unflatten(2, taken.maps.grid)
    elif kind == "Swin":
        expected = expected.permute(0, 3, 1, 2)
    for found in taken.passes:
        assert found is not None
        assert found.values.dtype == torch.float32
        assert found.layer == site.split(" (")[0]
        torch.testing.assert_close(found.values, taken.of(expected), rtol=1e-4, atol=1e-5)


def small_vgg() -> nn.Module:
    """Two layers stand between a pooling to 3 x 3 and the head, as in VGG."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, 8), nn.ReLU(), nn.MaxPool2d(4))
    return nn.Sequential(
        layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 8), nn.ReLU(), nn.Linear(8, 4)
    )


def small_vit() -> nn.Module:
    return tv.VisionTransformer(SIDE, 8, 1, 2, 16, 32, num_classes=CLASSES)


WRITTEN: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor], Tensor], str]] = {
    "MobileNetV3": (
        lambda: tv.mobilenet_v3_small(num_classes=CLASSES),
        lambda model, x: model.features(x),
        "features (576, 2 x 2)",
    ),
    # Its activation and its pooling are functions.
    "DenseNet": (
        lambda: tv.DenseNet(8, (1, 1), 8, num_classes=CLASSES),
        lambda model, x: model.features(x).relu(),
        "features (16, 8 x 8)",
    ),
    "VGG": (small_vgg, lambda model, x: model[0](x), "0 (8, 2 x 2)"),
    "MLP-Mixer": (
        lambda: MlpMixer(CLASSES, img_size=64, patch_size=16, num_blocks=1, embed_dim=16),
        lambda model, x: model.forward_features(x).transpose(1, 2).unflatten(2, (4, 4)),
        "norm (16, 4 x 4)",
    ),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_the_map_of_a_network_is_what_its_layers_give(kind: str) -> None:
    make, truth, site = WRITTEN[kind]
    model, pictures = build(make), images(6, 64)
    taken = take(model, pictures, passes=2)
    assert taken.config == site
    with torch.no_grad():
        expected = truth(model, pictures)
    for found in taken.passes:
        assert found is not None
        torch.testing.assert_close(found.values, taken.of(expected), rtol=1e-4, atol=1e-5)


def test_a_vision_transformer_of_torchvision_gives_its_patches() -> None:
    model, pictures = build(small_vit), images()
    seen: list[Tensor] = []
    handle = model.encoder.register_forward_hook(lambda m, a, output: seen.append(output))
    with torch.no_grad():
        model(pictures)
    handle.remove()
    taken = take(model, pictures)
    assert taken.config == "encoder (16, 4 x 4)"
    expected = seen[0][:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(taken.maps.values, taken.of(expected))


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": SIDE,
    "patch_size": 8,
    "num_labels": CLASSES,
}
HUGGING_FACE: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ViT": (
        lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL)),
        1,
    ),
    "DINOv2 with registers": (
        lambda: transformers.Dinov2WithRegistersForImageClassification(
            transformers.Dinov2WithRegistersConfig(**SMALL)
        ),
        5,
    ),
}


@pytest.mark.parametrize("kind", HUGGING_FACE)
def test_a_transformer_of_hugging_face_gives_its_patches(kind: str) -> None:
    make, prefix = HUGGING_FACE[kind]
    model, pictures = build(make), images()
    with torch.no_grad():
        tokens = model.base_model(pictures).last_hidden_state
    taken = take(model, pictures)
    assert taken.config.endswith("layernorm (16, 4 x 4)")
    expected = tokens[:, prefix:].transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(taken.maps.values, taken.of(expected))
