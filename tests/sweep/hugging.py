"""The image classifiers of transformers, with small random configurations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from tests.sweep.case import Built, Case, NotBuiltError
from tests.sweep.vision import LARGEST, count, random_images

_SIDE, _CLASSES = 64, 10

_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": _SIDE,
    "patch_size": 16,
}
_CLIP = {"vision_config": _VIT, "text_config": {**_VIT, "vocab_size": 99, "projection_dim": 16}}
_SWIN = {
    "image_size": _SIDE,
    "embed_dim": 16,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": 4,
}
_STAGES: dict[str, Any] = {"hidden_sizes": [16, 24, 32, 40], "depths": [1, 1, 1, 1]}
_PVT = {**_STAGES, "hidden_sizes": [16, 32, 40, 64], "image_size": _SIDE}
_RESNET = {**_STAGES, "embedding_size": 16}
_PERCEIVER = {
    "num_latents": 8,
    "d_latents": 32,
    "d_model": 32,
    "num_self_attends_per_block": 1,
    "num_self_attention_heads": 2,
    "num_cross_attention_heads": 1,
    "image_size": 32,
}
# What makes each configuration small. The names are the configurations', without "Config".
_SMALL: dict[str, Mapping[str, Any]] = {
    "Beit": _VIT,
    "Bit": {**_RESNET, "hidden_sizes": [32, 64, 64, 64], "num_groups": 4},
    "CLIP": _CLIP,
    "ConvNext": _STAGES,
    "ConvNextV2": _STAGES,
    "Cvt": {"embed_dim": [16, 24, 32], "num_heads": [1, 2, 2], "depth": [1, 2, 3]},
    "Data2VecVision": _VIT,
    "DeiT": _VIT,
    "Dinat": {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "dilations": [[1], [1]]},
    "Dinov2": _VIT,
    "Dinov2WithRegisters": _VIT,
    "DonutSwin": _SWIN,
    "EfficientNet": {
        "width_coefficient": 0.25,
        "depth_coefficient": 0.25,
        "hidden_dim": 320,
        "image_size": _SIDE,
    },
    "FocalNet": {
        "image_size": _SIDE,
        "embed_dim": 16,
        "depths": [1, 1, 1, 1],
        "hidden_sizes": [16, 32, 64, 64],
    },
    "HGNetV2": {
        "stem_channels": [3, 8, 16],
        "stage_in_channels": [16, 32, 64, 64],
        "stage_mid_channels": [8, 16, 16, 16],
        "stage_out_channels": [32, 64, 64, 64],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [1, 1, 1, 1],
        "embedding_size": 16,
        "hidden_sizes": [32, 64, 64, 64],
        "depths": [1, 1, 1, 1],
    },
    "Hiera": {
        "image_size": [_SIDE, _SIDE],
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "num_query_pool": 1,
        "masked_unit_size": [4, 4],
        "masked_unit_attention": [True, False],
    },
    "IJepa": _VIT,
    "ImageGPT": {
        "vocab_size": 17,
        "n_positions": 64,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
    },
    "Levit": {
        "image_size": _SIDE,
        "hidden_sizes": [16, 24, 32],
        "num_attention_heads": [2, 2, 2],
        "depths": [1, 1, 1],
        "key_dim": [8, 8, 8],
    },
    "MetaClip2": _CLIP,
    "MobileNetV1": {"image_size": _SIDE, "depth_multiplier": 0.25},
    "MobileNetV2": {"image_size": _SIDE, "depth_multiplier": 0.25},
    "MobileViT": {
        "image_size": _SIDE,
        "hidden_sizes": [32, 40, 48],
        "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 64],
    },
    "MobileViTV2": {"image_size": _SIDE, "width_multiplier": 0.25},
    "PPLCNet": {"scale": 0.25, "class_expand": 64},
    "Perceiver": _PERCEIVER,
    "PoolFormer": _STAGES,
    "Pvt": {**_PVT, "num_attention_heads": [1, 2, 2, 4]},
    "PvtV2": {**_PVT, "num_attention_heads": [1, 2, 2, 4]},
    "RegNet": {**_RESNET, "groups_width": 8},
    "ResNet": {**_RESNET, "hidden_sizes": [16, 32, 40, 48]},
    "Segformer": {**_PVT, "num_attention_heads": [1, 2, 2, 4]},
    "ShieldGemma2": {
        "text_config": {**_VIT, "vocab_size": 99, "num_key_value_heads": 1, "head_dim": 16},
        "vision_config": _VIT,
        "mm_tokens_per_image": 4,
        "image_token_index": 98,
        "yes_token_index": 3,
        "no_token_index": 4,
    },
    "Siglip": _CLIP,
    "Siglip2": {
        "vision_config": {**_VIT, "num_patches": 16},
        "text_config": {**_VIT, "vocab_size": 99},
    },
    "SwiftFormer": {"embed_dims": [16, 24, 32, 40], "depths": [1, 1, 1, 1]},
    "Swin": _SWIN,
    "Swinv2": _SWIN,
    "TextNet": {"hidden_sizes": [8, 8, 16, 16, 32], "stem_out_channels": 8},
    "TimmWrapper": {"architecture": "test_resnet"},
    "ViT": _VIT,
    "ViTMSN": _VIT,
}


def transformers_models() -> list[Case]:
    """Every image classifier, by the name of its class."""
    names = [
        name
        for name in dir(transformers)
        if "ForImageClassification" in name and not name.startswith("Auto")
    ]
    return [Case("transformers", name, partial(_build, name)) for name in names]


class _Levels(nn.Module):
    """Hands a model for sequences of colors its images: 8 x 8 gray levels."""

    def __init__(self, model: nn.Module, levels: int) -> None:
        super().__init__()
        self.model, self.levels = model, levels

    def forward(self, images: Tensor) -> Any:
        gray = nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 8).flatten(1)
        return self.model(input_ids=(gray * self.levels).long().clamp(0, self.levels - 1))


class _Patches(nn.Module):
    """Hands a model for patches of any number its images, cut up."""

    def __init__(self, model: nn.Module, side: int) -> None:
        super().__init__()
        self.model, self.side = model, side

    def forward(self, images: Tensor) -> Any:
        patches = nn.functional.unfold(images, self.side, stride=self.side).transpose(1, 2)
        rows = images.shape[-1] // self.side
        return self.model(
            pixel_values=patches,
            pixel_attention_mask=torch.ones(patches.shape[:2], dtype=torch.long),
            spatial_shapes=torch.tensor([[rows, rows]] * len(images)),
        )


def _side(config_name: str) -> int:
    # Perceiver reads pixels, not patches.
    return 32 if config_name == "Perceiver" else _SIDE


def _build(name: str) -> Built:
    cls = getattr(transformers, name)
    config_name = cls.config_class.__name__.removesuffix("Config")
    if name.startswith("ShieldGemma2"):
        raise NotBuiltError("a language model that is asked about a picture, with two answers")
    if config_name not in _SMALL:
        raise NotBuiltError("no small configuration is known: add one to tests/sweep/hugging.py")
    try:
        config = cls.config_class(num_labels=_CLASSES, **_SMALL[config_name])
        size = count(partial(cls, config))
        if size > LARGEST:
            raise NotBuiltError(f"{size / 1e6:.0f} million parameters are too many for a test")
        torch.manual_seed(0)
        model: nn.Module = cls(config).eval()
        if config_name == "ImageGPT":
            model = _Levels(model, config.vocab_size - 1)
        if config_name == "Siglip2":
            model = _Patches(model, config.vision_config.patch_size)
        # The convolutional stem of Perceiver is written for this size alone.
        images = random_images(224 if "ConvProcessing" in name else _side(config_name))
        with torch.no_grad():
            model(images[:1])
    except (ImportError, RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise NotBuiltError(f"{type(error).__name__}: {error}") from error
    return Built(name, model, images)
