"""Explanation of one image, with its pixels and class names found automatically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from sing_monitor.explain.feature_explanation import Explanation
from sing_monitor.explain.model_image import explain_model_image
from sing_monitor.head.forward import run_head
from sing_monitor.inputs.class_names import find_class_names, ordered_names
from sing_monitor.inputs.pixels import find_pixel_scale
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.semantic_space import SemanticSpace


def explain_image(
    model: nn.Module,
    image: Tensor,
    space: SemanticSpace | None,
    translator: nn.Module | None = None,
    *,
    dataset: object = None,
    pixel_stats: Any = None,
    picture: Tensor | None = None,
    class_names: Sequence[str] | Mapping[str, int] | None = None,
    snapshot: Snapshot | None = None,
    head: str | None = None,
    **options: Any,
) -> Explanation:
    """Explain one image; pixels and class names are found as during a training.

    Args:
        model: a LightningModule, or any module that maps images to logits.
        image: input of the model, (c, H, W) or (1, c, H, W); of other inputs a batch of one.
        space: embeds texts and the image; None: use the snapshot's texts.
        translator: of the model's features; None: fitted on the snapshot.
        dataset: the image's data set, which may hold a Normalize and class names.
        pixel_stats: ``(mean, std)`` with which the image, or the picture, was normalized.
        picture: input of the space if ``image`` is no picture, (1 or 3, h, w) or with a leading
            axis of 1.
        class_names: C names, or a mapping name -> index; by default those of the snapshot, of the
            data set or of the model.
        snapshot: of the same model: for the translator, the center and the neighbors.
        head: dotted name of the head; None: the layer whose output is the model's answer.
        options: as :func:`sing_monitor.explain.model_image.explain_model_image`.

    Raises:
        SetupError: if the statistics of the image's normalization are not found.
        ValueError: as :func:`sing_monitor.explain.model_image.explain_model_image`.
    """
    if picture is None:
        images = shown = image if image.ndim == 4 else image[None]
        scale = find_pixel_scale(pixel_stats, dataset, images, model)
    else:
        images, shown = image, picture if picture.ndim == 4 else picture[None]
        scale = find_pixel_scale(pixel_stats, None, shown, None)
    names: Sequence[str] | None = None
    if class_names is not None:
        names = ordered_names(class_names, "class_names")
    elif snapshot is None:
        classes = run_head(model, images, head).head.num_classes
        names = find_class_names(None, classes, dataset=dataset, model=model).names
    return explain_model_image(
        model,
        images,
        space,
        translator,
        class_names=names,
        snapshot=snapshot,
        head=head,
        restore=lambda _: scale.restore(shown),
        **options,
    )
