"""One probe image of a finished run, explained from the run's snapshot: no model is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from sing_monitor.analyses.tables import image_ids
from sing_monitor.cache import EmbeddingCache, default_cache_dir
from sing_monitor.embeddings import TextSet, concept_set
from sing_monitor.explain import concept_shifts, nearest_rows
from sing_monitor.pairs import CrossFit
from sing_monitor.snapshot import Snapshot

Ranked = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class StoredShift:
    """What one equivalent of the image changes.

    Args:
        gained: concepts that the equivalent is nearer to, and their AS, degrees, largest first.
        lost: concepts that it is farther from, and their AS, degrees, most negative first.
        nearest: ids of the probe images whose embeddings are nearest, nearest first.
        logits: ``W f~ + b``, (C,): those of the image, to rounding. Under ``"softmax"``, but for a
            constant.
    """

    gained: Ranked
    lost: Ranked
    nearest: tuple[str, ...]
    logits: Tensor


@dataclass(frozen=True)
class StoredExplanation:
    """One image before and after what its head ignores is removed.

    Args:
        epoch: of the snapshot.
        step: the trainer's global step, of the snapshot.
        nearest: ids of the probe images whose embeddings are nearest to ``T f``, nearest first.
        logits: ``W f + b``, (C,), float64.
        removed: the paper's equivalent, ``f - P_n f`` (eq. 9).
        centered: ``f - P_n (f - mu)``.
    """

    epoch: int
    step: int
    nearest: tuple[str, ...]
    logits: Tensor
    removed: StoredShift
    centered: StoredShift


def explain_stored(
    snapshot: Snapshot,
    fit: CrossFit,
    image: str,
    concepts: TextSet | None = None,
    *,
    top: int = 5,
) -> StoredExplanation:
    """Say what an image of the probe gains and loses when its null-space part is removed.

    The translator is the one that did not see the image.

    Args:
        snapshot: of the run.
        fit: of the snapshot's features, from `cross_fit`.
        image: its id, as in the table ``images``.
        concepts: the vocabulary, or None.
        top: how many concepts are listed.

    Raises:
        ValueError: if the snapshot does not hold the image, or no translator could be fitted.
    """
    ids = image_ids(snapshot)
    if image not in ids:
        raise ValueError(f"the snapshot of epoch {snapshot.epoch} does not hold the image {image}.")
    if fit.translators is None:
        raise ValueError("one fold of the snapshot is empty, so no translator can be fitted.")
    row = ids.index(image)
    translate = fit.translators[int(fit.folds[row])]
    image_id = row if snapshot.image_ids is None else int(snapshot.image_ids[row])
    feature = snapshot.features[row : row + 1].double()
    original = translate(feature)

    def nearest(embedding: Tensor) -> tuple[str, ...]:
        return tuple(ids[other] for other in nearest_rows(embedding, snapshot, image_id))

    def logits(features: Tensor) -> Tensor:
        found = features[0] @ snapshot.weight.double().T
        return found if snapshot.bias is None else found + snapshot.bias.double()

    def shift(equivalent: Tensor) -> StoredShift:
        moved = translate(equivalent)
        gained, lost = concept_shifts(original, moved, concepts, top)
        return StoredShift(gained, lost, nearest(moved), logits(equivalent))

    return StoredExplanation(
        snapshot.epoch,
        snapshot.step,
        nearest(original),
        logits(feature),
        shift(snapshot.geometry.remove_null(feature)),
        shift(snapshot.geometry.remove_null(feature, snapshot.center)),
    )


def remembered_concepts(
    space_name: str, dim: int, prompts: Mapping[str, Sequence[str]]
) -> TextSet | None:
    """The concepts of a run, as this machine's cache of text embeddings knows them.

    Args:
        space_name: of the run.
        dim: n, of the snapshot's embeddings.
        prompts: of each concept, from the run's config.

    Returns:
        None where there are no concepts, or where the cache lacks one of the prompts: the run was
        trained on another machine, or the cache was cleared.
    """
    cache = EmbeddingCache(space_name, "texts", dim, default_cache_dir())
    try:
        return concept_set(_Forgetful(space_name, dim), prompts, cache)
    except LookupError:
        return None


@dataclass(frozen=True)
class _Forgetful:
    """A space that embeds nothing itself."""

    name: str
    dim: int

    def encode_images(self, images: Tensor) -> Tensor:
        raise LookupError(f"no model of the space {self.name} is at hand.")

    def encode_texts(self, texts: list[str]) -> Tensor:
        raise LookupError(f"no model of the space {self.name} is at hand.")
