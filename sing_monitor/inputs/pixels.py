"""Pixels back in [0, 1]: how the images that the model sees were normalised, and how to undo it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.batches import pretrained_configs
from sing_monitor.inputs.normalization import Stats, dataset_stats, loader_stats
from sing_monitor.inputs.pixel_scale import (
    IMAGENET,
    PixelScale,
    fills,
    in_unit_range,
    inside,
    is_flat,
    parse_stats,
    value_range,
)

_TIMM = "timm's default_cfg"
_AS_THEY_ARE = PixelScale((0.0,), (1.0,), "values already in [0, 1]")
# Of a batch after the first, this share; beyond it, it is normalised in another way.
_OUTLIERS_LATER = 0.05
# Less than one of 256 levels.
_LEVEL = 0.9 / 255
_USUAL: dict[str, Stats] = {
    "images scaled to [-1, 1]": (0.5, 0.5),
    "ImageNet": IMAGENET,
    "CLIP": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "MNIST": ((0.1307,), (0.3081,)),
}


def find_pixel_scale(
    pixel_stats: Any,
    dataset: object,
    images: Tensor,
    model: nn.Module | None,
    *,
    loader: object = None,
) -> PixelScale:
    """Find how the validation images were normalised.

    The first that gives an answer: uint8 images; ``pixel_stats``; the statistics of a loader that
    normalises itself (timm's PrefetchLoader); a Normalize in the transforms of the data set; values
    seen to lie in [0, 1]. Without any, the model's timm config is a guess. It is taken, with a
    doubt, where it alone brings every channel to the whole of [0, 1]; else nothing is.

    Statistics with a mean or a std above 1 count in 0..255 and are divided by 255.

    Args:
        pixel_stats: None, or ``(mean, std)``, each a number or one for each channel. ``(0, 1)``
            says that nothing was normalised.
        dataset: the validation data set, wrapped or not, or None.
        images: the first batch, (B, c, H, W).
        model: the LightningModule or any module, or None.
        loader: the validation loader, or None.

    Raises:
        SetupError: if no source fits the pixels seen, two sources differ, the parts of a data set
            are normalised differently, or the batch is empty or not finite.

    Example:
        >>> find_pixel_scale(None, None, torch.rand(2, 3, 8, 8), None).source
        'values already in [0, 1]'
    """
    if images.numel() == 0 or not bool(torch.isfinite(images).all()):
        raise SetupError(
            "The first validation batch is empty or holds NaN or infinite pixels "
            f"(shape {tuple(images.shape)}), so its scale cannot be found. Mend the data set."
        )
    scale = _find(pixel_stats, dataset, images, model, loader)
    low, high, dark, bright = (*value_range(images), *value_range(scale.undo(images)))
    effect = f"values from {low:.3g} to {high:.3g} become pixels from {dark:.2f} to {bright:.2f}"
    return replace(scale, effect=effect)


def refuse_other_scale(scale: PixelScale, images: Tensor) -> None:
    """Refuse a later batch that the scale of the first does not bring to [0, 1]. Waits.

    Args:
        scale: of the first batch.
        images: (B, c, H, W).

    Raises:
        SetupError: if more than a twentieth of the pixels lie outside.
    """
    if images.dtype == torch.uint8 or inside(scale, images, _OUTLIERS_LATER):
        return
    raise SetupError(
        f"A later batch is of another scale than the first ({scale.source}; {scale}): "
        f"{_ranges(images)}, and, undone, {_ranges(scale.undo(images))}, outside [0, 1]. Normalise "
        "all validation images alike, or hand over pixels in [0, 1] beside the images: ",
        Option("batch_adapter", "lambda batch: Batch(images=..., labels=..., pictures=...)"),
        ".",
    )


def _find(
    pixel_stats: Any, dataset: object, images: Tensor, model: nn.Module | None, loader: object
) -> PixelScale:
    if images.dtype == torch.uint8:
        return PixelScale((0.0,), (1.0,), "uint8")
    if pixel_stats is not None:
        return _fitting(parse_stats(pixel_stats, images, "pixel_stats"), images)
    source = "statistics of the loader itself"
    found = [parse_stats(stats, images, source) for stats in loader_stats(loader)]
    if not found:
        parse = partial(parse_stats, images=images, source="Normalize in the validation transforms")
        found = dataset_stats(dataset, parse)
    if found:
        return _doubted(_fitting(_only_one(found, images), images), images)
    if in_unit_range(images):
        return _AS_THEY_ARE
    return _guess(model, images)


def _guess(model: nn.Module | None, images: Tensor) -> PixelScale:
    """The model's own statistics, where what is seen speaks for them and for no others."""
    of_model = list(dict.fromkeys(_timm_scales(model, images)))
    likely = [*of_model, *(parse_stats(stats, images, name) for name, stats in _usual(images))]
    exact = {(each.mean, each.std): each for each in reversed(likely) if fills(each, images)}
    guess = next(iter(exact.values()), None)
    if guess is not None and len(exact) == 1 and guess in of_model:
        doubt = (
            "Nothing in the validation data says how the images were normalised. That it was with "
            f"the statistics of {_TIMM} (mean {short(guess.mean)}, std {short(guess.std)}) is a "
            "guess, because these alone bring the first batch to the whole of [0, 1]. If the "
            "picture looks wrong, pass pixel_stats=(mean, std)."
        )
        return replace(guess, source=f"a guess: {guess.source}", doubt=doubt)
    raise SetupError(
        f"The scale of the pixels is unknown: {_ranges(images)}, and nothing says how they were "
        "normalised: no Normalize was found in the validation data set's transforms, the loader "
        "has no statistics of its own, and a model's timm config is no proof. ",
        *_advice(images, likely),
    )


def _doubted(scale: PixelScale, images: Tensor) -> PixelScale:
    """The same, with a doubt where the images look as if nothing had been normalised."""
    if not in_unit_range(images) or bool(((scale.undo(images) - images).abs() < 0.02).all()):
        return scale
    doubt = (
        f"The images are undone with mean {short(scale.mean)} and std {short(scale.std)} (source: "
        f"{scale.source}), and yet all values lie in [0, 1], as if nothing had been normalised. If "
        "the picture looks washed out, pass pixel_stats=(0, 1)."
    )
    return replace(scale, doubt=doubt)


def _timm_scales(model: nn.Module | None, images: Tensor) -> Iterator[PixelScale]:
    for config in pretrained_configs(model):
        stats = config.get("mean"), config.get("std")
        # A grey-scale model keeps its three-channel statistics; they say nothing about one channel.
        if all(isinstance(s, (tuple, list)) and len(s) in (1, images.shape[1]) for s in stats):
            yield parse_stats(stats, images, _TIMM)


def _usual(images: Tensor) -> list[tuple[str, Stats]]:
    """The usual statistics for as many channels, by name."""
    return [
        (name, stats)
        for name, stats in _USUAL.items()
        if not isinstance(stats[0], tuple) or len(stats[0]) == images.shape[1]
    ]


def _only_one(scales: Sequence[PixelScale], images: Tensor) -> PixelScale:
    distinct = list(dict.fromkeys(scales))
    if len(distinct) > 1:
        stats = " and ".join(map(str, distinct))
        raise SetupError(
            f"{distinct[0].source}: different statistics were found: {stats}. Say which hold for "
            "the validation images. ",
            *_advice(images, distinct),
        )
    return distinct[0]


def _fitting(scale: PixelScale, images: Tensor) -> PixelScale:
    is_lost = is_flat(scale, images, _LEVEL) and not is_flat(_AS_THEY_ARE, images, _LEVEL)
    if inside(scale, images) and not is_lost:
        return scale
    fault = "with no contrast left" if is_lost else "outside [0, 1]"
    raise SetupError(
        f"{scale.source} (mean {scale.mean}, std {scale.std}) does not fit the images: "
        f"{_ranges(images)}, and, undone, {_ranges(scale.undo(images))}, {fault}. ",
        *_advice(images, [parse_stats(stats, images, name) for name, stats in _usual(images)]),
    )


def _ranges(images: Tensor) -> str:
    ranges = zip(images.amin(dim=(0, 2, 3)), images.amax(dim=(0, 2, 3)), strict=True)
    parts = [f"channel {i} from {low:.4g} to {high:.4g}" for i, (low, high) in enumerate(ranges)]
    return "values of " + ", ".join(parts)


def _advice(images: Tensor, likely: Sequence[PixelScale]) -> list[str | Option]:
    """The fix, with the statistics that the range suggests and what each would make of it."""
    low, high = value_range(images)
    if in_unit_range(images):
        stats = Option("pixel_stats", "(0, 1)")
        return ["The values lie in [0, 1], as pixels do: pass ", stats, "."]
    if low >= 0 and 2 < high <= 255:
        stats = Option("pixel_stats", "(0.0, 1 / 255)")
        return ["They look like 0..255 stored as floats: pass ", stats, "."]
    possible = {(each.mean, each.std): each for each in reversed(likely) if inside(each, images)}
    if not possible:
        stats = Option("pixel_stats", "(mean, std)")
        return ["Pass the numbers that your code normalises the images with: ", stats, "."]
    parts: list[str | Option] = ["Pass what the images were normalised with. These would fit: "]
    for scale in reversed(possible.values()):
        dark, bright = value_range(scale.undo(images))
        stats = Option("pixel_stats", f"({_spelled(scale.mean)}, {_spelled(scale.std)})")
        parts += [stats, f" ({scale.source}) with pixels from {dark:.2f} to {bright:.2f}; "]
    return [*parts, "check(model, loader) saves a picture of what the space sees then."]


def _spelled(numbers: tuple[float, ...]) -> str:
    return repr(numbers[0]) if len(set(numbers)) == 1 else repr(numbers)


def short(numbers: Sequence[float]) -> str:
    """Numbers of three digits; one where all are equal."""
    distinct = numbers if len(set(numbers)) > 1 else numbers[:1]
    return " ".join(f"{number:.3g}" for number in distinct)
