"""ResolvedInputs: pixels, names and texts of a model and its data, found at the first batch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.head.layer import Head
from sing_monitor.inputs.batches import Batch
from sing_monitor.inputs.class_names import ClassNames, find_class_names
from sing_monitor.inputs.datasets import read_attribute
from sing_monitor.inputs.hierarchies import Given, resolve_hierarchy
from sing_monitor.inputs.labels import check_attribute, check_labels
from sing_monitor.inputs.pixel_scale import PixelScale
from sing_monitor.inputs.pixels import find_pixel_scale
from sing_monitor.inputs.prompts import ANY_IMAGE, Prompts
from sing_monitor.inputs.squashed import SquashedInputs
from sing_monitor.messages import warn
from sing_monitor.space.cache import EmbeddingCache
from sing_monitor.space.semantic_space import SemanticSpace
from sing_monitor.space.text_embeddings import Texts, TextSet, concept_set, prototypes, text_set

TEXT, PROTOTYPE, NONE = "text", "prototype", "none"
OWN_PICTURES = "pictures of the batch"


@dataclass(frozen=True)
class ResolvedInputs:
    """Inputs of the analyses that are found once, at the first validation batch.

    Args:
        head: the classifier head.
        pixels: scale that turns the model's input into pixels again.
        classes: names of the classes.
        class_texts: embeddings of the classes; None where scores refer to class prototypes.
        concepts: embeddings of the vocabulary, or None.
        attributes: name of an annotated attribute -> embeddings of its values.
        has_space: whether there is a semantic space.
        has_groups: whether the batches tell the group of each image.
        hierarchy: ancestors of every class as the user gave them; None where the user gave none.

    Without a semantic space names and pixels serve for reading and looking alone. Where they are
    not sure, classes go by their numbers, and there are no pictures.
    """

    head: Head
    pixels: PixelScale
    classes: ClassNames
    class_texts: TextSet | None
    concepts: TextSet | None
    attributes: Mapping[str, TextSet]
    has_space: bool = True
    has_groups: bool = False
    hierarchy: Mapping[str, tuple[str, ...]] | None = None

    @property
    def reference(self) -> str:
        """``text``, ``prototype`` or, without a space, ``none``: scores of two never compare."""
        if not self.has_space:
            return NONE
        return PROTOTYPE if self.class_texts is None else TEXT

    @property
    def has_pictures(self) -> bool:
        """Whether the pixels of the images are known."""
        return not isinstance(self.pixels, SquashedInputs)

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names; the indices where no names were found."""
        return self.classes.names or tuple(str(i) for i in range(self.head.num_classes))

    def renumbered(self) -> ResolvedInputs:
        """The same where a ``batch_adapter`` gives the labels another order than the batch has.

        Raises:
            SetupError: if names that were found may stand in either order, and are needed.
        """
        if not self.classes.is_found:
            return self
        if not self.has_space and self.hierarchy is None:
            return replace(self, classes=ClassNames(None, "batch_adapter renumbers the labels"))
        raise SetupError(
            "batch_adapter gives the labels another order than they have in the batch, and "
            f"the names from {self.classes.source} may stand in either. Pass ",
            Option("class_names", "[...]"),
            " in the order of the labels that batch_adapter returns.",
        )

    def check(self, batch: Batch) -> None:
        """Make sure that a later batch tells what the first did, without a look at its numbers.

        Raises:
            SetupError: if it has other attributes, or groups where the first had none.
        """
        given = {name: names for name, (_, names) in batch.attributes.items()}
        settled = {name: texts.names for name, texts in self.attributes.items()}
        if given != settled:
            raise SetupError(
                f"this batch carries the attributes {given}, the first one {settled}; every batch "
                "must carry the same, with the same names of values."
            )
        if self.has_groups != (batch.group is not None):
            this, first = ("no group", "some") if self.has_groups else ("a group", "none")
            raise SetupError(
                f"this batch tells {this} for its images, the first one {first}; every validation "
                "batch must tell the group of each image, or none."
            )

    def texts(self, embeddings: Tensor, labels: Tensor) -> Texts:
        """Text embeddings for one validation; prototypes are means over its own images.

        Args:
            embeddings: of the images, (N, n).
            labels: class indices, (N,).
        """
        classes = self.class_texts or prototypes(embeddings, labels, self.class_names)
        return Texts(classes, self.concepts, self.attributes)


def resolve_inputs(
    batch: Batch,
    *,
    head: Head,
    space: SemanticSpace,
    prompts: Prompts,
    pixel_stats: Any = None,
    class_names: Any = None,
    datamodule: object = None,
    dataset: object = None,
    loader: object = None,
    model: nn.Module | None = None,
    text_cache: EmbeddingCache | None = None,
    hierarchy: Given | None = None,
) -> ResolvedInputs:
    """Find pixel scale, class names and text embeddings for a first validation batch.

    Args:
        batch: the first one.
        head: the classifier head.
        space: embeds the prompts.
        prompts: of classes, concepts and attributes.
        pixel_stats: ``(mean, std)`` that the images were normalized with, or None.
        class_names: names given by the user, or None.
        datamodule: may name the classes, and hold transformers' image processor.
        dataset: the validation data set; may name the classes and hold a Normalize.
        loader: the validation loader; may normalize images itself.
        model: may hold a timm config.
        text_cache: the space's cache of texts.
        hierarchy: of the classes, given by the user, or None.

    Raises:
        SetupError: if one of them cannot be found, or contradicts the head.
    """
    check_labels(batch.labels, head.num_classes)
    for name, (values, names) in batch.attributes.items():
        check_attribute(name, values, names)
    unknown = sorted(set(prompts.attributes) - set(batch.attributes))
    if unknown:
        raise SetupError(
            f"attribute_prompts names {', '.join(unknown)}, but the batches carry "
            f"{', '.join(batch.attributes) or 'no attributes'}. Add attributes to the batches: ",
            Option(
                "batch_adapter",
                "lambda batch: Batch(images, labels, attributes={name: (indices, value_names)})",
            ),
            ".",
        )
    pixels_of = partial(
        _pixels_of,
        batch,
        pixel_stats,
        dataset=dataset,
        loader=loader,
        model=model,
        processor=read_attribute(datamodule, "image_processor"),
    )
    names_of = partial(
        find_class_names,
        class_names,
        head.num_classes,
        datamodule=datamodule,
        dataset=dataset,
        model=model,
        are_texts=space.dim > 0,
    )
    pixels = pixels_of() if space.dim else _pixels_to_look_at(pixels_of)
    if pixels.doubt:
        path = save_png(pixels.restore(batch.shown[:1])[0].cpu(), None, "sing_monitor_guess.png")
        warn(f"{pixels.doubt} One image as the space sees it: {path}")
    # A hierarchy of the user's goes by names.
    is_needed = space.dim or class_names is not None or hierarchy is not None
    classes = names_of() if is_needed else _names_to_read(names_of)
    class_texts = None
    if classes.names is not None and space.dim:
        class_texts = text_set(space, classes.names, prompts.classes, text_cache)
    attributes = {
        name: text_set(space, values, prompts.attributes.get(name, ANY_IMAGE), text_cache)
        for name, (_, values) in batch.attributes.items()
    }
    concepts = concept_set(space, prompts.concepts, text_cache) if space.dim else None
    inputs = ResolvedInputs(
        head,
        pixels,
        classes,
        class_texts,
        concepts,
        attributes,
        has_space=space.dim > 0,
        has_groups=batch.group is not None,
    )
    return replace(inputs, hierarchy=resolve_hierarchy(hierarchy, inputs.class_names))


def _pixels_to_look_at(find: Callable[[], PixelScale]) -> PixelScale:
    """The scale where no space needs it: one that is sure, or none."""
    try:
        scale = find()
    except SetupError as error:
        return SquashedInputs(str(error))
    return SquashedInputs(scale.doubt) if scale.doubt else scale


def _names_to_read(find: Callable[[], ClassNames]) -> ClassNames:
    """The names where no text and no hierarchy needs them: those that are sure, or none."""
    try:
        return find()
    except SetupError as error:
        return ClassNames(None, str(error))


def _pixels_of(
    batch: Batch,
    pixel_stats: Any,
    *,
    dataset: object,
    loader: object,
    model: nn.Module | None,
    processor: object,
) -> PixelScale:
    """Pixel scale of the first batch."""
    if batch.pictures is None:
        return find_pixel_scale(
            pixel_stats, dataset, batch.shown, model, loader=loader, processor=processor
        )
    # Data set and model describe the model's input, and not the pictures.
    scale = find_pixel_scale(pixel_stats, None, batch.shown, None)
    return replace(scale, source=f"{OWN_PICTURES}: {scale.source}")


def save_png(image: Tensor, folder: Path | None, name: str) -> Path:
    """Write an image, (c, H, W) in [0, 1], as PNG, and return its path.

    Args:
        image: the pixels.
        folder: where to write; None: the temporary folder.
        name: of the file.
    """
    from torchvision.transforms.v2.functional import to_pil_image

    path = (folder or Path(tempfile.gettempdir())) / name
    to_pil_image(image).save(path)
    return path
