"""What the monitor understood of a model and its validation data, and how it says so."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.head.geometry import HeadGeometry, Invariance
from sing_monitor.head.layer import Head
from sing_monitor.inputs.batches import Batch, check_attribute, check_labels
from sing_monitor.inputs.class_names import ClassNames, find_class_names
from sing_monitor.inputs.pixel_scale import PixelScale
from sing_monitor.inputs.pixels import find_pixel_scale, short
from sing_monitor.inputs.plain_values import plain
from sing_monitor.monitor.cost import Shape, duration, in_words, measure_speed
from sing_monitor.space.cache import EmbeddingCache
from sing_monitor.space.semantic_space import SemanticSpace
from sing_monitor.space.texts import Texts, TextSet, concept_set, prototypes, text_set

TEXT, PROTOTYPE = "text", "prototype"
ANY_IMAGE = "an image of {}"
OWN_PICTURES = "pictures of the batch"


@dataclass(frozen=True)
class Prompts:
    """The texts that scores refer to.

    Args:
        classes: one template or several, each with ``{}`` for the class name.
        concepts: the vocabulary: words, or prompts by name; None for the default one.
        attributes: a template for each annotated attribute.
    """

    classes: str | Sequence[str]
    concepts: Mapping[str, str | Sequence[str]] | Sequence[str] | None
    attributes: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in ("classes", "concepts", "attributes"):
            object.__setattr__(self, name, plain(getattr(self, name)))

    def class_prompt(self, name: str) -> str:
        """The first prompt of a class, as an example."""
        template = self.classes if isinstance(self.classes, str) else self.classes[0]
        return template.replace("{}", name)


@dataclass(frozen=True)
class MonitorSetup:
    """Everything that is settled once, at the first validation batch.

    Args:
        head: the classifier head.
        pixels: how the model's input becomes pixels again.
        classes: names of the classes.
        class_texts: their embeddings; None where scores refer to class prototypes.
        concepts: embeddings of the vocabulary, or None.
        attributes: embeddings of the values of each annotated attribute.
    """

    head: Head
    pixels: PixelScale
    classes: ClassNames
    class_texts: TextSet | None
    concepts: TextSet | None
    attributes: Mapping[str, TextSet]

    @property
    def reference(self) -> str:
        """``text`` or ``prototype``: scores of the two are never comparable."""
        return PROTOTYPE if self.class_texts is None else TEXT

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names; the indices where no names were found."""
        return self.classes.names or tuple(str(i) for i in range(self.head.num_classes))

    def texts(self, embeddings: Tensor, labels: Tensor) -> Texts:
        """The texts of one validation; prototypes are means of its own images."""
        classes = self.class_texts or prototypes(embeddings, labels, self.class_names)
        return Texts(classes, self.concepts, self.attributes)


def settle(
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
) -> MonitorSetup:
    """Settle what the first validation batch tells about pixels, classes and attributes.

    Raises:
        SetupError: where an answer is missing or contradicts the head.
    """
    check_labels(batch.labels, head.num_classes)
    for name, (values, names) in batch.attributes.items():
        check_attribute(name, values, names)
    unknown = sorted(set(prompts.attributes) - set(batch.attributes))
    if unknown:
        raise SetupError(
            f"attribute_prompts names {', '.join(unknown)}, but the batches carry "
            f"{', '.join(batch.attributes) or 'no attributes'}. Hand attributes over: ",
            Option(
                "batch_adapter",
                "lambda batch: Batch(images, labels, attributes={name: (indices, value_names)})",
            ),
            ".",
        )
    pixels = _pixels_of(batch, pixel_stats, dataset=dataset, loader=loader, model=model)
    classes = find_class_names(
        class_names, head.num_classes, datamodule=datamodule, dataset=dataset, model=model
    )
    class_texts = None
    if classes.names is not None:
        class_texts = text_set(space, classes.names, prompts.classes, text_cache)
    attributes = {
        name: text_set(space, values, prompts.attributes.get(name, ANY_IMAGE), text_cache)
        for name, (_, values) in batch.attributes.items()
    }
    concepts = concept_set(space, prompts.concepts, text_cache)
    return MonitorSetup(head, pixels, classes, class_texts, concepts, attributes)


def _pixels_of(
    batch: Batch, pixel_stats: Any, *, dataset: object, loader: object, model: nn.Module | None
) -> PixelScale:
    """How the first batch becomes pixels; says so where that is not sure, with a picture."""
    if batch.pictures is None:
        scale = find_pixel_scale(pixel_stats, dataset, batch.shown, model, loader=loader)
    else:
        # What the data set and the model say is about the model's input, and not about these.
        scale = find_pixel_scale(pixel_stats, None, batch.shown, None)
        scale = replace(scale, source=f"{OWN_PICTURES}: {scale.source}")
    if scale.doubt:
        path = _save(scale.restore(batch.shown[:1])[0].cpu(), None, "sing_monitor_guess.png")
        rank_zero_warn(f"{scale.doubt} One image as the space sees it: {path}")
    return scale


def _save(image: Tensor, folder: Path | None, name: str) -> Path:
    from torchvision.transforms.v2.functional import to_pil_image

    path = (folder or Path(tempfile.gettempdir())) / name
    to_pil_image(image).save(path)
    return path


@dataclass(frozen=True)
class SetupReport:
    """What would be used, in words, and one image as the semantic space will see it.

    Args:
        text: several lines.
        image: (3, h, w) in [0, 1].
    """

    text: str
    image: Tensor

    def save_image(self, folder: Path | None = None) -> Path:
        """Write the image as PNG, by default into the temporary folder, and return its path."""
        return _save(self.image, folder, "sing_monitor_check.png")

    def __str__(self) -> str:
        return self.text


def report(
    setup: MonitorSetup,
    *,
    weight: Tensor,
    invariance: Invariance,
    image: Tensor,
    space: SemanticSpace,
    prompts: Prompts,
    images: int | None,
    own_probe: bool,
    probe_size: int,
    seconds_per_image: float,
    ridge: float | Literal["auto"],
) -> SetupReport:
    """Describe a settled set-up.

    Args:
        setup: what was settled.
        weight: of the head, (C, m).
        invariance: what the null space leaves unchanged.
        image: one restored image, (3, H, W) in [0, 1].
        space: the semantic space.
        prompts: the texts that were asked for.
        images: number of images that the probe is taken from; None where it is not known.
        own_probe: whether they come from a loader of the user's own.
        probe_size: the most that are scored.
        seconds_per_image: measured cost of one embedding.
        ridge: of the translator.
    """
    geometry = HeadGeometry.from_weight(weight, invariance=invariance)
    names = setup.class_names
    probe = probe_size if images is None else min(images, probe_size)
    origin = (
        "images of probe=, on which the model runs once more" if own_probe else "validation images"
    )
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    source = "without names" if setup.classes.names is None else f"from {setup.classes.source}"
    null = f"{geometry.null_dim} of {geometry.feature_dim} dimensions leave the {invariance} as is"
    if geometry.null_dim == 0:
        null += ": this head sees everything, so AS and IS are 0 by definition"
    classes, feature_dim = weight.shape
    concepts = len(setup.concepts.names) if setup.concepts else 0
    shape = Shape(probe, feature_dim, classes, space.dim, concepts, ridge)
    lines = {
        "head": str(setup.head),
        "null space": null,
        "space": f"{space.name} ({space.dim} dimensions)",
        "pixels": f"{setup.pixels.source}; mean {short(setup.pixels.mean)}, "
        f"std {short(setup.pixels.std)}; {setup.pixels.effect}",
        "classes": f"{len(names)} {source}: {shown}",
        "prompt": f'"{prompts.class_prompt(names[0])}"'
        if setup.reference == TEXT
        else "none: scores refer to class prototypes",
        "concepts": str(len(setup.concepts.names)) if setup.concepts else "none",
        "attributes": "; ".join(
            f"{name}: {', '.join(texts.names)}" for name, texts in setup.attributes.items()
        )
        or "none",
        "probe": f"at most {probe:,} {origin}; the loader does not tell how many there are"
        if images is None
        else f"{probe:,} of {images:,} {origin}",
        "embedding": f"at most {duration(probe * seconds_per_image)}, once; none for cached images",
        "analysis": in_words(shape, measure_speed()),
    }
    width = max(map(len, lines))
    text = "\n".join(f"  {key:<{width}}  {value}" for key, value in lines.items())
    seen = space.crop(image[None])[0] if hasattr(space, "crop") else image
    return SetupReport(f"SINGCallback will use\n{text}", seen.detach().float().cpu())
