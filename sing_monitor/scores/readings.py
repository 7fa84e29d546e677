"""Zero-shot classification before and after centered removal: what is still read of an answer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.row_blocks import all_blocks
from sing_monitor.scores.angles import unit, zero_shot_correct


@dataclass(frozen=True)
class Reading:
    """A question with one true answer for every image, before and after centered removal.

    Args:
        attribute: AS toward the true answer, degrees, (N,); NaN for an image whose answer has no
            text, here and in what follows.
        before: whether the text of the true answer is the nearest to ``T f``, (N,) of 1 and 0.
        after: the same for the centered equivalent.
        choices: how many answers there are to choose from.
    """

    attribute: Tensor
    before: Tensor
    after: Tensor
    choices: int

    @property
    def samples(self) -> int:
        """Number of images that were read."""
        return int((~self.before.isnan()).sum())

    @classmethod
    def of(
        cls, attribute: Tensor, original: Tensor, equivalent: Tensor, texts: Tensor, labels: Tensor
    ) -> Reading:
        """Find the nearest text of every image.

        Args:
            attribute: AS toward the true answer, degrees, (N,).
            original: ``T f``, (N, n).
            equivalent: ``T f~``, (N, n).
            texts: of the answers, (K, n); one of NaN is no choice, and images whose true answer
                it is are left out.
            labels: the true answers, (N,).
        """
        directions = unit(texts.to(original)).T

        def correct(embeddings: Tensor) -> Tensor:
            # A block at a time: cosines with many texts are larger than the embeddings.
            return torch.cat(
                [
                    zero_shot_correct(unit(embeddings[some]) @ directions, labels[some])
                    for some in all_blocks(embeddings)
                ]
            )

        is_choice = ~texts.isnan().any(dim=1)
        before, after = (
            correct(each).double().where(is_choice[labels], torch.nan)
            for each in (original, equivalent)
        )
        choices = int(is_choice.sum())
        return cls(attribute.double(), before, after, choices)
