from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from tests.helpers import normal, orthogonal

DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31))


def axes(*indices: int, size: int) -> Tensor:
    """A head whose rows read single features, each with another gain."""
    weight = torch.zeros(len(indices), size)
    for row, index in enumerate(indices):
        weight[row, index] = row + 1.0
    return weight


def duplicated_row(dtype: torch.dtype) -> tuple[Tensor, int]:
    weight = normal(10, 64, seed=3)
    weight[7] = weight[2]
    return weight.to(dtype), 9


def zero_row(dtype: torch.dtype) -> tuple[Tensor, int]:
    weight = normal(10, 64, seed=4)
    weight[5] = 0
    return weight.to(dtype), 9


def low_rank_product(dtype: torch.dtype) -> tuple[Tensor, int]:
    return (normal(100, 60, seed=5) @ normal(60, 256, seed=6)).to(dtype), 60


def low_rank_tall(dtype: torch.dtype) -> tuple[Tensor, int]:
    return (normal(300, 10, seed=7) @ normal(10, 64, seed=8)).to(dtype), 10


def test_a_head_on_two_axes_splits_features_exactly() -> None:
    head = HeadGeometry.from_weight(axes(0, 2, size=4))
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert (head.rank, head.null_dim, head.feature_dim) == (2, 2, 4)
    assert head.principal(x).tolist() == [[1, 0, 3, 0]]
    assert head.null(x).tolist() == [[0, 2, 0, 4]]
    assert head.singular_values.tolist() == [2, 1]
    assert head.condition == 2


@pytest.mark.parametrize(("direction", "leakage"), [(0, 0.0), (1, 1.0)])
def test_leakage_of_a_planted_direction_is_exactly_0_or_1(direction: int, leakage: float) -> None:
    head = HeadGeometry.from_weight(axes(0, 2, size=4))
    feature = 7 * torch.eye(4)[direction]
    assert float(head.null(feature).square().sum() / feature.square().sum()) == leakage


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_full_rank_head_at_initial_scale_keeps_its_rank(dtype: torch.dtype) -> None:
    # Half precision at the size of ImageNet heads, where the usual tolerance leaves nothing.
    classes, features = (1000, 2048) if torch.finfo(dtype).bits == 16 else (250, 512)
    weight = (normal(classes, features, seed=0) / math.sqrt(features)).to(dtype)
    assert HeadGeometry.from_weight(weight).rank == classes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("plant", [duplicated_row, zero_row, low_rank_product, low_rank_tall])
def test_a_rank_deficient_head_has_the_planted_rank(plant, dtype: torch.dtype) -> None:
    weight, rank = plant(dtype)
    head = HeadGeometry.from_weight(weight)
    assert head.rank == rank
    assert head.null_dim == weight.shape[1] - rank


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_rank_does_not_depend_on_the_scale_of_the_head(scale: float) -> None:
    weight, rank = low_rank_product(torch.float32)
    assert HeadGeometry.from_weight(weight.double().mul(scale).float()).rank == rank


def test_a_head_of_zeros_sees_nothing() -> None:
    head = HeadGeometry.from_weight(torch.zeros(3, 5))
    x = normal(4, 5, seed=0)
    assert (head.rank, head.null_dim) == (0, 5)
    assert math.isnan(head.condition)
    assert torch.equal(head.null(x), x)
    assert torch.equal(head.remove_null(x), torch.zeros_like(x))


def test_more_classes_than_features_leave_no_null_space() -> None:
    head = HeadGeometry.from_weight(normal(9, 4, seed=0))
    x, center = normal(6, 4, seed=1), normal(4, seed=2)
    assert (head.rank, head.null_dim) == (4, 0)
    assert torch.equal(head.null(x), torch.zeros_like(x))
    assert torch.equal(head.remove_null(x), x)
    assert torch.equal(head.remove_null(x, center), x)


def test_one_logit_sees_one_direction() -> None:
    weight = torch.tensor([[3.0, 4.0]])
    head = HeadGeometry.from_weight(weight)
    assert (head.rank, head.condition) == (1, 1.0)
    torch.testing.assert_close(head.principal(torch.tensor([1.0, 0.0])), torch.tensor([0.36, 0.48]))


def test_explicit_tolerances_replace_the_default() -> None:
    weight = torch.diag(torch.tensor([1.0, 1e-4, 1e-6], dtype=torch.float64))
    assert HeadGeometry.from_weight(weight).rank == 3
    assert HeadGeometry.from_weight(weight, atol=1e-5).rank == 2
    assert HeadGeometry.from_weight(1e-2 * weight, atol=1e-5).rank == 1
    assert HeadGeometry.from_weight(1e-2 * weight, rtol=1e-5).rank == 2
    assert HeadGeometry.from_weight(weight, rtol=1e-3, atol=1e-5).rank == 1


def test_the_softmax_ignores_what_all_logits_share_by_hand() -> None:
    weight = torch.tensor([[2.0, 1.0, 0.0], [2.0, -1.0, 0.0]])
    assert HeadGeometry.from_weight(weight).rank == 2
    head = HeadGeometry.from_weight(weight, invariance="softmax")
    assert (head.rank, head.null_dim) == (1, 2)
    assert head.null(torch.tensor([3.0, 4.0, 5.0])).tolist() == pytest.approx([3.0, 0.0, 5.0])


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_equivalents_have_the_softmax_of_the_original(shape) -> None:
    classes, features, seed = shape
    weight = normal(classes, features, seed=seed)
    plain = HeadGeometry.from_weight(weight)
    head = HeadGeometry.from_weight(weight, invariance="softmax")
    assert head.rank == min(classes - 1, features)
    x = normal(5, features, seed=seed + 1)
    logits, after = x @ weight.T, head.remove_null(x) @ weight.T
    torch.testing.assert_close(after.softmax(dim=1), logits.softmax(dim=1), atol=1e-10, rtol=0)
    if plain.rank > head.rank:
        assert (after - logits).abs().max() > 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("common", [0.0, 1e3])
def test_a_common_row_makes_no_rank_in_any_precision(dtype: torch.dtype, common: float) -> None:
    """Rows that differ by no more than their rounding are one row to the softmax."""
    row = normal(1, 64, seed=0) + common
    weight = (row + torch.zeros(10, 1)).to(dtype)
    assert HeadGeometry.from_weight(weight, invariance="softmax").rank == 0
    spread = (row + normal(10, 64, seed=1) * (1 + common / 10)).to(dtype)
    assert HeadGeometry.from_weight(spread, invariance="softmax").rank == 9


def test_an_unknown_invariance_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 'logits' or 'softmax'"):
        HeadGeometry.from_weight(torch.eye(2), invariance="argmax")  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_projectors_are_idempotent_complementary_and_orthogonal(shape) -> None:
    classes, features, seed = shape
    head = HeadGeometry.from_weight(normal(classes, features, seed=seed))
    x, y = normal(5, features, seed=seed + 1), normal(5, features, seed=seed + 2)
    principal, null = head.principal(x), head.null(x)
    torch.testing.assert_close(head.principal(principal), principal)
    torch.testing.assert_close(head.null(null), null)
    torch.testing.assert_close(principal + null, x)
    torch.testing.assert_close(head.null(principal), torch.zeros_like(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(
        principal @ head.null(y).T, torch.zeros(5, 5).double(), atol=1e-12, rtol=0
    )


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_equivalents_have_the_logits_of_the_original(shape) -> None:
    classes, features, seed = shape
    weight = normal(classes, features, seed=seed)
    head = HeadGeometry.from_weight(weight)
    x, center = normal(5, features, seed=seed + 1), 100 * normal(features, seed=seed + 2)
    torch.testing.assert_close(head.remove_null(x) @ weight.T, x @ weight.T, atol=1e-10, rtol=0)
    centered = head.remove_null(x, center)
    torch.testing.assert_close(centered @ weight.T, x @ weight.T, atol=1e-10, rtol=0)
    torch.testing.assert_close(
        head.null(centered), head.null(center).expand(5, -1), atol=1e-10, rtol=0
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_features_keep_their_dtype(dtype: torch.dtype) -> None:
    head = HeadGeometry.from_weight(normal(2, 5, seed=0))
    assert head.null(torch.ones(3, 5, dtype=dtype)).dtype == dtype


def test_drift_of_closed_form_heads() -> None:
    x, y, same_x = (HeadGeometry.from_weight(axes(*i, size=4)) for i in ((0, 1), (2, 3), (1, 0)))
    half = HeadGeometry.from_weight(axes(0, 2, size=4))
    assert x.drift_from(same_x) == 0
    assert x.drift_from(y) == 1
    assert x.drift_from(half) == 0.5
    # Two planes in space always share a line: turned by 90 degrees is as far as they get.
    plane, other = (HeadGeometry.from_weight(axes(*i, size=3)) for i in ((0, 1), (0, 2)))
    assert plane.drift_from(other) == 1
    tilt = math.radians(30)
    turned = torch.tensor([[math.cos(tilt), math.sin(tilt)]], dtype=torch.float64)
    flat = HeadGeometry.from_weight(torch.tensor([[1.0, 0.0]]))
    assert HeadGeometry.from_weight(turned).drift_from(flat) == pytest.approx(0.25)


@pytest.mark.parametrize("weight", [torch.zeros(2, 3), torch.eye(3)])
def test_heads_that_see_nothing_or_everything_do_not_drift(weight: Tensor) -> None:
    head = HeadGeometry.from_weight(weight)
    assert head.drift_from(HeadGeometry.from_weight(weight)) == 0


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.integers(1, 12))
def test_drift_is_symmetric_and_between_0_and_1(shape, other_classes: int) -> None:
    classes, features, seed = shape
    head = HeadGeometry.from_weight(normal(classes, features, seed=seed))
    other = HeadGeometry.from_weight(normal(other_classes, features, seed=seed + 1))
    drift = head.drift_from(other)
    assert 0 <= drift <= 1
    assert other.drift_from(head) == pytest.approx(drift, abs=1e-12)
    assert head.drift_from(head) == pytest.approx(0, abs=1e-12)


def test_drift_equals_the_distance_of_the_projectors() -> None:
    head, other = (HeadGeometry.from_weight(normal(3, 8, seed=s)) for s in (0, 1))
    p, q = (h.row_basis @ h.row_basis.T for h in (head, other))
    expected = 0.5 * float((p - q).square().sum()) / 3
    assert head.drift_from(other) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (torch.ones(2, 3, dtype=torch.int8), TypeError, "floating point tensor, got torch.int8"),
        (torch.ones(3), ValueError, r"\(classes, features\) matrix, got \(3,\)"),
        (torch.ones(2, 3, 1, 1), ValueError, r"got \(2, 3, 1, 1\)"),
        (torch.ones(0, 3), ValueError, r"got \(0, 3\)"),
        (torch.tensor([[1.0, math.nan]]), ValueError, "NaN or infinite"),
        (torch.tensor([[1.0, math.inf]]), ValueError, "NaN or infinite"),
    ],
)
def test_a_weight_that_is_no_head_is_refused(weight, error, message: str) -> None:
    with pytest.raises(error, match=message):
        HeadGeometry.from_weight(weight)


@pytest.mark.parametrize("name", ["rtol", "atol"])
@pytest.mark.parametrize("value", [-1e-3, math.nan])
def test_a_tolerance_below_zero_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 0"):
        HeadGeometry.from_weight(torch.eye(2), **{name: value})


def test_features_of_another_size_are_refused() -> None:
    head = HeadGeometry.from_weight(torch.eye(2, 3))
    with pytest.raises(ValueError, match=r"must have 3 entries.*got \(4, 2\)"):
        head.principal(torch.ones(4, 2))
    with pytest.raises(ValueError, match="one reads 3 features, the other 2"):
        head.drift_from(HeadGeometry.from_weight(torch.eye(2)))


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (7, 7)])
@pytest.mark.parametrize("spread", [1.0, 3.0, 9.0])
def test_the_decomposition_is_the_singular_value_decomposition(
    shape: tuple[int, int], spread: float
) -> None:
    """Through the Gram matrix or not: the condition goes from 10 to 1e9."""
    rows, columns = shape
    size = min(shape)
    values = torch.logspace(0, -spread, size, dtype=torch.float64)
    left, right = orthogonal(rows, 1)[:, :size], orthogonal(columns, 2)[:, :size]
    head = HeadGeometry.from_weight(left * values @ right.T)
    assert head.rank == size
    torch.testing.assert_close(head.singular_values, values, rtol=1e-9, atol=1e-15)
    identity = torch.eye(size, dtype=torch.float64)
    torch.testing.assert_close(head.row_basis.T @ head.row_basis, identity, rtol=0, atol=1e-11)
    torch.testing.assert_close((head.row_basis.T @ right).det().abs(), identity[0, 0])


@pytest.mark.parametrize(
    ("spread", "rows", "has_triangle"), [(1, 5, True), (9, 5, False), (1, 20, False)]
)
def test_the_triangle_is_the_weight_in_the_row_space(
    spread: float, rows: int, has_triangle: bool
) -> None:
    size = min(rows, 12)
    values = torch.logspace(0, -spread, size, dtype=torch.float64)
    weight = orthogonal(rows, 1)[:, :size] * values @ orthogonal(12, 2)[:, :size].T
    head = HeadGeometry.from_weight(weight)
    assert (head.triangle is not None) == has_triangle
    if head.triangle is not None:
        torch.testing.assert_close(head.triangle, (weight @ head.row_basis).T)
        assert torch.equal(head.triangle, head.triangle.triu())


@pytest.mark.parametrize("shape", [(5, 12), (12, 5)])
def test_a_tolerance_leaves_the_strongest_directions_of_a_well_conditioned_head(
    shape: tuple[int, int],
) -> None:
    left, right = orthogonal(shape[0], 1)[:, :5], orthogonal(shape[1], 2)[:, :5]
    values = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    head = HeadGeometry.from_weight(left * values @ right.T, atol=2.5)
    assert head.rank == 3
    torch.testing.assert_close(head.singular_values, values)
    strongest = right[:, :3]
    torch.testing.assert_close(head.principal(strongest.T), strongest.T)
    assert head.drift_from(HeadGeometry.from_weight(strongest.T)) == pytest.approx(0, abs=1e-12)
