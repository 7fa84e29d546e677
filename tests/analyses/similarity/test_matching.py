from __future__ import annotations

from itertools import permutations
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.analyses.similarity.matching import Matcher, match
from tests.helpers import generator, normal

MATCHERS: tuple[Matcher, ...] = get_args(Matcher)
shapes = st.tuples(st.integers(1, 24), st.integers(1, 6), st.integers(0, 1000))


def total(a: Tensor, b: Tensor, permutation: Tensor) -> float:
    return float((a * b[permutation]).sum())


def shuffle(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=generator(seed))


@given(shapes, st.sampled_from(MATCHERS), st.integers(1, 30))
@settings(max_examples=80, deadline=None)
def test_every_matcher_gives_a_permutation_no_better_than_the_optimum(
    shape: tuple[int, int, int], matcher: Matcher, window: int
) -> None:
    positions, channels, seed = shape
    a, b = normal(2, positions, channels, seed=seed)
    found = match(a, b, matcher, window)
    assert found.dtype == torch.int64
    assert sorted(found.tolist()) == list(range(positions))
    best = total(a, b, match(a, b))
    assert total(a, b, found) <= best + 1e-9 * abs(best)


@pytest.mark.parametrize("positions", [1, 2, 5, 6])
def test_optimal_is_the_best_of_all_permutations(positions: int) -> None:
    a, b = normal(2, positions, 3, seed=positions)
    every = [torch.tensor(order) for order in permutations(range(positions))]
    found = match(a, b)
    assert total(a, b, found) == pytest.approx(max(total(a, b, order) for order in every))
    # One matching serves all kernels: the norms do not depend on it.
    cosines = [
        float(torch.cosine_similarity(a.flatten(), b[order].flatten(), dim=0)) for order in every
    ]
    distances = [float((a - b[order]).square().sum()) for order in every]
    assert every[max(range(len(every)), key=cosines.__getitem__)].equal(found)
    assert every[min(range(len(every)), key=distances.__getitem__)].equal(found)


@pytest.mark.parametrize("matcher", ["optimal", "greedy"])
def test_a_shuffled_map_of_equal_norms_is_put_back(matcher: Matcher) -> None:
    a = torch.nn.functional.normalize(normal(40, 8, seed=0), dim=1)
    order = shuffle(40, seed=1)
    assert order[match(a, a[order], matcher)].equal(torch.arange(40))
    assert match(a, a, matcher).equal(torch.arange(40))


def test_greedy_takes_the_best_free_column_of_the_best_row_first() -> None:
    affinity = torch.tensor([[5.0, 4.0, 0.0], [9.0, 1.0, 0.0], [6.0, 8.0, 7.0]])
    # Row 1 takes 0, then row 2 takes 1, and row 0 is left with 2.
    assert match(affinity, torch.eye(3), "greedy").tolist() == [2, 0, 1]
    assert match(affinity, torch.eye(3)).tolist() == [1, 0, 2]


def test_windows_hold_positions_of_equal_rank_by_norm() -> None:
    lengths = torch.tensor([3.0, 1.0, 4.0, 2.0])[:, None]
    a = lengths * torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    b = torch.tensor([[0.0, 10.0], [40.0, 0.0], [0.0, 20.0], [30.0, 0.0]])
    # Of a the small ones are 1 and 3, of b 0 and 2; both pairings are solved inside.
    assert match(a, b, "batch_optimal", 1).tolist() == [3, 0, 1, 2]
    assert set(match(a, b, "batch_optimal", 2)[[1, 3]].tolist()) == {0, 2}


def test_topk_solves_the_largest_exactly() -> None:
    a, b = normal(2, 12, 4, seed=3)
    a[:5] *= 10
    b[7:] *= 10
    found = match(a, b, "topk_greedy", 5)
    assert set(found[:5].tolist()) == {7, 8, 9, 10, 11}
    assert (found[:5] - 7).equal(match(a[:5], b[7:]))
    assert found[5:].equal(match(a[5:], b[:7], "greedy"))


@pytest.mark.parametrize("matcher", ["batch_optimal", "topk_greedy"])
@pytest.mark.parametrize("window", [20, 21, 500])
def test_a_window_of_all_positions_is_exact(matcher: Matcher, window: int) -> None:
    a, b = normal(2, 20, 6, seed=4)
    assert match(a, b, matcher, window).equal(match(a, b))


def test_a_shared_offset_changes_no_matching() -> None:
    a, b = normal(2, 30, 5, seed=5)
    offset = 50 * normal(5, seed=6)
    assert match(a + offset, b + offset).equal(match(a, b))
    assert match(a + offset, b).equal(match(a, b))


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e30])
def test_scale_does_not_matter(scale: float) -> None:
    a, b = normal(2, 30, 5, seed=7).float()
    assert match(a * scale, b * scale).equal(match(a, b))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_matched_in_single(dtype: torch.dtype) -> None:
    a, b = normal(2, 30, 5, seed=8).to(dtype)
    assert match(a, b).equal(match(a.float(), b.float()))


@pytest.mark.parametrize(
    ("a", "b", "options", "said"),
    [
        ((3, 2), (4, 2), {}, "same shape"),
        ((3, 2), (3, 1), {}, "same shape"),
        ((0, 2), (0, 2), {}, "at least one"),
        ((3, 2, 1), (3, 2, 1), {}, "positions, channels"),
        ((3, 2), (3, 2), {"matcher": "best"}, "none of optimal, batch_optimal"),
        ((3, 2), (3, 2), {"matcher": "batch_optimal", "window": 0}, "window=0"),
        ((3, 2), (3, 2), {"matcher": "batch_optimal", "window": 1.5}, "a whole number"),
        ((3, 2), (3, 2), {"window": None}, "a whole number"),
    ],
)
def test_what_cannot_be_matched_is_refused(
    a: tuple[int, ...], b: tuple[int, ...], options: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        match(torch.ones(a), torch.ones(b), **options)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    a = torch.ones(3, 2)
    with pytest.raises(ValueError, match="NaN or infinite"):
        match(a, a.clone().fill_(value))


@pytest.mark.parametrize("matcher", MATCHERS)
def test_arrays_lists_and_whole_numbers_are_matched_as_tensors_are(matcher: Matcher) -> None:
    a, b = (10 * normal(2, 9, 4, seed=8)).round()
    expected = match(a, b, matcher, 4)
    window = np.int64(4)
    assert torch.equal(match(a.numpy(), b.numpy(), matcher, window), expected)  # type: ignore[arg-type]
    assert torch.equal(match(a.tolist(), b.int(), matcher, 4), expected)
    assert torch.equal(match(a.double(), b.half(), matcher, 4), expected)


@pytest.mark.parametrize("given", ["map", None, torch.ones(3, 2, dtype=torch.complex64)])
def test_what_are_no_real_numbers_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="numbers"):
        match(given, given)
