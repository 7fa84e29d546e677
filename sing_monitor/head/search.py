"""Which module of a model is the classifier head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sing_monitor.errors import Option, SetupError
from sing_monitor.head.layer import Head, head_parameters, is_linear, kind_of, unwrapped
from sing_monitor.head.peft_layers import active_copy, adapted_layer

# What torchvision, Hugging Face transformers and most hand-written models call their head.
_USUAL_NAMES = ("fc", "classifier", "heads", "head")
# A model, a LightningModule around it, one more wrapper. Deeper, the same names mean inner layers.
_NAME_DEPTH = 2
# Networks that are not the model in training. By name: timm and torchmetrics are heavy imports.
_NOT_THE_MODEL = {
    "torch.optim.swa_utils.AveragedModel",
    "timm.utils.model_ema.ModelEmaV2",
    "timm.utils.model_ema.ModelEmaV3",
    "torchmetrics.metric.Metric",
}
# Layers that read the weights of their parts without calling them, or look whether hooks are on
# them and then compute otherwise. No head lies inside.
_CLOSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
# How many candidates an error lists.
_LISTED = 12


class AmbiguousHeadError(SetupError):
    """Several layers could be the head. Which of them answers shows only when the model runs.

    Args:
        reason: why one could not be chosen.
        candidates: the layers that could be it.
    """

    def __init__(self, reason: str, candidates: Sequence[Head]) -> None:
        self.reason = reason
        self.candidates = tuple(candidates)
        super().__init__(f"{reason}{listed(candidates)}\n", *naming(candidates, example=False))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.candidates)


def find_head(root: nn.Module, name: str | None = None, *, num_classes: int | None = None) -> Head:
    """Find the classifier head of a model, or of the LightningModule that holds it.

    Without a name the search goes, nearest to the root first, by timm's contract
    (``get_classifier`` and the ``classifier`` entry of the model's config), then by the names
    ``fc``, ``classifier``, ``heads`` and ``head`` (the last layer in them, if they hold several),
    then by shape: the last linear layer (1x1 convolution, if there is none) with ``num_classes``
    outputs or, if ``num_classes`` is not given, the only one whose outputs no later layer takes.
    Averaged copies (``AveragedModel``, timm's ``ModelEma``) and metrics are passed over.
    No weight is changed and no parametrization is evaluated.

    Args:
        root: the module to search.
        name: dotted name of the head inside ``root``; no search is made.
        num_classes: number of classes C of the data, if it is known.

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
            f"{root.original_name} is scripted or traced, and no hook is called there. Give the "
            "module that it was made of."
        )
    layers = linear_layers(root)
    if name is not None:
        return _checked(_by_name(root, name, layers), num_classes, layers)
    found, headless = preferred(root, layers, num_classes)
    if not found:
        wanted = "" if num_classes is None else f" with {num_classes} outputs"
        reason = f"No classifier head found: {kind_of(root)} has no linear layer{wanted}"
        others = [layer for layer in layers if not _inside(layer.name, headless)]
        if headless:
            names = ", ".join(name or kind_of(root) for name in headless)
            reason += (
                f" outside its timm backbone ({names}), which has no linear head of its own "
                "(num_classes=0?). Build it with the number of classes, or add a linear layer"
            )
        raise SetupError(f"{reason}.{listed(others[::-1])}")
    if len(found) > 1:
        raise AmbiguousHeadError("Several layers could be the classifier head.", found)
    return _checked(found[0], num_classes, layers)


def linear_layers(root: nn.Module, *, copies: bool = False) -> list[Head]:
    """All linear layers of the trained model, each once, in order of definition.

    Args:
        root: the module to search.
        copies: also those of averaged copies and of metrics.
    """
    return [Head(path, module) for path, module in _walk(root, copies=copies) if is_linear(module)]


def preferred(
    root: nn.Module, layers: list[Head], num_classes: int | None = None
) -> tuple[list[Head], list[str]]:
    """The layers that could be the head, by how models are built.

    Args:
        root: the module that is searched.
        layers: those among which is chosen, the later ones closer to the output.
        num_classes: number of classes C of the data, if it is known.

    Returns:
        The heads that could be meant; and the names of the timm models that have none.
    """
    found, headless = _by_timm_contract(root, layers, num_classes)
    # The layers of a headless backbone are inner layers, whatever their names and shapes.
    others = [layer for layer in layers if not _inside(layer.name, headless)]
    found = found or _by_usual_names(root, others, num_classes) or _by_shape(others, num_classes)
    matching = [head for head in found if head.num_classes == num_classes]
    return (matching if len(matching) == 1 else found), headless


def _walk(
    module: nn.Module, name: str = "", seen: set[int] | None = None, *, copies: bool = False
) -> Iterator[tuple[str, nn.Module]]:
    """Every module of the trained model once, in order of definition, with its dotted name."""
    module, seen = unwrapped(module), set() if seen is None else seen
    # Hooks on scripted parts are not called.
    if id(module) in seen or isinstance(module, torch.jit.ScriptModule):
        return
    seen.add(id(module))
    yield name, module
    if isinstance(module, _CLOSED) or adapted_layer(module) is not None:
        return
    copy = active_copy(module)
    for child_name, child in module.named_children() if copy is None else [copy]:
        classes = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(child).__mro__}
        if copies or not classes & _NOT_THE_MODEL:
            path = f"{name}.{child_name}" if name else child_name
            yield from _walk(child, path, seen, copies=copies)


def _nearest_first(root: nn.Module) -> list[tuple[int, str, nn.Module]]:
    """(depth, name, module), breadth first."""
    walked = ((len(name.split(".")) if name else 0, name, module) for name, module in _walk(root))
    return sorted(walked, key=lambda entry: entry[0])


def _inside(name: str, owners: list[str]) -> bool:
    return any(not owner or f"{name}.".startswith(f"{owner}.") for owner in owners)


def _feeds(layer: Head, layers: list[Head]) -> bool:
    later = layers[layers.index(layer) + 1 :]
    return any(other.feature_dim == layer.num_classes for other in later)


def _linear_first(layers: list[Head]) -> list[Head]:
    """The layers without the convolutions, unless there are only those."""
    return [layer for layer in layers if not isinstance(layer.module, nn.Conv2d)] or layers


def _outputs(layers: list[Head]) -> list[Head]:
    """The layers whose outputs no later one takes."""
    layers = _linear_first(layers)
    return [layer for layer in layers if not _feeds(layer, layers)]


def _outputs_of(part: nn.Module, layers: list[Head], num_classes: int | None) -> list[Head]:
    """The last layers of a part of the model, without those that feed a layer after the part."""
    members = {id(module) for _, module in _walk(part)}
    last = _outputs([layer for layer in layers if id(layer.module) in members])
    return [head for head in last if head.num_classes == num_classes or not _feeds(head, layers)]


def _by_timm_contract(
    root: nn.Module, layers: list[Head], num_classes: int | None
) -> tuple[list[Head], list[str]]:
    """The heads of all timm models inside root, and the names of the models without one."""
    heads: list[Head] = []
    owners: list[str] = []
    headless: list[str] = []
    for _, name, module in _nearest_first(root):
        parts = None if _inside(name, owners) else _timm_classifiers(module)
        if parts is None:
            continue
        owners.append(name)
        heads += {head: None for part in parts for head in _outputs_of(part, layers, num_classes)}
        if not any(is_linear(inner) for part in parts for _, inner in _walk(part)):
            headless.append(name)
    return heads, headless


def _timm_classifiers(module: nn.Module) -> list[nn.Module] | None:
    """The classifiers that a timm model declares; None for any other module."""
    get_classifier: Callable[[], object] | None = getattr(module, "get_classifier", None)
    config = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    names = config.get("classifier", ()) if isinstance(config, dict) else ()
    if get_classifier is None and not names:
        return None
    given = () if get_classifier is None else get_classifier()
    parts = list(given) if isinstance(given, tuple) else [given]
    # VOLO names two heads in its config, and returns only the first.
    if get_classifier is None or isinstance(names, tuple):
        parts += [_resolved(module, n) for n in ((names,) if isinstance(names, str) else names)]
    return [part for part in parts if isinstance(part, nn.Module)]


def _by_usual_names(root: nn.Module, layers: list[Head], num_classes: int | None) -> list[Head]:
    found: dict[Head, int] = {}
    for depth, _, owner in _nearest_first(root):
        if depth > min([_NAME_DEPTH, *found.values()]):
            break
        for child in filter(None, map(owner._modules.get, _USUAL_NAMES)):
            found |= dict.fromkeys(_outputs_of(child, layers, num_classes), depth)
    return list(found)


def _by_shape(layers: list[Head], num_classes: int | None) -> list[Head]:
    if num_classes is None:
        outputs = _outputs(layers)
        return [head for head in outputs if head.num_classes > 1] or outputs
    matching = _linear_first([layer for layer in layers if layer.num_classes == num_classes])
    # Layers of one shape are twins (two models, two tasks): the last one would be a guess.
    return [layer for layer in matching if layer.feature_dim == matching[-1].feature_dim]


def _resolved(root: nn.Module, name: str) -> nn.Module | None:
    module = unwrapped(root)
    for part in name.split("."):
        child = module if part == "_orig_mod" else module._modules.get(part)
        if child is None:
            return None
        module = unwrapped(child)
    return module


def _adapter_around(root: nn.Module, name: str) -> str | None:
    """The name of the adapted layer inside which a layer lies, or None."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        outer = _resolved(root, ".".join(parts[:end]))
        if outer is not None and adapted_layer(outer) is not None:
            return ".".join(parts[:end])
    return None


def _by_name(root: nn.Module, name: str, layers: list[Head]) -> Head:
    if not isinstance(name, str):
        raise TypeError(f"The head is given by its dotted name, got a {type(name).__name__}.")
    module = _resolved(root, name)
    name = ".".join(part for part in name.split(".") if part != "_orig_mod")
    if module is None:
        close = get_close_matches(name, [layer.name for layer in layers])
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise SetupError(
            f"{kind_of(root)} has no module {name!r}.{hint} Its linear layers are:"
            f"{listed(layers[::-1])}\n",
            *naming(layers[::-1], example=False),
        )
    around = _adapter_around(root, name)
    if around is not None:
        raise SetupError(
            f"{name!r} is a part of the layer {around!r}, to which an adapter adds an update: the "
            "layer answers with both together. Name the whole: ",
            Option("head", f'"{around}"'),
            ".",
        )
    copy = active_copy(module)
    if copy is not None:
        name, module = f"{name}.{copy[0]}", copy[1]
    if not is_linear(module):
        within = [layer for layer in layers if _inside(layer.name, [name])]
        raise TypeError(
            f"{name!r} ({kind_of(module)}) is not a linear layer: a head has a 2-D weight "
            f"(classes x features) or is a 1x1 convolution. The linear layers "
            f"{'in it' if within else 'of the model'} are:{listed((within or layers)[::-1])}"
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
        raise SetupError(f"{reason}{listed(matching)}\n", *naming(matching))
    return head


def check_head(head: Head) -> None:
    """Refuse a layer that is no classifier head, or whose weight cannot be read.

    Raises:
        ValueError: for a layer with one output, or without a shape yet.
        TypeError: for a packed weight, or one that an adapter changes in an unknown way.
    """
    if head.feature_dim == 0:
        raise ValueError(f"{head} has no shape yet; run one batch through the model first.")
    if head.num_classes == 1:
        raise ValueError(
            f"{head} has one output: a binary head with one logit has no class rows to compare; "
            "use two outputs."
        )
    # A sharded weight is empty outside the forward pass.
    empty = (
        isinstance(weight := head.module._parameters.get("weight"), Tensor) and not weight.numel()
    )
    if not empty and not is_parametrized(head.module, "weight"):
        try:
            head_parameters(head.module)
        except TypeError as error:
            raise TypeError(f"{head.name}: {error}") from None


def listed(candidates: Sequence[Head]) -> str:
    """Layers with their shapes, one a line, each after a line break."""
    lines = [f"  {candidate}" for candidate in candidates[:_LISTED]]
    if len(candidates) > _LISTED:
        lines.append(f"  ({len(candidates) - _LISTED} more)")
    return "".join(f"\n{line}" for line in lines)


def naming(candidates: Sequence[Head], *, example: bool = True) -> tuple[str | Option, ...]:
    """The advice to name one of some layers."""
    shown = f'"{candidates[0].name}"' if candidates and example else '"..."'
    return "Name the one that answers: ", Option("head", shown), "."
