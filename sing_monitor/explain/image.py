"""One image, with pixels and class names found as SINGCallback finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from sing_monitor.explain.explanation import Explanation, explain
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
    """Explain one image; pixels and class names are found as :class:`SINGCallback` finds them.

    Args:
        model: a LightningModule, or any module that maps images to logits.
        image: what the model takes, (c, H, W) or (1, c, H, W); of other inputs a batch of one.
        space: embeds texts and the image; None: the snapshot's texts are used.
        translator: of the model's features; None: fitted on the snapshot.
        dataset: the image's data set, whose Normalize and class names are looked up.
        pixel_stats: ``(mean, std)`` that the image was normalised with, or the picture.
        picture: what the space sees where ``image`` is no picture, (1 or 3, h, w) or with a leading
            axis of 1.
        class_names: C names, or a mapping name -> index; by default those of the snapshot, of the
            data set or of the model.
        snapshot: of the same model: for the translator, the center and the neighbours.
        head: dotted name of the head; found by itself in most models.
        options: as :func:`sing_monitor.explain.explanation.explain`.

    Raises:
        SetupError: if no source says how the image was normalised.
        ValueError: as :func:`sing_monitor.explain.explanation.explain`.
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
    return explain(
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
