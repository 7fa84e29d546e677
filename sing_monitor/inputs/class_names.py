"""ClassNames: names of the classes, in words that a text encoder understands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.datasets import (
    pretrained_configs,
    read_attribute,
    wrapped_datasets,
    wrapped_under_any_name,
)
from sing_monitor.inputs.imagenet_names import imagenet_names
from sing_monitor.inputs.label_order import NamedLabels, refuse_two_orders
from sing_monitor.inputs.plain_values import as_builtin, is_ordered_collection
from sing_monitor.messages import warn

_NAMES = Option("class_names", "[...]")
# torchvision's ImageNet and Imagenette keep several lemmas per class in ``classes`` and the ids in
# ``wnids``; the ids tell "crane" from "crane".
_ATTRIBUTES = ("class_names", "wnids", "classes", "class_to_idx")
_WORDNET_ID = re.compile(r"n\d{8}")
_NUMBERED = re.compile(r"(\d+)(?: - |\.|: )(.*\S)")
_ID = re.compile(
    r"(class|cls|label|category|target|id|idx|index|c|n|y)?[ #:.-]*\d+"
    r"|(?=.*\d)[0-9a-f]{8,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    re.IGNORECASE,
)


_GIVEN = "class_names"


@dataclass(frozen=True)
class ClassNames:
    """Names of the C classes in the order of the labels, and their source.

    Args:
        names: C names; None if none were found.
        source: in words, for messages.
    """

    names: tuple[str, ...] | None
    source: str

    @property
    def is_found(self) -> bool:
        """Whether the names come from the data or the model, and not from the user."""
        return self.names is not None and self.source != _GIVEN


def find_class_names(
    given: Any,
    num_classes: int,
    *,
    datamodule: object = None,
    dataset: object = None,
    model: nn.Module | None = None,
    are_texts: bool = True,
) -> ClassNames:
    """Find the names of the classes.

    The first source with names counts: ``given``; the attributes ``class_names``, ``wnids``,
    ``classes``, ``class_to_idx`` of the datamodule, the data set and the data sets that it wraps;
    the pretrained timm config of the model (its label names, or ImageNet-1k at 1,000 outputs).
    WordNet ids become timm's ImageNet names, underscores become spaces, and numbers in front
    ("0 - zero") are removed. Names follow the labels through each data set's
    ``target_transform``. Warns if names are no words or not distinct, and if none are found.

    Args:
        given: None, C names in any sequence, or a mapping name -> index.
        num_classes: C, the number of outputs of the head.
        datamodule: the trainer's datamodule, or None.
        dataset: the validation data set, wrapped or not, or None.
        model: the LightningModule or any module, or None.
        are_texts: whether scores compare images with the names; if not, they need not be words,
            and there is no warning.

    Raises:
        SetupError: if the names are not C strings, if wrapped data sets disagree, or if a
            ``target_transform`` hides the label of a name.

    Example:
        >>> find_class_names(["polar_bear", "cat"], 2).names
        ('polar bear', 'cat')
    """
    raw, source = given, _GIVEN
    if raw is None:
        raw, source = _search(datamodule, dataset, model, num_classes)
    if raw is None:
        if are_texts:
            warn(
                "No class names were found, so the attribute score uses class prototypes (the mean "
                "image embedding of each class) instead of text. For text, pass class_names=[...]."
            )
        return ClassNames(None, "none found")
    names = _words(ordered_names(raw, source), source)
    if len(names) != num_classes:
        raise SetupError(
            f"{source} names {len(names)} classes, but the head has C={num_classes} outputs. Pass ",
            _NAMES,
            f" with {num_classes} names in the order of the labels, or give the head {len(names)} "
            "outputs.",
        )
    if are_texts:
        _warn_if_not_words(names, source)
    return ClassNames(names, source)


def _search(
    datamodule: object, dataset: object, model: nn.Module | None, num_classes: int
) -> tuple[Any, str]:
    found = _named_by_module(datamodule, dataset) or _named_by(dataset, "dataset")
    if found is not None:
        order = ", in the order of target_transform" if found.renumbered_by else ""
        return found.listed(num_classes), f"{found.source}{order}"
    for config in pretrained_configs(model):
        labels = config.get("label_names")
        # The config outlives a replaced head, so only a list that fits can be meant.
        if _is_collection(labels) and len(labels) == num_classes:
            return list(labels), "label_names of the pretrained config"
        tag = str(config.get("tag") or "")
        if num_classes == config.get("num_classes") == 1000 and re.search(r"in1k(_|$)", tag):
            from timm.data import ImageNetInfo

            return ImageNetInfo().label_names(), f"ImageNet-1k, by the pretrained config {tag!r}"
    return None, "none found"


def _named_by_module(datamodule: object, dataset: object) -> NamedLabels | None:
    """Names of a datamodule, or else those of the data sets that it holds."""
    named = _own_names(datamodule, "datamodule")
    is_own = named is not None
    if named is None:
        parts = [_named_by(each, "datamodule") for each in wrapped_datasets(datamodule)]
        named = _joined([each for each in parts if each is not None])
    if named is None:
        return None
    try:
        watched = _named_by(dataset, "dataset")
    except SetupError:
        if not is_own:
            raise
        watched = None
    if watched is not None and (watched.renumbered_by or named.renumbered_by):
        if named.names == watched.names:
            return named
        # Where labels are renumbered, other data sets of the module say nothing of this one's.
        if not is_own:
            return watched
    if named.renumbered_by is None:
        # A target_transform of the module's own is meant for its data sets.
        names = [each for (each,) in named.names.values()]
        refuse_two_orders(datamodule, [datamodule, dataset], names, named.source)
    return named


def _named_by(owner: object, role: str, above: tuple[object, ...] = ()) -> NamedLabels | None:
    """Names of an object, or else those of the data sets that it wraps."""
    path = (*above, owner)
    wrapped = [each for each in wrapped_datasets(owner) if not any(each is one for one in path)]
    named = _own_names(owner, role)
    if named is not None:
        names = [each for (each,) in named.names.values()]
        refuse_two_orders(owner, wrapped_under_any_name(owner), names, named.source)
    else:
        parts = [_named_by(each, role, path) for each in wrapped]
        named = _joined([each for each in parts if each is not None])
    return None if named is None else named.under(owner)


def _own_names(owner: object, role: str) -> NamedLabels | None:
    for attribute in _ATTRIBUTES:
        raw = read_attribute(owner, attribute)
        if _is_collection(raw) and len(raw):
            source = f"{role}.{attribute} ({type(owner).__name__})"
            return NamedLabels.in_order(ordered_names(raw, source), source)
    return None


def _joined(parts: list[NamedLabels]) -> NamedLabels | None:
    """Names of several data sets together; raises an error if they contradict each other."""
    if not parts:
        return None
    names: dict[int, tuple[Any, ...]] = {}
    for part in parts:
        for label, found in part.names.items():
            if names.setdefault(label, found) != found:
                raise SetupError(
                    f"The wrapped data sets name their classes differently ({part.source} and "
                    "others). Pass ",
                    _NAMES,
                    " in the order of the labels.",
                )
    changed = next((part.renumbered_by for part in parts if part.renumbered_by), None)
    return NamedLabels(names, parts[0].source, changed)


def _is_collection(raw: Any) -> TypeGuard[Collection[Any]]:
    """Whether a value may hold names: a sequence, an array or a mapping, and no text or method."""
    return isinstance(raw, Mapping) or is_ordered_collection(raw)


def ordered_names(raw: Any, source: str) -> list[Any]:
    """Bring names into the order of the labels.

    Args:
        raw: any sequence of names, or a mapping name -> index.
        source: of the names, in words, for the message.

    Raises:
        SetupError: if ``raw`` is anything else, or the indices are not 0..C-1.
    """
    if not _is_collection(raw):
        raise SetupError(
            f"{source} is {raw!r} ({type(raw).__name__}); expected a list of names in the order of "
            "the labels."
        )
    if isinstance(raw, Mapping):
        if sorted(map(str, raw.values())) != sorted(map(str, range(len(raw)))):
            raise SetupError(
                f"{source} maps {len(raw)} names to {list(raw.values())}; expected each index of "
                f"0..{len(raw) - 1} once. Pass ",
                _NAMES,
                " in the order of the labels.",
            )
        return sorted(raw, key=lambda name: int(raw[name]))
    return list(raw if isinstance(raw, Sequence) else as_builtin(raw))


def _words(raw: list[Any], source: str) -> tuple[str, ...]:
    """Turn names into words: strip and space them, drop numbers, look up WordNet ids.

    Of several lemmas of a class, the first is its name.
    """
    lemmas = [(entry,) if isinstance(entry, str) else entry for entry in raw]
    for entry in lemmas:
        if not (is_ordered_collection(entry) and len(entry) and isinstance(entry[0], str)):
            raise SetupError(
                f"{source} holds {entry!r} of type {type(entry).__name__}; expected words. Pass ",
                _NAMES,
                " with strings in the order of the labels.",
            )
    names = [str(entry[0]).strip() for entry in lemmas]
    matches = [_NUMBERED.fullmatch(name) for name in names]
    numbers = [int(match[1]) for match in matches if match]
    if numbers in (list(range(len(names))), list(range(1, len(names) + 1))):
        names = [match[2] for match in matches if match]
    known = imagenet_names(name for name in names if _WORDNET_ID.fullmatch(name))
    return tuple(known.get(name, name.replace("_", " ").strip()) for name in names)


def _warn_if_not_words(names: tuple[str, ...], source: str) -> None:
    odd = [name for name in names if _ID.fullmatch(name) or not any(map(str.isalpha, name))]
    if odd:
        warn(
            f"{len(odd)} of {len(names)} class names from {source} look like ids, not words "
            f"({', '.join(map(repr, odd[:3]))}). The attribute score compares images with the text "
            "of the names, so it needs words: pass class_names=[...] in the order of the labels."
        )
    shared = [name for name, count in Counter(names).items() if count > 1]
    if shared:
        warn(
            f"Classes share a name in {source} ({', '.join(map(repr, shared[:3]))}); their texts "
            "are equal, so no score can tell them apart. Pass distinct names: class_names=[...]."
        )
