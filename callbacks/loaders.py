"""What a validation loader tells: its size and its order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler, SequentialSampler

from sing_monitor.errors import Option, SetupError


def pick_loader(loaders: Any, index: int) -> Any:
    """One of the trainer's validation loaders, which may be a single one, a list or a mapping.

    Raises:
        SetupError: if there is none of that index.
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


def dataset_size(loader: Any, batches: float, world_size: int) -> int:
    """Number of images that a validation over a loader sees, on all ranks together.

    Args:
        loader: the validation data loader.
        batches: how many of its batches a rank runs; may be infinite.
        world_size: number of ranks.

    Raises:
        SetupError: if neither the data set nor the limit has a length.
    """
    try:
        images = float(len(loader.dataset))
    except (AttributeError, TypeError, NotImplementedError):
        images = float("inf")
    batch_size = getattr(loader, "batch_size", None)
    if batch_size:
        images = min(images, batches * batch_size * world_size)
    if images == float("inf"):
        raise SetupError(
            "the validation data set has no length, so the share of its images that makes up the "
            "probe is unknown. Give the data set a __len__, or set "
            "Trainer(limit_val_batches=<number of batches>)."
        )
    return int(images)


def sample_positions(loader: Any) -> Callable[[int], Tensor]:
    """How to tell the indices in the data set of the first images in this rank's order.

    Known for loaders that go through the data in order, on one rank or spread over several.
    """
    sampler = getattr(loader, "sampler", None)
    if type(sampler) is SequentialSampler:
        return torch.arange
    if type(sampler) is DistributedSampler and not sampler.shuffle:
        length, rank, ranks = len(loader.dataset), sampler.rank, sampler.num_replicas
        return lambda count: (rank + ranks * torch.arange(count)) % length
    return unknown_positions


def unknown_positions(count: int) -> Tensor:
    """The positions of images in an order that is not known, (count,) of -1."""
    return torch.full((count,), -1)
