"""Groups of images that belong together: of one object, patient, video or source file."""

from __future__ import annotations

import hashlib
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.plain_values import describe_value, is_ordered_collection
from sing_monitor.space.fingerprints import mix64

_ADAPTER = Option("batch_adapter", "lambda batch: Batch(images=..., labels=..., group=...)")
_INT64 = range(-(2**63), 2**63)


def group_codes(given: Any, size: int) -> Tensor:
    """Number the groups of a batch, in every process and every run alike.

    A whole number is scattered by :func:`mix64`, everything else by a hash of its text; so the
    code depends neither on what came before nor on Python's own, salted hashes. Numbers that are
    equal, such as 1, ``True`` and ``numpy.int64(1)``, have one code, in a list and in a tensor.

    Args:
        given: a group for each image: a sequence of B hashable values, or B whole numbers in a
            tensor, which stay on its device and are not waited for.
        size: number B of images.

    Returns:
        (B,) int64.

    Raises:
        SetupError: if there are not B groups, or one of them is missing, or has no lasting value.

    Example:
        >>> codes = group_codes(["anna", "bert", "anna"], 3)
        >>> bool(codes[0] == codes[2]), bool(codes[0] == codes[1])
        (True, False)
    """
    if isinstance(given, Tensor):
        return _codes_of_tensor(given, size)
    if not is_ordered_collection(given) and not isinstance(given, range):
        raise _refused(given, size, "that is no sequence")
    values = given if isinstance(given, Sequence) else given.tolist()
    if len(values) != size:
        raise _refused(given, size, f"these are {len(values)}")
    numbers_or_hashes = [_number_or_hash(value, size) for value in values]
    words = torch.tensor([word for word, _ in numbers_or_hashes], dtype=torch.int64)
    is_number = torch.tensor([flag for _, flag in numbers_or_hashes], dtype=torch.bool)
    return torch.where(is_number, mix64(words), words)


def find_group(batch: object, name: str) -> Any:
    """The groups of a batch under the name that the option ``groups`` gives.

    Args:
        batch: as the loader gave it.
        name: a key of a mapping, or an attribute of an object.

    Raises:
        SetupError: if the batch has nothing of that name.
    """
    if isinstance(batch, Mapping):
        if batch.get(name) is not None:
            return batch[name]
        has = f"has the keys {', '.join(map(repr, batch)) or 'none'}"
    else:
        found = getattr(batch, name, None)
        if found is not None and not callable(found):
            return found
        has = f"is {describe_value(batch)}"
    raise SetupError(
        Option("groups", repr(name)),
        f" names what tells the group of each image, but the batch {has}. Give the name of a key "
        "that every validation batch has, or hand the groups over yourself: ",
        _ADAPTER,
        ".",
    )


def _codes_of_tensor(given: Tensor, size: int) -> Tensor:
    if given.is_floating_point() or given.is_complex():
        raise _refused(given, size, "groups in a tensor are whole numbers; cast them with .long()")
    if given.shape not in ((size,), (size, 1)):
        raise _refused(given, size, f"the batch has B={size} images")
    return mix64(given.detach().reshape(size).to(torch.int64))


def _number_or_hash(value: Any, size: int) -> tuple[int, bool]:
    """A group as 64 bits, and whether they are the group itself, a whole number."""
    try:
        hash(value)
        whole = _whole(value)
        if whole is not None and whole in _INT64:
            return whole, True
        digest = hashlib.blake2b(_lasting(value).encode(), digest_size=8).digest()
    except (TypeError, ValueError) as error:
        raise _refused(value, size, str(error), "One of the groups is") from error
    return int.from_bytes(digest, "little", signed=True), False


def _whole(value: Any) -> int | None:
    """The whole number that a value is equal to, if there is one."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, numbers.Integral) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return None


def _lasting(value: Any) -> str:
    """A text of a value that is the same in every process, and another one for another value."""
    if value is None or value != value:
        raise ValueError(
            f"{value} is no group. An image that belongs to no other is a group of its own: give "
            "it a value that no other has, such as its file name"
        )
    if isinstance(value, str):
        return f"str {str(value)!r}"
    whole = _whole(value)
    if whole is not None:
        return f"int {whole}"
    if isinstance(value, tuple):
        return f"tuple {[_lasting(item) for item in value]}"
    if isinstance(value, frozenset):
        return f"frozenset {sorted(_lasting(item) for item in value)}"
    text, kind = repr(value), type(value)
    if " at 0x" in text:
        raise ValueError(
            f"{kind.__name__} has no text of its own, and would be another group in every "
            "process; give a text, a whole number or a tuple of these"
        )
    return f"{kind.__module__}.{kind.__qualname__} {text}"


def _refused(given: Any, size: int, reason: str, what: str = "The groups are") -> SetupError:
    return SetupError(
        f"{what} {describe_value(given)}: {reason}. One hashable value is needed for each of the "
        f"{size} images, such as the patient's name or the number of the video: a sequence of "
        "B values, or a tensor of whole numbers (B,): ",
        _ADAPTER,
        ".",
    )
