"""Search for the classifier head in a model that need not run: by its name or by convention."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from sing_monitor.errors import Option, SetupError
from sing_monitor.head.conventions import usual_heads
from sing_monitor.head.layer import Head, head_parameters, is_linear, kind_of
from sing_monitor.head.linear_layers import (
    advise_naming,
    find_module,
    is_inside,
    linear_layers,
    list_layers,
)
from sing_monitor.head.peft_layers import active_copy, adapted_layer
from sing_monitor.head.torch_internals import COMPILED_NAME, registered_parameter


class AmbiguousHeadError(SetupError):
    """Error for a model with several candidates, of which a forward pass shows the head.

    Args:
        reason: the first sentence of the message.
        candidates: the layers that could be the head.
    """

    def __init__(self, reason: str, candidates: Sequence[Head]) -> None:
        self.reason = reason
        self.candidates = tuple(candidates)
        super().__init__(
            f"{reason}{list_layers(candidates)}\n", *advise_naming(candidates, example=False)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.candidates)


def find_head(root: nn.Module, name: str | None = None, *, num_classes: int | None = None) -> Head:
    """Find the classifier head of a model, or of the LightningModule that holds it.

    Without a name the search goes, nearest to the root first, by timm's contract
    (``get_classifier`` and the ``classifier`` entry of the model's config), then by the names
    ``fc``, ``classifier``, ``heads`` and ``head`` (the last layer in them, if they hold several),
    then by shape: the last linear layer (1x1 convolution, if there is none) with ``num_classes``
    outputs or, if ``num_classes`` is not given, the only one whose outputs no later layer takes.
    Averaged copies (``AveragedModel``, timm's ``ModelEma``) and metrics are not searched.
    No weight is changed and no parametrization is evaluated.

    Args:
        root: the module to search.
        name: dotted name of the head inside ``root``; None: search for it.
        num_classes: number of classes C of the data; None if unknown.

    Returns:
        The head.

    Raises:
        TypeError: if ``root`` is not a module, ``name`` is not a string, or the head is no linear
            layer or is packed (quantized).
        ValueError: if there is no head, if several layers could be it or answer together, or if
            the head has one output, a number of outputs other than ``num_classes``, or no shape
            yet. The message lists the candidates.

    Example::

        >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
        >>> print(find_head(model))
        2  Linear  3 x 4 (classes x features)
    """
    if not isinstance(root, nn.Module):
        raise TypeError(f"The head is searched in a torch.nn.Module, got {type(root).__name__}.")
    if isinstance(root, torch.jit.ScriptModule):
        raise TypeError(
            f"{root.original_name} is scripted or traced, and torch calls no hooks in such a "
            "module. Give the module that it was made of."
        )
    layers = linear_layers(root)
    if name is not None:
        return _checked(_by_name(root, name, layers), num_classes, layers)
    found, headless = usual_heads(root, layers, num_classes)
    if not found:
        wanted = "" if num_classes is None else f" with {num_classes} outputs"
        reason = f"No classifier head found: {kind_of(root)} has no linear layer{wanted}"
        others = [layer for layer in layers if not is_inside(layer.name, headless)]
        if headless:
            names = ", ".join(name or kind_of(root) for name in headless)
            reason += (
                f" outside its timm backbone ({names}), which has no linear head of its own "
                "(num_classes=0?). Build it with the number of classes, or add a linear layer"
            )
        raise SetupError(f"{reason}.{list_layers(others[::-1])}")
    if len(found) > 1:
        raise AmbiguousHeadError("Several layers could be the classifier head.", found)
    return _checked(found[0], num_classes, layers)


def _adapter_around(root: nn.Module, name: str) -> str | None:
    """Name of the adapted layer that contains a layer; None if there is none."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        outer = find_module(root, ".".join(parts[:end]))
        if outer is not None and adapted_layer(outer) is not None:
            return ".".join(parts[:end])
    return None


def _by_name(root: nn.Module, name: str, layers: list[Head]) -> Head:
    if not isinstance(name, str):
        raise TypeError(f"The head is given by its dotted name, got a {type(name).__name__}.")
    module = find_module(root, name)
    name = ".".join(part for part in name.split(".") if part != COMPILED_NAME)
    if module is None:
        close = get_close_matches(name, [layer.name for layer in layers])
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise SetupError(
            f"{kind_of(root)} has no module {name!r}.{hint} Its linear layers are:"
            f"{list_layers(layers[::-1])}\n",
            *advise_naming(layers[::-1], example=False),
        )
    around = _adapter_around(root, name)
    if around is not None:
        raise SetupError(
            f"{name!r} is a part of the layer {around!r}, whose output is that part and the "
            "update of an adapter together. Name the whole layer: ",
            Option("head", f'"{around}"'),
            ".",
        )
    copy = active_copy(module)
    if copy is not None:
        name, module = f"{name}.{copy[0]}", copy[1]
    if not is_linear(module):
        within = [layer for layer in layers if is_inside(layer.name, [name])]
        raise TypeError(
            f"{name!r} ({kind_of(module)}) is not a linear layer: a head has a 2-D weight "
            f"(classes x features) or is a 1x1 convolution. The linear layers "
            f"{'in it' if within else 'of the model'} are:{list_layers((within or layers)[::-1])}"
        )
    return Head(name, module)


def _checked(head: Head, num_classes: int | None, layers: list[Head]) -> Head:
    check_head(head)
    if num_classes is not None and head.num_classes != num_classes:
        matching = [layer for layer in layers[::-1] if layer.num_classes == num_classes]
        reason = (
            f"{head} has {head.num_classes} outputs, but the data has {num_classes} classes: give "
            f"the head {num_classes} outputs."
        )
        if not matching:
            raise SetupError(reason)
        raise SetupError(f"{reason}{list_layers(matching)}\n", *advise_naming(matching))
    return head


def check_head(head: Head) -> None:
    """Raise an error for a layer that is no classifier head, or has no readable weight.

    Raises:
        ValueError: if the layer has one output, or no shape yet.
        TypeError: if the weight is packed, or an adapter changes it in an unknown way.
    """
    if head.feature_dim == 0:
        raise ValueError(f"{head} has no shape yet; run one batch through the model first.")
    if head.num_classes == 1:
        raise SetupError(
            f"{head} has one output: a binary head with one logit has no class rows to compare, "
            "nor has an ordinal one whose score meets several thresholds (CORAL, cumulative "
            "links). Use one output for each class: two outputs for two."
        )
    weight = registered_parameter(head.module, "weight")
    # A sharded weight is empty outside the forward pass.
    is_empty = weight is not None and not weight.numel()
    if not is_empty and not is_parametrized(head.module, "weight"):
        try:
            head_parameters(head.module)
        except TypeError as error:
            raise TypeError(f"{head.name}: {error}") from None
