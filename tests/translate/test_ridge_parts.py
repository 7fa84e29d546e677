from __future__ import annotations

import pytest
import torch

from sing_monitor.translate.ridge_parts import Factor, factorize, solved
from tests.helpers import normal


@pytest.mark.parametrize("size", [1, 5, 128, 300])
def test_a_factor_by_blocks_is_the_whole_one(size: int) -> None:
    x = normal(2 * size, size, seed=0)
    scatter = x.T @ x
    expected = torch.linalg.cholesky(scatter + 0.3 * torch.eye(size).double())
    torch.testing.assert_close(factorize(scatter, 0.3).matrix, expected)
    narrow = factorize(scatter.float(), 0.3).matrix
    torch.testing.assert_close(narrow, expected.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 100, 200])
def test_a_scatter_without_all_directions_has_a_factor_too(rank: int) -> None:
    x = normal(rank, 300, seed=0)
    scatter = x.T @ x
    # Rounding, which leaves eigenvalues below 0, in a late block for the larger ranks.
    noise = 1e-10 * normal(300, 300, seed=1)
    factor = factorize(scatter + noise + noise.T, 0.0).matrix
    assert torch.equal(factor, factor.tril())
    torch.testing.assert_close(factor @ factor.T, scatter, rtol=0, atol=1e-7)


@pytest.mark.parametrize("columns", [1, 63, 64, 200])
@pytest.mark.parametrize("size", [5, 128, 300])
def test_systems_are_solved_by_blocks_as_by_rows(size: int, columns: int) -> None:
    x, wanted = normal(2 * size, size, seed=0), normal(size, columns, seed=1)
    scatter = x.T @ x + 0.3 * torch.eye(size).double()
    for factor in (factorize(scatter, 0.0), Factor.of(torch.linalg.cholesky(scatter))):
        torch.testing.assert_close(solved(factor, scatter @ wanted), wanted)
        assert factor.to(torch.float32).matrix.dtype == torch.float32
