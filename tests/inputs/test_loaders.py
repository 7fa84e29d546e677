"""What a loader tells of its size and order, and only where that is certain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from sing_monitor.inputs.loaders import find_image_order, planned_images
from tests.helpers import tiny

DATA = tiny.Blobs(47)


class Cycled(DataLoader[Any]):
    """Begins anew when it has come to its end."""

    def __iter__(self) -> Any:
        for _ in range(2):
            yield from super().__iter__()


class Backwards(SequentialSampler):
    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source) - 1, -1, -1))


class OwnBatches(BatchSampler):
    """Batches of one class each, as for buckets of one size."""

    def __iter__(self) -> Iterator[list[int]]:
        for label in range(4):
            yield torch.where(DATA.labels == label)[0].tolist()


class Stream(IterableDataset[Any]):
    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Any:
        for start in range(0, 47, 16):
            yield DATA.images[start : start + 16], DATA.labels[start : start + 16]


def shared(kind: type[DistributedSampler[Any]], rank: int, **changes: Any) -> DataLoader[Any]:
    sampler = kind(DATA, num_replicas=3, rank=rank, **changes)
    return DataLoader(DATA, 5, sampler=sampler)


IN_ORDER: dict[str, DataLoader[Any]] = {
    "in order": DataLoader(DATA, 16),
    "the last one dropped": DataLoader(DATA, 16, drop_last=True),
    "a sampler of one's own": DataLoader(DATA, 16, sampler=SequentialSampler(range(20))),
    "a batch_sampler of torch's": DataLoader(
        DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 16, False)
    ),
    "a subset": DataLoader(Subset(DATA, [5, 3, 9]), 2),
    "rank 0": shared(DistributedSampler, 0, shuffle=False),
    "rank 2": shared(DistributedSampler, 2, shuffle=False),
    "rank 1, the rest dropped": shared(DistributedSampler, 1, shuffle=False, drop_last=True),
    "rank 1, none repeated": shared(UnrepeatedDistributedSampler, 1, shuffle=False),
}


@pytest.mark.parametrize("kind", IN_ORDER)
def test_positions_are_those_that_torch_takes(kind: str) -> None:
    """Whatever the sampler gives, a batch after the other."""
    loader, order = IN_ORDER[kind], find_image_order(IN_ORDER[kind])
    assert order.reason == ""
    taken = list(loader.batch_sampler)  # type: ignore[arg-type]
    assert sum(map(len, taken)) > 2
    for index, batch in enumerate(taken):
        positions = order.positions(index, len(batch))
        assert positions is not None
        assert positions.tolist() == batch
        # Another number of images has come from somewhere else.
        assert order.positions(index, len(batch) - 1) is None
        assert order.positions(index, len(batch) + 1) is None
    if not loader.batch_sampler.drop_last:  # type: ignore[union-attr]
        assert order.positions(len(taken), 16) is None


OUT_OF_ORDER: dict[str, tuple[Any, str]] = {
    "shuffled": (DataLoader(DATA, 16, shuffle=True), "RandomSampler"),
    "shuffled in a batch_sampler": (
        DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 16, False)),
        "RandomSampler",
    ),
    "another order": (DataLoader(DATA, 16, sampler=Backwards(DATA)), "Backwards"),
    "batches of one's own": (
        DataLoader(DATA, batch_sampler=OwnBatches(SequentialSampler(DATA), 16, False)),
        "OwnBatches",
    ),
    "a list as batch_sampler": (DataLoader(DATA, batch_sampler=[[3, 1], [0]]), "list"),
    "ranks shuffled": (shared(DistributedSampler, 0, shuffle=True), "DistributedSampler"),
    "a sampler wrapped by Lightning": (
        DataLoader(
            DATA, 5, sampler=DistributedSamplerWrapper(Backwards(DATA), num_replicas=3, rank=0)
        ),
        "DistributedSamplerWrapper",
    ),
    "a stream": (DataLoader(Stream(), batch_size=None), "IterableDataset"),
    "ready batches": (DataLoader(DATA, batch_size=None), "batch_size=None"),
    "a loader that repeats": (Cycled(DATA, 16), "Cycled"),
    "a list": ([DATA[0]], "list"),
    "workers as they finish": (DataLoader(DATA, 16, num_workers=2, in_order=False), "in_order"),
}


@pytest.mark.parametrize("kind", OUT_OF_ORDER)
def test_where_the_order_is_not_certain_the_reason_is_named(kind: str) -> None:
    loader, reason = OUT_OF_ORDER[kind]
    assert reason in find_image_order(loader).reason
    assert find_image_order(loader).positions(0, 16) is None


INF = float("inf")
SIZES: dict[str, tuple[Any, float, int, int | None]] = {
    "in order": (DataLoader(DATA, 16), INF, 1, 47),
    "two batches": (DataLoader(DATA, 16), 2, 1, 32),
    "the last one dropped": (DataLoader(DATA, 16, drop_last=True), INF, 1, 32),
    "shuffled": (DataLoader(DATA, 16, shuffle=True), INF, 1, 47),
    "with replacement": (DataLoader(DATA, 16, sampler=RandomSampler(DATA, True, 96)), INF, 1, None),
    "a part": (DataLoader(DATA, 16, sampler=SubsetRandomSampler(range(9))), INF, 1, 9),
    "weighted": (
        DataLoader(DATA, 16, sampler=WeightedRandomSampler(torch.ones(47), 99)),
        INF,
        1,
        None,
    ),
    "shared": (shared(DistributedSampler, 1, shuffle=True), INF, 3, 47),
    "shared, two batches": (shared(DistributedSampler, 1, shuffle=False), 2, 3, 30),
    "batches of one's own": (OUT_OF_ORDER["batches of one's own"][0], INF, 1, None),
    "length in batches": (DataLoader(Stream(), batch_size=None), 3, 1, None),
    "a stream in batches": (DataLoader(Stream(), 16), 2, 1, None),
    "a loader that repeats": (Cycled(DATA, 16), INF, 1, None),
    "a list": ([(DATA.images, DATA.labels)], INF, 1, None),
}


@pytest.mark.parametrize("kind", SIZES)
def test_the_number_of_images_is_told_where_it_is_certain(kind: str) -> None:
    loader, batches, ranks, expected = SIZES[kind]
    assert planned_images(loader, batches, ranks) == expected
