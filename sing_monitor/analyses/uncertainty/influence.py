"""Influence of fitted images on the mean scores that intervals are about.

The translators of one half of the probe score the other half, so an image counts twice: with its
own score, and with what it does to all scores of the other half. Intervals add the second to the
first, image by image. The mathematics is in :mod:`sing_monitor.scores.influence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sing_monitor.analyses.parts.refits import hidden_key, questions, rereadings
from sing_monitor.analyses.uncertainty.placing import kernels_of, placed
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import angle, unit
from sing_monitor.scores.choices import Choice
from sing_monitor.scores.influence import Shift, angle_influence, share_influence
from sing_monitor.scores.pairs import CENTERED, RANDOM, Pair
from sing_monitor.translate.kernel import Kernels
from sing_monitor.translate.translator import LinearTranslator


def score_influences(observation: Observation) -> dict[str, Tensor]:
    """Influence of images on the sums of scores and readings over the other half of the probe.

    Returns:
        By column of :func:`~sing_monitor.analyses.intervals.image_columns`, (N,) float64 each;
        none where a half of the probe is empty.
    """
    fit, kernels = observation.fit, kernels_of(observation, observation.fit)
    if kernels is None or fit.translators is None:
        return {}
    residuals = [
        kernel.residuals(
            translator, observation.snapshot.features[rows], observation.embeddings[rows]
        )
        for kernel, translator, rows in zip(
            kernels.whole, fit.translators, kernels.rows, strict=True
        )
    ]
    first, second = (
        kernel.translator.beside(translator.onto(left))
        for kernel, translator, left in zip(kernels.whole, fit.translators, residuals, strict=True)
    )
    shifts = _shifts(observation, (first, second))
    halves = []
    for fold, (_, rows) in enumerate(fit.halves(fit.folds)):
        refit = _refit(observation, kernels, fold, rows)
        own = {pair: shift.of_rows(rows) for pair, shift in shifts.items()}
        half = _Half(rows, residuals[fold].to(own[None].kernel), own, refit)
        halves.append(_scores(observation, half) | _readings(observation, half))
    return placed(halves, kernels, fit.folds)


@dataclass(frozen=True)
class _Refit:
    """k_ji, (B, I), and r_i, (I, n), of a refit whose margins are products with unit texts."""

    kernel: Tensor
    residuals: Tensor


@dataclass(frozen=True)
class _Half:
    """How translations of one fold move with the weights of images of the other.

    Args:
        rows: of the fold, (B,).
        residuals: r_i, (I, n).
        shifts: of ``T f``, by None, and of its equivalents, by pair.
        seen: the same of the refit on what the head sees; None without a null space.
    """

    rows: Tensor
    residuals: Tensor
    shifts: Mapping[Pair | None, Shift]
    seen: _Refit | None


def _shifts(
    observation: Observation, translators: tuple[LinearTranslator, LinearTranslator]
) -> dict[Pair | None, Shift]:
    """How translations of all images move, of ``T f`` and of its equivalents.

    What a shift consists of is affine in x, as ``T x`` is, so equivalents are worked out as those
    of translations.

    Args:
        observation: of all images.
        translators: from x to ``k(x, x_i)`` and ``T x . r_i``, (2 I,), for either fold.
    """
    snapshot, center = observation.snapshot, observation.center
    width = len(translators[0].bias)
    means = center.new_zeros(2, width)
    both = replace(observation.fit, translators=translators, means=means, on_seen=None)
    seen = observation.translated.seen
    moved = both.translate(snapshot.features, observation.geometry, center, seen)
    random = observation.random.translated(both, moved.original, center)[:]
    lengths = {pair: scores.length for pair, scores in observation.scores.items()}
    original = torch.linalg.vector_norm(observation.translated.original, dim=1)
    found: dict[Pair | None, Shift] = {None: _shift(moved.original, original)}
    for pair, values in {**moved.equivalents, RANDOM: random}.items():
        found[pair] = _shift(values, lengths[pair])
    return found


def _shift(values: Tensor, length: Tensor) -> Shift:
    kernel, products = values.chunk(2, dim=1)
    return Shift(kernel, products / length[:, None].to(products), length)


def _refit(observation: Observation, kernels: Kernels, fold: int, rows: Tensor) -> _Refit | None:
    fit, seen, chosen = observation.fit, observation.translated.seen, kernels.rows[fold]
    if kernels.seen is None or fit.seen is None:
        return None
    kernel = kernels.seen[fold]
    residuals = kernel.residuals(fit.seen[fold], seen[chosen], observation.embeddings[chosen])
    weights = kernel.of_rows(seen, rows)
    return _Refit(weights, residuals.to(weights))


def _scores(observation: Observation, half: _Half) -> dict[str, Tensor]:
    """Influence on sums of AS, |AS| and IS of every pair, by column, (I,) each."""
    texts, labels = questions(observation)["sing/"]
    toward = (unit(texts.to(half.residuals)) @ half.residuals.T)[labels[half.rows]]
    scores = {
        pair: (score.attribute[half.rows], score.toward[half.rows], score.image[half.rows])
        for pair, score in observation.scores.items()
    }
    attribute, to_text, _ = scores[CENTERED]
    original, one = half.shifts[None], torch.ones_like(to_text)
    # The sign of AS makes that of |AS| out of its change.
    signs = torch.stack([one, *(score.sign() for score, _, _ in scores.values())], dim=1)
    before = angle_influence(original, toward, to_text + attribute, signs)
    found: dict[str, Tensor] = {}
    for place, (pair, (_, to_text, image)) in enumerate(scores.items(), start=1):
        moved, weights = half.shifts[pair], signs[:, [0, place]]
        change = before[:, [0, place]] - angle_influence(moved, toward, to_text, weights)
        turn = angle_influence(original, moved.along, image, weights[:, :1])
        turn += angle_influence(moved, original.along, image, weights[:, :1])
        found |= {
            pair.named("sing/attribute_score"): change[:, 0],
            pair.named("sing/attribute_score_abs"): change[:, 1],
            pair.named("sing/image_score"): turn[:, 0],
        }
    return found


def _readings(observation: Observation, half: _Half) -> dict[str, Tensor]:
    """Influence on sums of right answers, and of AS toward attributes, by column, (I,) each."""
    found: dict[str, Tensor] = {}
    original, centered = half.shifts[None], half.shifts[CENTERED]
    for prefix, reading in observation.readings.items():
        before = _share(observation, half, prefix, reading.first, original)
        seen = before
        if half.seen is not None:
            by_seen = observation.once(rereadings)[prefix].by_seen
            seen = _share(observation, half, prefix, by_seen, half.seen)
        found |= {
            f"{prefix}zero_shot": before,
            CENTERED.named(f"{prefix}zero_shot"): _share(
                observation, half, prefix, reading.last, centered
            ),
            f"{prefix}zero_shot_seen": seen,
            hidden_key(prefix): before - seen,
        }
        if prefix.startswith("attribute/"):
            found[f"{prefix}score"] = _toward_value(observation, half, prefix)
    return found


def _toward_value(observation: Observation, half: _Half, prefix: str) -> Tensor:
    """Influence on the sum of AS toward the true values of an attribute, (I,)."""
    texts, labels = questions(observation)[prefix]
    directions, own = unit(texts.to(half.residuals)), labels[half.rows]
    toward = (directions @ half.residuals.T)[own]
    to_text = angle(observation.translated.original[half.rows], directions[own]).double()
    attribute, one = (
        observation.readings[prefix].attribute[half.rows],
        to_text.new_ones(len(own), 1),
    )
    change = angle_influence(half.shifts[None], toward, to_text, one)
    change -= angle_influence(half.shifts[CENTERED], toward, to_text - attribute, one)
    return change[:, 0]


def _share(
    observation: Observation, half: _Half, prefix: str, choice: Choice, moved: Shift | _Refit
) -> Tensor:
    """Influence on the sum of right answers, (I,)."""
    texts, labels = questions(observation)[prefix]
    own, rival, margin = (each[half.rows] for each in (labels, choice.rival, choice.margin))
    residuals = half.residuals
    if isinstance(moved, Shift):
        margin = margin * moved.length
    else:
        residuals = moved.residuals
    # A text without embedding is no answer.
    toward = unit(texts.to(residuals)).nan_to_num() @ residuals.T
    return share_influence(moved.kernel, toward[own] - toward[rival], margin)
