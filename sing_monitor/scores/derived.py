"""Scores made of other scores: ratios, shares and retention, with one rule for a zero below."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from sing_monitor.scores.pairs import CENTERED, RANDOM, Pair

# From there on an R2 below 0 is more than the noise of held-out images.
_OVERFITTED = -0.05

# A score of the model, or those of its classes or of replicates.
Number = TypeVar("Number", float, Tensor)


def ratio(numerator: Number, denominator: Number) -> Number:
    """``numerator / denominator``; NaN where the denominator is 0.

    Example::

        >>> ratio(1.0, 4.0), ratio(1.0, 0.0)
        (0.25, nan)
    """
    if isinstance(denominator, Tensor):
        return numerator / denominator.where(denominator != 0, torch.nan)
    return numerator / denominator if denominator != 0 else math.nan


def relative_scores(
    attribute: Mapping[Pair, Number], image: Mapping[Pair, Number]
) -> dict[str, Number]:
    """The centered pair's scores, read against its own movement and the random subspace.

    Args:
        attribute: mean AS of the centered and the random pair.
        image: mean IS of both.

    Returns:
        ``image_score_relative``, IS over that of the random pair; ``attribute_score_excess``, AS
        less that of the random pair; ``attribute_share`` and ``attribute_share_random``, AS over
        IS of the same pair.
    """
    return {
        "image_score_relative": ratio(image[CENTERED], image[RANDOM]),
        "attribute_score_excess": attribute[CENTERED] - attribute[RANDOM],
        "attribute_share": ratio(attribute[CENTERED], image[CENTERED]),
        RANDOM.named("attribute_share"): ratio(attribute[RANDOM], image[RANDOM]),
    }


def commonality(whole: float, seen: float, null: float, half: float = math.nan) -> dict[str, float]:
    """Split an R2 into what either part explains alone and what both explain (commonality).

    Newton and Spurrell 1967; Mood 1971. The three parts add up to the whole; held out, each may
    be slightly negative. Where a fit predicts worse than the mean, or the whole worse than a part
    of it or than with half of the images, by more than 0.05, the fits are overfitted: what they
    explain is no share of the variance, and there is no split.

    Args:
        whole: R2 of a fit on the whole feature.
        seen: R2 of a fit on the part in the row space.
        null: R2 of a fit on the part in the null space.
        half: R2 of a fit on the whole feature, of half of the images; NaN: unknown.

    Returns:
        The three parts; NaN where one of the three R2 is, and where there is no split.

    Example::

        >>> commonality(0.75, 0.5, 0.5)
        {'unique_seen': 0.25, 'unique_null': 0.25, 'shared': 0.25}
        >>> commonality(0.5, -6.0, 0.4)
        {'unique_seen': nan, 'unique_null': nan, 'shared': nan}
    """
    gains = (whole - each for each in (seen, null, half))
    if any(each < _OVERFITTED for each in (whole, seen, null, *gains)):
        return dict.fromkeys(("unique_seen", "unique_null", "shared"), math.nan)
    return {
        "unique_seen": whole - null,
        "unique_null": whole - seen,
        "shared": seen + null - whole,
    }


def above_chance(before: Number, after: Number, chance: float) -> Number:
    """What is left of a zero-shot accuracy, chance apart: ``(after - p) / (before - p)``.

    Args:
        before: accuracy on the translated features.
        after: accuracy on their equivalents, or of a refit.
        chance: p, of a reader that knows nothing of the image.
    """
    return ratio(after - chance, before - chance)


def is_read(accuracy: float, *, chance: float, samples: int) -> bool:
    """Whether an accuracy is above chance by two standard errors; False for NaN.

    Args:
        accuracy: share of right answers.
        chance: of a reader that knows nothing of the image.
        samples: N.
    """
    if samples < 1 or chance >= 1:
        return False
    return accuracy > chance + 2 * math.sqrt(chance * (1 - chance) / samples)


def constant_reader(labels: Tensor) -> float:
    """Share of the most common answer: what a reader gets that always gives the same one.

    Args:
        labels: the true answers, (N,).

    Example::

        >>> constant_reader(torch.tensor([0, 0, 0, 1]))
        0.75
    """
    return float(labels.bincount().max()) / len(labels) if len(labels) else math.nan


def retention(before: float, after: float, *, chance: float, samples: int) -> float:
    """:func:`above_chance`, where there was something to retain.

    Args:
        before: accuracy on the translated features.
        after: accuracy on their equivalents, or of a refit.
        chance: of a reader that knows nothing of the image.
        samples: N.

    Returns:
        1: nothing was lost; 0: down to chance. NaN when ``before`` is not above chance by two
        standard errors: there was nothing to retain.
    """
    if not is_read(before, chance=chance, samples=samples):
        return math.nan
    return above_chance(before, after, chance)
