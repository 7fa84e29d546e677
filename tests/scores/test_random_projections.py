"""Moments of random projections agree with closed forms and with drawn projections."""

from __future__ import annotations

from functools import reduce

import pytest
import torch
from torch import Tensor

from sing_monitor.scores.random_projections import projection_moment, spelled
from tests.helpers import normal


class Matrices:
    """Symmetric matrices by letter, with the traces of their products."""

    def __init__(self, dim: int) -> None:
        squares = {name: normal(dim, dim, seed=seed) for seed, name in enumerate("ABC")}
        self.of = {name: square + square.T for name, square in squares.items()}

    def trace(self, word: str) -> float:
        assert word == spelled(word)
        return float(reduce(torch.mm, [self.of[letter] for letter in word]).trace())


def projections(draws: int, dim: int, rank: int) -> Tensor:
    basis = torch.linalg.qr(normal(draws, dim, rank, seed=9)).Q
    return basis @ basis.mT


@pytest.mark.parametrize(("dim", "rank"), [(1, 1), (2, 1), (3, 2), (7, 3), (300, 17)])
def test_mean_and_variance_of_a_trace(dim: int, rank: int) -> None:
    matrices = Matrices(dim)
    first, second = matrices.trace("A"), matrices.trace("AA")
    mean = projection_moment(["A"], matrices.trace, dim, rank)
    assert mean == pytest.approx(rank / dim * first)
    variance = projection_moment(["A", "A"], matrices.trace, dim, rank) - mean**2
    known = 0.0
    if rank < dim:
        known = 2 * rank * (dim - rank) / (dim**2 * (dim - 1) * (dim + 2))
        known *= dim * second - first**2
    assert variance == pytest.approx(known, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("dim", [2, 3, 9, 200])
def test_on_one_direction_it_is_the_moment_of_products_of_quadratic_forms(dim: int) -> None:
    matrices = Matrices(dim)
    found = projection_moment(["AB"], matrices.trace, dim, 1)
    both = matrices.trace("A") * matrices.trace("B")
    assert found == pytest.approx((both + 2 * matrices.trace("AB")) / (dim * (dim + 2)))


@pytest.mark.parametrize("words", [["AB"], ["AB", "AB"], ["A", "BC"], ["C", "C", "AB"]])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_the_whole_space_is_no_chance(words: list[str], dim: int) -> None:
    matrices = Matrices(dim)
    expected = 1.0
    for word in words:
        expected *= matrices.trace(spelled(word))
    assert projection_moment(words, matrices.trace, dim, dim) == pytest.approx(expected)
    assert projection_moment(words, matrices.trace, dim, 0) == 0


@pytest.mark.parametrize(("dim", "rank"), [(2, 1), (3, 1), (6, 2), (6, 5)])
def test_fourth_moments_are_those_of_drawn_projections(dim: int, rank: int) -> None:
    matrices, drawn = Matrices(dim), projections(30_000, dim, rank)
    a, b, c = (matrices.of[name] for name in "ABC")
    linear = torch.einsum("nij,ji->n", drawn, c)
    quadratic = torch.einsum("nij,nji->n", drawn @ a, drawn @ b)
    for words, values in (
        (["C", "AB"], linear * quadratic),
        (["AB", "AB"], quadratic**2),
        (["ABAC"], torch.einsum("nij,nji->n", drawn @ a @ drawn @ b, drawn @ a @ drawn @ c)),
    ):
        found = projection_moment(words, matrices.trace, dim, rank)
        # Four standard errors of the drawn mean.
        error = 4 * float(values.std()) / len(values) ** 0.5
        assert found == pytest.approx(float(values.mean()), abs=error)
