"""What a batch means: its images, its class indices, and where a data set or model says more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.plain_values import is_listing, plain

IMAGE_KEYS = ("image", "images", "pixel_values")
LABEL_KEYS = ("label", "labels", "target", "targets")
_ADAPTER = Option("batch_adapter", "lambda batch: Batch(images=..., labels=...)")
# What torch's losses (ignore_index) and data sets without a label for each image use.
NO_CLASS = (-1, -100)
_SUBTRACT_ONE = Option("batch_adapter", "lambda batch: Batch(images=..., labels=... - 1)")


@dataclass(frozen=True, eq=False)
class Batch:
    """One validation batch.

    Args:
        images: what the model sees, (B, c, H, W) with c 1 or 3, floating or uint8; with
            ``pictures``, whatever the model takes, such as 13 spectral bands, tokens or video.
        labels: class indices, (B,) int64; -1 or -100 for an image without a class, which is left
            out.
        attributes: further ground truth by name ([a-z0-9_]+): value indices (B,) and the names of
            the values.
        pictures: what the semantic space sees, where that is not ``images``: (B, 1 or 3, H, W),
            uint8, in [0, 1], or normalised as ``pixel_stats`` says. Images whose pictures are equal
            count as one image.
    """

    images: Any
    labels: Tensor
    attributes: Mapping[str, tuple[Tensor, Sequence[str]]] = field(default_factory=dict)
    pictures: Tensor | None = None

    @property
    def shown(self) -> Tensor:
        """What the semantic space sees, (B, 1 or 3, H, W)."""
        shown: Tensor = self.images if self.pictures is None else self.pictures
        return shown


def unpack_batch(batch: object, adapter: Callable[[Any], Any] | None = None) -> Batch:
    """Find images and labels in whatever the data loader yields.

    Args:
        batch: a sequence ``(images, labels, ...)``, a mapping or an object with one of the names
            image, images, pixel_values and one of label, labels, target, targets, or a `Batch`.
        adapter: turns any other batch into a `Batch`, a tuple ``(images, labels)`` or
            ``(images, labels, attributes)``, or a mapping that may hold ``attributes`` and
            ``pictures`` too.

    Returns:
        The batch, its labels as int64. No tensor of the given batch is changed, and none is read:
        whether the labels are possible is left to :func:`check_labels` and
        :func:`check_attribute`, which wait for the device.

    Raises:
        SetupError: if the batch cannot be read, or holds no class index per image.

    Example:
        >>> unpack_batch((torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))).labels
        tensor([0, 1])
    """
    if adapter is None:
        return _checked(*_find_parts(batch, "The batch"), _with_pictures(batch))
    try:
        adapted = adapter(batch)
    except Exception as error:
        raise SetupError(
            f"batch_adapter failed with {type(error).__name__}: {error}. It was given "
            f"{describe(batch)}."
        ) from error
    images, labels, attributes, pictures = _find_parts(adapted, "What batch_adapter returned")
    if isinstance(adapted, Mapping):
        attributes, pictures = adapted.get("attributes", {}), adapted.get("pictures")
    elif isinstance(adapted, Sequence) and len(adapted) > 2:
        attributes = adapted[2]
    example = "lambda batch: Batch(images=..., labels=..., pictures=...)"
    return _checked(images, labels, attributes, pictures, example)


def find_images(batch: object) -> Any:
    """What the images of a batch are without any adapter, unchecked.

    Raises:
        SetupError: if they cannot be told.
    """
    return _find_parts(batch, "The batch")[0]


def has_class(labels: Tensor) -> Tensor:
    """Which labels name a class, (B,) bool on their device: all but -1 and -100.

    Example:
        >>> has_class(torch.tensor([2, -1, 0, -100])).tolist()
        [True, False, True, False]
    """
    unlabeled, ignored = NO_CLASS
    return (labels != unlabeled) & (labels != ignored)


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Check that every label, (B,), is an output of the head: 0 to ``num_classes - 1``.

    Images of label -1 or -100 have no class; they are no error.

    Raises:
        SetupError: naming the worst value and the head's number of outputs.
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
    ordinal = (
        f"An ordinal head (CORAL, CORN), whose K-1 outputs are thresholds between K classes, has "
        f"no row for each class and is not supported: a head with {num_classes + 1} outputs is "
        "needed."
    )
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
        "The head watched is not the one that predicts these labels, or images of other classes "
        "must be left out, or their labels set to -1; ",
        _ADAPTER,
        " can do both.",
    )


def check_attribute(name: str, values: Tensor, names: Sequence[str]) -> None:
    """Check that every value, (B,), has a name: 0 to ``len(names) - 1``.

    Raises:
        SetupError: naming the range of the values and the number of names.
    """
    if values.numel() == 0:
        return
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= len(names):
        raise SetupError(
            f"The attribute {name!r} has indices from {low} to {high}, but {len(names)} value "
            f"names, so they must lie in 0..{len(names) - 1}."
        )


def read_attribute(owner: object, name: str) -> Any:
    """An attribute of someone else's object; None where it is absent or not ready yet."""
    try:
        return getattr(owner, name, None)
    except Exception:  # a property may fail in any way before its owner is set up
        return None


def inner_datasets(dataset: object) -> tuple[object, ...]:
    """The data sets that a wrapper holds: ``.dataset`` (Subset), ``.datasets`` (ConcatDataset)."""
    held = read_attribute(dataset, "datasets")
    if isinstance(held, Mapping):
        held = tuple(held.values())
    several = tuple(held) if isinstance(held, (list, tuple)) else ()
    found = (read_attribute(dataset, "dataset"), *several)
    return tuple(inner for inner in found if inner is not None and inner is not dataset)


def held_datasets(dataset: object) -> tuple[object, ...]:
    """Those of :func:`inner_datasets`; without any, all that a data set keeps under other names."""
    inside = inner_datasets(dataset)
    if inside or not isinstance(dataset, Dataset):
        return inside
    values = getattr(dataset, "__dict__", {}).values()
    lists = [each if isinstance(each, (list, tuple)) else (each,) for each in values]
    found = [each for each in lists if all(isinstance(inner, Dataset) for inner in each)]
    return tuple(inner for each in found for inner in each if inner is not dataset)


def pretrained_configs(model: nn.Module | None) -> Iterator[dict[str, Any]]:
    """The timm configs (``pretrained_cfg``, ``default_cfg``) found anywhere inside a module."""
    for module in model.modules() if model is not None else ():
        for name in ("pretrained_cfg", "default_cfg"):
            config = getattr(module, name, None)
            if isinstance(config, Mapping):
                yield dict(config)
                break


def describe(value: object, depth: int = 2) -> str:
    """What a value is, for an error message: type, shapes, and one or two levels of content."""
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"Tensor {dtype} {tuple(value.shape)}"
    kind = type(value).__name__
    if depth and isinstance(value, Mapping):
        parts = [f"{key!r}: {describe(item, depth - 1)}" for key, item in value.items()]
    elif depth and isinstance(value, (list, tuple)):
        parts = [describe(item, depth - 1) for item in value]
    else:
        return kind
    return f"{kind} with [{', '.join(parts[:8])}{', ...' if len(parts) > 8 else ''}]"


def _find_parts(batch: object, what: str) -> tuple[Any, Any, Any, Any]:
    if isinstance(batch, Batch):
        return batch.images, batch.labels, batch.attributes, batch.pictures
    if not isinstance(batch, (Tensor, str, bytes)):
        images = _find_named(batch, IMAGE_KEYS, what)
        labels = _find_named(batch, LABEL_KEYS, what)
        if images is not None and labels is not None:
            return images, labels, {}, None
        if isinstance(batch, Sequence) and len(batch) >= 2:
            return batch[0], batch[1], {}, None
    raise SetupError(
        f"{what} is {describe(batch)}. Expected (images, labels, ...), or a mapping or object with "
        f"one of {', '.join(IMAGE_KEYS)} and one of {', '.join(LABEL_KEYS)}. For anything else "
        "pass ",
        _ADAPTER,
        "; Batch is imported from sing_monitor.inputs.batches.",
    )


def _find_named(batch: object, names: tuple[str, ...], what: str) -> Any:
    if isinstance(batch, Mapping):
        found = {name: batch[name] for name in names if batch.get(name) is not None}
    else:
        values = {name: getattr(batch, name, None) for name in names}
        found = {name: value for name, value in values.items() if value is not None}
    if len({id(value) for value in found.values()}) > 1:
        raise SetupError(
            f"{what} has several of {', '.join(names)}: {describe(found)}. Say which one is "
            "meant: ",
            _ADAPTER,
            ".",
        )
    return next(iter(found.values()), None)


def _with_pictures(batch: object) -> str:
    """An adapter that gives the space the first bands of the images of such a batch."""
    named: Callable[[str], str] = "batch.{}".format
    if isinstance(batch, Mapping):
        named = "batch[{!r}]".format
    holds = batch.__contains__ if isinstance(batch, Mapping) else partial(hasattr, batch)
    found = [next(filter(holds, names), None) for names in (IMAGE_KEYS, LABEL_KEYS)]
    if None in found:
        found, named = ["0", "1"], "batch[{}]".format
    images, labels = (named(name) for name in found if name is not None)
    return f"lambda batch: Batch({images}, {labels}, pictures={images}[:, [0, 1, 2]])"


def _checked(images: Any, labels: Any, attributes: Any, pictures: Any, example: str) -> Batch:
    shown = images if pictures is None else pictures
    _check_images(shown, "images" if pictures is None else "pictures", example)
    size = len(shown)
    if pictures is not None and isinstance(images, Tensor) and images.shape[:1] != (size,):
        raise SetupError(
            f"The pictures are {describe(pictures)}, the images {describe(images)}: one picture "
            "belongs to each image."
        )
    if not isinstance(attributes, Mapping):
        raise SetupError(
            f"The attributes of a batch are {describe(attributes)}; expected a mapping "
            "name -> (value indices of shape (B,), names of the values)."
        )
    checked = {name: _check_attribute(name, item, size) for name, item in attributes.items()}
    return Batch(images, _class_indices(labels, size, "labels"), checked, pictures)


def _check_images(images: Any, what: str, example: str) -> None:
    reason = None
    fix: tuple[str | Option, ...] = ("Mend the data set or pass ", _ADAPTER, ".")
    if not isinstance(images, Tensor):
        reason = "that is no tensor; images of unequal size must be resized and stacked"
    elif images.dtype != torch.uint8 and not images.is_floating_point():
        reason = "pixels must be floating or uint8"
    elif images.ndim == 5:
        reason = "five axes are video, volumes or several views; the batch needs one image each"
    elif images.ndim == 3:
        reason = "the channel axis is missing: images.unsqueeze(1)"
    elif images.ndim != 4:
        reason = "flattened or incomplete images must be brought to four axes"
    elif images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        reason = "the channels stand last: images.permute(0, 3, 1, 2)"
    elif images.shape[1] not in (1, 3):
        reason = f"{images.shape[1]} channels; a grey image has 1 and a colour image 3"
        bands = "[:, [0, 1, 2]]" if images.shape[1] > 3 else "[:, :1]"
        fix = (
            "Say which channels make up a picture for the semantic space, while the model goes on "
            "seeing all: ",
            Option("batch_adapter", example.replace("[:, [0, 1, 2]]", bands)),
            ". Where the pictures are normalised, pass ",
            Option("pixel_stats", "(mean, std)"),
            ", too. Batch is imported from sing_monitor.inputs.batches.",
        )
    if reason is not None:
        raise SetupError(
            f"The {what} are {describe(images)}: {reason}. Expected (B, 1 or 3, H, W). ", *fix
        )


def _class_indices(labels: Any, size: int, what: str) -> Tensor:
    """Labels as (B,) int64; booleans become 0 and 1, a last axis of length 1 is dropped."""
    reason = None
    if not isinstance(labels, Tensor):
        reason = "that is no tensor; use torch.tensor(...)"
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
            f"The {what} are {describe(labels)}: {reason}. SING needs one class index per image: "
            "an integer tensor of shape (B,). Change the data set or pass ",
            _ADAPTER,
            ".",
        )
    indices: Tensor = labels.reshape(size).to(torch.int64)
    return indices


def _check_attribute(name: Any, item: Any, size: int) -> tuple[Tensor, tuple[str, ...]]:
    if not isinstance(name, str) or re.fullmatch("[a-z0-9_]+", name) is None:
        raise SetupError(
            f"The attribute name {name!r} becomes part of a metric's key; use only a-z, 0-9 and _."
        )
    if not is_listing(item) or len(item) != 2 or not _are_words(plain(item[1])):
        raise SetupError(
            f"The attribute {name!r} is {describe(item)}; expected a pair (value indices of shape "
            "(B,), names of the values such as ['red', 'green'])."
        )
    return _class_indices(item[0], size, f"indices of attribute {name!r}"), tuple(plain(item[1]))


def _are_words(names: Any) -> bool:
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        return False
    return all(isinstance(name, str) and name.strip() for name in names)
