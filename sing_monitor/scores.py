"""How far a meaning moves: angles between embeddings, Attribute Score and Image Score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PairScores:
    """AS toward the true class and IS of every image, degrees, each (N,)."""

    attribute: Tensor
    image: Tensor

    @classmethod
    def of(cls, original: Tensor, equivalent: Tensor, text: Tensor) -> PairScores:
        """Scores of one kind of pair; embeddings and texts are (N, n)."""
        return cls(attribute_score(original, equivalent, text), image_score(original, equivalent))


def angle(x: Tensor, y: Tensor) -> Tensor:
    """Angle between vectors, ``arccos(x.y / |x||y|)``, in degrees, 0 to 180 (SING, eq. 5).

    Computed as ``2 atan2(|u - v|, |u + v|)`` on unit vectors (Kahan), which keeps small angles
    that arccos loses.

    Args:
        x: (..., n).
        y: (..., n), broadcast against x.

    Returns:
        Degrees, (...); NaN where a vector is zero: it has no direction.

    Example::

        >>> angle(torch.tensor([1.0, 0.0]), torch.tensor([[0.0, 2.0], [-3.0, 0.0]])).tolist()
        [90.0, 180.0]
    """
    u, v = _unit(x), _unit(y)
    half = torch.atan2(
        torch.linalg.vector_norm(u - v, dim=-1), torch.linalg.vector_norm(u + v, dim=-1)
    )
    return torch.rad2deg(2 * half)


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
    """Cosine of every image with every text, from one matrix product.

    Args:
        embeddings: (N, n).
        texts: (K, n).

    Returns:
        (N, K), -1 to 1; NaN for a zero or NaN vector.
    """
    return _unit(embeddings) @ _unit(texts).T


def to_degrees(cosines: Tensor) -> Tensor:
    """Angles of cosines, in degrees; good to 1e-6 degrees in float64, for angles well off 0."""
    return torch.rad2deg(torch.arccos(cosines.clamp(-1.0, 1.0)))


def zero_shot_correct(cosines: Tensor, labels: Tensor) -> Tensor:
    """Whether the nearest text is the true one.

    Args:
        cosines: (N, K); a text without an embedding is a NaN column and is never chosen.
        labels: (N,) indices of the true texts.

    Returns:
        (N,), 1 or 0; NaN for an image without any cosine.
    """
    correct = cosines.nan_to_num(nan=-math.inf).argmax(dim=1) == labels
    return correct.to(cosines).where(~cosines.isnan().all(dim=1), math.nan)


def retention(before: float, after: float, *, choices: int, samples: int) -> float:
    """What is left of a zero-shot accuracy, chance apart: ``(after - 1/K) / (before - 1/K)``.

    Args:
        before: accuracy on the translated features.
        after: accuracy on their equivalents.
        choices: K, the number of texts.
        samples: N.

    Returns:
        1: nothing was lost; 0: down to chance. NaN when ``before`` is not above chance by two
        standard errors: there was nothing to retain.
    """
    if choices < 2 or samples < 1:
        return math.nan
    chance = 1 / choices
    margin = 2 * math.sqrt(chance * (1 - chance) / samples)
    if not before > chance + margin:
        return math.nan
    return (after - chance) / (before - chance)


def _unit(x: Tensor) -> Tensor:
    """Unit vectors; NaN, not zero, for vectors without a direction."""
    # Largest entry first: the squares of very small or large entries leave the dtype's range.
    scaled = x / x.abs().amax(dim=-1, keepdim=True)
    return scaled / torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
