"""Maps of the images of smallest hash, chosen and kept where the model is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sing_monitor.capture import map_rows
from sing_monitor.capture.device_rows import BatchRows
from sing_monitor.capture.map_rows import MapRows, joined_maps, smallest
from sing_monitor.capture.map_site import MapSite, NoMapError, Reading
from sing_monitor.capture.pass_maps import PassMaps
from sing_monitor.capture.probe import hashes
from sing_monitor.errors import SetupError
from sing_monitor.feature_maps import FeatureMaps
from tests.helpers.devices import DEVICES
from tests.helpers.waiting import Waits, pretended_gpu

SITE = MapSite("stage", nn.Identity(), False, Reading("first"), 3, (2, 2))
COUNT = 12


def drawn_ids(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**63), 2**63 - 1, (count,), generator=generator)


def map_of(ids: Tensor) -> Tensor:
    """A map that tells its image, (N, 3, 2, 2)."""
    return (ids % 1000).float()[:, None, None, None] * torch.arange(1, 13).reshape(3, 2, 2)


def batch(ids: Tensor, labels: Tensor, device: str, *, looked: bool) -> BatchRows:
    seen = ids if looked else None
    return BatchRows(ids.to(device), labels.to(device), {}, None, seen)


def run(
    rows: MapRows, ids: Tensor, labels: Tensor, device: str = "cpu", *, looked: bool = True
) -> FeatureMaps | None:
    for part, part_labels in zip(ids.split(10), labels.split(10), strict=True):
        rows.expect(batch(part, part_labels, device, looked=looked))
        rows.take(map_of(part).to(device), SITE)
        rows.add(len(part))
    return rows.on_cpu("stage")


@pytest.fixture(params=["host", "device"])
def ids_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where ids are; what is done on a device gives the same on the CPU."""
    if request.param == "device":
        monkeypatch.setattr(map_rows, "is_on_host", lambda tensor: False)
    return str(request.param)


@pytest.mark.usefixtures("ids_on")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("is_known", [False, True])
def test_the_maps_of_smallest_hash_are_kept(is_known: bool, device: str) -> None:
    distinct = drawn_ids(200)
    ids = torch.cat([distinct, distinct[:20]])
    labels = torch.arange(220) % 5 - 1
    wanted = smallest(ids[labels >= 0].unique(), COUNT).sort().values
    rows = MapRows(COUNT, wanted if is_known else None)
    found = run(rows, ids, labels, device, looked=not is_known)
    assert found is not None
    assert torch.equal(found.image_ids, wanted)
    assert torch.equal(found.values, map_of(wanted))


def test_no_more_maps_are_held_than_are_wanted() -> None:
    """However many come, and however small the hashes of later ones are."""
    ids = drawn_ids(400)
    ids = ids[hashes(ids).argsort(descending=True)]
    rows, most = MapRows(COUNT), 0
    for part in ids.split(40):
        rows.expect(batch(part, torch.zeros(40, dtype=torch.int64), "cpu", looked=True))
        rows.take(map_of(part), SITE)
        assert rows._taken is not None
        assert len(rows._taken) <= COUNT
        rows.add(40)
        # Not as views of what a batch gave.
        held = sum(each.untyped_storage().nbytes() for each in rows._kept.values())
        most = max(most, held)
    assert most == COUNT * 3 * 4 * 4


def test_of_known_images_no_more_maps_are_held_than_are_wanted(ids_on: str) -> None:
    ids = drawn_ids(400)
    rows = MapRows(COUNT, ids)
    found = run(rows, ids, torch.zeros(400, dtype=torch.int64), looked=False)
    held = [*rows._kept.values()] if rows._matrix is None else [rows._matrix]
    assert len(held) == (1 if ids_on == "device" else COUNT)
    # Maps of one batch may lie in one block.
    blocks = {each.untyped_storage().data_ptr(): each.untyped_storage() for each in held}
    assert sum(block.nbytes() for block in blocks.values()) == COUNT * 3 * 4 * 4
    assert found is not None
    assert torch.equal(found.image_ids, smallest(ids, COUNT).sort().values)


@pytest.mark.usefixtures("ids_on")
@pytest.mark.parametrize("is_known", [False, True])
def test_rows_that_fit_neither_the_batch_nor_the_head_are_left_out(is_known: bool) -> None:
    ids, labels = drawn_ids(10), torch.tensor([0, -1, 2, -1, 1, 1, 1, 1, 1, 1])
    for tensor_rows, head_rows, is_kept in ((10, 8, True), (8, 8, True), (8, 10, False)):
        rows = MapRows(20, ids if is_known else None)
        rows.expect(batch(ids, labels, "cpu", looked=not is_known))
        seen = ids if tensor_rows == 10 else ids[labels >= 0]
        rows.take(map_of(seen), SITE)
        rows.add(head_rows)
        found = rows.on_cpu("stage")
        if not is_kept:
            assert found is None
            continue
        assert found is not None
        assert torch.equal(found.image_ids, ids[labels >= 0].sort().values)
        assert torch.equal(found.values, map_of(found.image_ids))


def test_a_batch_that_is_lost_leaves_no_map() -> None:
    ids, labels = drawn_ids(20), torch.zeros(10, dtype=torch.int64)
    rows = MapRows(20)
    rows.expect(batch(ids[:10], labels, "cpu", looked=True))
    rows.take(map_of(ids[:10]), SITE)
    rows.expect(batch(ids[10:], labels, "cpu", looked=True))
    rows.add(10)
    assert rows.on_cpu("stage") is None


def test_known_images_are_taken_on_a_gpu_without_waiting() -> None:
    """On tensors without numbers, so that what needs one cannot go unnoticed."""
    rows = MapRows(COUNT, drawn_ids(200))
    with pretended_gpu(), Waits() as waits:
        for _ in range(3):
            ids = torch.randint(0, 2**62, (16,), device="cuda")
            labels = torch.zeros(16, dtype=torch.int64, device="cuda")
            waits.seen.clear()
            rows.expect(BatchRows(ids, labels, {}, None, None))
            rows.take(torch.rand(16, 3, 2, 2, device="cuda"), SITE)
            rows.add(16)
            assert waits.seen == []


def test_another_grid_is_refused() -> None:
    ids, rows = drawn_ids(10), MapRows(COUNT)
    rows.expect(batch(ids, torch.zeros(10, dtype=torch.int64), "cpu", looked=True))
    with pytest.raises(NoMapError, match=r"3 channels and 2 x 2 locations at first.*\(3, 1, 4\)"):
        rows.take(torch.zeros(10, 3, 1, 4), SITE)


# Several processes


def part(ids: Tensor, layer: str = "stage") -> PassMaps:
    return PassMaps(FeatureMaps(ids, map_of(ids), layer))


def test_whatever_process_an_image_comes_to_the_same_maps_are_joined() -> None:
    ids = drawn_ids(100)
    expected = joined_maps([part(smallest(ids, COUNT))], COUNT, ids).maps
    assert expected is not None
    for seed in range(5):
        order = torch.randperm(100, generator=torch.Generator().manual_seed(seed))
        # One image comes to both.
        shares = [ids[order[:60]], ids[order[59:]]]
        joined = joined_maps([part(smallest(each, COUNT)) for each in shares], COUNT, ids).maps
        assert joined is not None
        assert torch.equal(joined.image_ids, expected.image_ids)
        assert torch.equal(joined.values, expected.values)
        assert torch.equal(joined.values, map_of(joined.image_ids))


def test_images_outside_the_probe_have_no_maps() -> None:
    ids = drawn_ids(20)
    joined = joined_maps([part(ids)], COUNT, ids[5:]).maps
    assert joined is not None
    assert torch.equal(joined.image_ids, smallest(ids[5:], COUNT).sort().values)
    assert "none of the images" in joined_maps([part(ids[:5])], COUNT, ids[5:]).reason


def test_where_one_process_has_no_maps_there_are_none() -> None:
    ids = drawn_ids(20)
    fault = SetupError("out of memory")
    parts = [part(ids), PassMaps(reason="two views"), PassMaps(fault=fault)]
    assert joined_maps(parts, COUNT, ids) == parts[2]
    assert joined_maps(parts[:2], COUNT, ids) == parts[1]
    assert (
        "another (3, 2, 2) of other"
        in joined_maps([part(ids), part(ids, "other")], COUNT, ids).reason
    )
    # Of images that were known, all came to the other.
    assert joined_maps([part(ids), PassMaps()], 20, ids).maps is not None
    assert joined_maps([PassMaps()], COUNT, ids).reason == (
        "no batch gave maps for the images of the probe"
    )
    assert joined_maps([PassMaps()], 0, ids) == PassMaps()
