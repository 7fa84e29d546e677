"""What the snapshot of a run says of one image, read and worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import streamlit as st
from torch import Tensor

from sing_monitor.app.read import store
from sing_monitor.app.read.sources import RunSource
from sing_monitor.explain.feature_explanation import Explanation
from sing_monitor.explain.stored_image import explain_stored_image
from sing_monitor.offline.add_concepts import stored_ridge
from sing_monitor.scores.support import OUTSIDE, place_among
from sing_monitor.snapshot import Snapshot, hex_ids
from sing_monitor.tracking import ArtifactNotFoundError
from sing_monitor.translate.cross_fit import CrossFit, cross_fit, mean_cosine
from sing_monitor.translate.ridge import fit_translator
from sing_monitor.translate.translator import LinearTranslator


@dataclass(frozen=True, eq=False)
class FittedSnapshot:
    """A run's last snapshot with the translators fitted on it.

    Args:
        snapshot: of the run.
        fit: two translators, each for the images that it did not see.
        cosine: mean of translated features with the images' embeddings, held out.
        ids: of the images, as in the table ``images``.
        config: the settings of the monitor.
    """

    snapshot: Snapshot
    fit: CrossFit
    cosine: float
    ids: tuple[str, ...]
    config: dict[str, Any]

    @property
    def at(self) -> tuple[int, int]:
        """Epoch and global step of the validation that it is of."""
        return self.snapshot.epoch, self.snapshot.step

    @cached_property
    def translator(self) -> LinearTranslator:
        """Fitted on all images, for others; worked out when a picture is uploaded."""
        snapshot = self.snapshot
        return fit_translator(snapshot.features.double(), snapshot.known_embeddings, self.fit.ridge)

    def is_outside(self, embedding: Tensor, image_id: int) -> bool:
        """Whether a translated equivalent (n,) lies farther out than nearly all real images."""
        real, folds = self.snapshot.known_embeddings.double(), self.snapshot.folds
        fold = self.snapshot.fold_of(image_id)
        # A new picture belongs to neither fold; its fingerprint chooses one.
        own = image_id & 1 if fold is None else fold
        return bool(place_among(embedding.double()[None], real, folds, own) > OUTSIDE)

    def translator_of(self, image_id: int) -> LinearTranslator:
        """The translator that did not see the image of a fingerprint."""
        fold, halves = self.snapshot.fold_of(image_id), self.fit.translators
        return self.translator if fold is None or halves is None else halves[fold]


# Features of a whole probe: few are kept.
@st.cache_resource(ttl="1h", max_entries=2, show_spinner="Reading the snapshot …")
def read(source: RunSource) -> FittedSnapshot:
    """The run's last snapshot.

    Raises:
        ArtifactNotFoundError: if the run stored none.
        ValueError: if it is damaged, or too small to fit a translator on.
        StoreError: if the store cannot be reached.
        RunNotFoundError: if the run was deleted.
    """
    snapshot = source.reader.snapshot()
    try:
        config = store.config(source)
    except ArtifactNotFoundError:
        config = {}
    ridge = stored_ridge(source.reader, config, snapshot)
    # In the precision of the training: in double, all would be copied and take longer.
    features = snapshot.features
    fit = cross_fit(features, snapshot.known_embeddings, snapshot.folds, ridge)
    if fit.translators is None:
        raise ValueError(
            "one fold of the snapshot holds no two images that differ, so no translator can be "
            "fitted; watch more images."
        )
    cosine = mean_cosine(fit.original(features, snapshot.center), snapshot.known_embeddings)
    ids = tuple(hex_ids(snapshot.ids))
    return FittedSnapshot(snapshot, fit, cosine, ids, config)


@st.cache_resource(ttl="1h", max_entries=64, show_spinner=False)
def explanation(source: RunSource, image: str) -> Explanation:
    """One image of the run's last snapshot.

    Raises:
        ValueError: if the snapshot does not hold the image, or as `read`, like all others.
    """
    fitted = read(source)
    return explain_stored_image(fitted.snapshot, fitted.fit, image)
