"""Findings that are added to a run after its training, from what it stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sing_monitor.analyses.concepts import analyze_concepts, with_concepts
from sing_monitor.space.cache import EmbeddingCache
from sing_monitor.space.semantic_space import SemanticSpace
from sing_monitor.space.text_embeddings import concept_set
from sing_monitor.tracking import ArtifactNotFoundError, RunReader, RunWriter

if TYPE_CHECKING:
    from pandas import DataFrame

    from sing_monitor.snapshot import Snapshot


@dataclass(frozen=True)
class AddedConcepts:
    """What was added to a run.

    Args:
        tables: ``concepts`` and ``class_concepts`` of the new concepts alone.
        epoch: of the snapshot, where they were added.
        step: the trainer's global step at that epoch.
        watched: names left out, because the run has watched them since its training.
    """

    tables: Mapping[str, DataFrame]
    epoch: int
    step: int
    watched: tuple[str, ...]


def add_concepts(
    reader: RunReader,
    writer: RunWriter,
    space: SemanticSpace,
    concepts: Mapping[str, str | Sequence[str]],
    cache: EmbeddingCache | None = None,
) -> AddedConcepts:
    """Score concepts on the stored snapshot of a run and add them to its tables at that epoch.

    Only texts are embedded: the snapshot holds the embeddings of the images. The translator has
    the ridge of the run, so the numbers are those that its training would have stored. Concepts
    that the run watched in training stay as they are; those added earlier are scored anew.

    Args:
        reader: of the run.
        writer: to the same run and monitor.
        space: of the run; embeds the prompts.
        concepts: name -> prompt, or prompts that are averaged.
        cache: the space's cache of texts.

    Returns:
        What was added; no tables where the run watches all of the concepts already.

    Raises:
        ArtifactNotFoundError: the run stored no snapshot.
        ValueError: the space is not that of the run, or a file of the run is damaged.
        StoreError: the store cannot be read.
        DeliveryError: the tables could not be sent now; they wait in the writer's spool.
    """
    config = reader.config()
    check_space(config, space)
    try:
        snapshot = reader.snapshot()
    except ArtifactNotFoundError as error:
        raise ArtifactNotFoundError(
            f"{str(error).rstrip('.')}. Concepts are added from the snapshot of the last "
            "validation: train with save_snapshots=True, or analyze the checkpoints of the run "
            "with sing-monitor analyze --save-snapshots."
        ) from None
    since_training = set(config.get("concepts", ()))
    new = {name: prompts for name, prompts in concepts.items() if name not in since_training}
    watched = tuple(name for name in concepts if name in since_training)
    texts = concept_set(space, new, cache)
    if texts is None:
        return AddedConcepts({}, snapshot.epoch, snapshot.step, watched)
    found = analyze_concepts(snapshot, texts, ridge=stored_ridge(reader, config, snapshot))
    both = {
        name: with_concepts(_stored(reader, name, snapshot), table)
        for name, table in found.tables.items()
    }
    writer.add_tables(both, epoch=snapshot.epoch, step=snapshot.step)
    return AddedConcepts(found.tables, snapshot.epoch, snapshot.step, watched)


def check_space(config: Mapping[str, Any], space: SemanticSpace) -> None:
    """Refuse a space other than the one a run was monitored with.

    Of local weights the digest counts, not the name of their file.

    Raises:
        ValueError: it is another space.
    """
    wanted, given = str(config.get("space", "")), space.name
    digests = [name.rpartition("@")[2] for name in (wanted, given) if "@" in name]
    if wanted != given and not (len(digests) == 2 and digests[0] == digests[1]):
        raise ValueError(
            f"the run was monitored in the space {wanted!r}, and this one is {given!r}; texts of "
            "another space lie nowhere near its images. Give the space of the run."
        )


def stored_ridge(
    reader: RunReader, config: Mapping[str, Any], snapshot: Snapshot
) -> float | Literal["auto"]:
    """The ridge that the run used at the snapshot's epoch."""
    history = reader.scalars(["translator/ridge"])
    here = (history["epoch"] == snapshot.epoch) & (history["global_step"] == snapshot.step)
    logged = history.loc[here.fillna(False), "translator/ridge"].dropna()
    if len(logged):
        return float(logged.iloc[-1])
    stored = config.get("ridge", "auto")
    return stored if isinstance(stored, float) and math.isfinite(stored) else "auto"


def _stored(reader: RunReader, table: str, snapshot: Snapshot) -> DataFrame | None:
    try:
        return reader.table(table, snapshot.epoch, snapshot.step)
    except ArtifactNotFoundError:
        return None
