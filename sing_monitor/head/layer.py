"""Head: the linear layer ``logits = W f + b`` of a classifier, and how its tensors are read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.head.peft_layers import adapted_layer, merged_parameters
from sing_monitor.head.torch_internals import registered_parameter, unwrapped

# Relative rounding of single precision products by torch's setting: TF32 and bfloat16 have few
# digits. Convolutions on a GPU use TF32 by default.
_PRODUCT_ROUNDING = {"highest": 0.0, "high": 2**-10, "medium": 2**-7}
# A 2-D weight, but a table or a scale, not a map from features to logits.
_NOT_LINEAR = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Head:
    """Linear layer that turns features into logits.

    Args:
        name: dotted name inside the searched module, without ``torch.compile`` wrappers.
        module: the layer, a linear layer or a 1x1 convolution. If peft has put LoRA around it,
            this is the layer together with its update.
    """

    name: str
    module: nn.Module

    @property
    def num_classes(self) -> int:
        """Number of logits C."""
        return head_shape(self.module)[0]

    @property
    def feature_dim(self) -> int:
        """Number of features m."""
        return head_shape(self.module)[1]

    @property
    def is_trainable(self) -> bool:
        """Whether a parameter of the layer requires gradients."""
        return any(parameter.requires_grad for parameter in self.module.parameters())

    def __str__(self) -> str:
        name, kind = self.name or "(the module itself)", type(self.module).__name__
        return f"{name}  {kind}  {self.num_classes} x {self.feature_dim} (classes x features)"


def head_parameters(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Read W and b of a head, detached; they share memory with the head if possible.

    Evaluates a parametrized weight (``weight_norm``) and adds the update of LoRA. Call it in eval
    mode: evaluating ``spectral_norm`` in training mode moves its buffers.

    Args:
        module: a linear layer or a 1x1 convolution.

    Returns:
        The weight, (C, m), and the bias, (C,), or None for a head without one.

    Raises:
        TypeError: if the weight is packed or quantized, is not a floating point matrix, or is
            adapted by anything but LoRA.
        ValueError: if the bias does not have one value per row of the weight.
    """
    module = unwrapped(module)
    if adapted_layer(module) is None:
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    else:
        weight, bias = merged_parameters(module)
    if isinstance(module, nn.Conv2d) and isinstance(weight, Tensor) and is_linear(module):
        weight = weight.flatten(1)
    # A 4-bit layer keeps the attributes of nn.Linear over a packed weight of another shape.
    if (
        not isinstance(weight, Tensor)
        or not weight.is_floating_point()
        or weight.ndim != 2
        or weight.shape != head_shape(module)
    ):
        given = f"{weight.dtype} {tuple(weight.shape)}" if isinstance(weight, Tensor) else "packed"
        raise TypeError(
            f"The weight of the head ({kind_of(module)}) must be a floating point matrix (classes "
            f"x features), got {given}. The weight of a quantized or packed head cannot be read; "
            "keep the head in floating point."
        )
    if bias is None:
        return weight.detach(), None
    if not isinstance(bias, Tensor) or bias.shape != weight.shape[:1]:
        raise ValueError(
            f"The bias of the head ({kind_of(module)}) must have one value for each of the "
            f"{weight.shape[0]} rows of its weight, got shape {tuple(getattr(bias, 'shape', ()))}."
        )
    return weight.detach(), bias.detach()


def head_features(module: nn.Module, inputs: Tensor) -> Tensor:
    """Read the features f, one row per image, from the input of the head.

    Args:
        module: the head.
        inputs: its input, (N, m), or (N, 1, m); (N, m, 1, 1) for a 1x1 convolution.

    Returns:
        The features, (N, m), detached.

    Raises:
        ValueError: if there is more than one feature vector per image, (N, T, m) or (N, m, H, W),
            or if the number of features is not the head's.
    """
    module = unwrapped(module)
    features, feature_dim = inputs.detach(), head_shape(module)[1]
    if features.ndim > 2 and has_one_position(module, features):
        features = features.flatten(1)
    if features.ndim != 2:
        raise SetupError(
            f"The head ({kind_of(module)}) got an input of shape {tuple(inputs.shape)}: dense "
            "prediction, or a head before the pooling; one feature vector per image is needed, "
            f"(N, {feature_dim}). If another layer, on pooled features, gives the logits, name "
            "it: ",
            Option("head", '"..."'),
            ".",
        )
    if features.shape[1] != feature_dim:
        raise ValueError(
            f"The head ({kind_of(module)}) takes {feature_dim} features per image, got an input of "
            f"shape {tuple(inputs.shape)}."
        )
    return features


def has_one_position(module: nn.Module, inputs: Tensor) -> bool:
    """Whether the input of a linear layer is one vector for each image, in any layout."""
    features = head_shape(module)[1]
    axis = 1 if isinstance(unwrapped(module), nn.Conv2d) else inputs.ndim - 1
    is_split = inputs.ndim >= 2 and inputs.shape[axis] == features
    return is_split and inputs.numel() == inputs.shape[0] * features


def kind_of(module: nn.Module) -> str:
    """Class name of a module, looking through ``torch.compile``."""
    return type(unwrapped(module)).__name__


def is_linear(module: nn.Module) -> bool:
    """Whether a module maps features to logits by a (C, m) weight, packed or not."""
    adapted = adapted_layer(module)
    if adapted is not None:
        return is_linear(adapted)
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    # Quantized layers have a method in place of the weight.
    if isinstance(module, nn.Linear) or callable(getattr(type(module), "weight", None)):
        return hasattr(module, "in_features") and hasattr(module, "out_features")
    weight = registered_parameter(module, "weight")
    return weight is not None and weight.ndim == 2 and not isinstance(module, _NOT_LINEAR)


def head_shape(module: nn.Module) -> tuple[int, int]:
    """Shape (C, m) of a head, without evaluating a parametrized weight.

    Evaluating it would move the buffers of ``spectral_norm``.
    """
    module = adapted_layer(module) or module
    if isinstance(module, nn.Conv2d):
        return module.out_channels, module.in_channels
    outputs, features = (getattr(module, name, None) for name in ("out_features", "in_features"))
    if isinstance(outputs, int) and isinstance(features, int):
        return outputs, features
    weight = registered_parameter(module, "weight")
    if weight is None or weight.ndim != 2:
        raise TypeError(f"The head must be a linear layer, got {kind_of(module)}.")
    return weight.shape[0], weight.shape[1]


def check_logits(
    module: nn.Module, weight: Tensor, bias: Tensor | None, features: Tensor, logits: Tensor
) -> None:
    """Raise an error for a head that does not compute ``W f + b`` from its features.

    A cosine head normalizes, an adapter adds: their null space is not that of W.

    Args:
        module: the head.
        weight: W, (C, m).
        bias: b, (C,), or None.
        features: f, (N, m).
        logits: output of the head, (N, C), or (N, C, 1, 1) for a 1x1 convolution.

    Raises:
        ValueError: if the output differs by more than its rounding.
    """
    # On the CPU, because MPS has no double precision.
    x, w, y = (each.detach().cpu().double() for each in (features, weight, logits))
    expected = x @ w.T
    # Where a large bias meets small features, its rounding is the largest.
    largest = x.norm(dim=1).max() * w.norm(dim=1).max() + expected.abs().max()
    if bias is not None:
        expected = expected + bias.detach().cpu().double()
        largest = largest + bias.detach().abs().max().cpu().double()
    # Features and weights are rounded one by one to the precision of the product, then summed up.
    stored = max(torch.finfo(each.dtype).eps for each in (weight, features, logits))
    multiplied = _PRODUCT_ROUNDING[torch.get_float32_matmul_precision()]
    if weight.is_cuda and isinstance(unwrapped(module), nn.Conv2d):
        multiplied = max(multiplied, _PRODUCT_ROUNDING["high"])
    terms = (x.square() @ w.square().T).sqrt() + expected.abs()
    summed = 16 * min(stored, torch.finfo(torch.float32).eps) * largest
    allowed = 4 * max(stored, multiplied) * terms + summed
    difference = (y.flatten(1) - expected).abs()
    if bool((difference > allowed + torch.finfo(logits.dtype).smallest_normal).any()):
        raise SetupError(
            f"the head ({kind_of(module)}) does not compute W f + b: its logits differ by "
            f"{float(difference.max()):.3g} (normalized features or weights, an adapter, a scale?)"
            ", so its null space cannot be read off the weight. If a plain linear layer gives the "
            "logits, name it: ",
            Option("head", '"..."'),
            ".",
        )
