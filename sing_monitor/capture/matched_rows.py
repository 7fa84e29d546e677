"""From a batch as the loader gave it to the rows that the head saw of it."""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor

from sing_monitor.capture.device_rows import BatchRows
from sing_monitor.errors import Option, SetupError
from sing_monitor.head.ordinal import NO_ROWS
from sing_monitor.inputs.batches import unpack_batch
from sing_monitor.inputs.labels import has_class

_DEPTH = 3
_ADAPTER = Option("batch_adapter", "lambda batch: (images[kept], labels[kept])")
_PROBE = Option("probe", "DataLoader(...)")


def rows_of_the_head(
    batch: BatchRows, rows: int | None, failure: Exception | None = None
) -> Tensor | None:
    """Which images of a batch the head's rows belong to.

    The numbers of the labels are read, which waits for the device, only where the head saw another
    number of rows than there are images.

    Args:
        batch: as the loader gave it, B images.
        rows: how many the head saw; None where its calls could not be used.
        failure: why they could not.

    Returns:
        None for all images in their order; else the numbers of those that have a class, (R,) on the
        CPU.

    Raises:
        ValueError: if it is not certain.
    """
    if rows == len(batch):
        return None
    labeled = has_class(batch.labels).cpu().nonzero().flatten()
    if len(labeled) == (rows or 0) and len(labeled) < len(batch):
        return labeled
    if failure is not None:
        raise failure
    raise _mismatch(rows or 0, len(batch), len(labeled))


def _mismatch(rows: int, images: int, labeled: int) -> SetupError:
    saw = f"the head saw {rows} features for a batch of {images} images"
    need = "one feature vector for each image is needed"
    if rows > images and rows % images == 0:
        views = rows // images
        return SetupError(
            f"{saw}; {need}. If these are {views} views of each image, stacked along the batch, "
            "their order cannot be known here. Stack images and labels as the step does, ",
            Option(
                "batch_adapter",
                f"lambda batch: (torch.cat(views), labels.repeat({views}))",
            ),
            " (each view then counts as an image), or give a loader of single images, on which "
            "the module's forward runs: ",
            _PROBE,
            ".",
        )
    without = "" if labeled == images else f", {labeled} of which have a label other than -1, -100"
    return SetupError(
        f"{saw}{without}; {need}. If the step leaves images out, leave out the same ones with ",
        _ADAPTER,
        ", or give a loader of images that all have a class, on which the module's forward runs: ",
        _PROBE,
        ".",
    )


@contextmanager
def batch_for_adapter(batch: Any, *, is_first: bool) -> Generator[Any, None, None]:
    """A batch whose containers the user's ``batch_adapter`` may change, as validation_step follows.

    Args:
        batch: as the loader gave it.
        is_first: also make sure that the adapter changes no tensor in place, which waits for the
            device. If it does, the tensor is as before afterwards.

    Raises:
        SetupError: if the adapter has changed a tensor in place.
    """
    before = [(tensor, tensor.clone()) for tensor in tensors_in(batch)] if is_first else []
    changed = False
    try:
        yield shallow(batch)
    finally:
        for tensor, kept in before:
            if tensor.shape == kept.shape and not _same(tensor, kept):
                changed = True
                tensor.copy_(kept)
    if changed:
        raise SetupError(
            "batch_adapter changes a tensor of the batch in place, and the validation step would "
            "see that. Return new tensors: x / 255 instead of x.div_(255), x.clone() before x[...] "
            "= ..."
        )


def reorders_labels(raw_batch: Any, labels: Tensor) -> bool:
    """Whether an adapter renumbers the labels of a batch so that their order is another one.

    Counting from 0 instead of 1 keeps the order, and so the names. Waits for the device.

    Args:
        raw_batch: as the loader gave it.
        labels: as the adapter gives them, (B,).
    """
    try:
        given = unpack_batch(raw_batch).labels
    except SetupError:  # a batch that only the adapter understands
        return False
    if given.shape != labels.shape:
        return False
    pairs = set(zip(given.tolist(), labels.tolist(), strict=True))
    old, new = ({pair[side] for pair in pairs} for side in (0, 1))
    is_renumbering = len(old) == len(new) == len(pairs)
    return is_renumbering and [each for _, each in sorted(pairs)] != sorted(new)


def largest_of_all(raw_batch: Any) -> int | None:
    """The largest label of a batch as the loader gave it, where its labels begin with 0."""
    try:
        given = unpack_batch(raw_batch).labels
    except SetupError:
        return None
    given = given[has_class(given)]
    return int(given.max()) if len(given) and int(given.min()) == 0 else None


def one_less(classes: int) -> str:
    """A warning where ``batch_adapter`` makes one class less of the labels 0 to ``classes``."""
    return (
        f"the labels of the batches run from 0 to {classes}, and batch_adapter brings them into "
        f"the range of the head's {classes} outputs. If it merges classes as the training does, "
        "all is well. If the outputs are thresholds between ordered classes, it is not: "
        f"{NO_ROWS}, and no number of the monitor means anything."
    )


def shallow(value: Any, depth: int = _DEPTH) -> Any:
    """A copy of the containers of a batch, with the same tensors in them."""
    if isinstance(value, Tensor) or depth == 0:
        return value
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(shallow(item, depth - 1) for item in value)
    if type(value) is list:
        return [shallow(item, depth - 1) for item in value]
    if not isinstance(value, Mapping) and not _has_fields(value):
        return value
    try:
        copied = copy.copy(value)
        if type(value) is dict:
            copied.update({key: shallow(item, depth - 1) for key, item in value.items()})
    except Exception:  # someone else's class may not be made to be copied
        return value
    return copied


def tensors_in(value: Any, depth: int = _DEPTH) -> list[Tensor]:
    """The tensors that a batch holds."""
    if isinstance(value, Tensor):
        return [value]
    if depth == 0:
        return []
    items: list[Any] = []
    if isinstance(value, Mapping):
        items = list(value.values())
    elif isinstance(value, (list, tuple)):
        items = list(value)
    elif _has_fields(value):
        items = list(vars(value).values())
    return [tensor for item in items for tensor in tensors_in(item, depth - 1)]


def _has_fields(value: Any) -> bool:
    return is_dataclass(value) or (hasattr(value, "__dict__") and not callable(value))


def _same(one: Tensor, other: Tensor) -> bool:
    # NaN is what it was before.
    return bool(torch.equal(one.nan_to_num(), other.nan_to_num()))


def called_on_parts(calls: int, rows: int, images: int) -> SetupError:
    """Error for a head that was called several times, with other rows than the batch has images."""
    return SetupError(
        f"the head was called {calls} times for a batch of {images} images, with {rows} rows each, "
        "so it is not clear which images they belong to. Call it once for each batch, or give a "
        "loader on which forward does: ",
        Option("probe", "DataLoader(...)"),
        ".",
    )
