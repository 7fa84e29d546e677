"""Choice of a model's stages: the modules whose output is looked at, from the first to the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

import torch
from torch import nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.head.layer import is_linear
from sing_monitor.head.linear_layers import (
    find_module,
    is_closed,
    is_leaf,
    linear_layers,
    takes_tokens_first,
    walk_modules,
)
from sing_monitor.head.torch_internals import is_compiled_itself, registered_child, unwrapped

MOST_STAGES = 8
# A child with so large a share of the layers is the network itself, wrapped.
_NEARLY_ALL = 0.8
_LISTED = 8

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Stage:
    """A module whose output is looked at.

    Args:
        name: dotted name.
        module: the module.
        sizes: numbers that its channels may have, the surest first.
        declared: the number that the model says; 0 if it says none.
        is_channels_last: whether the model says that its maps are (B, h, w, c).
        ends_linear: whether the last of its layers works on the last axis of a tensor.
        takes_tokens_first: whether a layer of the model takes tokens as (T, B, c).
        obstacle: why no hook on it would be called, or could be without a trace; empty if none.
    """

    name: str
    module: nn.Module
    sizes: tuple[int, ...] = ()
    declared: int = 0
    is_channels_last: bool = False
    ends_linear: bool = False
    takes_tokens_first: bool = False
    obstacle: str = ""


def named_stages(model: nn.Module, names: Sequence[str]) -> tuple[Stage, ...]:
    """The stages that a user names.

    Args:
        model: the model.
        names: dotted names, distinct.

    Raises:
        SetupError: if the model has no such module.
    """
    for name in names:
        if find_module(model, name) is None:
            raise _unknown(model, name)
    return tuple(_stage(model, name) for name in names)


def likely_stages(model: nn.Module) -> tuple[Stage, ...]:
    """What could be a stage before it is known which of the linear layers is the head."""
    found: dict[str, Stage] = {}
    for layer in linear_layers(model):
        found |= {stage.name: stage for stage in found_stages(model, layer.module)}
    return tuple(found.values())


def found_stages(model: nn.Module, head: nn.Module) -> tuple[Stage, ...]:
    """Up to 8 stages of a model whose head is known, in order of definition.

    Those that timm's ``feature_info`` names; else the children of the model that have weights, but
    for the head, the classifier around it and other heads beside it. A child that holds nearly all
    layers, such as a backbone or a ``Sequential`` alone, is replaced by its own children. Of more
    than 8 the first, the last, and others at even distances. None where several networks tell
    their stages and none of these holds the head: one may be a teacher, or they stand side by side.

    Args:
        model: the model.
        head: its classifier head.
    """
    declared = _declared(model, head)
    if declared is None:
        return ()
    if declared:
        return tuple(_stage(model, name, size) for name, size in _thinned(declared))
    return tuple(_stage(model, name) for name in _thinned(_children(model, head)))


def _thinned(found: Sequence[T]) -> list[T]:
    last = len(found) - 1
    if last < MOST_STAGES:
        return list(found)
    return [found[round(each * last / (MOST_STAGES - 1))] for each in range(MOST_STAGES)]


def _declared(model: nn.Module, head: nn.Module) -> list[tuple[str, int]] | None:
    """Modules and channels by timm's ``feature_info``, of the network with the head if several.

    None where several have such and none the head.
    """
    by_network = []
    for path, module in walk_modules(model):
        info = getattr(module, "feature_info", None)
        stages = _read_info(path, module, getattr(info, "info", info))
        if stages:
            by_network.append((head in set(module.modules()), stages))
    with_head = [stages for has_head, stages in by_network if has_head]
    if with_head or len(by_network) < 2:
        return (with_head or [stages for _, stages in by_network] or [[]])[0]
    return None


def _read_info(path: str, module: nn.Module, info: object) -> list[tuple[str, int]]:
    """Nothing where one of the entries is none, or names a module that is missing."""
    if not isinstance(info, (list, tuple)):
        return []
    found: dict[str, int] = {}
    for each in info:
        name = each.get("module") if isinstance(each, Mapping) else None
        if not isinstance(name, str) or not name or find_module(module, name) is None:
            return []
        channels = each.get("num_chs")
        found[_joined(path, name)] = channels if isinstance(channels, int) else 0
    return list(found.items())


def _children(model: nn.Module, head: nn.Module) -> list[str]:
    modules = dict(walk_modules(model))
    layers = {
        path for path, module in modules.items() if any(True for _ in module.parameters(False))
    } - _other_heads(model, head)
    of_head = next((path for path, module in modules.items() if module is head), "")

    def size(path: str) -> int:
        """How many layers with weights are in a module, but for the head's."""
        return sum(_is_within(each, path) and not _is_within(each, of_head) for each in layers)

    def opened(path: str) -> list[str]:
        return (
            []
            if is_leaf(modules[path])
            else [
                each for each in modules if each and each.rpartition(".")[0] == path and size(each)
            ]
        )

    found = opened("")
    while True:
        sizes = {path: size(path) for path in found}
        around = next((path for path in found if _is_within(of_head, path)), None)
        # A layer more: the head's own.
        if around is not None and len(found) > 1 and 2 * sizes[around] + 1 < sum(sizes.values()):
            found.remove(around)
            continue
        for path in found:
            is_network = path == around or sizes[path] >= _NEARLY_ALL * sum(sizes.values())
            parts = opened(path)
            if parts and (is_network or not _can_be_called(modules[path])):
                at = found.index(path)
                found[at : at + 1] = parts
                break
        else:
            return [path for path in found if _can_be_called(modules[path])]


def _other_heads(model: nn.Module, head: nn.Module) -> set[str]:
    """Linear layers that read as many features as the head, and whose answers no layer takes."""
    taken = {_inputs(module) for _, module in walk_modules(model) if is_linear(module)}
    return {
        path
        for path, module in walk_modules(model)
        if is_linear(module)
        and module is not head
        and _inputs(module) == _inputs(head)
        and _width(module) not in taken
    }


def _inputs(module: nn.Module) -> int:
    """How many numbers a linear layer takes; 0 where that is not known."""
    for attribute in ("in_features", "in_channels"):
        number = getattr(module, attribute, None)
        if isinstance(number, int):
            return number
    return 0


def _can_be_called(module: nn.Module) -> bool:
    """False of a container whose parts are called one by one, such as a ``ModuleList``."""
    return type(module).forward is not nn.Module.forward


def _is_within(path: str, owner: str) -> bool:
    return bool(owner) and f"{path}.".startswith(f"{owner}.")


def _stage(model: nn.Module, name: str, declared: int = 0) -> Stage:
    module = find_module(model, name)
    if module is None:
        raise RuntimeError(f"the model has lost its module {name!r}.")
    layers = [part for _, part in reversed(list(walk_modules(module))) if _width(part)]
    sizes = dict.fromkeys(size for size in (declared, *map(_width, layers)) if size)
    formats = {getattr(each, "output_fmt", None) for _, each in walk_modules(model)}
    return Stage(
        name,
        module,
        tuple(sizes),
        declared,
        is_channels_last="NHWC" in {str(getattr(each, "value", each)) for each in formats},
        # Layer norms of maps are classes of their own.
        ends_linear=bool(layers) and type(layers[0]) in (nn.Linear, nn.LayerNorm),
        takes_tokens_first=takes_tokens_first(model),
        obstacle=_obstacle(model, name),
    )


def _width(module: nn.Module) -> int:
    """How many channels a layer with weights gives; 0 where that is not known."""
    for attribute in ("out_channels", "out_features"):
        width = getattr(module, attribute, None)
        if isinstance(width, int):
            return width
    weight = getattr(module, "weight", None)
    return len(weight) if isinstance(weight, nn.Parameter) and weight.ndim == 1 else 0


def _obstacle(model: nn.Module, name: str) -> str:
    module = model
    path = [module]
    for part in name.split("."):
        child = registered_child(unwrapped(module), part)
        if child is None:
            break
        module = child
        path.append(module)
    if any(is_compiled_itself(each) for each in path) or getattr(model, "_compiler_ctx", None):
        return "torch.compile runs it, and calls no hooks"
    closed = next((each for each in map(unwrapped, path) if is_closed(each)), None)
    if isinstance(closed, torch.jit.ScriptModule):
        return "it is scripted, and calls no hooks"
    if closed is not None:
        kind = type(closed).__name__
        return f"torch computes a {kind} in another way when a hook is on it"
    return ""


def _unknown(model: nn.Module, name: str) -> SetupError:
    known = [path for path, _ in walk_modules(model) if path]
    within = [path for path in known if path.endswith(f".{name}")]
    top: list[str] = []
    close = within or get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        hint = f"Near it are {', '.join(map(repr, close[:3]))}"
    else:
        top = [path for path in known if "." not in path] or known
        while len(top) == 1:
            # A wrapper alone is no choice.
            inner = [path for path in known if path.rpartition(".")[0] == top[0]]
            if not inner:
                break
            top = inner
        shown = ", ".join(map(repr, top[:_LISTED])) + (", ..." if len(top) > _LISTED else "")
        hint = f"Its modules are {shown}"
    return SetupError(
        f"the model has no module {name!r}, so its output cannot be looked at. {hint}; ",
        Option("layers", f"[{(close or top)[0]!r}]"),
        " takes dotted names, and ",
        Option("layers", "True"),
        " finds the stages by itself.",
    )


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
