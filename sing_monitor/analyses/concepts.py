"""Concepts: any vocabulary, during the training or long after it from a snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.columns import CLASS, COUNT
from sing_monitor.findings import ColumnSpec, Findings, TableSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import text_cosines, to_degrees
from sing_monitor.scores.moments import group_moments
from sing_monitor.scores.pairs import EQUIVALENTS, PLAIN, Pair
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import TextSet
from sing_monitor.translate.cross_fit import TranslatedPairs, cross_fit

if TYPE_CHECKING:
    from pandas import DataFrame

# Concepts at a time, in double precision for every image.
_CONCEPTS = 32
# A quantity and the pair it is of.
_Column = tuple[str, Pair]


def _mean_and_spread(name: str, pair: Pair, plain: str) -> tuple[ColumnSpec, ColumnSpec]:
    spread = f"Standard deviation of the same over the images: {pair.named(name)}."
    return (
        ColumnSpec(pair.named(name), "deg", plain),
        ColumnSpec(pair.named(f"{name}_std"), "deg", spread),
    )


_COLUMNS = (
    ColumnSpec("concept", "", "Name of the concept."),
    COUNT,
    *_mean_and_spread("angle_before", PLAIN, "Mean angle of T f to the concept's text."),
    *(
        column
        for pair in EQUIVALENTS
        for name, plain in (
            ("angle_after", f"Mean angle of T f~ to the concept's text, f~ = {pair.formula}."),
            ("attribute_score", f"Mean AS toward the concept when {pair.removal}."),
        )
        for column in _mean_and_spread(name, pair, plain)
    ),
)
CONCEPTS = TableSpec(
    "concepts", "Concepts", "A concept, over all images.", _COLUMNS, is_followed=True
)
CLASS_CONCEPTS = TableSpec(
    "class_concepts",
    "Concepts by class",
    "A concept, over the images of a class that is present.",
    (*CLASS, *_COLUMNS),
)


def analyze_vocabulary(observation: Observation) -> Findings:
    """AS toward the concepts of an observation, as :func:`analyze_concepts` does.

    Returns:
        Tables ``concepts`` and ``class_concepts``; none without a vocabulary.
    """
    if observation.concepts is None:
        return Findings()
    tables = _tables(observation.snapshot, observation.translated, observation.concepts)
    return Findings(tables=tables)


def analyze_concepts(
    snapshot: Snapshot, concepts: TextSet, *, ridge: float | Literal["auto"] = "auto"
) -> Findings:
    """Angle to each concept before and after null removal, and AS, over all images and by class.

    ``AS = angle(T f, t) - angle(T f~, t)``: positive, the equivalent is closer to the concept
    (SING, eqs. 6-7). Every image is scored by a translator fitted on the other half of the probe.

    Args:
        snapshot: head, features (N, m), labels and embeddings (N, n) of one validation.
        concepts: K names and their embeddings (K, n).
        ridge: rho of the translator; with that of the run the numbers are those of its own tables.

    Returns:
        Tables ``concepts``, a row for each concept, and ``class_concepts``, a row for each class
        present and each concept: n, the mean angles in degrees and their spread over images, for
        the paper's pair and for the centered one.

    Raises:
        ValueError: if the snapshot was taken without a semantic space, or the concepts are of
            another one than its embeddings.
    """
    dims = concepts.embeddings.shape[1], snapshot.known_embeddings.shape[1]
    if dims[0] != dims[1]:
        raise ValueError(
            f"concepts have {dims[0]} dimensions, image embeddings {dims[1]}; embed both with the "
            "same semantic space."
        )
    fit = cross_fit(snapshot.features, snapshot.known_embeddings, snapshot.folds, ridge)
    pairs = fit.translate(snapshot.features, snapshot.geometry, snapshot.center, snapshot.seen)
    return Findings({}, _tables(snapshot, pairs, concepts))


def with_concepts(old: DataFrame | None, new: DataFrame) -> DataFrame:
    """The rows of a table of concepts with those of another added.

    Args:
        old: ``concepts`` or ``class_concepts``; None where there is no such table.
        new: the same table for other concepts; a concept that both hold is taken from here.

    Returns:
        By class, if there are classes, then the old concepts and the new ones in their order.
    """
    import pandas as pd

    if old is None:
        return new
    kept = old[~old["concept"].isin(new["concept"])]
    both = pd.concat([kept, new], ignore_index=True)
    if "class_index" in both:
        both = both.sort_values("class_index", kind="stable", ignore_index=True)
    return both


def _tables(snapshot: Snapshot, pairs: TranslatedPairs, concepts: TextSet) -> dict[str, DataFrame]:
    """Mean and spread of the angle to every concept before and after null removal, and of AS.

    Returns:
        ``concepts``, over all images, and ``class_concepts``, with a row for every class present
        and every concept.
    """
    from pandas import Index

    present, labels = snapshot.labels.unique(return_inverse=True)
    groupings = torch.zeros_like(labels), labels
    parts = [
        [_by_group(quantities, groups) for groups in groupings]
        for quantities in _quantities(pairs, concepts)
    ]
    class_index = present.repeat_interleave(len(concepts.names)).numpy()
    # Taken from an index: converting as many strings anew takes ten times as long.
    class_name = Index(snapshot.class_names).take(class_index)
    first = {"class_index": class_index, "class_name": class_name}
    overall, by_class = zip(*parts, strict=True)
    return {
        "concepts": _rows({}, overall, groupings[0], concepts),
        "class_concepts": _rows(first, by_class, groupings[1], concepts),
    }


def _quantities(pairs: TranslatedPairs, concepts: TextSet) -> Iterator[dict[_Column, Tensor]]:
    """Angles to a few concepts at a time, and AS, each (N, k) in double precision."""
    kinds = [pairs.original, *pairs.equivalents.values()]
    cosines = (
        text_cosines(embeddings, concepts.embeddings).split(_CONCEPTS, dim=1)
        for embeddings in kinds
    )
    for some in zip(*cosines, strict=True):
        before, *afters = (to_degrees(each).double() for each in some)
        found = {("angle_before", PLAIN): before}
        for pair, after in zip(pairs.equivalents, afters, strict=True):
            found["angle_after", pair] = after
            found["attribute_score", pair] = before - after
        yield found


def _by_group(quantities: Mapping[_Column, Tensor], groups: Tensor) -> dict[str, Tensor]:
    """Mean and spread by group of quantities (N, k), by column, each (G, k)."""
    columns = {}
    for (quantity, pair), values in quantities.items():
        mean, std = group_moments(values, groups, int(groups.max()) + 1)
        columns[pair.named(quantity)] = mean
        columns[pair.named(f"{quantity}_std")] = std
    return columns


def _rows(
    first: Mapping[str, object],
    parts: Sequence[Mapping[str, Tensor]],
    groups: Tensor,
    concepts: TextSet,
) -> DataFrame:
    """One row for every group and concept, groups outermost.

    Args:
        first: columns that say which group it is.
        parts: columns of some concepts each, in their order, (G, k).
        groups: of the images, (N,).
        concepts: K of them.
    """
    from pandas import DataFrame, Index

    samples = groups.bincount()
    order = torch.arange(len(concepts.names)).repeat(len(samples))
    columns = {
        **first,
        "concept": Index(concepts.names).take(order.numpy()),
        "n": samples.repeat_interleave(len(concepts.names)).numpy(),
    }
    for name in parts[0]:
        columns[name] = torch.cat([part[name] for part in parts], dim=1).flatten().numpy()
    return DataFrame(columns)


ANALYSIS = Analysis(
    "concepts",
    analyze_vocabulary,
    tables=(CONCEPTS, CLASS_CONCEPTS),
    needs=frozenset({"labels", "embeddings"}),
    part_of="sing",
)
