"""Which images make up the probe, and how the rows of several ranks become one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sing_monitor.capture.probe import (
    ProbeRows,
    fingerprints_of,
    hashes,
    in_probe,
    probe_threshold,
)
from sing_monitor.errors import SetupError
from sing_monitor.inputs.pixel_scale import PixelScale
from sing_monitor.inputs.squashed import SquashedInputs
from sing_monitor.space.fingerprints import fingerprint, to_uint8

EVERYTHING = 2**63 - 1


@pytest.mark.parametrize(("images", "size"), [(50_000, 10_000), (4_000, 100), (100_000, 20)])
def test_the_bound_holds_the_probe_and_little_more(images: int, size: int) -> None:
    """So that the probe is full, and few images are embedded in vain."""
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(-(2**63), 2**63 - 1, (images,), generator=generator)
        below = int(in_probe(ids, probe_threshold(images, size)).sum())
        assert size <= below <= size + 12 * size**0.5 + 20


def test_without_a_plan_every_image_may_belong() -> None:
    assert probe_threshold(None, 10) == probe_threshold(10, 10) == EVERYTHING


def rows(ids: list[int], positions: list[int], labels: list[int], **changes: int) -> ProbeRows:
    """Features tell which row it was."""
    numbers = torch.arange(len(ids))[:, None].float()
    return ProbeRows(
        torch.tensor(ids),
        torch.tensor(labels),
        numbers,
        numbers,
        torch.tensor(positions),
        {"half": (torch.tensor(labels) // 2, ("a", "b"))},
        **changes,
    )


def numbers(found: ProbeRows) -> list[int]:
    column: Tensor = found.features[:, 0]
    return [int(number) for number in column]


def test_a_position_that_is_repeated_counts_once_and_a_true_copy_counts() -> None:
    given = rows([8, 4, 8, 8], [0, 1, 2, 0], [1, 0, 1, 1])
    found = ProbeRows.joined([given], 10)
    assert numbers(found) == [1, 0, 2]
    assert found.sample_index.tolist() == [1, 0, 2]
    assert found.threshold == EVERYTHING


def test_without_positions_an_image_with_the_same_label_counts_once() -> None:
    given = rows([8, 4, 8, 8], [-1] * 4, [1, 0, 1, 2])
    assert numbers(ProbeRows.joined([given], 10)) == [1, 0, 3]


def test_one_rank_without_positions_takes_those_of_all() -> None:
    parts = rows([8, 4], [0, 1], [1, 0]), rows([8, 6], [-1, -1], [1, 1])
    found = ProbeRows.joined(parts, 10)
    assert found.image_ids.tolist() == [4, 6, 8]
    assert found.sample_index.tolist() == [-1, -1, -1]
    assert found.attributes["half"][0].tolist() == [0, 0, 0]


def test_the_smallest_hashes_are_kept_and_tell_the_threshold() -> None:
    parts = rows([20, -2, 8], [0, 2, 4], [0] * 3), rows([10, 40, 6], [1, 3, 5], [0] * 3)
    found = ProbeRows.joined(parts, 3)
    assert found.image_ids.tolist() == [6, 8, 10]
    assert found.threshold == int(hashes(torch.tensor([10]))) == 5
    # A rank that has given up images takes them from the others, too.
    parts = rows([20, 8], [0, 4], [0] * 2), rows([6], [5], [0], threshold=5)
    assert ProbeRows.joined(parts, 3).image_ids.tolist() == [6, 8]


def test_groups_come_along_and_tell_equal_images_apart() -> None:
    parts = rows([8, 4], [-1, -1], [1, 0]), rows([8, 8, 6], [-1] * 3, [1] * 3)
    groups = torch.tensor([70, 71]), torch.tensor([70, 72, 73])
    parts = tuple(replace(part, groups=own) for part, own in zip(parts, groups, strict=True))
    for order in (parts, parts[::-1]):
        found = ProbeRows.joined(order, 10)
        assert found.image_ids.tolist() == [4, 6, 8, 8]
        assert found.groups is not None
        assert found.groups.tolist() == [71, 73, 70, 72]
        few = ProbeRows.joined(order, 2)
        assert few.groups is not None
        assert few.groups.tolist() == [71, 73]


def test_processes_that_tell_groups_and_others_are_not_mixed() -> None:
    one, other = rows([8, 4], [0, 1], [1, 0]), rows([6], [2], [1])
    assert ProbeRows.joined([one, other], 10).groups is None
    with pytest.raises(SetupError, match="1 of 2 processes tell the group"):
        ProbeRows.joined([one, replace(other, groups=torch.tensor([5]))], 10)


def test_ranks_in_another_order_give_the_same_rows() -> None:
    one, other = rows([8, 4, 2], [0, 1, 2], [0] * 3), rows([8, 6], [3, 4], [0] * 2)
    first, second = ProbeRows.joined([one, other], 4), ProbeRows.joined([other, one], 4)
    assert torch.equal(first.image_ids, second.image_ids)
    assert torch.equal(first.sample_index, second.sample_index)
    assert first.image_ids.tolist() == [2, 4, 6, 8]
    assert first.sample_index.tolist()[-1] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.uint8])
@pytest.mark.parametrize("scale", [PixelScale((0.4,), (0.2,), ""), SquashedInputs("")])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_read_a_few_at_a_time_have_the_fingerprints_of_their_pixels(
    dtype: torch.dtype, scale: PixelScale, channels: int
) -> None:
    values = torch.randn(5, channels, 300, 301, generator=torch.Generator().manual_seed(0))
    images = (values.clamp(0, 1) * 255 if dtype == torch.uint8 else values).to(dtype)
    given = images.clone()
    for some in (images, images[:0], images.transpose(2, 3)):
        found = fingerprints_of(some, scale)
        assert torch.equal(found, fingerprint(to_uint8(scale.restore(some))))
    assert torch.equal(images, given)
