"""Pictures before the model of the command line: explained, and mapped. Worked out once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray
from torch import Tensor

from sing_monitor.analyses.focus.analysis import map_center
from sing_monitor.analyses.focus.locations import located
from sing_monitor.app.charts.structure.focus_rows import ImageFocus
from sing_monitor.app.model import checkpoint, model_images
from sing_monitor.app.model.checkpoint import LoadedModel
from sing_monitor.app.model.model_images import ModelInput
from sing_monitor.app.read import snapshot_images
from sing_monitor.app.read.snapshot_images import FittedSnapshot
from sing_monitor.app.read.sources import RunSource
from sing_monitor.app.wording.removals import Removal
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
class ExplainedUpload:
    """An uploaded picture and what its run makes of it.

    Args:
        explanation: of the picture.
        picture: as the model sees it, (H, W, 3) uint8.
        target: index of the class that AS refers to.
        is_of_snapshot: whether the model's head is that of the run's snapshot.
        outside: whether the equivalents are out of support, by removal; a removal may be missing.
    """

    explanation: Explanation
    picture: NDArray[np.uint8]
    target: int
    is_of_snapshot: bool
    outside: Mapping[Removal, bool]


@dataclass(frozen=True, eq=False)
class MappedImage:
    """An image and the maps of it.

    Args:
        picture: as the model sees it, (H, W, 3) uint8.
        maps: each (1, h, w).
        focus: where its features stand, about the center that the run's own maps have.
    """

    picture: NDArray[np.uint8]
    maps: AttributeMaps
    focus: ImageFocus


@st.cache_resource(ttl="1h", max_entries=16, show_spinner="Explaining the picture …")
def explain_upload(
    source: RunSource, model: ModelSource, content: bytes, label: int | None
) -> ExplainedUpload:
    """Explain a picture that the run never saw.

    Args:
        source: the run.
        model: of the command line.
        content: of the picture's file.
        label: the class that AS refers to; None: the predicted one.

    Raises:
        ValueError: if the picture, the model or the run cannot be used; the sentence says why.
    """
    loaded, fitted = checkpoint.load(model), snapshot_images.read(source)
    model_input = model_images.upload_input(loaded, content, fitted.config)
    weight = _head_weight(loaded, fitted)
    if loaded.space is not None:
        check_space(fitted.config, loaded.space)
    elif fitted.snapshot.texts is None:
        raise ValueError(
            "The run stores no embeddings of its texts (an older version wrote it), and no "
            "semantic space is at hand. Start the app with --space, the space of the run: "
            f"{fitted.config.get('space', 'unknown')}."
        )
    # Without texts of its own the snapshot is of an older version; the config has the prompts.
    is_old = fitted.snapshot.texts is None
    with loaded.lock, checkpoint.as_value_errors():
        found = explain_model_image(
            loaded.model,
            model_input.images,
            loaded.space,
            fitted.translator_of(model_input.image_id),
            snapshot=fitted.snapshot,
            label=label,
            prompt=fitted.config.get("prompt") if is_old else None,
            concepts=fitted.config.get("concept_prompts") if is_old else None,
            head=checkpoint.head_name(loaded.model, fitted.config),
            restore=model_input.restore,
        )
    target = int(found.logits.argmax()) if label is None else label
    shifts: dict[Removal, Shift | None] = {"raw": found.removed, "centered": found.centered}
    outside = {
        removal: fitted.is_outside(shift.embedding, model_input.image_id)
        for removal, shift in shifts.items()
        if shift is not None
    }
    return ExplainedUpload(found, _picture(model_input), target, _is_same(weight, fitted), outside)


@st.cache_resource(ttl="1h", max_entries=64, show_spinner="Looking at the image …")
def upload_maps(
    source: RunSource, model: ModelSource, content: bytes, target: int, removal: Removal
) -> MappedImage:
    """Maps of a picture that the run never saw; AS toward the class ``target``.

    Raises:
        NotAveragedError: if the model's head reads no globally averaged map.
        ValueError: as `explain_upload`.
    """
    loaded, fitted = checkpoint.load(model), snapshot_images.read(source)
    model_input = model_images.upload_input(loaded, content, fitted.config)
    return _mapped(
        loaded, fitted, model_input, fitted.translator_of(model_input.image_id), target, removal
    )


@st.cache_resource(ttl="1h", max_entries=64, show_spinner="Looking at the image …")
def probe_maps(source: RunSource, model: ModelSource, image: str, removal: Removal) -> MappedImage:
    """Maps of a probe image, whose pixels the data set of the command line has; AS as in the table.

    Raises:
        NotAveragedError: if the model's head reads no globally averaged map.
        ValueError: if the model or the data set is not that of the run, or as
            `snapshot_images.read`.
    """
    loaded, fitted = checkpoint.load(model), snapshot_images.read(source)
    snapshot = fitted.snapshot
    model_input = _probe_image(loaded, fitted, image)
    if not _is_same(_head_weight(loaded, fitted), fitted):
        raise ValueError(
            f"The checkpoint's head is not that of the run's snapshot: give the checkpoint of "
            f"epoch {snapshot.epoch}, step {snapshot.step}."
        )
    target = int(snapshot.labels[fitted.ids.index(image)])
    return _mapped(
        loaded, fitted, model_input, fitted.translator_of(model_input.image_id), target, removal
    )


def pictures(
    source: RunSource, model: ModelSource | None, ids: Iterable[str]
) -> dict[str, NDArray[np.uint8]]:
    """Pictures of probe images that the run does not store, as far as the data set has them."""
    if model is None or model.data is None:
        return {}
    found = {image: _probe_picture(source, model, image) for image in ids}
    return {image: picture for image, picture in found.items() if picture is not None}


@st.cache_resource(ttl="1h", max_entries=1024, show_spinner=False)
def _probe_picture(source: RunSource, model: ModelSource, image: str) -> NDArray[np.uint8] | None:
    """None where they cannot be had: the page can do without, and the maps say why."""
    try:
        loaded, fitted = checkpoint.load(model), snapshot_images.read(source)
        return _picture(_probe_image(loaded, fitted, image))
    except (NotFoundError, StoreError, ValueError):
        return None


def _probe_image(loaded: LoadedModel, fitted: FittedSnapshot, image: str) -> ModelInput:
    snapshot = fitted.snapshot
    if image not in fitted.ids:
        raise ValueError(
            f"The snapshot of epoch {snapshot.epoch} does not hold the image. Choose another."
        )
    row = fitted.ids.index(image)
    index = -1 if snapshot.sample_index is None else int(snapshot.sample_index[row])
    if snapshot.image_ids is None or index < 0:
        raise ValueError(
            "The pixels of the image cannot be found: the run does not know where in the data set "
            "its images are, since its validation loader does not go through it in order."
        )
    image_id = int(snapshot.image_ids[row])
    return model_images.data_set_input(loaded, index, image_id, fitted.config)


def _mapped(
    loaded: LoadedModel,
    fitted: FittedSnapshot,
    model_input: ModelInput,
    translator: LinearTranslator,
    target: int,
    removal: Removal,
) -> MappedImage:
    snapshot = fitted.snapshot
    if snapshot.texts is None:
        raise ValueError(
            "The run stores no embeddings of its texts: an older version of sing-monitor wrote it. "
            "Train again to see maps."
        )
    weight = _head_weight(loaded, fitted)
    with loaded.lock, checkpoint.as_value_errors():
        head = checkpoint.head_name(loaded.model, fitted.config)
        feature_maps = find_feature_maps(loaded.model, model_input.images, head)
        geometry = HeadGeometry.from_weight(weight, invariance=snapshot.invariance)
        maps = attribute_maps(
            feature_maps,
            geometry,
            translator,
            snapshot.texts.classes.embeddings[target],
            center=snapshot.center if removal == "centered" else None,
        )
    # The center of older runs, which store no maps, is the mean of more images.
    center = snapshot.center if snapshot.maps is None else map_center(snapshot.maps.values)
    away = feature_maps.double() - center.double()[:, None, None]
    return MappedImage(_picture(model_input), maps, ImageFocus.of(located(away, geometry)))


def _head_weight(loaded: LoadedModel, fitted: FittedSnapshot) -> Tensor:
    """The head of the model, if it can be that of the run.

    Raises:
        ValueError: if it is of another shape; the sentence has both.
    """
    with checkpoint.as_value_errors():
        head = find_head(loaded.model, checkpoint.head_name(loaded.model, fitted.config))
        weight = head_parameters(head.module)[0].detach().cpu()
    ours, theirs = tuple(fitted.snapshot.weight.shape), tuple(weight.shape)
    if ours != theirs:
        raise ValueError(
            f"The model's head {head.name!r} is {theirs} (classes, features), that of the run "
            f"{ours}: start the app with the model of this run, or choose another run."
        )
    return weight


def _is_same(weight: Tensor, fitted: FittedSnapshot) -> bool:
    return torch.equal(weight.double(), fitted.snapshot.weight.double())


def _picture(model_input: ModelInput) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = (
        (255 * model_input.pixels[0]).round().byte().permute(1, 2, 0).numpy()
    )
    return pixels
