"""Ridge classifiers that read a question from the whole feature, its seen and its null part.

Targets are one-hot, so ``X'Y`` is a sum for each answer, and the factor of a translator's
regression serves them too. Such a linear probe tells what can be read, not what a model uses
(Hewitt and Liang 2019), and a lower accuracy may also mean that reading takes more data (Voita
and Titov 2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.row_blocks import row_blocks
from sing_monitor.scores.choices import Choice
from sing_monitor.space.fingerprints import mix64
from sing_monitor.translate.parts.refit import FoldFit
from sing_monitor.translate.parts.scores import (
    Question,
    Scorer,
    answer_shares,
    offsets,
    scorers,
)

# Numbers multiplied for each judged image, times images: few enough to be cheap beside the fit.
JUDGED_PRODUCTS = 1_000_000_000
# Images that are judged however dear they are.
FEWEST_JUDGED = 500


@dataclass(frozen=True)
class Answers:
    """What probes answer to a question, from each part of the features.

    Args:
        by_whole: from the whole feature, (J,); NaN where nothing was fitted.
        by_seen: from what the head sees of it, (J,).
        by_null: from the null-space part, (J,); NaN without a null space.
    """

    by_whole: Choice
    by_seen: Choice
    by_null: Choice

    @property
    def whole(self) -> Tensor:
        """Whether the whole feature is read rightly, (J,) of 1 and 0."""
        return self.by_whole.right

    @property
    def seen(self) -> Tensor:
        """Whether what the head sees of it is, (J,)."""
        return self.by_seen.right

    @property
    def null(self) -> Tensor:
        """Whether the null-space part is, (J,)."""
        return self.by_null.right


@dataclass(frozen=True)
class ProbeRequest:
    """What the probes of a cross-fit are asked.

    Args:
        questions: by name.
        judged: rows of the images that are judged, (J,), in order.
    """

    questions: Mapping[str, Question]
    judged: Tensor


def judged_images(ids: Tensor, folds: Tensor, numbers: int) -> Tensor:
    """Rows of the images that are judged: all of them, or a fixed sample where that is dear.

    The sample depends on the images' ids alone, not on their order, and takes the same share of
    either fold.

    Args:
        ids: fingerprints of the images, or their positions, (N,) int64.
        folds: (N,) of 0 and 1.
        numbers: products that each judged image takes: features times answers.

    Returns:
        Rows in order, (J,); at least 500 where there are as many.
    """
    wanted = max(FEWEST_JUDGED, JUDGED_PRODUCTS // max(numbers, 1))
    if len(ids) <= wanted:
        return torch.arange(len(ids))
    chosen = []
    for fold in (0, 1):
        rows = (folds == fold).nonzero().flatten()
        order = mix64(ids[rows]).argsort(stable=True)
        chosen.append(rows[order[: wanted * len(rows) // len(ids)]])
    return torch.cat(chosen).sort().values


def answers(
    request: ProbeRequest, fit: FoldFit, held_out: Tensor, geometry: HeadGeometry
) -> dict[str, Answers]:
    """Answer questions about images of one fold by probes that were fitted on the other.

    Args:
        request: the questions.
        fit: regressions of the other fold.
        held_out: rows of the images, (J,).
        geometry: of the head.

    Returns:
        By name of the question; (J,) each.
    """
    questions = list(request.questions.values())
    shares = answer_shares(fit.rows, questions)
    found = {
        part: _choices(scorer, shares, held_out, questions)
        for part, scorer in scorers(fit, held_out, questions, shares).items()
    }
    whole = found["whole"]
    undefined = [Choice.undefined(len(held_out))] * len(whole)
    seen = found.get("seen", whole)
    null = found.get("null", whole if geometry.rank == 0 else undefined)
    columns = zip(whole, seen, null, strict=True)
    return {name: Answers(*each) for name, each in zip(request.questions, columns, strict=True)}


def _choices(
    scorer: Scorer, shares: Tensor, held_out: Tensor, questions: Sequence[Question]
) -> list[Choice]:
    """Which answer has the highest score, by question, (J,) each."""
    found: list[list[Choice]] = [[Choice.undefined(0)] for _ in questions]
    for places in row_blocks(torch.arange(len(held_out))):
        scores = scorer(places)
        scores = scores + shares.to(scores)
        for parts, (start, question) in zip(found, offsets(questions), strict=True):
            labels = question.labels[held_out[places]]
            parts.append(Choice.of(scores[:, start : start + question.choices], labels))
    return [Choice.joined(parts) for parts in found]


def no_answers(request: ProbeRequest | None) -> dict[str, Answers]:
    """Answers where nothing was fitted: all NaN."""
    if request is None:
        return {}
    undefined = Choice.undefined(len(request.judged))
    return dict.fromkeys(request.questions, Answers(undefined, undefined, undefined))


def joined(
    request: ProbeRequest | None,
    folds: Tensor,
    even: Mapping[str, Answers] | None,
    odd: Mapping[str, Answers] | None,
) -> dict[str, Answers]:
    """Answers about images of fold 0 and of fold 1, in the order of the judged images."""
    if request is None or even is None or odd is None:
        return {}
    is_odd = folds[request.judged] == 1
    return {
        name: Answers(
            Choice.woven(is_odd, found.by_whole, odd[name].by_whole),
            Choice.woven(is_odd, found.by_seen, odd[name].by_seen),
            Choice.woven(is_odd, found.by_null, odd[name].by_null),
        )
        for name, found in even.items()
    }
