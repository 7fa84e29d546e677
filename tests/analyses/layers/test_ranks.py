from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.analyses.layers import effective_rank, pca_dimension
from sing_monitor.analyses.layers.ranks import classification_dimension, principal_components
from tests.helpers import normal, orthogonal

SHAPES = [(40, 12), (12, 40), (20, 20)]


def of_rank(samples: int, feature_dim: int, singular_values: list[float], seed: int = 0) -> Tensor:
    """Features about another mean with these singular values."""
    rank = len(singular_values)
    columns = normal(samples, rank, seed=seed)
    u = torch.linalg.qr(columns - columns.mean(dim=0)).Q
    v = torch.linalg.qr(normal(feature_dim, rank, seed=seed + 1)).Q
    mean = normal(feature_dim, seed=seed + 2)
    return u @ torch.diag(torch.tensor(singular_values, dtype=torch.float64)) @ v.T + mean


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 2, 7])
def test_planted_rank_is_found(shape: tuple[int, int], rank: int) -> None:
    features = of_rank(*shape, [3.0] * rank)
    assert effective_rank(features) == pytest.approx(rank)
    assert pca_dimension(features, 1) == rank
    # Each holds the same share of the variance.
    assert pca_dimension(features, 0.5) == math.ceil(rank / 2)


def test_unequal_directions_count_by_their_singular_values() -> None:
    features = of_rank(30, 10, [3.0, 1.0])
    # Entropy of 3/4 and 1/4; the variances are 9/10 and 1/10.
    expected = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert effective_rank(features) == pytest.approx(expected)
    assert [pca_dimension(features, share) for share in (0.05, 0.89, 0.91, 0.95)] == [1, 1, 2, 2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(SHAPES))
def test_rotation_shift_scale_and_order_change_nothing(seed: int, shape: tuple[int, int]) -> None:
    features = normal(*shape, seed=seed) * torch.logspace(0, -2, shape[1], dtype=torch.float64)
    turned = 7 * features @ orthogonal(shape[1], seed + 1) + normal(shape[1], seed=seed + 2)
    turned = turned.flip(0)
    rank = effective_rank(features)
    assert effective_rank(turned) == pytest.approx(rank)
    assert pca_dimension(turned) == pca_dimension(features)
    assert 1 <= rank <= min(shape[0] - 1, shape[1])
    assert pca_dimension(features, 1) == min(shape[0] - 1, shape[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_any_precision(dtype: torch.dtype) -> None:
    features = of_rank(30, 10, [9.0, 6.0, 3.0]).to(dtype)
    expected = effective_rank(of_rank(30, 10, [9.0, 6.0, 3.0]))
    # Rounding adds directions, each of them small.
    assert effective_rank(features) == pytest.approx(expected, abs=40 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
@pytest.mark.parametrize("shape", [(1, 5), (30, 5), (5, 30)])
def test_features_that_do_not_vary(value: float, shape: tuple[int, int]) -> None:
    features = torch.full(shape, value, dtype=torch.float64)
    assert math.isnan(effective_rank(features))
    assert pca_dimension(features) == 0
    assert math.isnan(effective_rank(features[:0]))


def test_arrays_have_the_same_ranks() -> None:
    features = normal(20, 6, seed=0)
    assert effective_rank(features.numpy()) == effective_rank(features)
    assert pca_dimension(features.numpy()) == pca_dimension(features)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, math.nan])
def test_another_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="expected a share of the variance"):
        pca_dimension(normal(5, 3, seed=0), share)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_no_numbers_are_refused(value: float) -> None:
    features = normal(5, 3, seed=0)
    features[1, 2] = value
    for rank in (effective_rank, pca_dimension):
        with pytest.raises(ValueError, match="NaN or infinite values"):
            rank(features)
        with pytest.raises(ValueError, match=r"must be \(N, m\)"):
            rank(features[0])


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex128])
def test_features_of_another_kind_are_refused(dtype: torch.dtype) -> None:
    """Of complex numbers only the real parts would count."""
    for rank in (effective_rank, pca_dimension):
        with pytest.raises(ValueError, match=r"floating point.*got \(5, 3\) torch"):
            rank(normal(5, 3, seed=0).to(dtype))


@pytest.mark.parametrize("shape", SHAPES)
def test_needed_components_word_for_word(shape: tuple[int, int]) -> None:
    """Against features that are projected and answered one number of components at a time."""
    scales = torch.logspace(0.5, -1, shape[1], dtype=torch.float64)
    features = normal(*shape, seed=3) * scales + 1
    weight, mean = normal(4, shape[1], seed=4), features.mean(dim=0)
    labels = (features @ weight.T).argmax(dim=1)
    _, _, v = torch.linalg.svd(features - mean, full_matrices=False)
    right = []
    for k in range(len(v) + 1):
        projected = (features - mean) @ v[:k].T @ v[:k] + mean
        right.append(int(((projected @ weight.T).argmax(dim=1) == labels).sum()))
    components = principal_components(features)
    assert right[-1] == shape[0]
    for fewest in range(shape[0] + 1):
        expected = next(k for k, count in enumerate(right) if count >= fewest)
        found = classification_dimension(components, weight, weight @ mean, labels, fewest)
        assert found == expected
