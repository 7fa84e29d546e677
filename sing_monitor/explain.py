"""One image: what its classifier ignores of it, in words, scores and neighbours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from sing_monitor.cache import EmbeddingCache
from sing_monitor.embeddings import TextSet, concept_set, fingerprint, text_set, to_uint8
from sing_monitor.forward import HeadPass, run_head
from sing_monitor.geometry import HeadGeometry, Invariance
from sing_monitor.head_search import find_head
from sing_monitor.pairs import cross_fit
from sing_monitor.ridge import fit_translator
from sing_monitor.scores import attribute_score, image_score, text_cosines, to_degrees
from sing_monitor.semantics import SemanticSpace
from sing_monitor.snapshot import Snapshot
from sing_monitor.translator import in_float64

logger = logging.getLogger(__name__)

NEIGHBOURS = 3


@dataclass(frozen=True)
class Shift:
    """What one equivalent of the image changes.

    Args:
        attribute_score: AS toward the target class, degrees. Positive: nearer to it.
        image_score: IS, degrees.
        gained: concepts that the equivalent is nearer to, and their AS, degrees, largest first.
        lost: concepts that it is farther from, and their AS, degrees, most negative first.
        nearest: rows of the snapshot whose embeddings are nearest, nearest first.
        embedding: ``T f~``, (n,).
        logits: ``W f~ + b``, (C,): those of the image, to rounding. Under ``"softmax"``, but for a
            constant.
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
    """One image before and after what its head ignores is removed.

    Args:
        prediction: the predicted class.
        target: the class that AS refers to.
        logits: ``W f + b``, (C,), float64.
        nearest: rows of the snapshot whose embeddings are nearest to ``T f``, nearest first.
        embedding: ``T f``, (n,).
        cosine: of ``T f`` with the image's own embedding; NaN where the pixels are not known. Low:
            trust no score of this image.
        removed: the paper's equivalent, ``f - P_n f`` (eq. 9).
        centered: ``f - P_n (f - mu)``; None where no center mu is known.
    """

    prediction: str
    target: str
    logits: Tensor
    nearest: tuple[int, ...]
    embedding: Tensor
    cosine: float
    removed: Shift
    centered: Shift | None

    def __str__(self) -> str:
        lines = [f"predicted {self.prediction}; scores toward {self.target}"]
        for name, shift in (("null part removed", self.removed), ("centered", self.centered)):
            if shift is not None:
                lines.append(
                    f"{name}: AS {shift.attribute_score:+.2f}, IS {shift.image_score:.2f} degrees; "
                    f"gains {_listed(shift.gained)}; loses {_listed(shift.lost)}"
                )
        return "\n".join(lines)


def explain(
    model: nn.Module,
    image: Tensor,
    space: SemanticSpace,
    translator: nn.Module | None = None,
    *,
    snapshot: Snapshot | None = None,
    class_names: Sequence[str] | None = None,
    label: int | None = None,
    prompt: str | Sequence[str] = "an image of a {}",
    concepts: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None,
    head: str | None = None,
    invariance: Invariance | None = None,
    restore: Callable[[Tensor], Tensor] | None = None,
    ridge: float | Literal["auto"] = "auto",
    top: int = 5,
    cache: EmbeddingCache | None = None,
) -> Explanation:
    """Score one image, and say what it gains and loses when its null-space part is removed.

    The model runs once, in eval mode, and is left as it was. Use
    :func:`sing_monitor.callbacks.explain.explain_image` to have pixels and class names found.

    Args:
        model: maps images to logits.
        image: what the model takes, (c, H, W) or (1, c, H, W).
        space: embeds texts and the image.
        translator: of the model's features, of any kind; None: fitted on the snapshot. An image of
            the snapshot's probe is then scored by the translator that did not see it.
        snapshot: of the same model: for the translator, the center and the neighbours.
        class_names: C names; by default the snapshot's.
        label: the class that AS refers to; by default the predicted one.
        prompt: template for the class, or several that are averaged.
        concepts: vocabulary: words, or prompts by name; None: about 60 everyday concepts.
        head: dotted name of the head; found by itself in most models.
        invariance: what must not change; by default the snapshot's, else ``"logits"``.
        restore: from a batch that the model takes to pixels (B, 3, H, W) in [0, 1].
        ridge: of the translator that is fitted here; ``translator/ridge`` of a run for its scores.
        top: how many concepts are listed.
        cache: the space's cache of texts.

    Raises:
        ValueError: if neither translator nor snapshot is given, if class names are missing or of
            another number, if the label is none of them, or if the model's head, the snapshot and
            the translator do not fit each other.
    """
    images = image if image.ndim == 4 else image[None]
    if len(images) != 1:
        raise ValueError(f"explain takes one image, got a batch of {len(images)}.")
    seen = run_head(model, find_head(model, head), images)
    names = _class_names(class_names, snapshot, len(seen.weight))
    pixels = None if restore is None else restore(images).cpu()
    if snapshot is not None:
        _check_snapshot(snapshot, seen)
    image_id = None if pixels is None else int(fingerprint(to_uint8(pixels)))
    if translator is None:
        translator = _fitted(snapshot, image_id, ridge)
    geometry = HeadGeometry.from_weight(
        seen.weight, invariance=invariance or (snapshot.invariance if snapshot else "logits")
    )
    feature, translate = seen.features.double(), in_float64(translator)
    logits = _logits(seen, feature)
    target = int(logits.argmax()) if label is None else label
    if not 0 <= target < len(names):
        raise ValueError(f"label {label} is none of the {len(names)} classes.")
    text = text_set(space, [names[target]], prompt, cache).embeddings.double()
    vocabulary = concept_set(space, concepts, cache)
    original = translate(feature)

    def shift(equivalent: Tensor) -> Shift:
        moved = translate(equivalent)
        gained, lost = concept_shifts(original, moved, vocabulary, top)
        return Shift(
            float(attribute_score(original, moved, text)),
            float(image_score(original, moved)),
            gained,
            lost,
            nearest_rows(moved, snapshot, image_id),
            moved[0],
            _logits(seen, equivalent),
        )

    cosine = float("nan")
    if pixels is not None:
        embedding = space.encode_images(pixels).double().cpu()
        cosine = float(torch.cosine_similarity(original, embedding))
    center = None if snapshot is None else snapshot.features.double().mean(dim=0)
    return Explanation(
        names[int(logits.argmax())],
        names[target],
        logits,
        nearest_rows(original, snapshot, image_id),
        original[0],
        cosine,
        shift(geometry.remove_null(feature)),
        None if center is None else shift(geometry.remove_null(feature, center)),
    )


def _fitted(
    snapshot: Snapshot | None, image_id: int | None, ridge: float | Literal["auto"]
) -> nn.Module:
    """The translator of a snapshot; of the two, the one that did not see the image."""
    if snapshot is None:
        raise ValueError(
            "explain needs a translator, or a snapshot to fit one on: train with "
            "SINGCallback(save_snapshots=True) and pass RunReader(...).snapshot()."
        )
    features, embeddings = snapshot.features.double(), snapshot.embeddings
    fit = cross_fit(features, embeddings, snapshot.folds, ridge)
    if fit.translators is None:
        raise ValueError("one fold of the snapshot is empty, so no translator can be fitted.")
    is_known = snapshot.image_ids is not None and image_id in snapshot.image_ids.tolist()
    if is_known and image_id is not None:
        return fit.translators[image_id & 1]
    return fit_translator(features, embeddings, fit.ridge)


def _check_snapshot(snapshot: Snapshot, seen: HeadPass) -> None:
    if snapshot.weight.shape != seen.weight.shape:
        raise ValueError(
            f"the snapshot's head is {tuple(snapshot.weight.shape)}, the model's "
            f"{tuple(seen.weight.shape)} (classes, features); give a snapshot of this model."
        )
    if not torch.equal(snapshot.weight, seen.weight):
        logger.warning(
            "the snapshot (epoch %d) was taken from another state of the training than the model: "
            "its translator, center and neighbours may not fit.",
            snapshot.epoch,
        )


def _class_names(
    given: Sequence[str] | None, snapshot: Snapshot | None, count: int
) -> tuple[str, ...]:
    names = tuple(given or (snapshot.class_names if snapshot is not None else ()))
    if len(names) != count:
        raise ValueError(f"the head has {count} classes; class_names gives {len(names)} names.")
    return names


def _logits(seen: HeadPass, features: Tensor) -> Tensor:
    logits = features[0] @ seen.weight.double().T
    return logits if seen.bias is None else logits + seen.bias.double()


def concept_shifts(
    original: Tensor, moved: Tensor, concepts: TextSet | None, top: int
) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]:
    """The concepts that come nearer and those that go farther, most moved first."""
    if concepts is None:
        return (), ()
    texts = concepts.embeddings.double()
    angles = [to_degrees(text_cosines(each, texts))[0] for each in (original, moved)]
    scores = dict(zip(concepts.names, (angles[0] - angles[1]).tolist(), strict=True))
    ranked = sorted(scores.items(), key=lambda item: item[1], reverse=True)
    gained = tuple(item for item in ranked[:top] if item[1] > 0)
    lost = tuple(item for item in ranked[::-1][:top] if item[1] < 0)
    return gained, lost


def nearest_rows(
    embedding: Tensor, snapshot: Snapshot | None, image_id: int | None
) -> tuple[int, ...]:
    """Rows of the nearest probe images; copies of the image itself are not among them."""
    if snapshot is None:
        return ()
    cosines = text_cosines(embedding, snapshot.embeddings.double())[0]
    rows = cosines.argsort(descending=True).tolist()
    ids = [None] * len(rows) if snapshot.image_ids is None else snapshot.image_ids.tolist()
    return tuple(row for row in rows if image_id is None or ids[row] != image_id)[:NEIGHBOURS]


def _listed(concepts: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} ({score:+.1f})" for name, score in concepts) or "nothing"
