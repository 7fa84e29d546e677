"""Data sets inside wrappers, and the timm configs inside models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.utils.data import Dataset


def read_attribute(owner: object, name: str) -> Any:
    """Read an attribute of an object of the user's; None if it is missing or raises an error."""
    try:
        return getattr(owner, name, None)
    except Exception:  # a property may fail in any way before its owner is set up
        return None


def wrapped_datasets(dataset: object) -> tuple[object, ...]:
    """List the data sets in ``.dataset`` (as Subset) and ``.datasets`` (as ConcatDataset)."""
    held = read_attribute(dataset, "datasets")
    if isinstance(held, Mapping):
        held = tuple(held.values())
    several = tuple(held) if isinstance(held, (list, tuple)) else ()
    found = (read_attribute(dataset, "dataset"), *several)
    return tuple(inner for inner in found if inner is not None and inner is not dataset)


def wrapped_under_any_name(dataset: object) -> tuple[object, ...]:
    """List the data sets that a data set wraps, under the usual names or else under any name."""
    inside = wrapped_datasets(dataset)
    if inside or not isinstance(dataset, Dataset):
        return inside
    values = getattr(dataset, "__dict__", {}).values()
    lists = [each if isinstance(each, (list, tuple)) else (each,) for each in values]
    found = [each for each in lists if all(isinstance(inner, Dataset) for inner in each)]
    return tuple(inner for each in found for inner in each if inner is not dataset)


def pretrained_configs(model: nn.Module | None) -> Iterator[dict[str, Any]]:
    """Iterate over the timm configs (``pretrained_cfg``, ``default_cfg``) inside a module."""
    for module in model.modules() if model is not None else ():
        for name in ("pretrained_cfg", "default_cfg"):
            config = getattr(module, name, None)
            if isinstance(config, Mapping):
                yield dict(config)
                break
