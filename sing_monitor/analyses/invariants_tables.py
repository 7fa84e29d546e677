"""The tables of the invariants analysis: by class, by concept, by image, and the spectrum."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.scores.angles import PairScores, text_cosines, to_degrees
from sing_monitor.snapshot import Snapshot, hex_ids
from sing_monitor.space.text_embeddings import TextSet
from sing_monitor.translate.cross_fit import TranslatedPairs

if TYPE_CHECKING:
    from pandas import DataFrame

NEIGHBOURS = 3
# Concepts at a time, in double precision for every image.
_CONCEPTS = 32
# By suffix of the pair.
Scores = Mapping[str, PairScores]


def class_table(snapshot: Snapshot, scores: Scores) -> DataFrame:
    """One row a class: images, accuracy, mean and spread of AS and IS of every kind of pair.

    A class without an image in the probe has n = 0 and NaN.
    """
    from pandas import DataFrame

    labels, classes = snapshot.labels, len(snapshot.class_names)
    correct = (snapshot.predictions == labels).double()
    columns: dict[str, object] = {
        "class_index": range(classes),
        "class_name": list(snapshot.class_names),
        "n": labels.bincount(minlength=classes).numpy(),
        "accuracy": _group_mean(correct, labels, classes).numpy(),
    }
    for suffix, pair in scores.items():
        for name, values in _class_scores(pair, labels, classes).items():
            columns[f"{name}{suffix}"] = values.numpy()
    return DataFrame(columns)


def _class_scores(scores: PairScores, labels: Tensor, classes: int) -> dict[str, Tensor]:
    attribute_mean, attribute_std = _group_moments(scores.attribute, labels, classes)
    image_mean, image_std = _group_moments(scores.image, labels, classes)
    return {
        "attribute_score": attribute_mean,
        "attribute_score_std": attribute_std,
        "attribute_score_abs": _group_mean(scores.attribute.abs(), labels, classes),
        "image_score": image_mean,
        "image_score_std": image_std,
    }


def image_table(
    snapshot: Snapshot, scores: Scores, pairs: TranslatedPairs, n_images: int
) -> DataFrame:
    """One row an image: id, label, prediction, scores, and for the largest movers neighbours.

    ``neighbours_*`` hold the ids of the probe images whose embeddings are nearest to ``T f``, to
    the paper's equivalent and to the centered one; empty for images that are no movers.
    """
    from pandas import DataFrame

    ids = image_ids(snapshot)
    columns: dict[str, object] = {
        "image": ids,
        "label": snapshot.labels.numpy(),
        "prediction": snapshot.predictions.numpy(),
        "fold": snapshot.folds.numpy(),
    }
    if snapshot.sample_index is not None:
        columns["sample_index"] = snapshot.sample_index.numpy()
    for name, (labels, values) in snapshot.attributes.items():
        columns[f"attribute:{name}"] = [values[label] for label in labels.tolist()]
    for suffix, pair in scores.items():
        columns[f"attribute_score{suffix}"] = pair.attribute.numpy()
        columns[f"image_score{suffix}"] = pair.image.numpy()
    movers = _movers(scores["_centered"], n_images)
    columns["mover"] = torch.zeros(len(ids), dtype=torch.bool).index_fill(0, movers, True).numpy()
    kinds = {"before": pairs.original, "after": pairs.removed, "after_centered": pairs.centered}
    queries = torch.cat([embeddings[movers] for embeddings in kinds.values()])
    found = iter(_nearest(queries, snapshot, movers.repeat(len(kinds))))
    for name in kinds:
        nearest: list[list[str]] = [[] for _ in ids]
        for row in movers.tolist():
            nearest[row] = [ids[other] for other in next(found)]
        columns[f"neighbours_{name}"] = nearest
    return DataFrame(columns)


def image_ids(snapshot: Snapshot) -> list[str]:
    """Content fingerprints as 16 hexadecimal digits; positions where there are none."""
    ids = torch.arange(len(snapshot)) if snapshot.image_ids is None else snapshot.image_ids
    return hex_ids(ids)


def spectrum_table(geometry: HeadGeometry) -> DataFrame:
    """Singular values of the head, largest first, and whether each counts toward the rank."""
    from pandas import DataFrame

    values = geometry.singular_values.cpu().double().numpy()
    return DataFrame(
        {
            "index": range(len(values)),
            "singular_value": values,
            "in_row_space": [i < geometry.rank for i in range(len(values))],
        }
    )


def concept_tables(
    snapshot: Snapshot, pairs: TranslatedPairs, concepts: TextSet | None
) -> dict[str, DataFrame]:
    """Mean and spread of the angle to every concept before and after null removal, and of AS.

    Returns:
        ``concepts``, over all images, and ``class_concepts``, with a row for every class present
        and every concept; nothing without concepts.
    """
    from pandas import Index

    if concepts is None:
        return {}
    present, labels = snapshot.labels.unique(return_inverse=True)
    groupings = torch.zeros_like(labels), labels
    parts = [
        [_group_columns(quantities, groups) for groups in groupings]
        for quantities in _concept_quantities(pairs, concepts)
    ]
    overall, by_class = (
        _concept_rows(columns, groups, concepts)
        for columns, groups in zip(zip(*parts, strict=True), groupings, strict=True)
    )
    class_index = present.repeat_interleave(len(concepts.names)).numpy()
    by_class.insert(0, "class_index", class_index)
    by_class.insert(1, "class_name", Index(snapshot.class_names).take(class_index))
    return {"concepts": overall, "class_concepts": by_class}


def _concept_quantities(pairs: TranslatedPairs, concepts: TextSet) -> Iterator[dict[str, Tensor]]:
    """Angles to a few concepts at a time, and AS, by column, each (N, k) in double precision."""
    cosines = (
        text_cosines(embeddings, concepts.embeddings).split(_CONCEPTS, dim=1)
        for embeddings in (pairs.original, pairs.removed, pairs.centered)
    )
    for some in zip(*cosines, strict=True):
        before, after, after_centered = (to_degrees(each).double() for each in some)
        yield {
            "angle_before": before,
            "angle_after": after,
            "attribute_score": before - after,
            "angle_after_centered": after_centered,
            "attribute_score_centered": before - after_centered,
        }


def _group_columns(quantities: Mapping[str, Tensor], groups: Tensor) -> dict[str, Tensor]:
    """Mean and spread by group of quantities (N, k), by column, each (G, k)."""
    columns = {}
    for name, values in quantities.items():
        quantity, centered, _ = name.partition("_centered")
        moments = _group_moments(values, groups, int(groups.max()) + 1)
        columns[name], columns[f"{quantity}_std{centered}"] = moments
    return columns


def _concept_rows(
    parts: Sequence[Mapping[str, Tensor]], groups: Tensor, concepts: TextSet
) -> DataFrame:
    """One row for every group and concept, groups outermost.

    Args:
        parts: columns of some concepts each, in their order, (G, k).
        groups: of the images, (N,).
        concepts: K of them.
    """
    from pandas import DataFrame, Index

    samples = groups.bincount()
    order = torch.arange(len(concepts.names)).repeat(len(samples))
    columns: dict[str, object] = {
        # Taken from an index: converting as many strings anew takes ten times as long.
        "concept": Index(concepts.names).take(order.numpy()),
        "n": samples.repeat_interleave(len(concepts.names)).numpy(),
    }
    for name in parts[0]:
        columns[name] = torch.cat([part[name] for part in parts], dim=1).flatten().numpy()
    return DataFrame(columns)


def _movers(scores: PairScores, n_images: int) -> Tensor:
    """Rows of the images that moved most: half by |AS|, the rest by IS, in row order.

    An image without scores is none of them.
    """
    attribute, image = scores.attribute, scores.image
    magnitude, distance = attribute.abs().nan_to_num(nan=-1.0), image.nan_to_num(nan=-1.0)
    chosen = magnitude.argsort(descending=True, stable=True)[: n_images // 2]
    by_image = distance.index_fill(0, chosen, -2.0).argsort(descending=True, stable=True)
    rest = by_image[: min(n_images, len(image)) - len(chosen)]
    movers = torch.cat([chosen, rest]).sort().values
    return movers[~(attribute + image)[movers].isnan()]


def _nearest(queries: Tensor, snapshot: Snapshot, rows: Tensor) -> list[list[int]]:
    """For each query, the images with the nearest embeddings, nearest first.

    Copies of the image it is of, with the same fingerprint, are not among them.

    Args:
        queries: (B, n).
        snapshot: its images are looked through.
        rows: of which image each query is, (B,).
    """
    ids = torch.arange(len(snapshot)) if snapshot.image_ids is None else snapshot.image_ids
    cosines = text_cosines(snapshot.embeddings.to(queries), queries).T.nan_to_num(nan=-2.0)
    cosines = cosines.masked_fill(ids[rows][:, None] == ids, -math.inf)
    nearest = cosines.topk(min(NEIGHBOURS, len(snapshot)), dim=1)
    return [
        [row for row, cosine in zip(found, values, strict=True) if cosine > -math.inf]
        for found, values in zip(nearest.indices.tolist(), nearest.values.tolist(), strict=True)
    ]


def _group_mean(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """Mean of (N, ...) values by group, (count, ...); NaN for an empty group."""
    if count == 1:
        return values.mean(dim=0, keepdim=True)
    sums = values.new_zeros(count, *values.shape[1:]).index_add(0, groups, values)
    sizes = groups.bincount(minlength=count).to(values)
    return sums / sizes.view(-1, *[1] * (values.ndim - 1))


def _group_moments(values: Tensor, groups: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation by group; NaN for groups of fewer than one and two samples."""
    mean = _group_mean(values, groups, count)
    sizes = groups.bincount(minlength=count).to(values).view(-1, *[1] * (values.ndim - 1))
    variance = _group_mean((values - mean[groups]).square(), groups, count)
    return mean, (variance * (sizes / (sizes - 1))).sqrt()
