"""Rows of the probe, chosen and kept where the model is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sing_monitor.capture.device_rows import BatchRows, DeviceRows, SeenRows
from sing_monitor.capture.placement import ById, InOrder, Placement, Smallest, with_spare
from sing_monitor.capture.probe import hashes, in_probe
from tests.helpers.devices import DEVICES

EVERYTHING = 2**63 - 1
HALF = 2**62


def batch(size: int, seed: int, device: str, *, looked: bool) -> tuple[BatchRows, Tensor]:
    """Random ids, features and labels, of which some are none, and an attribute."""
    generator = torch.Generator().manual_seed(seed)
    image_ids = torch.randint(-(2**63), 2**63 - 1, (size,), generator=generator)
    features = torch.randn(size, 5, generator=generator).bfloat16()
    labels = torch.randint(-1, 4, (size,), generator=generator)
    ids, features, labels = (part.to(device) for part in (image_ids, features, labels))
    attributes = {"half": (labels // 2, ("a", "b"))}
    looked_at = image_ids if looked else None
    return BatchRows(ids, labels, attributes, None, looked_at, ids >> 3), features


def gathered(rows: DeviceRows) -> SeenRows:
    seen = rows.on_cpu()
    assert seen is not None
    return seen


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("threshold", [EVERYTHING, HALF], ids=["all", "half"])
@pytest.mark.parametrize("kind", ["in order", "by id", "looked at", "looked at, once"])
def test_the_rows_of_the_probe_are_kept(kind: str, threshold: int, device: str) -> None:
    batches = [
        batch(size, seed, device, looked=kind.startswith("looked"))
        for seed, size in enumerate([40, 0, 40, 7])
    ]
    image_ids, labels, features = (
        torch.cat([part.cpu() for part in parts])
        for parts in zip(*((each.image_ids, each.labels, x) for each, x in batches), strict=True)
    )
    belongs = in_probe(image_ids, threshold) & (labels >= 0)
    assert 0 < int(belongs.sum()) < 87
    placements: dict[str, Callable[[], Placement]] = {
        "in order": lambda: InOrder(threshold, 87),
        "by id": lambda: ById(threshold, image_ids[belongs].sort().values),
        "looked at": lambda: Smallest(threshold, 87, is_once=False),
        "looked at, once": lambda: Smallest(threshold, 87, is_once=True),
    }
    rows = DeviceRows(placements[kind]())
    for each, x in batches:
        rows.add(each, x)
        x.zero_()
    seen = gathered(rows)
    assert torch.equal(seen.image_ids, image_ids)
    assert torch.equal(seen.labels, labels)
    values, names = seen.attributes["half"]
    assert torch.equal(values, labels // 2)
    assert names == ("a", "b")
    assert seen.groups is not None
    assert torch.equal(seen.groups, image_ids >> 3)
    assert seen.features.dtype == torch.bfloat16
    assert torch.equal(seen.places >= 0, belongs)
    assert torch.equal(seen.features[seen.places[belongs]], features[belongs])


@pytest.mark.parametrize("device", DEVICES)
def test_rows_beyond_the_places_are_dropped(device: str) -> None:
    batches = [batch(50, seed, device, looked=False) for seed in range(4)]
    features = torch.cat([x.cpu() for _, x in batches])
    rows = DeviceRows(InOrder(EVERYTHING, expected=0))
    for each in batches:
        rows.add(*each)
    seen = gathered(rows)
    kept = (seen.places >= 0).nonzero().flatten()
    labeled = (seen.labels >= 0).nonzero().flatten()
    assert len(kept) == with_spare(0) < len(labeled)
    assert torch.equal(kept, labeled[: len(kept)])
    assert torch.equal(seen.features[seen.places[kept]], features[kept])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("is_once", [False, True])
def test_where_more_images_come_than_are_wanted_those_of_smallest_hash_stay(
    is_once: bool, device: str
) -> None:
    """However many come, the device holds little more than is wanted."""
    size, batches = 40, [batch(50, seed, device, looked=True) for seed in range(30)]
    image_ids, labels, features = (
        torch.cat([part.cpu() for part in parts])
        for parts in zip(*((each.image_ids, each.labels, x) for each, x in batches), strict=True)
    )
    placement = Smallest(EVERYTHING, size, is_once=is_once)
    rows, most, thresholds = DeviceRows(placement), 0, [EVERYTHING]
    for each, x in batches:
        rows.add(each, x)
        assert rows._features is not None
        most = max(most, len(rows._features))
        thresholds.append(rows.threshold)
    assert most <= 1 + with_spare(with_spare(size) + 50)
    assert all(later <= earlier for earlier, later in pairwise(thresholds))
    smallest = hashes(image_ids[labels >= 0]).sort().values[:size]
    assert rows.threshold == smallest[-1]
    seen = gathered(rows)
    belongs = in_probe(image_ids, rows.threshold) & (labels >= 0)
    assert int(belongs.sum()) == size
    assert bool((seen.places[belongs] >= 0).all())
    assert torch.equal(seen.features[seen.places[belongs]], features[belongs])


@pytest.mark.parametrize("device", DEVICES)
def test_images_that_come_again_share_a_row(device: str) -> None:
    each, x = batch(50, 0, device, looked=True)
    for placement in (
        Smallest(EVERYTHING, 60, is_once=True),
        ById(EVERYTHING, each.image_ids.cpu().unique()),
    ):
        rows = DeviceRows(placement)
        for _ in range(20):
            rows.add(each, x)
        assert rows._features is not None
        assert len(rows._features) <= 51
        assert rows.threshold == EVERYTHING
        seen = gathered(rows)
        labeled = seen.labels >= 0
        assert torch.equal(seen.features[seen.places[labeled]], x.cpu().repeat(20, 1)[labeled])


@pytest.mark.parametrize("looked", [False, True])
def test_a_batch_without_features_has_no_rows_and_shifts_nothing(looked: bool) -> None:
    batches = [batch(10, seed, "cpu", looked=looked) for seed in range(3)]
    placement = Smallest(EVERYTHING, 30, is_once=False) if looked else InOrder(EVERYTHING, 30)
    rows = DeviceRows(placement)
    for index, (each, x) in enumerate(batches):
        rows.add(each, None if index == 1 else x)
    seen = gathered(rows)
    labeled, used = seen.labels >= 0, torch.arange(30) // 10 != 1
    assert torch.equal(seen.used, used)
    assert torch.equal(seen.places >= 0, labeled & used)
    features = torch.cat([x for _, x in batches])
    assert torch.equal(seen.features[seen.places[labeled & used]], features[labeled & used])


def test_nothing_was_seen() -> None:
    assert DeviceRows(InOrder(EVERYTHING, expected=10)).on_cpu() is None
