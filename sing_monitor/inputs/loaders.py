"""Validation loaders: their number of images and the order of these, if both are certain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
)

from sing_monitor.errors import Option, SetupError
from sing_monitor.lightning_types import is_lightning


def check_loader(loader: Any, who: str) -> None:
    """Raise an error for a loader that gives no batches.

    Args:
        loader: as the user gave it.
        who: the function that needs it, ``analyze`` or ``check``.

    Raises:
        SetupError: if it is a data set, or cannot be iterated.
    """
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        raise SetupError(
            f"{who} needs a loader, got the data set {type(loader).__name__}. Pass "
            "DataLoader(dataset, batch_size=64)."
        )
    if not isinstance(loader, Iterable):
        got = "None" if loader is None else type(loader).__name__
        raise SetupError(
            f"{who} needs a loader, got {got}. Pass the DataLoader of the validation images."
        )


def pick_loader(loaders: Any, index: int) -> Any:
    """Pick one of the validation loaders.

    Args:
        loaders: a single loader, a list or a mapping.
        index: of the loader.

    Raises:
        SetupError: if there is no loader of that index.
    """
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    several = list(loaders) if isinstance(loaders, (list, tuple)) else [loaders]
    if index >= len(several):
        raise SetupError(
            Option("dataloader_idx", str(index)),
            f", but there are {len(several)} validation loaders; choose 0 to {len(several) - 1}.",
        )
    return several[index]


def planned_images(loader: Any, batches: float, world_size: int) -> int | None:
    """Count the distinct images of a validation over a loader, on all ranks together.

    Args:
        loader: the validation data loader.
        batches: number of its batches that a rank runs; may be infinite.
        world_size: number of ranks.

    Returns:
        The number; None if it is not certain: a length may count batches, samples or nothing at
        all, and a sampler may repeat or leave out images.
    """
    if not _batches_by_itself(loader):
        return None
    sampler, dataset = loader.batch_sampler.sampler, len(loader.dataset)
    ranks = 1
    if _shares_in_order(sampler):
        ranks = sampler.num_replicas
        images = min(dataset, len(sampler) * ranks)
    elif type(sampler) in (SequentialSampler, SubsetRandomSampler) or (
        type(sampler) is RandomSampler and not sampler.replacement
    ):
        images = min(dataset, len(sampler))
        # Each rank shuffles on its own.
        ranks = 1 if type(sampler) is SequentialSampler else world_size
    else:
        return None
    limit = min(batches, len(loader)) * loader.batch_sampler.batch_size * ranks
    return int(min(images, limit))


@dataclass(frozen=True)
class ImageOrder:
    """Positions of a loader's images in its data set, batch by batch.

    Args:
        reason: why they are unknown; empty if they are known.
        images: number of images of this rank.
        batch_size: of all batches but the last.
        first: position of this rank's first image.
        step: from one image of this rank to its next.
        length: of the data set; positions count modulo it.
    """

    reason: str = ""
    images: int = 0
    batch_size: int = 1
    first: int = 0
    step: int = 1
    length: int = 1

    def positions(self, batch: int, images: int) -> Tensor | None:
        """Positions of the images of one batch, (B,) int64.

        Args:
            batch: index of the batch.
            images: number of its images.

        Returns:
            The positions; None if the order is unknown, or the batch should hold another number.
        """
        start = batch * self.batch_size
        if self.reason or images != min(self.batch_size, max(self.images - start, 0)):
            return None
        return (self.first + self.step * torch.arange(start, start + images)) % self.length


def find_image_order(loader: Any) -> ImageOrder:
    """Find the order of a loader's images, if it is certain.

    It is for torch's own ``DataLoader`` and ``BatchSampler`` over a data set with indices, in order
    on one rank or spread over several.
    """
    if not isinstance(loader, DataLoader) or type(loader).__iter__ is not DataLoader.__iter__:
        return ImageOrder(f"{type(loader).__name__} is not torch's own DataLoader")
    if isinstance(loader.dataset, IterableDataset):
        return ImageOrder("an IterableDataset has no positions")
    if type(loader.batch_sampler) is not BatchSampler:
        own = loader.batch_sampler
        return ImageOrder(
            "with batch_size=None the data set makes up its own batches"
            if own is None
            else f"the batch_sampler {type(own).__name__} chooses its own order"
        )
    if not getattr(loader, "in_order", True) and loader.num_workers > 0:
        return ImageOrder("with in_order=False batches come in the order in which workers finish")
    length = _length(loader.dataset)
    if length is None:
        return ImageOrder("the data set has no length")
    # Not loader.sampler, which is another one if the user has given the batch_sampler.
    sampler: Any = loader.batch_sampler.sampler
    size = loader.batch_sampler.batch_size
    if type(sampler) is SequentialSampler:
        return ImageOrder("", len(sampler), size, 0, 1, max(length, 1))
    if _shares_in_order(sampler) and not sampler.shuffle:
        rank, ranks = sampler.rank, sampler.num_replicas
        return ImageOrder("", len(sampler), size, rank, ranks, max(len(sampler.dataset), 1))
    return ImageOrder(f"the sampler {type(sampler).__name__} chooses its own order")


def _shares_in_order(sampler: object) -> bool:
    """Whether a sampler is torch's for several processes, or Lightning's that repeats nothing."""
    name = type(sampler).__name__
    return type(sampler) is DistributedSampler or (
        name == "UnrepeatedDistributedSampler" and is_lightning(sampler, name)
    )


def _batches_by_itself(loader: Any) -> bool:
    """Whether torch itself makes batches of a fixed size out of a data set with indices."""
    return (
        isinstance(loader, DataLoader)
        and type(loader).__iter__ is DataLoader.__iter__
        and not isinstance(loader.dataset, IterableDataset)
        and type(loader.batch_sampler) is BatchSampler
        and _length(loader.dataset) is not None
    )


def _length(dataset: Any) -> int | None:
    try:
        length = float(len(dataset))
    except (AttributeError, TypeError, NotImplementedError):
        return None
    return int(length) if math.isfinite(length) else None
