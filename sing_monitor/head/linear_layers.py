"""Linear layers of a model, by their dotted names: the candidates for the head, and their list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from sing_monitor.errors import Option
from sing_monitor.head.layer import Head, is_linear
from sing_monitor.head.peft_layers import active_copy, adapted_layer
from sing_monitor.head.torch_internals import COMPILED_NAME, registered_child, unwrapped

# Networks inside a module that are not the model in training. By name, because timm and
# torchmetrics are heavy imports.
_NOT_THE_MODEL = {
    "torch.optim.swa_utils.AveragedModel",
    "timm.utils.model_ema.ModelEmaV2",
    "timm.utils.model_ema.ModelEmaV3",
    "torchmetrics.metric.Metric",
}
# Layers that read the weights of their parts without calling them, or compute otherwise when hooks
# are on them. No head lies inside.
_CLOSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
# How many candidates a message lists.
_MAX_LISTED = 12


def linear_layers(root: nn.Module, *, copies: bool = False) -> list[Head]:
    """List all linear layers of the trained model, each once, in order of definition.

    Args:
        root: the module to search.
        copies: also list those of averaged copies and of metrics.
    """
    modules = walk_modules(root, copies=copies)
    return [Head(path, module) for path, module in modules if is_linear(module)]


def walk_modules(
    module: nn.Module, name: str = "", seen: set[int] | None = None, *, copies: bool = False
) -> Iterator[tuple[str, nn.Module]]:
    """Iterate over the modules of the trained model, each once, in order of definition.

    Args:
        module: where to start.
        name: its dotted name.
        seen: ids of modules to leave out.
        copies: also enter averaged copies and metrics.

    Yields:
        Dotted name and module.
    """
    module, seen = unwrapped(module), set() if seen is None else seen
    # Hooks on scripted parts are not called.
    if id(module) in seen or isinstance(module, torch.jit.ScriptModule):
        return
    seen.add(id(module))
    yield name, module
    if is_leaf(module):
        return
    copy = active_copy(module)
    for child_name, child in module.named_children() if copy is None else [copy]:
        classes = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(child).__mro__}
        if copies or not classes & _NOT_THE_MODEL:
            path = f"{name}.{child_name}" if name else child_name
            yield from walk_modules(child, path, seen, copies=copies)


def is_leaf(module: nn.Module) -> bool:
    """Whether :func:`walk_modules` leaves out what is inside a module."""
    return isinstance(module, _CLOSED) or adapted_layer(module) is not None


def is_closed(module: nn.Module) -> bool:
    """Whether hooks on a module or its parts are never called, or make it compute otherwise."""
    return isinstance(module, (torch.jit.ScriptModule, *_CLOSED))


def takes_tokens_first(model: nn.Module) -> bool:
    """Whether a layer takes tokens as (T, B, c), as torch's attentions do by default."""
    return any(getattr(part, "batch_first", None) is False for part in model.modules())


def find_module(root: nn.Module, name: str) -> nn.Module | None:
    """Find a module by its dotted name, looking through ``torch.compile``; None if it is missing.

    Args:
        root: where the name starts.
        name: with or without the parts that stand for ``torch.compile`` wrappers.
    """
    module = unwrapped(root)
    for part in name.split("."):
        child = module if part == COMPILED_NAME else registered_child(module, part)
        if child is None:
            return None
        module = unwrapped(child)
    return module


def is_inside(name: str, owners: list[str]) -> bool:
    """Whether a dotted name lies inside one of some modules; the name "" is the root."""
    return any(not owner or f"{name}.".startswith(f"{owner}.") for owner in owners)


def list_layers(layers: Sequence[Head]) -> str:
    """List layers with their shapes, one a line, each after a line break."""
    lines = [f"  {layer}" for layer in layers[:_MAX_LISTED]]
    if len(layers) > _MAX_LISTED:
        lines.append(f"  ({len(layers) - _MAX_LISTED} more)")
    return "".join(f"\n{line}" for line in lines)


def advise_naming(layers: Sequence[Head], *, example: bool = True) -> tuple[str | Option, ...]:
    """Advise to name one of some layers as the head.

    Args:
        layers: the candidates, the likeliest first.
        example: whether the sentence names the first of them.
    """
    shown = f'"{layers[0].name}"' if layers and example else '"..."'
    return "Name the layer that answers: ", Option("head", shown), "."
