"""Labels and attributes of a batch: class indices, and the checks of their range."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sing_monitor.errors import Option, SetupError
from sing_monitor.head.ordinal import NO_ROWS, are_cumulative
from sing_monitor.inputs.plain_values import as_builtin, describe_value, is_ordered_collection

# Labels of images without a class, as torch's losses (ignore_index) and data sets write them.
NO_CLASS = (-1, -100)
_ADAPTER = Option("batch_adapter", "lambda batch: Batch(images=..., labels=...)")
_SUBTRACT_ONE = Option("batch_adapter", "lambda batch: Batch(images=..., labels=... - 1)")


def has_class(labels: Tensor) -> Tensor:
    """Tell the labels that name a class, all but -1 and -100, from the others: (B,) bool.

    Example:
        >>> has_class(torch.tensor([2, -1, 0, -100])).tolist()
        [True, False, True, False]
    """
    unlabeled, ignored = NO_CLASS
    return (labels != unlabeled) & (labels != ignored)


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Check that every label, (B,), is an output of the head: 0 to ``num_classes - 1``.

    Labels -1 and -100 stand for images without a class and are allowed.

    Raises:
        SetupError: if a label lies outside; the message names it and the head's number of outputs.
    """
    labels = labels[has_class(labels)]
    if labels.numel() == 0:
        return
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < num_classes:
        return
    raise SetupError(
        f"A label of the validation data is {low if low < 0 else high}, but the head has "
        f"C={num_classes} outputs, so labels must lie in 0..{num_classes - 1}; these lie in "
        f"{low}..{high}. ",
        *_label_advice(low, high, num_classes),
    )


def _label_advice(low: int, high: int, num_classes: int) -> tuple[str | Option, ...]:
    ordinal = f"{NO_ROWS} and is not supported: {num_classes + 1} outputs are needed."
    if low == 0 and high == num_classes:
        return (
            f"{ordinal} Otherwise the head lacks an output, or the data have a class too many.",
        )
    if low >= 1 and high == num_classes:
        return (
            "If labels count from 1, subtract 1: ",
            _SUBTRACT_ONE,
            f". {ordinal} There the label 0 occurs, too.",
        )
    if low < 0:
        return (
            "Images without a class must have the label -1 or -100, or be left out; ",
            _ADAPTER,
            " can do both.",
        )
    return (
        "The monitored head does not predict these labels, or images of other classes must be "
        "left out, or their labels set to -1; ",
        _ADAPTER,
        " can do both.",
    )


def check_attribute(name: str, values: Tensor, names: Sequence[str]) -> None:
    """Check that every value, (B,), has a name: 0 to ``len(names) - 1``.

    Raises:
        SetupError: if a value lies outside; the message names the range.
    """
    if values.numel() == 0:
        return
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= len(names):
        raise SetupError(
            f"The attribute {name!r} has indices from {low} to {high}, but {len(names)} value "
            f"names, so they must lie in 0..{len(names) - 1}."
        )


def class_indices(labels: Any, size: int, what: str) -> Tensor:
    """Convert labels to class indices, (B,) int64.

    Booleans become 0 and 1, a last axis of length 1 is dropped.

    Args:
        labels: as the batch holds them.
        size: number B of images.
        what: names the labels in the message.

    Raises:
        SetupError: if they are not one class index per image.
    """
    reason = None
    if not isinstance(labels, Tensor):
        reason = "that is no tensor; use torch.tensor(...)"
    elif are_cumulative(labels):
        reason = (
            f"rows 1..1 0..0, the targets of thresholds between {labels.shape[1] + 1} ordered "
            f"classes. {NO_ROWS}, and is not supported. If the head has {labels.shape[1] + 1} "
            "outputs, .sum(dim=1) gives its classes"
        )
    elif labels.is_floating_point() or labels.is_complex():
        reason = "these are multi-label or soft labels (mixup, label smoothing in the batch)"
        if labels.ndim == 1:
            reason += " or targets of a regression; class indices are cast with .long()"
    elif labels.ndim >= 3:
        reason = "one label per pixel is dense prediction, which is not supported"
    elif labels.ndim == 2 and labels.shape[1] != 1:
        reason = (
            "these are multi-label or soft labels (mixup, label smoothing in the batch); "
            "one-hot labels become indices with .argmax(dim=1)"
        )
    elif labels.ndim == 0 or len(labels) != size:
        reason = f"the batch has B={size} images"
    if reason is not None:
        raise SetupError(
            f"The {what} are {describe_value(labels)}: {reason}. SING needs one class index per "
            "image: an integer tensor of shape (B,). Change the data set or pass ",
            _ADAPTER,
            ".",
        )
    indices: Tensor = labels.reshape(size).to(torch.int64)
    return indices


def read_attribute_pair(name: Any, item: Any, size: int) -> tuple[Tensor, tuple[str, ...]]:
    """Read an annotated attribute of a batch: value indices (B,) int64 and names of the values.

    Args:
        name: of the attribute.
        item: as the batch holds it.
        size: number B of images.

    Raises:
        SetupError: if the name cannot be part of a metric's key, or the item is no such pair.
    """
    if not isinstance(name, str) or re.fullmatch("[a-z0-9_]+", name) is None:
        raise SetupError(
            f"The attribute name {name!r} becomes part of a metric's key; use only a-z, 0-9 and _."
        )
    if not is_ordered_collection(item) or len(item) != 2 or not _are_words(as_builtin(item[1])):
        raise SetupError(
            f"The attribute {name!r} is {describe_value(item)}; expected a pair (value indices of "
            "shape (B,), names of the values such as ['red', 'green'])."
        )
    return class_indices(item[0], size, f"indices of attribute {name!r}"), tuple(
        as_builtin(item[1])
    )


def _are_words(names: Any) -> bool:
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        return False
    return all(isinstance(name, str) and name.strip() for name in names)
