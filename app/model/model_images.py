"""Pictures as the model of the command line takes them: uploads, and images of its data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from sing_monitor.app.model.checkpoint import LoadedModel, as_value_errors
from sing_monitor.errors import SetupError
from sing_monitor.inputs.batches import unpack_batch
from sing_monitor.inputs.datasets import pretrained_configs
from sing_monitor.inputs.pixels import find_pixel_scale
from sing_monitor.inputs.resolved_inputs import OWN_PICTURES
from sing_monitor.space.fingerprints import fingerprint, to_uint8
from sing_monitor.untrusted import pictures

KINDS = ("png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff")


@dataclass(frozen=True, eq=False)
class ModelInput:
    """One image as a model takes it.

    Args:
        images: what the model takes, (1, c, H, W).
        pixels: the picture that belongs to it, (1, 3, H, W) in [0, 1].
        restore: from the one to the other.
    """

    images: Tensor
    pixels: Tensor
    restore: Callable[[Tensor], Tensor]

    @property
    def image_id(self) -> int:
        """The content fingerprint, as in snapshots."""
        return int(fingerprint(to_uint8(self.pixels)))


def upload_input(loaded: LoadedModel, content: bytes, config: Mapping[str, Any]) -> ModelInput:
    """An uploaded picture as the model takes it.

    Args:
        loaded: the model.
        content: of the file.
        config: of the run, which tells how its images were normalized.

    Raises:
        ValueError: if the file is no picture, or the model's transform is not known or gives
            something else than an image.
    """
    picture = _read(content)
    if loaded.transform is None:
        raise ValueError(
            f"{type(loaded.model).__name__} is no timm model, so the transform of its images is "
            "unknown. Start the app with --transform module:name."
        )
    if str((config.get("pixels") or {}).get("source", "")).startswith(OWN_PICTURES):
        raise ValueError(
            "The run's pictures are not what its model takes (Batch(pictures=...)), so an upload "
            "cannot stand for both. Choose an image of the data set."
        )
    if loaded.is_timm:
        _check_timm(loaded.model, config)
    if _channels(loaded.model) == 1:
        picture = picture.convert("L")
    try:
        image = loaded.transform(picture)
    # Whatever the user's own code raises.
    except Exception as error:
        raise ValueError(
            f"The transform failed on the picture: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(image, Tensor) or image.ndim != 3:
        shape = f" {tuple(image.shape)}" if isinstance(image, Tensor) else ""
        raise ValueError(
            f"The transform gives a {type(image).__name__}{shape}; expected a tensor (c, H, W)."
        )
    return _model_input(image[None], config)


def data_set_input(
    loaded: LoadedModel, index: int, image_id: int, config: Mapping[str, Any]
) -> ModelInput:
    """A probe image as the run validated it, from the data set of the command line.

    Args:
        loaded: the model with its loader.
        index: of the image in the data set.
        image_id: its content fingerprint.
        config: of the run.

    Raises:
        ValueError: if there is no data set, or its image is another one.
    """
    if loaded.loader is None:
        raise ValueError("There is no data set: start the app with --data.")
    with as_value_errors():
        try:
            batch = loaded.loader.collate_fn([loaded.loader.dataset[index]])
        # Whatever the user's own code raises.
        except Exception as error:
            raise ValueError(
                f"The data set has no image {index}: {type(error).__name__}: {error}"
            ) from error
        found = unpack_batch(batch)
        model_input = _model_input(found.images, config, found.pictures)
    if model_input.image_id != image_id:
        raise ValueError(
            f"Image {index} of the data set (--data) is not the one that the run was validated on: "
            "another data set or order, another transform, or random augmentation. Start the app "
            "with the validation data and the transform of the run."
        )
    return model_input


def _read(content: bytes) -> Image.Image:
    try:
        with pictures.opened(BytesIO(content)) as file:
            # Cameras say in the file how they were held.
            return pictures.to_rgb(ImageOps.exif_transpose(file))
    except ValueError as error:
        raise ValueError(
            f"The file cannot be used: {error}. Give one of {', '.join(KINDS)}."
        ) from error


def _model_input(
    images: Tensor, config: Mapping[str, Any], pictures: Tensor | None = None
) -> ModelInput:
    shown = images if pictures is None else pictures
    stored = config.get("pixels")
    stats = (stored["mean"], stored["std"]) if stored else None
    try:
        scale = find_pixel_scale(stats, None, shown, None)
    except SetupError as error:
        normalized = f"mean {stats[0]} and std {stats[1]}" if stats else "statistics not stored"
        raise ValueError(
            f"The model's input was not normalized like the images of the run ({normalized}):"
            f" values from {float(shown.min()):.3g} to {float(shown.max()):.3g}. Start the app "
            "with the transform of the training: --transform module:name."
        ) from error
    return ModelInput(images, scale.restore(shown).cpu(), lambda _: scale.restore(shown))


def _check_timm(model: nn.Module, config: Mapping[str, Any]) -> None:
    """Refuse timm's transform where the run saw images of another one."""
    timm, stored = next(pretrained_configs(model)), config.get("pixels")
    if not stored:
        return
    for key in ("mean", "std"):
        theirs, ours = (torch.tensor(each[key], dtype=torch.float64) for each in (timm, stored))
        if not torch.allclose(theirs, ours, atol=1e-4):
            raise ValueError(
                f"The images of the run were normalized with mean {stored['mean']} and std "
                f"{stored['std']}, and timm's transform of {timm.get('architecture')} does it with "
                f"{timm['mean']} and {timm['std']}. Start the app with the transform of the "
                "training: --transform module:name."
            )


def _channels(model: nn.Module) -> int:
    """Of the images that a model takes, by its first convolution; 3 where it has none."""
    return next((int(each.shape[1]) for each in model.parameters() if each.ndim == 4), 3)
