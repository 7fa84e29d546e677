"""Zero-shot classification before and after centered removal: what is still read of an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sing_monitor.row_blocks import all_blocks
from sing_monitor.scores.angles import unit
from sing_monitor.scores.choices import Choice


@dataclass(frozen=True)
class Reading:
    """A question with one true answer for every image, before and after centered removal.

    Args:
        attribute: AS toward the true answer, degrees, (N,); NaN for an image whose answer has no
            text.
        first: answers whose texts are nearest to ``T f``, (N,); whether they are right is NaN for
            such an image.
        last: the same for the centered equivalent.
        choices: how many answers there are to choose from.
    """

    attribute: Tensor
    first: Choice
    last: Choice
    choices: int

    @property
    def chance(self) -> float:
        """Of a reader that picks any of the texts: ``1 / K``."""
        return 1 / max(self.choices, 1)

    @property
    def samples(self) -> int:
        """Number of images that were read."""
        return int((~self.before.isnan()).sum())

    @property
    def before(self) -> Tensor:
        """Whether the text of the true answer is the nearest to ``T f``, (N,) of 1 and 0."""
        return self.first.right

    @property
    def after(self) -> Tensor:
        """The same for the centered equivalent."""
        return self.last.right

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
        directions, is_choice = unit(texts.to(original)).T, ~texts.isnan().any(dim=1)

        def nearest(embeddings: Tensor) -> Choice:
            # A block at a time: cosines with many texts are larger than the embeddings.
            choice = Choice.joined(
                [
                    Choice.of(unit(embeddings[some]) @ directions, labels[some])
                    for some in all_blocks(embeddings)
                ]
            )
            return replace(choice, right=choice.right.where(is_choice[labels], torch.nan))

        choices = int(is_choice.sum())
        return cls(attribute.double(), nearest(original), nearest(equivalent), choices)
