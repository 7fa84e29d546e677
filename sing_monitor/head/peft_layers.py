"""Layers that peft has wrapped: the active copy, and the weight together with its update.

Their classes are compared by name, because peft need not be installed and is a heavy import.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sing_monitor.head.torch_internals import registered_child

_SEVERAL_COPIES = "peft.utils.other.AuxiliaryTrainingWrapper"
_ADAPTED = "peft.tuners.tuners_utils.BaseTunerLayer"
_LORA = "peft.tuners.lora.layer.LoraLayer"


def active_copy(module: Any) -> tuple[str, nn.Module] | None:
    """Find the copy that runs of a layer in peft's ``modules_to_save``.

    Args:
        module: any module.

    Returns:
        Dotted name inside ``module`` and the copy; None for any other module.
    """
    if not _is_a(module, _SEVERAL_COPIES):
        return None
    copies = registered_child(module, "modules_to_save")
    active = [] if getattr(module, "disable_adapters", False) else list(module.active_adapters)
    if isinstance(copies, nn.ModuleDict) and active and active[0] in copies:
        return f"modules_to_save.{active[0]}", copies[active[0]]
    original = registered_child(module, "original_module")
    return None if original is None else ("original_module", original)


def adapted_layer(module: nn.Module) -> nn.Module | None:
    """The layer inside an adapter of peft; None for any other module."""
    if not _is_a(module, _ADAPTED):
        return None
    return registered_child(module, "base_layer")


def merged_parameters(module: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of an adapted linear layer, with the updates of its adapters.

    LoRA (Hu et al., ICLR 2022, equation 3): ``W + s B A`` for each active adapter, with its scaling
    s; B A is worked out in single precision at least.

    Args:
        module: a layer for which :func:`adapted_layer` is not None.

    Returns:
        The weight in the layout of the layer inside, and the bias, detached.

    Raises:
        TypeError: if the adapter is not plain LoRA, and is not merged.
    """
    base = module.get_base_layer()
    weight, bias = base.weight, base.bias
    if module.merged or module.disable_adapters:
        return weight, bias
    active = [name for name in module.active_adapters if name in getattr(module, "lora_A", {})]
    is_plain = _is_a(module, _LORA) and not any(name in module.lora_variant for name in active)
    is_floating = isinstance(weight, Tensor) and weight.is_floating_point()
    if not is_plain or not is_floating or weight.ndim != 2 or module.fan_in_fan_out:
        raise TypeError(
            f"peft adapts the head by {type(module).__module__}.{type(module).__name__}, which is "
            "not plain LoRA on a linear layer, so the weight of both together cannot be read. "
            "Train the head itself (peft: modules_to_save=[...]), or merge the adapter."
        )
    with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
        precision = torch.promote_types(weight.dtype, torch.float32)
        weight = weight.detach().to(precision)
        for name in active:
            a, b = module.lora_A[name].weight, module.lora_B[name]
            weight = weight + module.scaling[name] * (b.weight.to(precision) @ a.to(precision))
            if b.bias is not None:
                shift = module.scaling[name] * b.bias.detach().to(precision)
                bias = shift if bias is None else bias.detach().to(precision) + shift
    return weight, bias


def _is_a(module: object, name: str) -> bool:
    return any(f"{cls.__module__}.{cls.__qualname__}" == name for cls in type(module).__mro__)
