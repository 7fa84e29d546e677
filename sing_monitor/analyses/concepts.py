"""Concepts by themselves: any vocabulary, also long after the training, from a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sing_monitor.analyses import invariants_tables
from sing_monitor.findings import Findings
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import TextSet
from sing_monitor.translate.cross_fit import cross_fit

if TYPE_CHECKING:
    from pandas import DataFrame


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
        ValueError: the concepts are of another space than the snapshot's embeddings.
    """
    dims = concepts.embeddings.shape[1], snapshot.embeddings.shape[1]
    if dims[0] != dims[1]:
        raise ValueError(
            f"concepts have {dims[0]} dimensions, image embeddings {dims[1]}; embed both with the "
            "same semantic space."
        )
    fit = cross_fit(snapshot.features, snapshot.embeddings, snapshot.folds, ridge)
    pairs = fit.translate(snapshot.features, snapshot.geometry, snapshot.center, snapshot.seen)
    return Findings({}, invariants_tables.concept_tables(snapshot, pairs, concepts))


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
