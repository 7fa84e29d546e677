"""Batch: images and class indices, read from whatever the data loader yields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.groups import find_group, group_codes
from sing_monitor.inputs.labels import class_indices, read_attribute_pair
from sing_monitor.inputs.plain_values import describe_value

IMAGE_KEYS = ("image", "images", "pixel_values")
LABEL_KEYS = ("label", "labels", "target", "targets")
_ADAPTER = Option("batch_adapter", "lambda batch: Batch(images=..., labels=...)")
_EXAMPLE = "lambda batch: Batch(images=..., labels=..., pictures=...)"


@dataclass(frozen=True, eq=False)
class Batch:
    """One validation batch.

    Args:
        images: input of the model, (B, c, H, W) with c 1 or 3, floating or uint8; with
            ``pictures``, any input of the model, such as 13 spectral bands, tokens or video.
        labels: class indices, (B,) int64; -1 or -100 for an image without a class, which the
            monitor leaves out.
        attributes: further ground truth by name ([a-z0-9_]+): value indices (B,) and the names of
            the values.
        pictures: input of the semantic space, if that is not ``images``: (B, 1 or 3, H, W), uint8,
            in [0, 1], or normalized as ``pixel_stats`` says. Images with equal pictures count as
            one image.
        group: what each image belongs to, if several photographs, frames or copies of one object
            are among the images: object, patient, video, source file. B hashable values, or whole
            numbers (B,). Images of one group never stand on both sides of a translator.
    """

    images: Any
    labels: Tensor
    attributes: Mapping[str, tuple[Tensor, Sequence[str]]] = field(default_factory=dict)
    pictures: Tensor | None = None
    group: Any = None

    @property
    def shown(self) -> Tensor:
        """Input of the semantic space, (B, 1 or 3, H, W)."""
        shown: Tensor = self.images if self.pictures is None else self.pictures
        return shown

    def copied(self) -> Batch:
        """A batch of its own memory: whatever a step does with this one, its numbers stay there."""
        with torch.inference_mode(False), torch.no_grad():
            return Batch(
                # With pictures, what the model takes may be of any kind, and is not looked at.
                self.images.clone() if self.pictures is None else self.images,
                self.labels.clone(),
                {
                    name: (values.clone(), names)
                    for name, (values, names) in self.attributes.items()
                },
                None if self.pictures is None else self.pictures.clone(),
                self.group.clone() if isinstance(self.group, Tensor) else self.group,
            )


def unpack_batch(
    batch: object, adapter: Callable[[Any], Any] | None = None, groups: str | None = None
) -> Batch:
    """Read images and labels from whatever the data loader yields.

    Args:
        batch: a sequence ``(images, labels, ...)``, a mapping or an object with one of the names
            image, images, pixel_values and one of label, labels, target, targets, or a `Batch`.
        adapter: turns any other batch into a `Batch`, a tuple ``(images, labels)`` or
            ``(images, labels, attributes)``, or a mapping that may hold ``attributes``,
            ``pictures`` and ``group`` too.
        groups: name under which the loader's batch holds the group of each image; None: only a
            `Batch` or what the adapter returns may tell them.

    Returns:
        The batch, its labels as int64, and of its groups, if it has some, the numbers that
        :func:`group_codes` gives them. The values of tensors are neither changed nor read:
        :func:`check_labels` and :func:`check_attribute` check them, and wait for the device.

    Raises:
        SetupError: if the batch cannot be read, or holds no class index per image, or no group
            where one is named.

    Example:
        >>> unpack_batch((torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))).labels
        tensor([0, 1])
    """
    # Before the adapter, which may take the batch apart.
    named = None if groups is None else find_group(batch, groups)
    if adapter is None:
        parts, example = _find_parts(batch, "The batch"), _adapter_with_pictures(batch)
    else:
        parts, example = _adapted(batch, adapter), _EXAMPLE
    if groups is not None and parts.group is not None:
        raise SetupError(
            "The batch tells the group of each image, and ",
            Option("groups", repr(groups)),
            " names another. Give one of the two.",
        )
    return _checked(parts, parts.group if groups is None else named, example)


def _adapted(batch: object, adapter: Callable[[Any], Any]) -> Batch:
    try:
        adapted = adapter(batch)
    except Exception as error:
        raise SetupError(
            f"batch_adapter failed with {type(error).__name__}: {error}. It got "
            f"{describe_value(batch)}."
        ) from error
    parts = _find_parts(adapted, "What batch_adapter returned")
    if isinstance(adapted, Mapping):
        return replace(
            parts,
            attributes=adapted.get("attributes", {}),
            pictures=adapted.get("pictures"),
            group=adapted.get("group"),
        )
    if isinstance(adapted, Sequence) and len(adapted) > 2:
        return replace(parts, attributes=adapted[2])
    return parts


def find_images(batch: object) -> Any:
    """Find the images of a batch without any adapter, and do not check them.

    Raises:
        SetupError: if the batch does not show which part they are.
    """
    return _find_parts(batch, "The batch").images


def _find_parts(batch: object, what: str) -> Batch:
    """The parts of a batch, not checked yet."""
    if isinstance(batch, Batch):
        return batch
    if not isinstance(batch, (Tensor, str, bytes)):
        images = _find_named(batch, IMAGE_KEYS, what)
        labels = _find_named(batch, LABEL_KEYS, what)
        if images is not None and labels is not None:
            return Batch(images, labels)
        if isinstance(batch, Sequence) and len(batch) >= 2:
            return Batch(batch[0], batch[1])
    raise SetupError(
        f"{what} is {describe_value(batch)}. Expected (images, labels, ...), or a mapping or "
        f"object with one of {', '.join(IMAGE_KEYS)} and one of {', '.join(LABEL_KEYS)}. For "
        "anything else pass ",
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
            f"{what} has several of {', '.join(names)}: {describe_value(found)}. Say which one is "
            "meant: ",
            _ADAPTER,
            ".",
        )
    return next(iter(found.values()), None)


def _adapter_with_pictures(batch: object) -> str:
    """Code of an adapter that gives the space the first bands of the images of such a batch."""
    named: Callable[[str], str] = "batch.{}".format
    if isinstance(batch, Mapping):
        named = "batch[{!r}]".format
    holds = batch.__contains__ if isinstance(batch, Mapping) else partial(hasattr, batch)
    found = [next(filter(holds, names), None) for names in (IMAGE_KEYS, LABEL_KEYS)]
    if None in found:
        found, named = ["0", "1"], "batch[{}]".format
    images, labels = (named(name) for name in found if name is not None)
    return f"lambda batch: Batch({images}, {labels}, pictures={images}[:, [0, 1, 2]])"


def _checked(parts: Batch, group: Any, example: str) -> Batch:
    images, attributes, pictures = parts.images, parts.attributes, parts.pictures
    shown = parts.shown
    _check_images(shown, "images" if pictures is None else "pictures", example)
    size = len(shown)
    if pictures is not None and isinstance(images, Tensor) and images.shape[:1] != (size,):
        raise SetupError(
            f"The pictures are {describe_value(pictures)}, the images {describe_value(images)}. "
            "Give one picture for each image."
        )
    if not isinstance(attributes, Mapping):
        raise SetupError(
            f"The attributes of a batch are {describe_value(attributes)}; expected a mapping "
            "name -> (value indices of shape (B,), names of the values)."
        )
    checked = {name: read_attribute_pair(name, item, size) for name, item in attributes.items()}
    labels = class_indices(parts.labels, size, "labels")
    codes = None if group is None else group_codes(group, size)
    return Batch(images, labels, checked, pictures, codes)


def _check_images(images: Any, what: str, example: str) -> None:
    reason = None
    fix: tuple[str | Option, ...] = ("Change the data set or pass ", _ADAPTER, ".")
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
        reason = f"{images.shape[1]} channels; a gray image has 1 and a color image 3"
        bands = "[:, [0, 1, 2]]" if images.shape[1] > 3 else "[:, :1]"
        fix = (
            "Choose the channels that make up a picture for the semantic space; the model still "
            "gets all: ",
            Option("batch_adapter", example.replace("[:, [0, 1, 2]]", bands)),
            ". If the pictures are normalized, pass ",
            Option("pixel_stats", "(mean, std)"),
            ", too. Batch is imported from sing_monitor.inputs.batches.",
        )
    if reason is not None:
        raise SetupError(
            f"The {what} are {describe_value(images)}: {reason}. Expected (B, 1 or 3, H, W). ", *fix
        )
