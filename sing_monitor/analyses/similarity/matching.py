"""One-to-one matching of the positions of two feature maps by their inner products.

Wald et al. 2024, "Decoupling Semantic Similarity from Spatial Alignment for Neural Networks",
eqs. 4 and 5: ``P = argmax over permutations of sum_s <a_s, b_P(s)>``. Vectors are compared as they
are, without normalization, whichever kernel is asked for afterwards: norms do not depend on the
order of positions, so one matching serves the inner product, the cosine and the RBF kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sing_monitor.row_blocks import working

Matcher = Literal["optimal", "batch_optimal", "greedy", "topk_greedy", "identity"]

MATCHERS: tuple[Matcher, ...] = get_args(Matcher)
WINDOW = 128
# Pairs of smaller maps are matched so fast that threads would wait for each other.
_THREADS_FROM = 100


def match(
    a: Tensor | ArrayLike,
    b: Tensor | ArrayLike,
    matcher: Matcher = "optimal",
    window: int = WINDOW,
) -> Tensor:
    """The position of b that each position of a is matched with.

    ``optimal`` solves the assignment exactly, in a time that grows with S^3. The others are faster:
    ``batch_optimal`` sorts the positions of either map by norm and solves windows of equal rank;
    ``greedy`` lets one position of a after the other take the best free one of b, that with the
    largest inner product first; ``topk_greedy`` solves the positions of largest norm exactly and
    the rest greedily; ``identity`` matches equal places.

    Args:
        a: vectors at the positions of one map, (S, C).
        b: those of the other, (S, C).
        matcher: how they are matched.
        window: positions that ``batch_optimal`` solves at a time, and that ``topk_greedy`` solves
            exactly. From S on both are ``optimal``.

    Returns:
        (S,) int64: a permutation P; position s of a is matched with position ``P[s]`` of b.

    Raises:
        ValueError: if the shapes differ or hold no position, for another matcher, for a window
            that is no whole number from 1 on, and for NaN or infinite values.

    Example::

        >>> a = torch.eye(3)
        >>> match(a, a[[2, 0, 1]])
        tensor([1, 2, 0])
    """
    first, second = as_maps(a), as_maps(b)
    if first.ndim != 2 or first.shape != second.shape or 0 in first.shape:
        raise ValueError(
            "the two maps must be (positions, channels) of the same shape, with at least one of "
            f"each; got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    window = check_matcher(matcher, window)
    first, second = scaled(first), scaled(second)
    precision = torch.promote_types(first.dtype, second.dtype)
    return matched(first[None].to(precision), second.to(precision), matcher, window)[0][0]


def as_maps(given: Tensor | ArrayLike) -> Tensor:
    """Maps as a tensor on the CPU; whole numbers in single precision.

    Raises:
        ValueError: if they are no array of real numbers.
    """
    try:
        # A copy: torch warns of arrays that cannot be written to.
        maps = given.detach().cpu() if isinstance(given, Tensor) else torch.tensor(np.array(given))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"maps must be an array of numbers, got {type(given).__name__}: {error}."
        ) from error
    if maps.is_complex():
        raise ValueError(f"maps must hold real numbers; got {maps.dtype}.")
    return maps if maps.is_floating_point() else maps.float()


def check_matcher(matcher: str, window: int) -> int:
    """Refuse an unknown matcher, and windows without a position; returns the window."""
    if matcher not in MATCHERS:
        raise ValueError(f"matcher={matcher!r} is none of {', '.join(MATCHERS)}.")
    if not isinstance(window, Integral) or window < 1:
        raise ValueError(f"window={window!r}; give a whole number of positions, at least 1.")
    return int(window)


def scaled(maps: Tensor) -> Tensor:
    """Maps over their largest absolute value, in single precision at least, on the CPU.

    No product of such values overflows, and the order of products is as before.

    Raises:
        ValueError: for NaN or infinite values.
    """
    maps = working(maps.detach().cpu())
    largest = maps.abs().max() if maps.numel() else maps.new_zeros(())
    if not largest.isfinite():
        raise ValueError(
            "the maps hold NaN or infinite values, which resemble nothing; leave those images out."
        )
    return maps / largest.where(largest > 0, 1)


def matched(a: Tensor, b: Tensor, matcher: Matcher, window: int) -> tuple[Tensor, Tensor]:
    """Match each of some maps with one other.

    Args:
        a: (B, S, C), finite, and so small that products do not overflow.
        b: (S, C).
        matcher: as for :func:`match`.
        window: as for :func:`match`.

    Returns:
        Permutations (B, S) int64, and the inner products of the positions that they match, (B, S).
    """
    positions = len(b)
    if matcher == "identity":
        return torch.arange(positions).expand(len(a), -1), (a * b).sum(dim=2)
    if matcher == "batch_optimal" and window < positions:
        return _by_windows(a, b, window)
    affinity = _affinity(a, b)
    if matcher == "greedy":
        permutation = _greedy(affinity)
    elif matcher == "topk_greedy" and window < positions:
        permutation = _topk_greedy(affinity, a, b, window)
    else:
        permutation = _optimal(affinity)
    return permutation, _of_positions(affinity, permutation)


def matched_each(
    pairs: Sequence[tuple[Tensor, Tensor]], matcher: Matcher, window: int
) -> tuple[Tensor, Tensor]:
    """The same for several maps that others are matched with, one after the other.

    Args:
        pairs: a and b of :func:`matched`, of at least one.
        matcher: as for :func:`match`.
        window: as for :func:`match`.
    """
    if matcher != "optimal":
        parts = zip(*(matched(a, b, matcher, window) for a, b in pairs), strict=True)
        permutation, strengths = map(torch.cat, parts)
        return permutation, strengths
    affinity = torch.cat([_affinity(a, b) for a, b in pairs])
    permutation = _optimal(affinity)
    return permutation, _of_positions(affinity, permutation)


def _affinity(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of all positions of (B, S, C) and (S, C), (B, S, S)."""
    return (a.reshape(-1, a.shape[2]) @ b.T).view(-1, len(b), len(b))


def _of_positions(affinity: Tensor, permutation: Tensor) -> Tensor:
    """Those of the positions that are matched, (B, S)."""
    return affinity.gather(2, permutation[:, :, None])[:, :, 0]


def _optimal(affinity: Tensor) -> Tensor:
    """Permutations of largest sum, of (B, S, S) inner products."""
    # What is taken from all of a row or a column changes no assignment: with the best of each at 0
    # the solver needs half of the time.
    eased = affinity - affinity.mean(dim=2, keepdim=True)
    eased -= eased.mean(dim=1, keepdim=True)
    eased -= eased.amax(dim=2, keepdim=True)
    eased -= eased.amax(dim=1, keepdim=True)
    costs = eased.neg_().numpy()
    threads = torch.get_num_threads()
    if threads == 1 or len(costs) < 2 * threads or costs.shape[1] < _THREADS_FROM:
        return torch.from_numpy(_assignments(costs))
    # The solver lets other threads run.
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(_assignments, np.array_split(costs, 4 * threads)))
    return torch.from_numpy(np.concatenate(found))


def _assignments(costs: np.ndarray) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment

    found = np.empty(costs.shape[:2], np.int64)
    for each, cost in zip(found, costs, strict=True):
        each[:] = linear_sum_assignment(cost)[1]
    return found


def _greedy(affinity: Tensor) -> Tensor:
    """Each row takes its best column that is still free, the row with the best affinity first."""
    pairs = torch.arange(len(affinity))
    order = affinity.amax(dim=2).argsort(dim=1, descending=True, stable=True)
    free = affinity.new_zeros(affinity.shape[:2])
    permutation = torch.empty(affinity.shape[:2], dtype=torch.int64)
    for rows in order.T:
        column = (affinity[pairs, rows] + free).argmax(dim=1)
        permutation[pairs, rows] = column
        free[pairs, column] = -torch.inf
    return permutation


def _by_windows(a: Tensor, b: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Positions of equal rank by norm, matched window by window."""
    order_a, order_b = _by_norm(a), _by_norm(b[None])[0]
    permutation = torch.empty(a.shape[:2], dtype=torch.int64)
    strengths = a.new_empty(a.shape[:2])
    for rows, columns in zip(order_a.split(window, dim=1), order_b.split(window), strict=True):
        some = _gathered(a, rows)
        inside, products = matched(some, b[columns], "optimal", window)
        permutation.scatter_(1, rows, columns[inside])
        strengths.scatter_(1, rows, products)
    return permutation, strengths


def _topk_greedy(affinity: Tensor, a: Tensor, b: Tensor, count: int) -> Tensor:
    """The positions of largest norm matched exactly, the others greedily."""
    order_a, order_b = _by_norm(a).flip(1), _by_norm(b[None])[0].flip(0)
    permutation = torch.empty(affinity.shape[:2], dtype=torch.int64)
    for chosen, solve in ((slice(None, count), _optimal), (slice(count, None), _greedy)):
        rows, columns = order_a[:, chosen], order_b[chosen]
        inside = solve(_gathered(affinity, rows)[:, :, columns])
        permutation.scatter_(1, rows, columns[inside])
    return permutation


def _by_norm(maps: Tensor) -> Tensor:
    """Positions of (B, S, C) by norm, the smallest first, (B, S)."""
    return maps.square().sum(dim=2, dtype=torch.float64).argsort(dim=1, stable=True)


def _gathered(x: Tensor, rows: Tensor) -> Tensor:
    """Some rows (B, R) of each of (B, S, K), (B, R, K)."""
    return x.gather(1, rows[:, :, None].expand(-1, -1, x.shape[2]))
