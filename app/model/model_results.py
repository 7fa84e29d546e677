"""Pictures before the model of the command line: explained, and mapped. Worked out once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray
from torch import Tensor

from sing_monitor.app.charts.images import Pair
from sing_monitor.app.model import checkpoint, model_images
from sing_monitor.app.model.checkpoint import GivenModel
from sing_monitor.app.model.model_images import SeenImage
from sing_monitor.app.read import snapshot_images, store
from sing_monitor.app.read.snapshot_images import Stored
from sing_monitor.commands.app_options import ModelSource
from sing_monitor.explain.feature_explanation import Explanation, Shift
from sing_monitor.explain.maps import AttributeMaps, attribute_maps, find_feature_maps
from sing_monitor.explain.model_image import explain_model_image
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.head.layer import head_parameters
from sing_monitor.head.search import find_head
from sing_monitor.offline.add_concepts import check_space
from sing_monitor.tracking import NotFoundError, StoreError
from sing_monitor.translate.translator import LinearTranslator


@dataclass(frozen=True, eq=False)
class Upload:
    """An uploaded picture and what its run makes of it.

    Args:
        explanation: of the picture.
        picture: as the model sees it, (H, W, 3) uint8.
        target: index of the class that AS refers to.
        is_of_snapshot: whether the model's head is that of the run's snapshot.
        outside: whether the equivalents are out of support, by pair; a pair may be missing.
    """

    explanation: Explanation
    picture: NDArray[np.uint8]
    target: int
    is_of_snapshot: bool
    outside: Mapping[Pair, bool]


@dataclass(frozen=True, eq=False)
class MappedImage:
    """An image and the maps of it.

    Args:
        picture: as the model sees it, (H, W, 3) uint8.
        maps: each (1, h, w).
    """

    picture: NDArray[np.uint8]
    maps: AttributeMaps


@st.cache_resource(ttl="1h", max_entries=16, show_spinner="Explaining the picture …")
def upload(source: store.Source, model: ModelSource, content: bytes, label: int | None) -> Upload:
    """Explain a picture that the run never saw.

    Args:
        source: the run.
        model: of the command line.
        content: of the picture's file.
        label: the class that AS refers to; None: the predicted one.

    Raises:
        ValueError: if the picture, the model or the run cannot be used; the sentence says why.
    """
    given, kept = checkpoint.load(model), snapshot_images.read(source)
    seen = model_images.uploaded(given, content, kept.config)
    weight = _head_weight(given, kept)
    if given.space is not None:
        check_space(kept.config, given.space)
    elif kept.snapshot.texts is None:
        raise ValueError(
            "The run stores no embeddings of its texts (an older version wrote it), and no "
            "semantic space is at hand. Start the app with --space, the space of the run: "
            f"{kept.config.get('space', 'unknown')}."
        )
    # Without texts of its own the snapshot is of an older version; the config has the prompts.
    is_old = kept.snapshot.texts is None
    with given.lock, checkpoint.as_value_errors():
        found = explain_model_image(
            given.model,
            seen.images,
            given.space,
            kept.translator_of(seen.image_id),
            snapshot=kept.snapshot,
            label=label,
            prompt=kept.config.get("prompt") if is_old else None,
            concepts=kept.config.get("concept_prompts") if is_old else None,
            head=checkpoint.head_name(given.model, kept.config),
            restore=seen.restore,
        )
    target = int(found.logits.argmax()) if label is None else label
    shifts: dict[Pair, Shift | None] = {"raw": found.removed, "centered": found.centered}
    outside = {
        pair: kept.is_outside(shift.embedding, seen.image_id)
        for pair, shift in shifts.items()
        if shift is not None
    }
    return Upload(found, _picture(seen), target, _is_same(weight, kept), outside)


@st.cache_resource(ttl="1h", max_entries=64, show_spinner="Looking at the image …")
def maps_of_upload(
    source: store.Source, model: ModelSource, content: bytes, target: int, pair: Pair
) -> MappedImage:
    """Maps of a picture that the run never saw; AS toward the class ``target``.

    Raises:
        NotAveragedError: if the model's head reads no globally averaged map.
        ValueError: as `upload`.
    """
    given, kept = checkpoint.load(model), snapshot_images.read(source)
    seen = model_images.uploaded(given, content, kept.config)
    return _mapped(given, kept, seen, kept.translator_of(seen.image_id), target, pair)


@st.cache_resource(ttl="1h", max_entries=64, show_spinner="Looking at the image …")
def maps_of_probe(source: store.Source, model: ModelSource, image: str, pair: Pair) -> MappedImage:
    """Maps of a probe image, whose pixels the data set of the command line has; AS as in the table.

    Raises:
        NotAveragedError: if the model's head reads no globally averaged map.
        ValueError: if the model or the data set is not that of the run, or as `stored.read`.
    """
    given, kept = checkpoint.load(model), snapshot_images.read(source)
    snapshot = kept.snapshot
    seen = _probe_image(given, kept, image)
    if not _is_same(_head_weight(given, kept), kept):
        raise ValueError(
            f"The checkpoint's head is not that of the run's snapshot: give the checkpoint of "
            f"epoch {snapshot.epoch}, step {snapshot.step}."
        )
    target = int(snapshot.labels[kept.ids.index(image)])
    return _mapped(given, kept, seen, kept.translator_of(seen.image_id), target, pair)


def pictures(
    source: store.Source, model: ModelSource | None, ids: Iterable[str]
) -> dict[str, NDArray[np.uint8]]:
    """Pictures of probe images that the run does not store, as far as the data set has them."""
    if model is None or model.data is None:
        return {}
    found = {image: _probe_picture(source, model, image) for image in ids}
    return {image: picture for image, picture in found.items() if picture is not None}


@st.cache_resource(ttl="1h", max_entries=1024, show_spinner=False)
def _probe_picture(
    source: store.Source, model: ModelSource, image: str
) -> NDArray[np.uint8] | None:
    """None where they cannot be had: the page can do without, and the maps say why."""
    try:
        given, kept = checkpoint.load(model), snapshot_images.read(source)
        return _picture(_probe_image(given, kept, image))
    except (NotFoundError, StoreError, ValueError):
        return None


def _probe_image(given: GivenModel, kept: Stored, image: str) -> SeenImage:
    snapshot = kept.snapshot
    if image not in kept.ids:
        raise ValueError(f"The snapshot of epoch {snapshot.epoch} does not hold the image.")
    row = kept.ids.index(image)
    index = -1 if snapshot.sample_index is None else int(snapshot.sample_index[row])
    if snapshot.image_ids is None or index < 0:
        raise ValueError(
            "The run does not know where in the data set its images are: the validation loader "
            "does not go through it in order."
        )
    image_id = int(snapshot.image_ids[row])
    return model_images.of_data(given, index, image_id, kept.config)


def _mapped(
    given: GivenModel,
    kept: Stored,
    seen: SeenImage,
    translator: LinearTranslator,
    target: int,
    pair: Pair,
) -> MappedImage:
    snapshot = kept.snapshot
    if snapshot.texts is None:
        raise ValueError(
            "The run stores no embeddings of its texts: an older version of sing-monitor wrote it."
        )
    weight = _head_weight(given, kept)
    with given.lock, checkpoint.as_value_errors():
        head = checkpoint.head_name(given.model, kept.config)
        feature_maps = find_feature_maps(given.model, seen.images, head)
        maps = attribute_maps(
            feature_maps,
            HeadGeometry.from_weight(weight, invariance=snapshot.invariance),
            translator,
            snapshot.texts.classes.embeddings[target],
            center=snapshot.center if pair == "centered" else None,
        )
    return MappedImage(_picture(seen), maps)


def _head_weight(given: GivenModel, kept: Stored) -> Tensor:
    """The head of the model, if it can be that of the run.

    Raises:
        ValueError: if it is of another shape; the sentence has both.
    """
    with checkpoint.as_value_errors():
        head = find_head(given.model, checkpoint.head_name(given.model, kept.config))
        weight = head_parameters(head.module)[0].detach().cpu()
    ours, theirs = tuple(kept.snapshot.weight.shape), tuple(weight.shape)
    if ours != theirs:
        raise ValueError(
            f"The model's head {head.name!r} is {theirs} (classes, features), that of the run "
            f"{ours}: start the app with the model of this run, or choose another run."
        )
    return weight


def _is_same(weight: Tensor, kept: Stored) -> bool:
    return torch.equal(weight.double(), kept.snapshot.weight.double())


def _picture(seen: SeenImage) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = (255 * seen.pixels[0]).round().byte().permute(1, 2, 0).numpy()
    return pixels
