from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.analyses.focus import importance, normalized_entropy
from sing_monitor.analyses.focus.locations import (
    concentration,
    critical_share,
    overlap,
    split_norms,
    uncritical,
)
from sing_monitor.head.geometry import HeadGeometry
from tests.helpers import normal, orthogonal

GRIDS = [(1, 2), (3, 4), (7, 7), (14, 14)]


def one_hot(grid: tuple[int, int], at: tuple[int, int]) -> Tensor:
    found = torch.zeros(1, *grid, dtype=torch.float64)
    found[0, *at] = 3
    return found


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("size", [1e-200, 1e-15, 1.0, 1e300])
def test_even_importance_and_one_location(grid: tuple[int, int], size: float) -> None:
    even = torch.full((2, *grid), size, dtype=torch.float64)
    assert normalized_entropy(even).tolist() == pytest.approx([1, 1])
    assert concentration(even).tolist() == pytest.approx([0.1, 0.1])
    alone = one_hot(grid, (grid[0] - 1, 1)) * size
    assert normalized_entropy(alone).tolist() == [0]
    assert concentration(alone).tolist() == pytest.approx([min(1, 0.1 * grid[0] * grid[1])])


def test_two_of_four_locations_are_half_of_the_entropy() -> None:
    halves = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    assert normalized_entropy(halves).tolist() == pytest.approx([0.5])


def test_rounding_beside_one_location_counts_for_nothing() -> None:
    noise = one_hot((4, 4), (2, 1)) + 1e-7
    assert normalized_entropy(noise).tolist() == [0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(GRIDS), st.sampled_from(["soft", "norm", "discrete"]))
def test_neither_scale_nor_place_nor_order_of_channels_matter(seed: int, grid, kind) -> None:
    maps = normal(3, 5, *grid, seed=seed)
    before = normalized_entropy(importance(maps, kind))
    after = normalized_entropy(importance(9 * maps.flip(1).flip(3), kind))
    torch.testing.assert_close(after, before)
    assert ((before >= 0) & (before <= 1 + 1e-12)).all()


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_undefined_importance(value: float) -> None:
    values = one_hot((2, 3), (0, 0)).repeat(2, 1, 1)
    values[1] = value
    for number in (normalized_entropy, concentration):
        assert number(values).isnan().tolist() == [False, True]
        assert number(torch.ones(2, 1, 1)).isnan().all()
        assert number(torch.ones(0, 2, 2)).shape == (0,)
        with pytest.raises(ValueError, match="negative"):
            number(-one_hot((2, 3), (0, 0)))
        with pytest.raises(ValueError, match=r"must be \(N, H, W\)"):
            number(torch.ones(2, 3))


def test_importance_word_for_word() -> None:
    maps = normal(4, 6, 3, 5, seed=1)
    torch.testing.assert_close(importance(maps), maps.abs().sum(dim=1))
    torch.testing.assert_close(importance(maps, "norm"), maps.square().sum(dim=1).sqrt())
    wins = importance(maps, "discrete")
    expected = torch.zeros(4, 15)
    for image, channels in enumerate(maps.flatten(2).argmax(dim=2).tolist()):
        for location in channels:
            expected[image, location] += 1
    torch.testing.assert_close(wins, expected.view(4, 3, 5).double())
    torch.testing.assert_close(critical_share(maps), (expected > 0).double().mean(dim=1))


def test_a_channel_that_is_the_same_everywhere_is_largest_nowhere() -> None:
    maps = torch.zeros(2, 3, 2, 2)
    maps[0, 1, 0, 1] = 1
    assert importance(maps, "discrete").sum(dim=(1, 2)).tolist() == [1, 0]
    assert critical_share(maps)[0] == 0.25
    assert critical_share(maps)[1].isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype: torch.dtype) -> None:
    maps = torch.full((1, 2000, 2, 2), 60_000.0).to(dtype)
    expected = 2000 * float(maps[0, 0, 0, 0])
    assert importance(maps).flatten().tolist() == [expected] * 4


@pytest.mark.parametrize(
    "maps", [torch.ones(2, 3, 4), torch.ones(2, 3, 0, 4), torch.ones(2, 3, 4, 4, dtype=torch.long)]
)
def test_other_maps_are_refused(maps: Tensor) -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\) floating point"):
        importance(maps)


def test_arrays_have_the_same_importance() -> None:
    maps = normal(3, 4, 5, 6, seed=0)
    found = importance(maps.numpy())
    assert torch.equal(found, importance(maps))
    assert torch.equal(normalized_entropy(found.numpy()), normalized_entropy(found))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 'soft', 'norm' or 'discrete'"):
        importance(torch.ones(1, 1, 2, 2), "hard")  # type: ignore[arg-type]


def test_norms_of_both_parts() -> None:
    maps = normal(3, 12, 4, 5, seed=1)
    geometry = HeadGeometry.from_weight(normal(4, 12, seed=2))
    seen, null = split_norms(maps, geometry)
    vectors = maps.movedim(1, 3)
    torch.testing.assert_close(seen, geometry.principal(vectors).norm(dim=3))
    torch.testing.assert_close(null, geometry.null(vectors).norm(dim=3))
    turn = orthogonal(12, seed=3)
    turned = HeadGeometry.from_weight(normal(4, 12, seed=2) @ turn)
    again = split_norms((vectors @ turn).movedim(3, 1), turned)
    torch.testing.assert_close(torch.stack(again), torch.stack((seen, null)))


def test_what_lies_in_one_part_alone_leaves_no_rounding_in_the_other() -> None:
    geometry = HeadGeometry.from_weight(normal(4, 12, seed=2))
    vectors = normal(2, 3, 3, 12, seed=1)
    of_seen = split_norms(geometry.principal(vectors).movedim(3, 1), geometry)
    of_null = split_norms(geometry.null(vectors).movedim(3, 1), geometry)
    assert (of_seen[0] > 0).all()
    assert (of_seen[1] == 0).all()
    assert (of_null[0] == 0).all()
    assert normalized_entropy(of_seen[1]).isnan().all()
    assert overlap(*of_seen).isnan().all()


def test_overlap_of_the_same_and_of_other_places() -> None:
    here, there = one_hot((2, 3), (0, 1)), one_hot((2, 3), (1, 1))
    found = overlap(torch.cat([here, here, here]), torch.cat([9 * here, there, here + there]))
    assert found.tolist() == pytest.approx([1, 0, math.sqrt(0.5)])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("size", [1e-200, 0.1, 1e300])
def test_an_even_map_has_no_critical_location_and_one_location_leaves_none_out(
    grid: tuple[int, int], size: float
) -> None:
    assert uncritical(torch.full((2, *grid), size, dtype=torch.float64)).all()
    assert not uncritical(one_hot(grid, (0, 1)) * size).any()


def test_the_least_important_share_h_of_the_locations_is_uncritical() -> None:
    # Half of four even locations: H = 0.5, and two of four.
    halves = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    assert uncritical(halves).tolist() == [[[False, True], [False, True]]]
    drawn = normal(5, 6, 7, seed=1).abs()
    mask = uncritical(drawn)
    number = (42 * normalized_entropy(drawn)).floor()
    assert mask.sum(dim=(1, 2)).tolist() == number.tolist()
    for image, is_uncritical in zip(drawn, mask, strict=True):
        assert image[is_uncritical].max() <= image[~is_uncritical].min()


def test_a_mask_of_equal_locations_takes_the_first() -> None:
    values = torch.tensor([[[1.0, 1.0, 1.0, 1.0, 50.0, 50.0]]])
    assert uncritical(values).int().tolist() == [[[1, 1, 0, 0, 0, 0]]]


def test_where_the_entropy_is_undefined_nothing_is_uncritical() -> None:
    undefined = torch.stack([torch.zeros(2, 3), torch.full((2, 3), math.nan)])
    assert not uncritical(undefined).any()
    assert not uncritical(torch.ones(2, 1, 1)).any()
    assert uncritical(torch.ones(0, 2, 2)).shape == (0, 2, 2)
    with pytest.raises(ValueError, match=r"must be \(N, H, W\)"):
        uncritical(torch.ones(2, 3))
