"""SetupReport: how the monitor understood a model and its validation data, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry, Invariance
from sing_monitor.inputs.pixels import format_numbers
from sing_monitor.inputs.prompts import Prompts
from sing_monitor.inputs.resolved_inputs import TEXT, ResolvedInputs, save_png
from sing_monitor.messages import duration
from sing_monitor.space.semantic_space import SemanticSpace
from sing_monitor.translate.cost import MapShape, Shape, in_words, measure_speed


@dataclass(frozen=True)
class SetupReport:
    """Description of a set-up in words, with one image as the semantic space will see it.

    Args:
        text: several lines.
        image: (3, h, w) in [0, 1].
    """

    text: str
    image: Tensor

    def save_image(self, folder: Path | None = None) -> Path:
        """Write the image as PNG, by default into the temporary folder, and return its path."""
        return save_png(self.image, folder, "sing_monitor_check.png")

    def __str__(self) -> str:
        return self.text


def describe_setup(
    inputs: ResolvedInputs,
    *,
    weight: Tensor,
    invariance: Invariance,
    feature_map: str,
    stages: str,
    maps: MapShape | None,
    image: Tensor,
    space: SemanticSpace,
    prompts: Prompts,
    images: int | None,
    own_probe: bool,
    probe_size: int,
    seconds_per_image: float,
    ridge: float | Literal["auto"],
) -> SetupReport:
    """Describe a set-up to the user before any image is analyzed.

    Args:
        inputs: names, pixels and texts of the model and its data.
        weight: of the head, (C, m).
        invariance: what the null space leaves unchanged.
        feature_map: the layer before the head whose maps are kept, or why there is none.
        stages: modules whose features are looked at; empty where none are asked for.
        maps: how many of them, and how large; None where there are none.
        image: one restored image, (3, H, W) in [0, 1].
        space: the semantic space.
        prompts: as the user gave them.
        images: number of images from which the probe is taken; None if unknown.
        own_probe: whether they come from a loader of the user's own.
        probe_size: largest number of images that are scored.
        seconds_per_image: measured cost of one embedding.
        ridge: of the translator.
    """
    geometry = HeadGeometry.from_weight(weight, invariance=invariance)
    names = inputs.class_names
    probe = probe_size if images is None else min(images, probe_size)
    origin = (
        "images of probe=, on which the model runs once more" if own_probe else "validation images"
    )
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    source = "without names" if inputs.classes.names is None else f"from {inputs.classes.source}"
    null = f"{geometry.null_dim} of {geometry.feature_dim} dimensions leave the {invariance} as is"
    if geometry.null_dim == 0:
        null += ": this head sees everything, so AS and IS are 0 by definition"
    classes, feature_dim = weight.shape
    concepts = len(inputs.concepts.names) if inputs.concepts else 0
    shape = Shape(probe, feature_dim, classes, space.dim, concepts, ridge, maps)
    lines = {
        "head": str(inputs.head),
        "map": feature_map,
        "null space": null,
        "space": f"{space.name} ({space.dim} dimensions)",
        "pixels": f"{inputs.pixels.source}; mean {format_numbers(inputs.pixels.mean)}, "
        f"std {format_numbers(inputs.pixels.std)}; {inputs.pixels.effect}",
        "classes": f"{len(names)} {source}: {shown}",
        "prompt": f'"{prompts.class_prompt(names[0])}"'
        if inputs.reference == TEXT
        else "none: scores refer to class prototypes",
        "concepts": str(len(inputs.concepts.names)) if inputs.concepts else "none",
        "attributes": "; ".join(
            f"{name}: {', '.join(texts.names)}" for name, texts in inputs.attributes.items()
        )
        or "none",
        "probe": f"at most {probe:,} {origin}; the loader does not tell how many there are"
        if images is None
        else f"{probe:,} of {images:,} {origin}",
        "groups": "each image's, as the batches tell it; halves of the probe go by them"
        if inputs.has_groups
        else "none: each image stands for itself",
        "embedding": f"at most {duration(probe * seconds_per_image)}, once; none for cached images",
        "analysis": in_words(shape, measure_speed()),
    }
    if stages:
        lines["stages"] = stages
    if not inputs.has_space:
        lines["space"] = "none: only what needs no embeddings is measured"
        if not inputs.has_pictures:
            lines["pixels"] = f"not known, so there are no pictures: {inputs.pixels.source}"
        for key in ("prompt", "concepts", "attributes", "embedding"):
            del lines[key]
    width = max(map(len, lines))
    text = "\n".join(f"  {key:<{width}}  {value}" for key, value in lines.items())
    seen = space.crop(image[None])[0] if hasattr(space, "crop") else image
    return SetupReport(f"this set-up will be used\n{text}", seen.detach().float().cpu())
