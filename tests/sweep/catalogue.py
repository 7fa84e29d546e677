"""Which architectures are swept."""

from __future__ import annotations

import timm

from tests.sweep.case import Case
from tests.sweep.hugging import transformers_models
from tests.sweep.vision import timm_files, timm_models, torchvision_models

# Beside the smallest of their files: two heads, another kind of head, pooling or token, and those
# whose own initialization once was refused.
_MORE_OF_TIMM = (
    "beitv2_base_patch16_224",
    "coat_lite_tiny",
    "convnext_atto",
    "crossvit_9_240",
    "deit_tiny_distilled_patch16_224",
    "dpn68",
    "efficientnet_b1_pruned",
    "efficientvit_l1",
    "ese_vovnet19b_dw",
    "hgnetv2_b0",
    "levit_conv_128s",
    "mambaout_kobe",
    "maxvit_rmlp_pico_rw_256",
    "mobilenetv4_conv_small",
    "pit_ti_distilled_224",
    "repvit_m0_9",
    "resnetv2_50",
    "vit_relpos_small_patch16_224",
)
# With the classes of ImageNet, as they are published.
_WITH_1000_CLASSES = (
    "convnext_atto",
    "deit_tiny_patch16_224",
    "efficientnet_b1_pruned",
    "inception_v4",
    "mobilenetv3_small_050",
    "regnetx_002",
    "resnet18",
    "resnetv2_50",
)

# Why an architecture is not run. What is missing here and cannot be built fails the sweep.
NOT_RUN = {
    "transformers-DinatForImageClassification": "natten, which it needs, is not installed",
    "transformers-ShieldGemma2ForImageClassification": (
        "a language model that answers yes or no on a picture and a text"
    ),
}

# Small ones of every kind, and the layer that answers; None where no one layer does.
SAMPLE = {
    "timm-test_resnet": "fc",
    "timm-test_vit": "head",
    "timm-test_efficientnet": "classifier",
    "timm-test_convnext": "head.fc",
    "torchvision-shufflenet_v2_x0_5": "fc",
    "torchvision-squeezenet1_1": None,
    "transformers-ViTForImageClassification": "classifier",
    "transformers-DeiTForImageClassificationWithTeacher": None,
    "transformers-ImageGPTForImageClassification": "model.score",
    "transformers-LevitForImageClassificationWithTeacher": None,
    "transformers-MobileViTForImageClassification": "classifier",
    "transformers-PerceiverForImageClassificationFourier": "perceiver.decoder.decoder.final_layer",
    "transformers-SwiftFormerForImageClassification": None,
}


def sampled(name: str) -> Case:
    """A case of the sample."""
    cases = timm_models(timm.list_models("test_*")) + torchvision_models() + transformers_models()
    return next(case for case in cases if str(case) == name)


def all_cases() -> list[Case]:
    """The cases of the sweep, by library."""
    return [
        *timm_files(),
        *timm_models(_MORE_OF_TIMM),
        *timm_models(_WITH_1000_CLASSES, num_classes=1000),
        *timm_models(timm.list_models("test_*")),
        *torchvision_models(),
        *transformers_models(),
    ]
