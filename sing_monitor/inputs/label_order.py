"""NamedLabels: names by label, after every ``target_transform`` on the way to the loader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.datasets import read_attribute, wrapped_under_any_name
from sing_monitor.no_trace import no_trace

_REPEATS = 16


@dataclass(frozen=True)
class NamedLabels:
    """Names by label.

    Args:
        names: label -> its names in the data sets; several where a transform merges classes. A
            class without a label is left out.
        source: the attribute that held the names.
        renumbered_by: type of the data set whose ``target_transform`` changes labels, or None.
    """

    names: Mapping[int, tuple[Any, ...]]
    source: str
    renumbered_by: str | None = None

    @classmethod
    def in_order(cls, names: Sequence[Any], source: str) -> NamedLabels:
        """Give names to the labels 0, 1, 2, ..."""
        return cls({label: (name,) for label, name in enumerate(names)}, source)

    def under(self, owner: object) -> NamedLabels:
        """Apply the ``target_transform`` of the data set that has these labels.

        Raises:
            SetupError: if the transform is random, or gives no class index for any label.
        """
        transform = target_transform_of(owner)
        if transform is None:
            return self
        kind = type(owner).__name__
        old = list(self.names)
        labels = _new_labels(transform, old, [names[0] for names in self.names.values()], kind)
        if labels == old:
            return self
        if all(label is None for label in labels):
            raise _unknown(
                kind, f"gives no class index for the labels {old[0]} to {old[-1]} alone", len(old)
            )
        moved: dict[int, tuple[Any, ...]] = {}
        for label, names in zip(labels, self.names.values(), strict=True):
            if label is not None:
                moved[label] = (*moved.get(label, ()), *names)
        return NamedLabels(moved, self.source, kind)

    def listed(self, num_classes: int) -> list[Any]:
        """List the names in the order of the labels.

        Args:
            num_classes: C, of the head; labels beyond it do not occur.

        Raises:
            SetupError: if a renumbered label has no name, or several.
        """
        if self.renumbered_by is None:
            return [self.names[label][0] for label in sorted(self.names)]
        found: list[Any] = []
        for label in range(num_classes):
            names = self.names.get(label, ())
            if len(names) == 1:
                found.append(names[0])
                continue
            reason = (
                f"gives {' and '.join(map(repr, names[:3]))} the same label {label}"
                if names
                else f"gives the label {label} to none of the {len(self.names)} names"
            )
            raise _unknown(self.renumbered_by, reason, num_classes)
        return found


def target_transform_of(dataset: object) -> Callable[[Any], Any] | None:
    """``target_transform`` of a data set, also the one inside torchvision's ``transforms``."""
    own = read_attribute(dataset, "target_transform")
    if own is None:
        own = read_attribute(read_attribute(dataset, "transforms"), "target_transform")
    return own if callable(own) else None


def refuse_two_orders(
    owner: object, inside: Sequence[object], names: Sequence[Any], source: str
) -> None:
    """Raise an error if a wrapper names classes before or after a permutation of the labels inside.

    Args:
        owner: the wrapper with the names.
        inside: the data sets of its samples; the owner too, if its own transform is meant for
            them.
        names: of the owner.
        source: the attribute that held the names.

    Raises:
        SetupError: if a ``target_transform`` inside only changes the order of the labels.
    """
    own = target_transform_of(owner)
    # A wrapper that forwards every attribute of the data set inside forwards names and transform.
    is_own = "target_transform" in getattr(owner, "__dict__", {})
    is_inside = any(owner is each for each in inside)
    forwarded = None if is_own or is_inside else own
    pending: list[object] = list(inside)
    seen: list[object] = [] if is_inside else [owner]
    while pending:
        dataset = pending.pop()
        if any(dataset is each for each in seen):
            continue
        seen.append(dataset)
        pending += wrapped_under_any_name(dataset)
        transform = target_transform_of(dataset)
        if transform is None or transform is forwarded:
            continue
        kind, order = type(dataset).__name__, list(range(len(names)))
        labels = _new_labels(transform, order, names, kind)
        if labels != order and sorted(label for label in labels if label is not None) == order:
            raise _unknown(
                kind, f"changes their order, before or after which {source} may stand", len(names)
            )


def _new_labels(
    transform: Callable[[Any], Any], labels: Sequence[int], names: Sequence[Any], kind: str
) -> list[int | None]:
    """Labels after a transform; None where the result is no class index."""
    spellings: tuple[Sequence[Any], ...] = (labels, [torch.tensor(each) for each in labels], names)
    for spelled in spellings:
        with no_trace():
            first = [_label(transform, each) for each in spelled]
            # A transform that gives the same labels this often is not random.
            again = ([_label(transform, each) for each in spelled] for _ in range(_REPEATS))
            if any(drawn != first for drawn in again):
                raise _unknown(kind, "gives other labels each time", len(labels))
        if any(label is not None for label in first):
            return first
    return [None] * len(labels)


def _label(transform: Callable[[Any], Any], target: Any) -> int | None:
    try:
        found = transform(target)
    except Exception:  # the user's code may raise anything for a target that does not occur
        return None
    if hasattr(found, "tolist"):  # tensors and arrays
        found = found.tolist()
    if isinstance(found, (list, tuple)):
        flat = list(found)
        if len(flat) == 1:
            found = flat[0]
        elif flat.count(1) == 1 and flat.count(0) == len(flat) - 1:  # one-hot
            found = flat.index(1)
    return int(found) if isinstance(found, Integral) else None


def _unknown(kind: str, reason: str, count: int) -> SetupError:
    return SetupError(
        f"The target_transform of the validation data ({kind}) renumbers the labels, and it "
        f"{reason}. So the label of each name is unknown. Pass ",
        Option("class_names", '["...", ...]'),
        f" with {count} names in the order of the labels that the model sees.",
    )
