"""Explanation of a probe image from the snapshot of its run, without the model."""

from __future__ import annotations

import torch
from torch.nn.functional import linear

from sing_monitor.explain.feature_explanation import Explanation, explain_features
from sing_monitor.head.forward import HeadPass
from sing_monitor.snapshot import Snapshot, hex_ids
from sing_monitor.translate.cross_fit import CrossFit


def explain_stored_image(
    snapshot: Snapshot, fit: CrossFit, image: str, *, top: int = 5
) -> Explanation:
    """Score an image of the probe, and list the concepts it gains and loses.

    The translator is the one of the fold without the image; AS refers to the image's own class. A
    snapshot without texts gives no AS and no concepts.

    Args:
        snapshot: of the run.
        fit: of the snapshot's features, from `cross_fit`.
        image: its id, as in the table ``images``.
        top: number of concepts to list.

    Raises:
        ValueError: if the snapshot does not hold the image, or no translator could be fitted.
    """
    ids = hex_ids(snapshot.ids)
    if image not in ids:
        raise ValueError(f"the snapshot of epoch {snapshot.epoch} does not hold the image {image}.")
    if fit.translators is None:
        raise ValueError(
            "one fold of the snapshot holds no two images that differ, so no translator can be "
            "fitted."
        )
    row, texts = ids.index(image), snapshot.texts
    rows, label = slice(row, row + 1), int(snapshot.labels[row])
    embedding = snapshot.known_embeddings[rows]
    unknown = torch.full_like(embedding, float("nan"), dtype=torch.float64)
    weight, bias, features = snapshot.weight, snapshot.bias, snapshot.features[rows].double()
    logits = linear(features, weight.double(), None if bias is None else bias.double())
    return explain_features(
        HeadPass(weight, bias, features, logits),
        snapshot.geometry,
        fit.translators[int(fit.folds[row])],
        unknown if texts is None else texts.classes.embeddings[label : label + 1],
        label,
        snapshot.class_names,
        snapshot=snapshot,
        image_id=row if snapshot.image_ids is None else int(snapshot.image_ids[row]),
        embedding=embedding,
        concepts=None if texts is None else texts.concepts,
        top=top,
        draw=int(snapshot.draws[row]),
    )
