"""Statistics (mean, std) in the Normalize of a data set, a loader or an image processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.data import StackDataset

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.datasets import read_attribute, wrapped_under_any_name

Scale = TypeVar("Scale")
Stats = tuple[Any, Any]
# Names under which timm's, Accelerate's and Lightning Fabric's loaders hold the one they wrap. The
# last is private to Fabric, which has no public name for it.
_LOADERS = ("loader", "dataloader", "_dataloader")


def loader_stats(loader: object) -> list[Stats]:
    """Find (mean, std) with which a loader normalizes images itself, as timm's PrefetchLoader.

    Args:
        loader: any loader, which may wrap another one.
    """
    seen: list[object] = []
    while loader is not None and not any(loader is each for each in seen):
        mean, std = read_attribute(loader, "mean"), read_attribute(loader, "std")
        if mean is not None and std is not None and not callable(mean):
            return [(mean, std)]
        seen.append(loader)
        inner = (read_attribute(seen[-1], name) for name in _LOADERS)
        loader = next((each for each in inner if each is not None), None)
    return []


def image_processor_of(processor: object) -> object | None:
    """The image processor in one of transformers', which may be it, or hold it; None without."""
    for each in (processor, read_attribute(processor, "image_processor")):
        flags = (read_attribute(each, name) for name in ("do_normalize", "do_rescale"))
        if any(isinstance(flag, bool) for flag in flags):
            return each
    return None


def processor_stats(processor: object) -> list[Stats]:
    """Statistics with which an image processor of transformers may have normalized images.

    It multiplies levels of 0..255 by ``rescale_factor`` and then normalizes. If it does the latter
    alone, it may have been given levels, or pixels in [0, 1].

    Args:
        processor: from :func:`image_processor_of`.

    Returns:
        (mean, std) in units of pixels in [0, 1], the likeliest first; empty where they are no
        numbers.

    Example::

        >>> from types import SimpleNamespace as Some
        >>> processor_stats(Some(do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
        ...                      image_mean=[0.5], image_std=[0.25]))
        [([0.5], [0.25])]
        >>> processor_stats(Some(do_rescale=False, do_normalize=False))[0]
        ([0.0], [0.00392156862745098])
    """

    def read(name: str, instead: Any) -> Any:
        found = read_attribute(processor, name)
        return instead if found is None else found

    normalizes, rescales = read("do_normalize", False), read("do_rescale", False)
    stats = (read("image_mean", 0.0), read("image_std", 1.0)) if normalizes else (0.0, 1.0)
    units = [255 * read("rescale_factor", 1 / 255)] if rescales else [255, 1]
    try:
        mean, std = (torch.as_tensor(each, dtype=torch.float64).flatten() for each in stats)
        return [((mean / unit).tolist(), (std / unit).tolist()) for unit in units]
    except (TypeError, ValueError, RuntimeError):
        return []


def dataset_stats(
    dataset: object, parse: Callable[[Stats], Scale], above: tuple[object, ...] = ()
) -> list[Scale]:
    """Find the distinct statistics of every Normalize in a data set and in those that it wraps.

    Args:
        dataset: wrapped or not, or None.
        parse: converts (mean, std) to a value that compares equal for equal statistics.
        above: the wrappers around the data set.

    Raises:
        SetupError: if parts are normalized differently, and each sample comes from one of them, as
            in a ConcatDataset.
    """
    path = (*above, dataset)
    found = [
        parse(stats)
        for name in ("transform", "transforms")
        for stats in _walk(read_attribute(dataset, name))
    ]
    inner = [
        each for each in wrapped_under_any_name(dataset) if not any(each is one for one in path)
    ]
    of_parts = [dataset_stats(each, parse, path) for each in inner]
    parts = _alternatives(dataset)
    named = [
        (place, each, stats)
        for place, part in enumerate(parts)
        for each, stats in zip(inner, of_parts, strict=True)
        if each is part
    ]
    if any(set(stats) != set(named[0][2]) for *_, stats in named):
        raise _parts_differ(dataset, named)
    return list(dict.fromkeys([*found, *(scale for stats in of_parts for scale in stats)]))


def _alternatives(dataset: object) -> tuple[object, ...]:
    """Parts of a data set, if each sample comes from one; in a StackDataset it comes from all."""
    parts = read_attribute(dataset, "datasets")
    is_choice = isinstance(parts, (list, tuple)) and not isinstance(dataset, StackDataset)
    return tuple(parts) if is_choice else ()


def _parts_differ(
    dataset: object, named: Sequence[tuple[int, object, Sequence[Any]]]
) -> SetupError:
    lines = [
        f"datasets[{place}] ({type(part).__name__}) with "
        + (" and ".join(map(str, stats)) if stats else "no Normalize that is found")
        for place, part, stats in named
    ]
    distinct = list(dict.fromkeys(lines))[:6]
    return SetupError(
        f"The parts of the validation data ({type(dataset).__name__}) are normalized differently: "
        f"{'; '.join(distinct)}. No one pair of statistics brings both back to [0, 1]. Give all "
        "parts the same Normalize. If all are normalized alike after all, pass ",
        Option("pixel_stats", "(mean, std)"),
        ". Otherwise give pixels in [0, 1] beside the images: ",
        Option("batch_adapter", "lambda batch: Batch(images=..., labels=..., pictures=...)"),
        ".",
    )


def _walk(transform: Any) -> Iterator[Stats]:
    """Iterate over (mean, std) of every Normalize in a transform, at any depth."""
    # Compared by name, so that torchvision's (v1, v2, presets), albumentations', kornia's and the
    # user's own classes all count. Albumentations' other modes take the statistics from each image,
    # so they cannot be undone.
    names = {each.__name__ for each in type(transform).__mro__}
    fixed = getattr(transform, "normalization", "standard") == "standard"
    if names & {"Normalize", "ImageClassification"} and fixed:
        # Kornia's augmentation keeps its numbers in ``flags``.
        flags = getattr(transform, "flags", None)
        flags = flags if isinstance(flags, Mapping) else {}
        mean, std = (flags.get(name, getattr(transform, name, None)) for name in ("mean", "std"))
        if mean is not None and std is not None:
            yield mean, std
            return
    inside = [getattr(transform, "transform", None)]
    several = getattr(transform, "transforms", None)
    if isinstance(transform, (nn.Sequential, nn.ModuleList, list, tuple)):
        several = list(transform)
    if isinstance(several, (Sequence, nn.ModuleList)):
        inside += list(several)
    for part in inside:
        if part is not None:
            yield from _walk(part)
