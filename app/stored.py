"""What the snapshot of a run says of one image, read and worked out once."""

from __future__ import annotations

import streamlit as st

from sing_monitor.afterwards import stored_ridge
from sing_monitor.app import data
from sing_monitor.embeddings import TextSet
from sing_monitor.pairs import CrossFit, cross_fit
from sing_monitor.snapshot import Snapshot
from sing_monitor.stored_image import StoredExplanation, explain_stored, remembered_concepts
from sing_monitor.tracking import ArtifactNotFoundError


def explanation(source: data.Source, image: str) -> StoredExplanation:
    """One image of the run's last snapshot.

    Raises:
        ArtifactNotFoundError: if the run stored no snapshot.
        ValueError: if the snapshot does not hold the image, or is damaged.
        StoreError: if the store cannot be reached.
        RunNotFoundError: if the run was deleted.
    """
    snapshot, fit, concepts = _fitted(source)
    return explain_stored(snapshot, fit, image, concepts)


def has_concepts(source: data.Source) -> bool:
    """Whether the texts of the run's concepts are known here. Raises as `explanation`."""
    return _fitted(source)[2] is not None


# Features of a whole probe: few are kept.
@st.cache_resource(ttl="1h", max_entries=2, show_spinner="Reading the snapshot …")
def _fitted(source: data.Source) -> tuple[Snapshot, CrossFit, TextSet | None]:
    snapshot = source.reader.snapshot()
    try:
        config = data.config(source)
    except ArtifactNotFoundError:
        config = {}
    ridge = stored_ridge(source.reader, config, snapshot)
    fit = cross_fit(snapshot.features.double(), snapshot.embeddings, snapshot.folds, ridge)
    prompts, space = config.get("concept_prompts"), str(config.get("space", ""))
    dim = snapshot.embeddings.shape[1]
    concepts = remembered_concepts(space, dim, prompts) if prompts else None
    return snapshot, fit, concepts
