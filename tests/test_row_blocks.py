from __future__ import annotations

import pytest
import torch

from sing_monitor.row_blocks import (
    add_gram,
    all_blocks,
    deviations,
    energy,
    gram,
    mean,
    mirrored,
    row_blocks,
    squared_norms,
    times_lower,
    times_upper,
    working,
)
from tests.helpers import normal


@pytest.mark.parametrize("columns", [1, 256, 300, 700])
def test_gram_is_the_full_product(columns: int) -> None:
    x = normal(9, columns, seed=0)
    torch.testing.assert_close(gram(x), x.T @ x)


@pytest.mark.parametrize("samples", [0, 1, 512, 1300])
def test_gram_of_single_precision_errs_by_the_rounding_of_a_block(samples: int) -> None:
    x = normal(samples, 7, seed=0).float()
    expected = x.double().T @ x.double()
    assert gram(x).dtype == torch.float64
    torch.testing.assert_close(gram(x), expected, rtol=1e-6, atol=1e-6 * samples**0.5)
    strided = expected[::2, ::2]
    torch.testing.assert_close(gram(x[:, ::2]), strided, rtol=1e-6, atol=1e-6 * samples**0.5)


def test_gram_of_many_small_numbers_does_not_stall() -> None:
    x = torch.full((2**18, 2), 1e-3)
    expected = torch.full((2, 2), 2**18 * float(x[0, 0]) ** 2, dtype=torch.float64)
    torch.testing.assert_close(gram(x), expected, rtol=3e-6, atol=0)


@pytest.mark.parametrize("columns", [3, 256, 700])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_added_to_what_was_there(dtype: torch.dtype, columns: int) -> None:
    x = normal(5, columns, seed=0).to(dtype)
    sums = torch.ones(columns, columns, dtype=torch.float64)
    add_gram(sums, x)
    torch.testing.assert_close(mirrored(sums), x.double().T @ x.double() + 1, rtol=1e-5, atol=1e-5)
    assert torch.equal(sums, sums.T)


@pytest.mark.parametrize("rows", [[], [2], [0, 1, 4]])
def test_mean_of_some_rows(rows: list[int]) -> None:
    x = normal(5, 3, seed=0)
    expected = x[rows].mean(dim=0) if rows else torch.zeros(3).double()
    torch.testing.assert_close(mean(x, torch.tensor(rows).long()), expected)


@pytest.mark.parametrize("rows", [1, 9, 700])
def test_the_gram_matrix_of_rows_is_the_full_product(rows: int) -> None:
    x = normal(rows, 30, seed=0)
    torch.testing.assert_close(gram(x.T), x @ x.T)
    torch.testing.assert_close(gram(x[:, ::2].T), x[:, ::2] @ x[:, ::2].T)


@pytest.mark.parametrize("samples", [0, 512, 5000])
def test_blocks_hold_every_row_once(samples: int) -> None:
    rows = torch.arange(samples)
    assert torch.equal(torch.cat(list(row_blocks(rows))), rows)
    assert torch.equal(torch.cat([rows[block] for block in all_blocks(rows)]), rows)


def test_deviations_from_a_center_far_away_keep_their_digits() -> None:
    center = 1e4 + normal(8, seed=1)
    x = (center + normal(20, 8, seed=2)).float()
    exact = x.double() - center
    found = deviations(x, center)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_deviations_of_some_rows_leave_the_others_and_what_was_given_alone(
    dtype: torch.dtype,
) -> None:
    x, center, rows = normal(9, 4, seed=0).to(dtype), normal(4, seed=1), torch.tensor([7, 2])
    before = x.clone()
    assert torch.equal(deviations(x, center, rows), deviations(x, center)[rows])
    assert torch.equal(x, before)


def test_squared_norms_of_more_rows_than_a_block() -> None:
    x = normal(1300, 5, seed=0).float()
    torch.testing.assert_close(squared_norms(x), x.double().square().sum(dim=1))
    assert energy(x[0]) == pytest.approx(float(squared_norms(x)[0]))


def test_energy_of_many_small_numbers_does_not_stall() -> None:
    x = torch.full((2**14, 2**11), 1e-3)
    assert energy(x) == pytest.approx(2**25 * float(x[0, 0]) ** 2, rel=1e-9)


@pytest.mark.parametrize(
    ("stored", "worked"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64,) * 2],
)
def test_what_is_worked_in(stored: torch.dtype, worked: torch.dtype) -> None:
    assert working(torch.ones(2, dtype=stored)).dtype == worked


@pytest.mark.parametrize("size", [1, 5, 256, 300, 700])
def test_a_product_with_an_upper_triangular_matrix_is_the_whole_one(size: int) -> None:
    upper, x = normal(size, size, seed=1).triu(), normal(9, size, seed=2)
    torch.testing.assert_close(times_upper(x, upper), x @ upper)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 3), (128, 128), (300, 300), (500, 290)])
def test_a_product_with_a_lower_triangular_matrix_is_the_whole_one(rows: int, columns: int) -> None:
    lower, x = normal(rows, columns, seed=1).tril(), normal(9, rows, seed=2)
    torch.testing.assert_close(times_lower(x, lower), x @ lower)
