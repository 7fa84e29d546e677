"""How far null-space steering brings each class toward another one (SING, table 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.columns import COUNT, columns_of
from sing_monitor.findings import ColumnSpec, Findings, MetricGroup, MetricSpec, TableSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import text_cosines
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.steering import TABLE_IMAGE_SCORE, steer

if TYPE_CHECKING:
    from pandas import DataFrame

MAX_PAIRS = 16
IMAGES_PER_PAIR = 8

_SOURCE = "SING eqs. 10-13 and table 1, pairs ours"
_STEP = "f~ = f + eps d, d = P_n g / |P_n g|, g = grad_f cos(T f, t), eps such that IS = 40 deg"

STEER = MetricGroup("steer", "Steering")

STEERING_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "steer/attribute_score_abs",
        "|AS| when steered",
        "deg",
        "lower",
        f"mean of |AS| toward the nearest other class t, {_STEP}",
        _SOURCE,
        "How near to its most similar class an image's meaning can be brought without moving a "
        "logit. Low: the null space is hard to steer. The paper reports 5 to 12.",
        group=STEER,
    ),
    MetricSpec(
        "steer/attribute_score",
        "AS when steered",
        "deg",
        "lower",
        f"mean of AS toward the nearest other class t, {_STEP}",
        _SOURCE,
        "The same with its sign. Below 0 where the step overshoots the other class.",
        group=STEER,
    ),
    MetricSpec(
        "steer/attribute_score_std",
        "AS spread when steered",
        "deg",
        "none",
        "standard deviation of steer/attribute_score over images",
        _SOURCE,
        "How much it differs from image to image.",
        group=STEER,
    ),
    MetricSpec(
        "steer/limit",
        "IS limit of steering",
        "deg",
        "none",
        "mean of angle(T f, A d)",
        "ours",
        "How far a step of any length in the steering direction can move an image's meaning.",
        group=STEER,
    ),
    MetricSpec(
        "steer/reachable",
        "Steerable images",
        "share",
        "none",
        "share of images with angle(T f, A d) > 40 deg",
        "ours",
        "For how many images an IS of 40 degrees can be reached; the other means stand on these.",
        group=STEER,
    ),
)

STEERING = TableSpec(
    "steering",
    "Steering",
    "A class and the class that its images are steered toward.",
    (
        ColumnSpec("source_index", "", "Index of the class of the images."),
        ColumnSpec("source", "", "Its name."),
        ColumnSpec("target_index", "", "Index of the class they are steered toward."),
        ColumnSpec("target", "", "Its name."),
        COUNT,
        *columns_of(STEERING_METRICS),
    ),
)


def analyze_steering(
    observation: Observation,
    *,
    pairs: Sequence[tuple[int, int]] | None = None,
    wanted: float = TABLE_IMAGE_SCORE,
) -> Findings:
    """AS toward a target class at a given IS, for images of some classes.

    Args:
        observation: one validation.
        pairs: (source class, target class); by default :func:`nearest_pairs`. Of each source at
            most 8 images are steered: those with the lowest fingerprints, always the same ones.
        wanted: IS in degrees. The catalogue's scalars are those of 40.

    Returns:
        Scalars ``steer/*`` over all steered images, and the table ``steering``, a row for each
        pair. Scores are NaN where the wanted IS cannot be reached, or without a translator.

    Raises:
        ValueError: if a pair names no class, or ``wanted`` is outside 0 to 180.
    """
    snapshot, fit = observation.snapshot, observation.fit
    texts = observation.class_texts.double()
    if pairs is None:
        pairs = nearest_pairs(texts, snapshot.labels)
    _check_pairs(pairs, len(texts))
    rows, groups = _steered_rows(snapshot, [source for source, _ in pairs])
    targets = texts[torch.tensor([target for _, target in pairs], dtype=torch.long)][groups]
    score = torch.full((len(rows),), math.nan, dtype=torch.float64)
    limit = score.clone()
    for translator, own in fit.halves(fit.folds[rows]):
        moved = steer(
            snapshot.features[rows[own]],
            translator,
            observation.geometry,
            targets[own],
            wanted=wanted,
        )
        score[own], limit[own] = moved.attribute_score, moved.limit
    is_fitted = fit.translators is not None
    overall = _summary(score, limit, is_fitted)
    return Findings(
        {f"steer/{name}": value for name, value in overall.items()},
        {"steering": _table(snapshot, pairs, groups, score, limit, is_fitted)},
    )


def nearest_pairs(texts: Tensor, labels: Tensor) -> tuple[tuple[int, int], ...]:
    """Each class with images and the other class whose text is nearest to its own.

    Texts do not change while a model trains, so the pairs are the same at every epoch. Of more
    than 16 classes every k-th is taken.

    Args:
        texts: class embeddings, (C, n); a class without a text, NaN, is in no pair.
        labels: true classes, (N,).
    """
    has_text = texts.any(dim=1) & ~texts.isnan().any(dim=1)
    if int(has_text.sum()) < 2:
        return ()
    present = labels.unique()
    present = present[has_text[present]]
    sources = present[:: -(-len(present) // MAX_PAIRS) or 1]
    cosines = text_cosines(texts[sources], texts).nan_to_num(nan=-math.inf)
    cosines[torch.arange(len(sources)), sources] = -math.inf
    return tuple(zip(sources.tolist(), cosines.argmax(dim=1).tolist(), strict=True))


def _check_pairs(pairs: Sequence[tuple[int, int]], classes: int) -> None:
    wrong = [pair for pair in pairs if not all(0 <= each < classes for each in pair)]
    if wrong:
        raise ValueError(f"the pair {wrong[0]} names no class; classes are 0 to {classes - 1}.")


def _steered_rows(snapshot: Snapshot, sources: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Rows of the steered images, and the pair of each."""
    order = snapshot.ids.argsort(stable=True)
    found = [order[snapshot.labels[order] == source][:IMAGES_PER_PAIR] for source in sources]
    sizes = torch.tensor([len(each) for each in found], dtype=torch.long)
    rows = torch.cat(found) if found else sizes
    return rows, torch.arange(len(sources)).repeat_interleave(sizes)


def _summary(score: Tensor, limit: Tensor, is_fitted: bool) -> dict[str, float]:
    reached = score[~score.isnan()]
    return {
        "attribute_score_abs": float(reached.abs().mean()),
        "attribute_score": float(reached.mean()),
        "attribute_score_std": float(reached.std()) if len(reached) > 1 else math.nan,
        "limit": float(limit.nanmean()),
        "reachable": len(reached) / len(score) if is_fitted and len(score) else math.nan,
    }


def _table(
    snapshot: Snapshot,
    pairs: Sequence[tuple[int, int]],
    groups: Tensor,
    score: Tensor,
    limit: Tensor,
    is_fitted: bool,
) -> DataFrame:
    from pandas import DataFrame

    rows = [
        {
            "source_index": source,
            "source": snapshot.class_names[source],
            "target_index": target,
            "target": snapshot.class_names[target],
            "n": int((groups == index).sum()),
            **_summary(score[groups == index], limit[groups == index], is_fitted),
        }
        for index, (source, target) in enumerate(pairs)
    ]
    return DataFrame(rows, columns=[column.name for column in STEERING.columns])


ANALYSIS = Analysis(
    "steer",
    analyze_steering,
    STEERING_METRICS,
    (STEERING,),
    needs=frozenset({"labels", "embeddings"}),
)
