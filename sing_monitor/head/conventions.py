"""Conventions by which a head is recognized before the model runs: timm's, names and shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from sing_monitor.head.layer import Head, is_linear
from sing_monitor.head.linear_layers import find_module, is_inside, walk_modules
from sing_monitor.head.torch_internals import registered_child

# Names of the head in torchvision, Hugging Face transformers and most hand-written models.
_USUAL_NAMES = ("fc", "classifier", "heads", "head")
# A model, a LightningModule around it, one more wrapper. Deeper, the same names mean inner layers.
_NAME_DEPTH = 2


def usual_heads(
    root: nn.Module, layers: list[Head], num_classes: int | None = None
) -> tuple[list[Head], list[str]]:
    """Find the layers that are the head by convention.

    Args:
        root: the module to search.
        layers: the candidates, in order of definition.
        num_classes: number of classes C of the data; None if unknown.

    Returns:
        The layers that could be the head, and the names of the timm models without one.
    """
    found, headless = _by_timm_contract(root, layers, num_classes)
    # The layers of a headless backbone are inner layers, whatever their names and shapes.
    others = [layer for layer in layers if not is_inside(layer.name, headless)]
    found = found or _by_usual_names(root, others, num_classes) or _by_shape(others, num_classes)
    matching = [head for head in found if head.num_classes == num_classes]
    return (matching if len(matching) == 1 else found), headless


def _nearest_first(root: nn.Module) -> list[tuple[int, str, nn.Module]]:
    """All modules as (depth, name, module), those near the root first."""
    walked = (
        (len(name.split(".")) if name else 0, name, module) for name, module in walk_modules(root)
    )
    return sorted(walked, key=lambda entry: entry[0])


def _feeds(layer: Head, layers: list[Head]) -> bool:
    """Whether a later layer takes as many features as this one has outputs."""
    later = layers[layers.index(layer) + 1 :]
    return any(other.feature_dim == layer.num_classes for other in later)


def _without_convolutions(layers: list[Head]) -> list[Head]:
    """The layers that are no convolutions; all of them if there are only convolutions."""
    return [layer for layer in layers if not isinstance(layer.module, nn.Conv2d)] or layers


def _outputs(layers: list[Head]) -> list[Head]:
    """The layers that feed no later one."""
    layers = _without_convolutions(layers)
    return [layer for layer in layers if not _feeds(layer, layers)]


def _outputs_of(part: nn.Module, layers: list[Head], num_classes: int | None) -> list[Head]:
    """The last layers of a part of the model that feed no layer after the part."""
    members = {id(module) for _, module in walk_modules(part)}
    last = _outputs([layer for layer in layers if id(layer.module) in members])
    return [head for head in last if head.num_classes == num_classes or not _feeds(head, layers)]


def _by_timm_contract(
    root: nn.Module, layers: list[Head], num_classes: int | None
) -> tuple[list[Head], list[str]]:
    """Heads of all timm models inside root, and names of the models without a head."""
    heads: list[Head] = []
    owners: list[str] = []
    headless: list[str] = []
    for _, name, module in _nearest_first(root):
        parts = None if is_inside(name, owners) else _timm_classifiers(module)
        if parts is None:
            continue
        owners.append(name)
        heads += {head: None for part in parts for head in _outputs_of(part, layers, num_classes)}
        if not any(is_linear(inner) for part in parts for _, inner in walk_modules(part)):
            headless.append(name)
    return heads, headless


def _timm_classifiers(module: nn.Module) -> list[nn.Module] | None:
    """Classifiers that a timm model declares; None for any other module."""
    get_classifier: Callable[[], object] | None = getattr(module, "get_classifier", None)
    config = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    names = config.get("classifier", ()) if isinstance(config, dict) else ()
    if get_classifier is None and not names:
        return None
    given = () if get_classifier is None else get_classifier()
    parts = list(given) if isinstance(given, tuple) else [given]
    # VOLO names two heads in its config, and returns only the first.
    if get_classifier is None or isinstance(names, tuple):
        parts += [find_module(module, n) for n in ((names,) if isinstance(names, str) else names)]
    return [part for part in parts if isinstance(part, nn.Module)]


def _by_usual_names(root: nn.Module, layers: list[Head], num_classes: int | None) -> list[Head]:
    found: dict[Head, int] = {}
    for depth, _, owner in _nearest_first(root):
        if depth > min([_NAME_DEPTH, *found.values()]):
            break
        for child in filter(None, map(partial(registered_child, owner), _USUAL_NAMES)):
            found |= dict.fromkeys(_outputs_of(child, layers, num_classes), depth)
    return list(found)


def _by_shape(layers: list[Head], num_classes: int | None) -> list[Head]:
    if num_classes is None:
        outputs = _outputs(layers)
        return [head for head in outputs if head.num_classes > 1] or outputs
    matching = _without_convolutions(
        [layer for layer in layers if layer.num_classes == num_classes]
    )
    # Layers of one shape are twins (two models, two tasks): the last one would be a guess.
    return [layer for layer in matching if layer.feature_dim == matching[-1].feature_dim]
