"""How far a meaning moves: angles between embeddings, Attribute Score and Image Score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sing_monitor.row_blocks import all_blocks

_LONG_CHORD = 1.9


@dataclass(frozen=True)
class PairScores:
    """Scores of every image, each (N,) float64.

    Args:
        attribute: AS toward the true class, degrees.
        image: IS, degrees.
        toward: angle between the equivalent ``T f~`` and the true class, degrees.
        length: ``|T f~|``.
    """

    attribute: Tensor
    image: Tensor
    toward: Tensor
    length: Tensor


class Rows(Protocol):
    """Embeddings (N, n) that are taken a few rows at a time: a tensor, or what works them out."""

    def __getitem__(self, rows: slice, /) -> Tensor:
        """Some of them, (B, n)."""


def score_pairs(
    original: Tensor, equivalents: Sequence[Rows], texts: Tensor, labels: Tensor
) -> list[PairScores]:
    """AS and IS of several equivalents of the same images (SING, eqs. 6-8).

    As :func:`attribute_score` and :func:`image_score`, with each direction worked out once.

    Args:
        original: translated features ``T f``, (N, n).
        equivalents: each (N, n).
        texts: (K, n).
        labels: which text an image is scored against, (N,).
    """
    text_directions = unit(texts.to(original))
    scores = [PairScores(*original.new_empty(4, len(original)).double()) for _ in equivalents]
    for rows in all_blocks(original):
        directions, towards = unit(original[rows]), text_directions[labels[rows]]
        to_text = _between(directions, towards)
        for score, equivalent in zip(scores, equivalents, strict=True):
            translated = equivalent[rows]
            moved = unit(translated)
            after = _between(moved, towards)
            score.attribute[rows] = (to_text - after).double()
            score.image[rows] = _between(directions, moved).double()
            score.toward[rows] = after.double()
            score.length[rows] = torch.linalg.vector_norm(translated, dim=1).double()
    return scores


def angle(x: Tensor, y: Tensor) -> Tensor:
    """Angle between vectors, ``arccos(x.y / |x||y|)``, in degrees, 0 to 180 (SING, eq. 5).

    Computed as ``2 asin(|u - v| / 2)`` on unit vectors, and near 180 degrees as
    ``2 atan2(|u - v|, |u + v|)`` (Kahan), which keeps small angles that arccos loses.

    Args:
        x: (..., n).
        y: (..., n), broadcast against x.

    Returns:
        Degrees, (...); NaN where a vector is zero: it has no direction.

    Example::

        >>> angle(torch.tensor([1.0, 0.0]), torch.tensor([[0.0, 2.0], [-3.0, 0.0]])).tolist()
        [90.0, 180.0]
    """
    return _between(unit(x), unit(y))


def attribute_score(original: Tensor, equivalent: Tensor, text: Tensor) -> Tensor:
    """Attribute Score: how much nearer to a text the equivalent is (SING, eqs. 6-7).

    ``AS = angle(original, text) - angle(equivalent, text)``. Positive: the equivalent is closer
    to the text. ``|AS| <= IS`` always, since the angle is a metric.

    Args:
        original: translated features ``T f``, (N, n).
        equivalent: translated equivalents ``T f~``, (N, n).
        text: text embedding, (n,) or one for each image, (N, n).

    Returns:
        Degrees, (N,), -180 to 180.
    """
    return angle(original, text) - angle(equivalent, text)


def image_score(original: Tensor, equivalent: Tensor) -> Tensor:
    """Image Score: how far the meaning moved, ``angle(T f, T f~)`` (SING, eq. 8).

    Args:
        original: translated features, (N, n).
        equivalent: translated equivalents, (N, n).

    Returns:
        Degrees, (N,), 0 to 180.
    """
    return angle(original, equivalent)


def text_cosines(embeddings: Tensor, texts: Tensor) -> Tensor:
    """Cosine of every image with every text, by matrix products.

    Args:
        embeddings: (N, n).
        texts: (K, n).

    Returns:
        (N, K), -1 to 1; NaN for a zero or NaN vector.
    """
    directions = unit(texts.to(embeddings)).T
    return torch.cat([unit(embeddings[some]) @ directions for some in all_blocks(embeddings)])


def to_degrees(cosines: Tensor) -> Tensor:
    """Angles of cosines, in degrees: from 20 to 160 good to 1e-13 in float64, 2e-5 in float32."""
    return torch.rad2deg(torch.arccos(cosines.clamp(-1.0, 1.0)))


def zero_shot_correct(cosines: Tensor, labels: Tensor) -> Tensor:
    """Whether the nearest text is the true one.

    Args:
        cosines: (N, K); a text without an embedding is a NaN column and is never chosen.
        labels: (N,) indices of the true texts.

    Returns:
        (N,), 1 or 0; NaN for an image without any cosine.
    """
    highest, nearest = cosines.nan_to_num(nan=-math.inf).max(dim=1)
    return (nearest == labels).to(cosines).where(highest > -math.inf, math.nan)


def _between(u: Tensor, v: Tensor) -> Tensor:
    """Angles of unit vectors, in degrees, by half their distance: the chord."""
    chord = torch.linalg.vector_norm(u - v, dim=-1)
    degrees = torch.rad2deg(2 * torch.asin((chord / 2).clamp(max=1.0)))
    # Near 180 degrees the chord hardly changes; the distance to the opposite does.
    if bool((chord > _LONG_CHORD).any()):
        opposite = torch.linalg.vector_norm(u + v, dim=-1)
        degrees = torch.where(
            chord > _LONG_CHORD, torch.rad2deg(2 * torch.atan2(chord, opposite)), degrees
        )
    return degrees


def unit(x: Tensor) -> Tensor:
    """Unit vectors; NaN, not zero, for vectors without a direction."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    limits = torch.finfo(x.dtype)
    if bool(((norm > limits.tiny**0.25) & (norm < limits.max**0.25)).all()):
        return x / norm
    # Largest entry first: the squares of very small or large entries leave the dtype's range.
    scaled = x / x.abs().amax(dim=-1, keepdim=True)
    return scaled / torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
