"""Rows of the probe, chosen and kept where the model is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sing_monitor.callbacks.batches import Batch
from sing_monitor.callbacks.device_rows import DeviceRows, SeenRows
from sing_monitor.callbacks.probe import in_probe, probe_threshold
from tests.callbacks.devices import DEVICES

EVERYTHING = probe_threshold(1, 1)
HALF = probe_threshold(100, 50)


def batch(size: int, seed: int, device: str) -> tuple[Tensor, Tensor, Batch]:
    """Random ids, features and labels, and an attribute."""
    generator = torch.Generator().manual_seed(seed)
    image_ids = torch.randint(-(2**63), 2**63 - 1, (size,), generator=generator)
    features = torch.randn(size, 5, generator=generator).bfloat16()
    labels = torch.randint(4, (size,), generator=generator)
    parts = [part.to(device) for part in (image_ids, features, labels)]
    return parts[0], parts[1], Batch(parts[1], parts[2], {"half": (parts[2] // 2, ("a", "b"))})


def gathered(rows: DeviceRows) -> SeenRows:
    seen = rows.on_cpu()
    assert seen is not None
    return seen


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("threshold", [EVERYTHING, HALF], ids=["all", "half"])
def test_the_rows_of_the_probe_are_kept_in_order(threshold: int, device: str) -> None:
    batches = [batch(size, seed, device) for seed, size in enumerate([40, 0, 40, 7])]
    expected = [
        torch.cat([part.cpu() for part in parts])
        for parts in zip(*((ids, x, b.labels) for ids, x, b in batches), strict=True)
    ]
    rows = DeviceRows(threshold, expected=87)
    for image_ids, features, each in batches:
        rows.add(image_ids, features, each)
        # A loader may use its memory again.
        each.labels.zero_()
        features.zero_()
    seen = gathered(rows)
    chosen = in_probe(expected[0], threshold)
    assert (threshold == EVERYTHING) == bool(chosen.all())
    assert torch.equal(seen.image_ids, expected[0])
    assert torch.equal(seen.labels, expected[2])
    values, names = seen.attributes["half"]
    assert torch.equal(values, expected[2] // 2)
    assert names == ("a", "b")
    assert seen.features.dtype == torch.bfloat16
    assert torch.equal(seen.features, expected[1][chosen])


@pytest.mark.parametrize("device", DEVICES)
def test_rows_beyond_the_places_are_dropped_unless_they_are_reserved(device: str) -> None:
    batches = [batch(50, seed, device) for seed in range(4)]
    features = torch.cat([x.cpu() for _, x, _ in batches])
    dropping, keeping = DeviceRows(EVERYTHING, expected=60), DeviceRows(EVERYTHING, expected=0)
    for each in batches:
        dropping.add(*each)
        keeping.reserve(50)
        keeping.add(*each)
    some = gathered(dropping)
    assert len(some.image_ids) == len(some.labels) == 200
    assert 60 <= len(some.features) < 200
    assert torch.equal(some.features, features[: len(some.features)])
    assert torch.equal(gathered(keeping).features, features)


def test_nothing_was_seen() -> None:
    assert DeviceRows(EVERYTHING, expected=10).on_cpu() is None
