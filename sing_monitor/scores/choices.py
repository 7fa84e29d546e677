"""Choice of the answer with the highest score, and how near the next one came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """Answers chosen for images, each by the highest of its scores.

    Args:
        right: whether the true answer was chosen, (N,) float64 of 1 and 0; NaN without any score.
        margin: score of the true answer less the highest other one, (N,); positive where it was
            chosen, infinite where there is no other, or no score of the true one.
        rival: which other answer has that score, (N,) int64.
    """

    right: Tensor
    margin: Tensor
    rival: Tensor

    @classmethod
    def of(cls, scores: Tensor, labels: Tensor) -> Choice:
        """Choose.

        Args:
            scores: (N, K); an answer of NaN is never chosen.
            labels: the true answers, (N,).

        Example::

            >>> choice = Choice.of(torch.tensor([[0.5, 0.25], [0.5, 0.75]]), torch.tensor([0, 0]))
            >>> choice.right.tolist(), choice.margin.tolist(), choice.rival.tolist()
            ([1.0, 0.0], [0.25, -0.25], [1, 1])
        """
        known, place = scores.nan_to_num(nan=-math.inf), labels[:, None]
        own = known.gather(1, place)[:, 0]
        highest, rival = known.scatter_(1, place, -math.inf).max(dim=1)
        # Of equal scores the first counts.
        right = (own > highest) | ((own == highest) & (labels < rival))
        has_score = (own > -math.inf) | (highest > -math.inf)
        right = right.double().where(has_score, math.nan)
        return cls(right, (own - highest).double(), rival)

    @classmethod
    def undefined(cls, images: int) -> Choice:
        """Choices where there were no scores: all NaN."""
        nothing = torch.full((images,), math.nan, dtype=torch.float64)
        return cls(nothing, nothing, torch.zeros(images, dtype=torch.int64))

    @classmethod
    def joined(cls, parts: Sequence[Choice]) -> Choice:
        """Choices for some images after those for others."""
        return cls(*(torch.cat(columns) for columns in zip(*map(_columns, parts), strict=True)))

    @classmethod
    def woven(cls, is_second: Tensor, first: Choice, second: Choice) -> Choice:
        """Choices for some images among those for others.

        Args:
            is_second: whether the next image is of the second choices, (N,).
            first: of the other images.
            second: of these images.
        """
        order = torch.empty(len(is_second), dtype=torch.int64)
        order[~is_second] = torch.arange(len(first.right))
        order[is_second] = torch.arange(len(second.right)) + len(first.right)
        return cls(*(column[order] for column in _columns(cls.joined((first, second)))))


def _columns(choice: Choice) -> tuple[Tensor, Tensor, Tensor]:
    return choice.right, choice.margin, choice.rival
