from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from sing_monitor.analyses.similarity import match, matrices, similarity_matrices
from sing_monitor.analyses.similarity.matching import Matcher
from tests.helpers import generator, normal

REFERENCE = Path(__file__).parents[2] / "data" / "rsm_reference.npz"
CASES = ("gauss", "relu", "shift", "large")
MATCHERS: tuple[Matcher, ...] = get_args(Matcher)


def load(case: str) -> dict[str, Tensor]:
    with np.load(REFERENCE) as file:
        found = {
            key.partition("/")[2]: torch.from_numpy(file[key])
            for key in file.files
            if key.startswith(f"{case}/")
        }
    assert found
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_published_functions_give_the_same(case: str) -> None:
    data = load(case)
    found = similarity_matrices(data["maps"])
    cosine, rbf = found.cosine(), found.rbf()
    for name, values, tolerance in (
        ("spatial_inner", found.spatial_inner, 1e-5),
        ("semantic_inner", found.semantic_inner, 1e-5),
        ("spatial_cosine", cosine.spatial, 1e-5),
        ("semantic_cosine", cosine.semantic, 1e-5),
        ("spatial_rbf", rbf.spatial, 1e-4),
        ("semantic_rbf", rbf.semantic, 1e-4),
    ):
        assert values.dtype == torch.float64
        torch.testing.assert_close(values, data[name].double(), rtol=tolerance, atol=0)


def test_windows_as_the_published_functions_cut_them() -> None:
    data = load("large")
    found = similarity_matrices(data["maps"], "batch_optimal", 128)
    expected = data["batch_optimal_128_inner"]
    assert not torch.allclose(found.semantic_inner, data["semantic_inner"], rtol=1e-5)
    torch.testing.assert_close(found.semantic_inner, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("matcher", MATCHERS)
def test_a_pair_is_matched_as_by_match(matcher: Matcher) -> None:
    maps = normal(4, 5, 3, 4, seed=0)
    found = similarity_matrices(maps, matcher, 4)
    vectors = maps.flatten(2).transpose(1, 2)
    for i in range(4):
        for j in range(i + 1, 4):
            order = match(vectors[i], vectors[j], matcher, 4)
            expected = float((vectors[i] * vectors[j][order]).sum())
            assert float(found.semantic_inner[i, j]) == pytest.approx(expected)
            assert float(found.semantic_inner[j, i]) == pytest.approx(expected)
    # An image is compared with itself as it is.
    torch.testing.assert_close(found.semantic_inner.diagonal(), maps.square().sum(dim=(1, 2, 3)))


def test_identity_is_the_spatial_comparison() -> None:
    maps = normal(5, 6, 3, 3, seed=1)
    found = similarity_matrices(maps, "identity")
    torch.testing.assert_close(found.semantic_inner, found.spatial_inner)
    flat = maps.flatten(1)
    torch.testing.assert_close(found.spatial_inner, flat @ flat.T)
    torch.testing.assert_close(found.norms, flat.norm(dim=1))


def test_shuffled_positions_change_the_spatial_similarity_alone() -> None:
    maps = normal(6, 5, 3, 4, seed=2)
    before = similarity_matrices(maps)
    moved = maps.clone()
    order = torch.randperm(12, generator=generator(3))
    moved[2] = moved[2].flatten(1)[:, order].view(5, 3, 4)
    after = similarity_matrices(moved)
    torch.testing.assert_close(after.semantic_inner, before.semantic_inner)
    assert not torch.allclose(after.spatial_inner[2, :2], before.spatial_inner[2, :2], rtol=0.01)
    assert (before.semantic_inner >= before.spatial_inner - 1e-9).all()
    torch.testing.assert_close(before.semantic_inner, before.semantic_inner.T)
    both = similarity_matrices(torch.cat([maps[2:3], moved[2:3]])).cosine()
    assert float(both.semantic[0, 1]) == pytest.approx(1.0)
    assert float(both.spatial[0, 1]) < 0.9


def test_without_positions_there_is_nothing_to_match() -> None:
    found = similarity_matrices(normal(5, 8, 1, 1, seed=4))
    torch.testing.assert_close(found.semantic_inner, found.spatial_inner)


def test_the_median_pair_scores_the_same_under_both() -> None:
    rbf = similarity_matrices(normal(9, 20, 4, 4, seed=5)).rbf()
    rows, columns = torch.triu_indices(9, 9, 1)
    for values in rbf:
        assert float(values[rows, columns].median()) == pytest.approx(np.exp(-0.5), abs=0.01)
        assert (values.diagonal() == 1).all()


def test_equal_images_are_alike_at_any_bandwidth() -> None:
    found = similarity_matrices(torch.ones(3, 2, 2, 2))
    for values in (*found.rbf(), *found.cosine()):
        torch.testing.assert_close(values, torch.ones(3, 3).double())


def test_a_map_of_zeros_has_no_cosine() -> None:
    maps = normal(3, 4, 2, 2, seed=6)
    maps[1] = 0
    for values in similarity_matrices(maps).cosine():
        assert values[1].isnan().all()
        assert values[:, 1].isnan().all()
        assert not values[[0, 2]][:, [0, 2]].isnan().any()


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_cosines_do_not_depend_on_the_scale(scale: float) -> None:
    maps = normal(4, 5, 3, 3, seed=7).float()
    small, usual = similarity_matrices(maps * scale).cosine(), similarity_matrices(maps).cosine()
    for found, expected in zip(small, usual, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float64, 1e-6)]
)
def test_every_precision(dtype: torch.dtype, tolerance: float) -> None:
    maps = normal(5, 16, 4, 4, seed=8).relu().float()
    found, expected = similarity_matrices(maps.to(dtype)), similarity_matrices(maps)
    torch.testing.assert_close(
        found.cosine().semantic, expected.cosine().semantic, rtol=tolerance, atol=0
    )


def test_little_memory_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = normal(7, 5, 3, 3, seed=9)
    usual = similarity_matrices(maps)
    monkeypatch.setattr(matrices, "_NUMBERS_AT_A_TIME", 200)
    torch.testing.assert_close(similarity_matrices(maps).semantic_inner, usual.semantic_inner)


def test_one_and_several_threads_give_the_same() -> None:
    maps = normal(6, 4, 10, 11, seed=10)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(similarity_matrices(maps).semantic_inner)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("count", [0, 1])
def test_no_pairs(count: int) -> None:
    found = similarity_matrices(torch.ones(count, 3, 2, 2))
    assert found.semantic_inner.shape == found.cosine().semantic.shape == (count, count)
    assert found.rbf().spatial.shape == (count, count)


@pytest.mark.parametrize(
    "maps", [torch.ones(3, 4, 5), torch.ones(3, 4, 0, 2), torch.ones(3, 0, 2, 2)]
)
def test_what_is_no_map_is_refused(maps: Tensor) -> None:
    with pytest.raises(ValueError, match="images, channels, height, width"):
        similarity_matrices(maps)


def test_maps_with_nan_are_refused() -> None:
    maps = torch.ones(3, 4, 2, 2)
    maps[1, 2, 0, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        similarity_matrices(maps)


def test_arrays_and_whole_numbers_are_compared_as_tensors_are() -> None:
    maps = (10 * normal(3, 4, 2, 3, seed=2)).round()
    expected = similarity_matrices(maps)
    for given in (maps.numpy(), maps.int(), maps.tolist()):
        found = similarity_matrices(given)
        torch.testing.assert_close(
            found.semantic_inner, expected.semantic_inner, rtol=1e-6, atol=1e-3
        )
        torch.testing.assert_close(
            found.spatial_inner, expected.spatial_inner, rtol=1e-6, atol=1e-3
        )
