"""The architectures of timm and torchvision, at the smallest image that they take."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import timm
import torch
import torchvision
from torch import Tensor, nn

from tests.sweep.case import Built, Case, NotBuiltError

BATCH = 4
# Smaller ones shrink to 1 x 1 before the head, where pooling before and after it is the same.
_SIDES = (96, 112, 128, 192)
# Beyond this, a transformer of timm gets two blocks: its head stays the same.
_LARGE = 60_000_000
# Beyond this, a model costs more memory than a machine with tests has to spare.
LARGEST = 700_000_000


def timm_files() -> list[Case]:
    """The smallest model of every module file, without timm's own test models."""
    return [
        Case("timm", file, partial(_smallest, file))
        for file in timm.list_modules()
        if timm.list_models(module=file, exclude_filters="test_*")
    ]


def timm_models(names: Sequence[str], num_classes: int = 10) -> list[Case]:
    """Models by name; a number of classes other than 10 is part of the key."""
    suffix = "" if num_classes == 10 else f"-{num_classes}"
    return [
        Case("timm", f"{name}{suffix}", partial(_timm, name, num_classes=num_classes))
        for name in names
    ]


def torchvision_models() -> list[Case]:
    """Every classifier of torchvision, with its 1000 classes."""
    names = torchvision.models.list_models(module=torchvision.models)
    return [Case("torchvision", name, partial(_torchvision, name)) for name in names]


def random_images(side: int) -> Tensor:
    """Noise in [0, 1], (B, 3, side, side)."""
    generator = torch.Generator().manual_seed(side)
    return torch.rand(BATCH, 3, side, side, generator=generator)


def count(create: Callable[[], nn.Module]) -> int:
    """Number of parameters, without the memory for them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in create().parameters())


def _smallest(file: str) -> Built:
    sizes = {}
    for name in timm.list_models(module=file, exclude_filters="test_*"):
        # A few cannot be built without memory; they are then not the smallest.
        try:
            sizes[name] = count(partial(timm.create_model, name))
        except (RuntimeError, NotImplementedError):
            continue
    if not sizes:
        raise NotBuiltError("no model of this file can be built on the meta device")
    return _timm(min(sizes, key=lambda name: sizes[name]))


def _timm(name: str, num_classes: int = 10) -> Built:
    native = timm.get_pretrained_cfg(name).input_size[-1]
    create = partial(timm.create_model, name, num_classes=num_classes)
    with suppress(TypeError):  # not every architecture takes a depth
        if count(create) > _LARGE and count(partial(create, depth=2)) < _LARGE:
            create = partial(create, depth=2)

    def sized(side: int) -> nn.Module:
        # Most transformers are built for one size of images and take it as an argument.
        try:
            return create(img_size=side) if side != native else create()
        except TypeError:
            return create()

    return _at_smallest_side(name, sized, native)


def _torchvision(name: str) -> Built:
    create = partial(torchvision.models.get_model, name, weights=None)
    native = 299 if name == "inception_v3" else 224

    def sized(side: int) -> nn.Module:
        with warnings.catch_warnings():
            # Of old networks, which say that another initialization will be their default.
            warnings.simplefilter("ignore", FutureWarning)
            try:
                return create(image_size=side) if name.startswith("vit") else create()
            except TypeError:
                return create()

    return _at_smallest_side(name, sized, native)


def _at_smallest_side(name: str, sized: Callable[[int], nn.Module], native: int) -> Built:
    failure: Exception | None = None
    for side in [each for each in _SIDES if each < native] + [native]:
        try:
            size = count(partial(sized, side))
        except Exception:
            size = 0  # not all can be counted
        if size > LARGEST:
            raise NotBuiltError(f"{size / 1e6:.0f} million parameters are too many for a test")
        try:
            torch.manual_seed(0)
            model, images = sized(side).eval(), random_images(side)
            with torch.no_grad():
                model(images[:1])
        # Whatever an architecture raises on images that are too small for it.
        except Exception as error:
            failure = error
            continue
        return Built(name, model, images)
    raise NotBuiltError(f"{type(failure).__name__}: {failure}")
