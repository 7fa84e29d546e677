"""Explanation of one image by a run of its model: concepts, scores and neighbors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.explain.feature_explanation import Explanation, explain_features, logits_of
from sing_monitor.head.forward import HeadPass, run_head
from sing_monitor.head.geometry import HeadGeometry, Invariance
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.cache import EmbeddingCache
from sing_monitor.space.fingerprints import fingerprint, to_uint8
from sing_monitor.space.semantic_space import SemanticSpace
from sing_monitor.space.text_embeddings import concept_set, text_set
from sing_monitor.translate.cross_fit import cross_fit
from sing_monitor.translate.ridge import fit_translator

logger = logging.getLogger(__name__)


def explain_model_image(
    model: nn.Module,
    image: Tensor,
    space: SemanticSpace | None,
    translator: nn.Module | None = None,
    *,
    snapshot: Snapshot | None = None,
    class_names: Sequence[str] | None = None,
    label: int | None = None,
    prompt: str | Sequence[str] | None = None,
    concepts: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None,
    head: str | None = None,
    invariance: Invariance | None = None,
    restore: Callable[[Tensor], Tensor] | None = None,
    ridge: float | Literal["auto"] = "auto",
    top: int = 5,
    cache: EmbeddingCache | None = None,
) -> Explanation:
    """Score one image, and list the concepts it gains and loses without its null-space part.

    The model runs once, in eval mode, and stays as it is.
    :func:`sing_monitor.explain.image.explain_image` also finds pixels and class names.

    Args:
        model: maps images to logits.
        image: input of the model, (c, H, W) or (1, c, H, W); of other inputs a batch of one.
        space: embeds texts and the image. None: the texts are those of the snapshot, and the
            explanation's cosine is NaN.
        translator: of the model's features, of any kind; None: fitted on the snapshot. For an image
            of the snapshot's probe, it is fitted on the fold without this image.
        snapshot: of the same model: for the translator, the texts, the center and the neighbors.
        class_names: C names; by default the snapshot's.
        label: the target class of AS; by default the predicted one.
        prompt: template for the class, or several that are averaged; None: the snapshot's text of
            the class, else "an image of a {}".
        concepts: vocabulary: words, or prompts by name; None: the snapshot's, else about 60
            everyday concepts.
        head: dotted name of the head; None: the layer whose output is the model's answer.
        invariance: output that must not change; by default the snapshot's, else ``"logits"``.
        restore: function from a batch of model inputs to pixels (B, 3, H, W) in [0, 1].
        ridge: of the fitted translator; pass a run's ``translator/ridge`` to get its scores.
        top: number of concepts to list.
        cache: the space's cache of texts.

    Raises:
        ValueError: if neither translator nor snapshot is given, if class names are missing or have
            another number, if the label is none of them, if a text must be embedded without a
            space, or if the model's head, the snapshot and the translator do not fit each other.
    """
    images = image[None] if image.ndim == 3 else image
    if len(images) != 1:
        raise ValueError(f"expected one image, got a batch of {len(images)}.")
    seen = run_head(model, images, head)
    names = _class_names(class_names, snapshot, len(seen.weight))
    pixels = None if restore is None else restore(images).cpu()
    if snapshot is not None:
        _check_snapshot(snapshot, seen)
    image_id = None if pixels is None else int(fingerprint(to_uint8(pixels)))
    if translator is None:
        translator = _fitted(snapshot, image_id, ridge)
    predicted = int(logits_of(seen, seen.features.double()).argmax())
    target = predicted if label is None else label
    if not 0 <= target < len(names):
        raise ValueError(f"label {label} is none of the {len(names)} classes.")
    stored = None if snapshot is None else snapshot.texts
    if stored is not None and prompt is None:
        text = stored.classes.embeddings[target : target + 1]
    else:
        template = "an image of a {}" if prompt is None else prompt
        text = text_set(_needed(space), [names[target]], template, cache).embeddings
    if stored is not None and concepts is None:
        vocabulary = stored.concepts
    else:
        vocabulary = concept_set(_needed(space), concepts, cache)
    embedding = None
    if space is not None and pixels is not None:
        embedding = space.encode_images(pixels).cpu()
    return explain_features(
        seen,
        HeadGeometry.from_weight(
            seen.weight, invariance=invariance or (snapshot.invariance if snapshot else "logits")
        ),
        translator,
        text,
        target,
        names,
        snapshot=snapshot,
        image_id=image_id,
        embedding=embedding,
        concepts=vocabulary,
        top=top,
    )


def _needed(space: SemanticSpace | None) -> SemanticSpace:
    if space is None:
        raise SetupError(
            "a text must be embedded, but no semantic space was given, and no snapshot holds the "
            "texts of its run. Give the space of the run: ",
            Option("space"),
            ".",
        )
    return space


def _fitted(
    snapshot: Snapshot | None, image_id: int | None, ridge: float | Literal["auto"]
) -> nn.Module:
    """Fit a translator on a snapshot; for an image of its probe, on the fold without it."""
    if snapshot is None:
        raise SetupError(
            "a translator is needed, or a snapshot to fit one on. Train with save_snapshots=True "
            "and pass ",
            Option("snapshot", "RunReader(...).snapshot()"),
            ".",
        )
    features, embeddings = snapshot.features.double(), snapshot.known_embeddings
    fit = cross_fit(features, embeddings, snapshot.folds, ridge)
    if fit.translators is None:
        raise ValueError(
            "one fold of the snapshot holds no two images that differ, so no translator can be "
            "fitted."
        )
    fold = None if image_id is None else snapshot.fold_of(image_id)
    if fold is None:
        return fit_translator(features, embeddings, fit.ridge)
    return fit.translators[fold]


def _check_snapshot(snapshot: Snapshot, seen: HeadPass) -> None:
    if snapshot.weight.shape != seen.weight.shape:
        raise ValueError(
            f"the snapshot's head is {tuple(snapshot.weight.shape)}, the model's "
            f"{tuple(seen.weight.shape)} (classes, features); give a snapshot of this model."
        )
    if not torch.equal(snapshot.weight, seen.weight):
        logger.warning(
            "the snapshot (epoch %d) was taken from another state of the training than the model: "
            "its translator, center and neighbors may not fit.",
            snapshot.epoch,
        )


def _class_names(
    given: Sequence[str] | None, snapshot: Snapshot | None, count: int
) -> tuple[str, ...]:
    names = tuple(given or (snapshot.class_names if snapshot is not None else ()))
    if len(names) != count:
        raise ValueError(f"the head has {count} classes; class_names gives {len(names)} names.")
    return names
