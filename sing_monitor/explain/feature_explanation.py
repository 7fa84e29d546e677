"""Explanation of one feature vector: concepts, scores and neighbors without its null part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sing_monitor.head.forward import HeadPass
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.scores.angles import attribute_score, image_score, text_cosines, to_degrees
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import TextSet
from sing_monitor.translate.random_subspaces import RANDOM_DRAWS, chosen_draw, remove_at_random
from sing_monitor.translate.translator import in_float64

NEIGHBORS = 3


@dataclass(frozen=True)
class Shift:
    """Changes from an image to one of its equivalents.

    Args:
        attribute_score: AS toward the target class, degrees. Positive: nearer to it.
        image_score: IS, degrees.
        gained: concepts nearer to the equivalent, with their AS, degrees, largest first.
        lost: concepts farther from it, with their AS, degrees, most negative first.
        nearest: rows of the snapshot whose embeddings are nearest, nearest first.
        embedding: ``T f~``, (n,).
        logits: ``W f~ + b``, (C,), equal to those of the image up to rounding. Under
            ``"softmax"`` a constant may be added to all of them.
    """

    attribute_score: float
    image_score: float
    gained: tuple[tuple[str, float], ...]
    lost: tuple[tuple[str, float], ...]
    nearest: tuple[int, ...]
    embedding: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Explanation:
    """One image before and after the removal of its null-space part.

    Args:
        prediction: the predicted class.
        target: the target class of AS.
        logits: ``W f + b``, (C,), float64.
        nearest: rows of the snapshot whose embeddings are nearest to ``T f``, nearest first.
        embedding: ``T f``, (n,).
        cosine: of ``T f`` with the image's own embedding; NaN if that is unknown. If it is low,
            the scores of this image cannot be trusted.
        removed: the paper's equivalent, ``f - P_n f`` (eq. 9).
        centered: ``f - P_n (f - mu)``; None if no center mu is known.
        random: AS and IS, degrees, after the centered removal of a random subspace as large as the
            null space: the subspace of a run's tables, or the mean over all draws if the pixels
            are unknown. None if no center is known.
    """

    prediction: str
    target: str
    logits: Tensor
    nearest: tuple[int, ...]
    embedding: Tensor
    cosine: float
    removed: Shift
    centered: Shift | None
    random: tuple[float, float] | None

    def __str__(self) -> str:
        lines = [f"predicted {self.prediction}; scores toward {self.target}"]
        for name, shift in (("null part removed", self.removed), ("centered", self.centered)):
            if shift is not None:
                lines.append(
                    f"{name}: AS {shift.attribute_score:+.2f}, IS {shift.image_score:.2f} degrees; "
                    f"gains {_listed(shift.gained)}; loses {_listed(shift.lost)}"
                )
        return "\n".join(lines)


def explain_features(
    seen: HeadPass,
    geometry: HeadGeometry,
    translator: nn.Module,
    text: Tensor,
    target: int,
    names: Sequence[str],
    *,
    snapshot: Snapshot | None = None,
    image_id: int | None = None,
    embedding: Tensor | None = None,
    concepts: TextSet | None = None,
    top: int = 5,
    draw: int | None = None,
) -> Explanation:
    """Score the features of one image, and list the concepts it gains and loses.

    Args:
        seen: head and features, (1, m).
        geometry: of the head.
        translator: of features.
        text: embedding of the target class, (1, n).
        target: the target class of AS.
        names: C class names.
        snapshot: for the center and the neighbors.
        image_id: of the image, which is left out of its neighbors.
        embedding: of the image itself, (1, n).
        concepts: vocabulary.
        top: number of concepts to list.
        draw: number that chooses the random subspace; None: that of the image id.

    Raises:
        ValueError: if a logit is NaN.
    """
    draw = image_id if draw is None else draw
    feature, translate, text = seen.features.double(), in_float64(translator), text.double()
    original, logits = translate(feature), logits_of(seen, feature)
    if bool(logits.isnan().any()):
        raise ValueError(
            "logits of the image are NaN, so the head predicts no class: its weight or bias holds "
            "NaN. The training has diverged."
        )
    center = None if snapshot is None else snapshot.center

    def scores(moved: Tensor) -> tuple[float, float]:
        toward, far = attribute_score(original, moved, text), image_score(original, moved)
        return float(toward.mean()), float(far.mean())

    def shift(equivalent: Tensor) -> Shift:
        moved = translate(equivalent)
        gained, lost = _concept_shifts(original, moved, concepts, top)
        nearest = _nearest_rows(moved, snapshot, image_id)
        return Shift(*scores(moved), gained, lost, nearest, moved[0], logits_of(seen, equivalent))

    def random(center: Tensor) -> tuple[float, float]:
        draws = torch.arange(RANDOM_DRAWS) if draw is None else torch.tensor([chosen_draw(draw)])
        copies = feature.expand(len(draws), -1)
        removal = remove_at_random(copies, center, geometry.rank, draws)
        return scores(translate(removal.equivalents(copies, center)))

    cosine = float("nan")
    if embedding is not None:
        cosine = float(torch.cosine_similarity(original, embedding.double()))
    return Explanation(
        names[int(logits.argmax())],
        names[target],
        logits,
        _nearest_rows(original, snapshot, image_id),
        original[0],
        cosine,
        shift(geometry.remove_null(feature)),
        None if center is None else shift(geometry.remove_null(feature, center)),
        None if center is None else random(center),
    )


def logits_of(seen: HeadPass, features: Tensor) -> Tensor:
    """Compute the logits ``W f + b``, (C,) float64, of features (1, m)."""
    logits = features[0] @ seen.weight.double().T
    return logits if seen.bias is None else logits + seen.bias.double()


def _concept_shifts(
    original: Tensor, moved: Tensor, concepts: TextSet | None, top: int
) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]:
    """List the concepts that come nearer and those that go farther, the largest change first."""
    if concepts is None:
        return (), ()
    texts = concepts.embeddings.double()
    angles = [to_degrees(text_cosines(each, texts))[0] for each in (original, moved)]
    scores = dict(zip(concepts.names, (angles[0] - angles[1]).tolist(), strict=True))
    ranked = sorted(scores.items(), key=lambda item: item[1], reverse=True)
    gained = tuple(item for item in ranked[:top] if item[1] > 0)
    lost = tuple(item for item in ranked[::-1][:top] if item[1] < 0)
    return gained, lost


def _nearest_rows(
    embedding: Tensor, snapshot: Snapshot | None, image_id: int | None
) -> tuple[int, ...]:
    """List the rows of the nearest probe images, without copies of the image itself."""
    if snapshot is None:
        return ()
    cosines = text_cosines(embedding, snapshot.known_embeddings.double())[0]
    rows = cosines.argsort(descending=True).tolist()
    ids = range(len(rows)) if snapshot.image_ids is None else snapshot.image_ids.tolist()
    return tuple(row for row in rows if image_id is None or ids[row] != image_id)[:NEIGHBORS]


def _listed(concepts: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} ({score:+.1f})" for name, score in concepts) or "nothing"
