"""Scores of ridge classifiers for every answer, from each part of the features.

With one-hot targets Y the scores of an image x are ``(x - mean)' (X'X + lambda I)^-1 X'Y``, or
``x X' (X X' + lambda I)^-1 Y`` in the dual form, plus the shares of the answers; ``X'Y`` is a sum
for each answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from sing_monitor.row_blocks import deviations, row_blocks
from sing_monitor.translate.dual_ridge import DualStatistics
from sing_monitor.translate.parts.refit import FoldFit
from sing_monitor.translate.ridge import RidgeStatistics
from sing_monitor.translate.ridge_parts import Factor, backward, factorize, forward, solved


@dataclass(frozen=True)
class Question:
    """A question with one true answer for every image: its class, or the value of an attribute.

    Args:
        labels: the true answers, (N,) int64.
        choices: number of answers.
    """

    labels: Tensor
    choices: int


# Scores of some of the judged images for all Q answers to all questions, (B, Q), by their places.
Scorer = Callable[[Tensor], Tensor]


def scorers(
    fit: FoldFit, held_out: Tensor, questions: Sequence[Question], shares: Tensor
) -> dict[str, Scorer]:
    """Scores of images of the other fold, without the shares of the answers.

    Args:
        fit: regressions of one fold.
        held_out: rows of images of the other fold, (J,).
        questions: about all images.
        shares: :func:`answer_shares` of the fitted images, (Q,).

    Returns:
        For ``whole``, and with a null space for ``seen`` and ``null``; without the latter for a
        head that sees nothing, where the null part is the whole.
    """
    if isinstance(fit.whole, DualStatistics):
        return _dual_scorers(fit, fit.whole, held_out, questions, shares)
    return _primal_scorers(fit, fit.whole, held_out, questions)


def _primal_scorers(
    fit: FoldFit, whole: RidgeStatistics, held_out: Tensor, questions: Sequence[Question]
) -> dict[str, Scorer]:
    shift, factor = fit.solution.shift, fit.solution.factor
    targets = answer_sums(fit.features, whole.mean_x, fit.rows, questions, whole.xx.dtype).T
    inverses: dict[str, Callable[[Tensor], Tensor]] = {"whole": partial(backward, factor)}
    if fit.parts is not None and fit.parts.null_inverse is not None:
        inverses["null"] = fit.parts.null_inverse.after_forward
    images = fit.features, whole.mean_x, held_out
    found = _solved_scorers(*images, targets, factor, inverses, shift)
    if fit.parts is not None:
        seen, center = fit.parts.seen, fit.parts.statistics.mean_x
        targets = answer_sums(seen, center, fit.rows, questions, whole.xx.dtype).T
        factor = fit.parts.solution.factor
        inverses = {"seen": partial(backward, factor)}
        found |= _solved_scorers(seen, center, held_out, targets, factor, inverses, shift)
    return found


def _solved_scorers(
    vectors: Tensor,
    center: Tensor,
    held_out: Tensor,
    targets: Tensor,
    factor: Factor,
    inverses: Mapping[str, Callable[[Tensor], Tensor]],
    shift: float,
) -> dict[str, Scorer]:
    """Scores ``(x - mean)' M^-1 X'Y``; of the images and the answers, the fewer are solved for.

    Args:
        vectors: x of all images, (N, m).
        center: mean of the fitted ones, (m,).
        held_out: rows of the judged images, (J,).
        targets: X'Y, (m, Q).
        factor: L, (m, m).
        inverses: ``M^-1 v`` from ``L^-1 v``, by part; all are symmetric.
        shift: lambda; 0 for constant features.
    """
    if shift == 0:
        return dict.fromkeys(inverses, lambda places: targets.new_zeros(len(places), 1))
    found: dict[str, Scorer] = {}
    are_images_fewer = len(held_out) < targets.shape[1]
    away = deviations(vectors, center, held_out).T if are_images_fewer else targets
    inner = forward(factor, away.to(factor.dtype))
    for part, inverse in inverses.items():
        if are_images_fewer:
            found[part] = partial(_of_images, inverse(inner).to(targets), targets)
        else:
            found[part] = partial(_of_answers, vectors, center, held_out, inverse(inner))
    return found


def _of_images(solved_images: Tensor, targets: Tensor, places: Tensor) -> Tensor:
    return solved_images[:, places].T @ targets


def _of_answers(
    vectors: Tensor, center: Tensor, held_out: Tensor, weight: Tensor, places: Tensor
) -> Tensor:
    return deviations(vectors, center, held_out[places]).to(weight) @ weight


def _dual_scorers(
    fit: FoldFit,
    whole: DualStatistics,
    held_out: Tensor,
    questions: Sequence[Question],
    shares: Tensor,
) -> dict[str, Scorer]:
    shift, of_held_out = fit.solution.shift, replace(whole, rows=held_out, n=len(held_out))
    across = whole.across(of_held_out)
    # Factors of X X' + lambda I, and products of the judged images with the fitted ones.
    kernels = {"whole": (fit.solution.factor, across)}
    if fit.parts is not None:
        seen, center = fit.parts.seen, fit.parts.statistics.mean_x
        own, others = (deviations(seen, center, rows).to(across) for rows in (fit.rows, held_out))
        of_null = (
            factorize(whole.between - own @ own.T, shift) if shift > 0 else fit.solution.factor
        )
        kernels["seen"] = fit.parts.solution.factor, others @ own.T
        kernels["null"] = of_null, across - kernels["seen"][1]
    return {
        part: _kernel_scorer(*kernel, shift, fit.rows, questions, shares)
        for part, kernel in kernels.items()
    }


def _kernel_scorer(
    factor: Factor,
    across: Tensor,
    shift: float,
    rows: Tensor,
    questions: Sequence[Question],
    shares: Tensor,
) -> Scorer:
    """Scores ``Y X' (X X' + lambda I)^-1`` times one-hot answers about their mean.

    Args:
        factor: of X X' + lambda I of the fitted images, (N, N).
        across: products of the judged images with them, (J, N).
        shift: lambda; 0 for constant features.
        rows: indices of the fitted images, (N,).
        questions: about all images.
        shares: of the answers among the fitted images, (Q,).
    """
    scores = across.new_zeros(len(shares), len(across))
    if shift > 0:
        weights = solved(factor, across.T)
        for start, question in offsets(questions):
            scores.index_add_(0, question.labels[rows] + start, weights)
        scores -= shares[:, None].to(scores) * weights.sum(dim=0)
    return lambda places: scores[:, places].T


def offsets(questions: Sequence[Question]) -> Iterator[tuple[int, Question]]:
    """Each question with the place of its first answer among those of all questions."""
    start = 0
    for question in questions:
        yield start, question
        start += question.choices


def answer_shares(rows: Tensor, questions: Sequence[Question]) -> Tensor:
    """Shares of all answers among some images, (Q,) float64."""
    counts = [
        question.labels[rows].bincount(minlength=question.choices).double()
        for question in questions
    ]
    return torch.cat(counts) / max(len(rows), 1)


def answer_sums(
    vectors: Tensor, center: Tensor, rows: Tensor, questions: Sequence[Question], kind: torch.dtype
) -> Tensor:
    """Sums of deviations from the mean by answer, which are ``Y'X`` about the means, (Q, m)."""
    choices = sum(question.choices for question in questions)
    sums = torch.zeros(choices, vectors.shape[1], dtype=kind)
    for some in row_blocks(rows):
        away = deviations(vectors, center, some).to(kind)
        for start, question in offsets(questions):
            sums.index_add_(0, question.labels[some] + start, away)
    return sums
