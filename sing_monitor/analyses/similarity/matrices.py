"""Representational similarity matrices of feature maps, place by place and by their content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sing_monitor.analyses.similarity.matching import (
    WINDOW,
    Matcher,
    as_maps,
    check_matcher,
    matched_each,
    scaled,
)

# Inner products of all positions that are held at a time; so many are worth a step of their own.
_NUMBERS_AT_A_TIME, _ENOUGH_NUMBERS = 2_000_000, 100_000


class Kernel(NamedTuple):
    """One kernel between all pairs of N images, with both comparisons.

    Args:
        spatial: equal positions compared, (N, N) float64.
        semantic: matched positions compared, (N, N) float64.
    """

    spatial: Tensor
    semantic: Tensor


@dataclass(frozen=True)
class SimilarityMatrices:
    """Inner products of all pairs of N maps; the diagonal of both is ``|Z_i|^2``.

    Args:
        spatial_inner: ``sum_s <z_i,s, z_j,s>``: equal positions compared, (N, N) float64.
        semantic_inner: ``sum_s <z_i,s, z_j,P(s)>``, with the matching P of the pair, (N, N)
            float64. Of the exact matching it is never below ``spatial_inner``.
        norms: ``|Z_i|``, over all positions and channels, (N,) float64.
    """

    spatial_inner: Tensor
    semantic_inner: Tensor
    norms: Tensor

    def cosine(self) -> Kernel:
        """One cosine of the whole maps, after matching: -1 to 1; NaN for a map of zeros."""
        lengths = self.norms.where(self.norms > 0, torch.nan)
        lengths = lengths[:, None] * lengths
        return Kernel(self.spatial_inner / lengths, self.semantic_inner / lengths)

    def rbf(self) -> Kernel:
        """``exp(-d^2 / (2 sigma^2))`` of the distance d of the whole maps, after matching: 0 to 1.

        ``sigma`` is the root of the median of all d^2 but the zeros, plus 1e-3, as in the paper's
        code; of each matrix its own. So the median pair scores about 0.61 in both, and only values
        of one matrix compare with each other.
        """
        return Kernel(self._rbf(self.spatial_inner), self._rbf(self.semantic_inner))

    def _rbf(self, inner: Tensor) -> Tensor:
        energies = self.norms.square()
        squares = (energies[:, None] + energies - 2 * inner).clamp(min=0)
        squares.fill_diagonal_(0)
        rows, columns = torch.tril_indices(*squares.shape)
        distances = squares[rows, columns]
        distances = distances[distances > 0]
        if not len(distances):
            # All images are equal, at any bandwidth.
            return torch.ones_like(squares)
        sigma = distances.median().sqrt() + 1e-3
        return torch.exp(-squares / (2 * sigma.square()))


class MatchedPairs(NamedTuple):
    """Images matched with a later one: some of the pairs of a matrix.

    Args:
        first: the earlier images, (B,).
        second: the later images, (B,).
        permutation: the position of the second that each of the first is matched with, (B, S)
            int64.
        strengths: inner products of matched positions, (B, S).
    """

    first: Tensor
    second: Tensor
    permutation: Tensor
    strengths: Tensor


def similarity_matrices(
    maps: Tensor | ArrayLike, matcher: Matcher = "optimal", window: int = WINDOW
) -> SimilarityMatrices:
    """Spatial and semantic similarity of all pairs of images (Wald et al. 2024, eqs. 3 to 5).

    Products are in single precision (in double of float64), sums in double.

    Args:
        maps: feature maps, (N, C, H, W), of any real type.
        matcher: as for :func:`~sing_monitor.analyses.similarity.matching.match`; of a pair the
            earlier image is ``a``. An image is compared with itself as it is, whatever the matcher.
        window: as for :func:`~sing_monitor.analyses.similarity.matching.match`.

    Raises:
        ValueError: for another shape, no position or channel, another matcher, a window that is no
            whole number from 1 on, and for NaN or infinite values.

    Example::

        >>> maps = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 1.0]]]])
        >>> similarity_matrices(maps).cosine()[1]
        tensor([[1., 1.],
                [1., 1.]], dtype=torch.float64)
    """
    window = check_matcher(matcher, window)
    vectors, scale = position_vectors(as_maps(maps))
    semantic = vectors.new_zeros(len(vectors), len(vectors), dtype=torch.float64)
    for pairs in matched_pairs(vectors, matcher, window):
        semantic[pairs.second, pairs.first] = pairs.strengths.sum(dim=1, dtype=torch.float64)
    semantic += semantic.T.clone()
    return matrices_of(vectors, semantic, scale)


def matrices_of(vectors: Tensor, semantic: Tensor, scale: float) -> SimilarityMatrices:
    """The matrices of scaled maps whose semantic inner products of two images are known.

    Args:
        vectors: (N, S, C), as from :func:`position_vectors`.
        semantic: (N, N) float64, symmetric; the diagonal is not read, and is filled.
        scale: as from :func:`position_vectors`.
    """
    flat = vectors.flatten(1)
    energies = flat.square().sum(dim=1, dtype=torch.float64)
    spatial = (flat @ flat.T).double()
    spatial.diagonal().copy_(energies)
    semantic.diagonal().copy_(energies)
    return SimilarityMatrices(spatial * scale**2, semantic * scale**2, energies.sqrt() * scale)


def position_vectors(maps: Tensor) -> tuple[Tensor, float]:
    """Maps (N, C, H, W) as vectors at positions, (N, S, C), and what they were divided by.

    Positions are counted row by row.

    Raises:
        ValueError: as :func:`similarity_matrices`.
    """
    if maps.ndim != 4 or 0 in maps.shape[1:] or not maps.is_floating_point():
        raise ValueError(
            "maps must be floating-point (images, channels, height, width), with at least one "
            f"channel and position; got {tuple(maps.shape)}, {maps.dtype}."
        )
    vectors = maps.detach().cpu().flatten(2).transpose(1, 2).contiguous()
    largest = float(vectors.abs().max()) if len(vectors) else 0.0
    return scaled(vectors), largest or 1.0


def matched_pairs(
    vectors: Tensor, matcher: Matcher, window: int = WINDOW
) -> Iterator[MatchedPairs]:
    """Match all pairs of two images, in pieces of little memory.

    Args:
        vectors: (N, S, C), as from :func:`position_vectors`.
        matcher: as for :func:`similarity_matrices`.
        window: as for :func:`similarity_matrices`.
    """
    numbers = vectors.shape[1] ** 2
    at_a_time = max(1, _NUMBERS_AT_A_TIME // numbers)
    pieces: list[tuple[int, int, int]] = []
    count = 0
    for second in range(1, len(vectors)):
        for start in range(0, second, at_a_time):
            end = min(start + at_a_time, second)
            pieces.append((start, end, second))
            count += end - start
            if count * numbers >= _ENOUGH_NUMBERS or end == len(vectors) - 1:
                yield _matched(vectors, pieces, matcher, window)
                pieces, count = [], 0


def _matched(
    vectors: Tensor, pieces: Sequence[tuple[int, int, int]], matcher: Matcher, window: int
) -> MatchedPairs:
    """Images from a first one up to another, each matched with a later one, by pieces of these."""
    first = torch.cat([torch.arange(start, end) for start, end, _ in pieces])
    second = torch.cat([torch.full((end - start,), later) for start, end, later in pieces])
    pairs = [(vectors[start:end], vectors[later]) for start, end, later in pieces]
    return MatchedPairs(first, second, *matched_each(pairs, matcher, window))
