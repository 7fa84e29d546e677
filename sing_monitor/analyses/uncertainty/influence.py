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
from sing_monitor.analyses.uncertainty.placing import placed
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import angle, unit
from sing_monitor.scores.choices import Choice
from sing_monitor.scores.influence import Shift, angle_influence, share_influence
from sing_monitor.scores.pairs import CENTERED, RANDOM, Pair
from sing_monitor.translate.cross_fit import CrossFit
from sing_monitor.translate.kernel import Kernels
from sing_monitor.translate.translator import LinearTranslator

# By pair, and by None of `T f` itself: embeddings, or what weighs in them, of all images.
_ByPair = Mapping[Pair | None, Tensor]


def score_influences(observation: Observation) -> dict[str, Tensor]:
    """Influence of images on the sums of scores and readings over the other half of the probe.

    Returns:
        By column of :func:`~sing_monitor.analyses.intervals.image_columns`, (N,) float64 each;
        none where a half of the probe is empty.
    """
    fit, kernels = observation.fit, observation.fit.kernels
    if kernels is None:
        return {}
    # A kernel is an affine map, as a translator is: its equivalents are made as theirs.
    weights = replace(
        fit,
        translators=(kernels.whole[0].translator, kernels.whole[1].translator),
        means=fit.means.new_zeros(2, len(kernels.rows[0])),
    )
    moved, by_kernel = (_by_pair(observation, each) for each in (fit, weights))
    halves = []
    for fold, (translator, rows) in enumerate(fit.halves(fit.folds)):
        half = _Half.of(observation, kernels, moved, by_kernel, fold, translator, rows)
        halves.append(_scores(observation, half) | _readings(observation, half))
    return placed(halves, kernels, observation.snapshot.folds)


def _by_pair(observation: Observation, fit: CrossFit) -> _ByPair:
    snapshot, center, seen = observation.snapshot, observation.center, observation.translated.seen
    if fit is observation.fit:
        translated = observation.translated
    else:
        translated = fit.translate(snapshot.features, observation.geometry, center, seen)
    random = observation.random.translated(fit, translated.original, center)
    found: dict[Pair | None, Tensor] = {None: translated.original, RANDOM: random}
    return found | dict(translated.equivalents)


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
        shifts: of ``T f`` and its equivalents.
        seen: the same of the refit on what the head sees; None without a null space.
    """

    rows: Tensor
    residuals: Tensor
    shifts: Mapping[Pair | None, Shift]
    seen: _Refit | None

    @classmethod
    def of(
        cls,
        observation: Observation,
        kernels: Kernels,
        moved: _ByPair,
        by_kernel: _ByPair,
        fold: int,
        translator: LinearTranslator,
        rows: Tensor,
    ) -> _Half:
        fit, chosen = observation.fit, kernels.rows[fold]
        features, seen = observation.snapshot.features, observation.translated.seen
        embeddings = observation.embeddings[chosen].double()
        residuals = kernels.whole[fold].residuals(translator, features[chosen], embeddings)
        residuals = residuals.to(moved[None])
        shifts = {
            pair: Shift.of(each[rows], by_kernel[pair][rows], residuals)
            for pair, each in moved.items()
        }
        refit = None
        if kernels.seen is not None and fit.seen is not None:
            left = kernels.seen[fold].residuals(fit.seen[fold], seen[chosen], embeddings)
            kernel = kernels.seen[fold].of_rows(seen, rows)
            refit = _Refit(kernel, left.to(residuals))
        return cls(rows, residuals, shifts, refit)


def _scores(observation: Observation, half: _Half) -> dict[str, Tensor]:
    """Influence on sums of AS, |AS| and IS of every pair, by column, (I,) each."""
    found: dict[str, Tensor] = {}
    original = half.shifts[None]
    toward, to_text = _true_text(observation, half, "sing/")
    for pair, scores in observation.scores.items():
        attribute, image = scores.attribute[half.rows], scores.image[half.rows]
        weights = torch.stack([torch.ones_like(attribute), attribute.sign()], dim=1)
        moved = half.shifts[pair]
        change = angle_influence(original, toward, to_text, weights)
        change -= angle_influence(moved, toward, to_text - attribute, weights)
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
            toward, to_text = _true_text(observation, half, prefix)
            attribute = reading.attribute[half.rows]
            one = torch.ones_like(attribute)[:, None]
            change = angle_influence(original, toward, to_text, one)
            change -= angle_influence(centered, toward, to_text - attribute, one)
            found[f"{prefix}score"] = change[:, 0]
    return found


def _true_text(observation: Observation, half: _Half, prefix: str) -> tuple[Tensor, Tensor]:
    """Products of residuals with the true texts, (B, I), and angles from ``T f`` to these, (B,)."""
    texts, labels = questions(observation)[prefix]
    directions, own = unit(texts.to(half.residuals)), labels[half.rows]
    translated = observation.translated.original[half.rows]
    toward = (directions @ half.residuals.T)[own]
    return toward, angle(translated, directions[own]).double()


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
