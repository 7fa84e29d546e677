"""Moments of a uniformly random projection, by integrals over the orthogonal group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache, reduce
from operator import add, mul
from typing import TypeVar

from torch import Tensor

# Pairs of indices, each of which occurs once.
Pairing = tuple[tuple[int, int], ...]
# Letters of a product of symmetric matrices whose trace is meant.
Word = str


# One number, or those of several sets of matrices at once.
Number = TypeVar("Number", float, Tensor)


def projection_moment(
    words: Sequence[Word], trace: Callable[[Word], Number], dim: int, rank: int
) -> Number:
    """``E[tr(P M1 P M2 ..) tr(P M3 ..) ..]`` for a uniformly random projection P of rank d in R^m.

    As P looks alike from all sides, the mean of the product of k of its entries is a sum over the
    pairings of their 2 k indices (Weingarten calculus, Collins and Sniady 2006). Its coefficients
    follow from ``P P = P`` and ``tr P = d``: they fix every contraction of both sides.

    Args:
        words: of every trace, the symmetric matrices behind each P, as letters; four in all at
            most, since k P have 1 * 3 * .. * (2 k - 1) pairings.
        trace: of a product of the matrices, by its :func:`spelled` word.
        dim: m.
        rank: d, 0 to m.

    Example::

        >>> projection_moment(["A", "A"], {"A": 2.0, "AA": 2.0}.__getitem__, 2, 1)  # A = I
        1.0
    """
    coefficients = _coefficients(sum(map(len, words)), dim, rank)
    terms = [
        count * coefficients[kind] * reduce(mul, map(trace, found))
        for (kind, found), count in _terms(tuple(words)).items()
    ]
    return reduce(add, terms)


def spelled(word: Word) -> Word:
    """The first in the alphabet of all words of the same trace: those turned, and reversed.

    Example::

        >>> spelled("BAA"), spelled("BABA")
        ('AAB', 'ABAB')
    """
    turned = [word[place:] + word[:place] for place in range(len(word))]
    return min(turned + [each[::-1] for each in turned])


@lru_cache
def _terms(words: tuple[Word, ...]) -> Counter[tuple[tuple[int, ...], tuple[Word, ...]]]:
    """How often each product of traces comes up, with the cycles of its pairings' coefficient."""
    letters = "".join(words)
    # The i-th P has indices 2 i and 2 i + 1; the matrix behind it leads on to the next P.
    matrices: list[tuple[int, int]] = []
    for word in words:
        first = len(matrices)
        matrices += [
            (2 * (first + place) + 1, 2 * (first + (place + 1) % len(word)))
            for place in range(len(word))
        ]
    terms: Counter[tuple[tuple[int, ...], tuple[Word, ...]]] = Counter()
    for pairing in _pairings(tuple(range(2 * len(letters)))):
        found = ("".join(letters[i] for i in cycle) for cycle in _cycles(matrices, pairing))
        terms[_kind(pairing), tuple(sorted(map(spelled, found)))] += 1
    return terms


@lru_cache
def _coefficients(count: int, dim: int, rank: int) -> dict[tuple[int, ...], float]:
    """Of every pairing, by the lengths of its cycles with the indices of one P each.

    Solved in whole numbers: with many features the coefficients differ by many orders.
    """
    kinds = sorted(_contractions(count))
    rows = []
    for kind in kinds:
        row = [Fraction(0)] * len(kinds)
        for (other, loops), times in _contractions(count)[kind].items():
            row[kinds.index(other)] += times * Fraction(dim) ** loops
        rows.append([*row, Fraction(rank) ** len(kind)])
    return dict(zip(kinds, map(float, _solved(rows)), strict=True))


@lru_cache
def _contractions(count: int) -> dict[tuple[int, ...], Counter[tuple[tuple[int, ...], int]]]:
    """For one pairing of every kind, how many of each kind form so many cycles with it."""
    pairings = list(_pairings(tuple(range(2 * count))))
    one_of_each = {_kind(pairing): pairing for pairing in pairings}
    return {
        kind: Counter((_kind(other), sum(1 for _ in _cycles(one, other))) for other in pairings)
        for kind, one in one_of_each.items()
    }


def _solved(rows: list[list[Fraction]]) -> list[Fraction]:
    """Solve a consistent system, rows with the right side last; what is left free is 0."""
    places: list[int] = []
    width = len(rows[0]) - 1
    for place in range(width):
        done = len(places)
        pivot = next((row for row in range(done, len(rows)) if rows[row][place]), None)
        if pivot is None:
            continue
        rows[done], rows[pivot] = rows[pivot], rows[done]
        rows[done] = [value / rows[done][place] for value in rows[done]]
        for row in range(len(rows)):
            if row != done and rows[row][place]:
                factor = rows[row][place]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[done], strict=True)]
        places.append(place)
    solution = [Fraction(0)] * width
    for row, place in enumerate(places):
        solution[place] = rows[row][-1]
    return solution


def _pairings(indices: tuple[int, ...]) -> Iterator[Pairing]:
    if not indices:
        yield ()
        return
    first, *rest = indices
    for partner in rest:
        others = tuple(index for index in rest if index != partner)
        yield from (((first, partner), *pairing) for pairing in _pairings(others))


def _kind(pairing: Pairing) -> tuple[int, ...]:
    own = [(2 * place, 2 * place + 1) for place in range(len(pairing))]
    return tuple(sorted(len(cycle) for cycle in _cycles(own, pairing)))


def _cycles(edges: Sequence[tuple[int, int]], pairing: Pairing) -> Iterator[list[int]]:
    """Walk edges and pairs in turn: the numbers of the edges of every cycle, in order."""
    partner = dict([*pairing, *((b, a) for a, b in pairing)])
    at = {
        end: (number, other)
        for number, (a, b) in enumerate(edges)
        for end, other in ((a, b), (b, a))
    }
    left = set(range(len(edges)))
    while left:
        start = edges[min(left)][0]
        cycle, index = [], start
        while True:
            number, other = at[index]
            cycle.append(number)
            left.discard(number)
            index = partner[other]
            if index == start:
                break
        yield cycle
