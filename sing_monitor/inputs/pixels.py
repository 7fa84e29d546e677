"""Search for the statistics with which validation images were normalized."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.datasets import pretrained_configs
from sing_monitor.inputs.normalization import (
    Stats,
    dataset_stats,
    image_processor_of,
    loader_stats,
    processor_stats,
)
from sing_monitor.inputs.pixel_scale import (
    IMAGENET,
    PixelScale,
    in_unit_range,
    is_flat,
    parse_stats,
    restores_unit_range,
    spans_unit_range,
    value_range,
)

_TIMM = "timm's default_cfg"
_AS_THEY_ARE = PixelScale((0.0,), (1.0,), "values already in [0, 1]")
# Share of pixels of a later batch that may lie outside; with more it has another scale.
_OUTLIERS_LATER = 0.05
# Pixels of a batch of pictures fill more than this of [0, 1]; those of other statistics do not.
_SQUEEZED = 0.75
# Values in [0, 1] that are pixels fill this much of it.
_FILLED = 0.5
# Contrast of less than one of 256 levels.
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
    processor: object = None,
) -> PixelScale:
    """Find the statistics with which the validation images were normalized.

    The first source with an answer counts: uint8 images; ``pixel_stats``; the statistics of a
    loader that normalizes images itself (timm's PrefetchLoader); a Normalize in the transforms of
    the data set; values that lie in [0, 1] already; an image processor of transformers whose
    statistics fit the pixels, unless usual ones bring them to the whole of [0, 1] and its do not.
    Without any, the model's timm config is a guess. It is used, with a doubt, if it alone brings
    every channel to the whole of [0, 1].

    A mean or std above 1 is in units of 0..255 and is divided by 255.

    Args:
        pixel_stats: None, or ``(mean, std)``, each a number or one for each channel. ``(0, 1)``
            means that nothing was normalized.
        dataset: the validation data set, wrapped or not, or None.
        images: the first batch, (B, c, H, W).
        model: the LightningModule or any module, or None.
        loader: the validation loader, or None.
        processor: of transformers, for images and perhaps for texts too, or None.

    Raises:
        SetupError: if no source fits the pixels, two sources differ, the parts of a data set are
            normalized differently, or the batch is empty or not finite.

    Example:
        >>> find_pixel_scale(None, None, torch.rand(2, 3, 8, 8), None).source
        'values already in [0, 1]'
    """
    if images.numel() == 0 or not bool(torch.isfinite(images).all()):
        raise SetupError(
            "The first validation batch is empty or holds NaN or infinite pixels "
            f"(shape {tuple(images.shape)}), so its scale cannot be found. Correct the data set."
        )
    scale = _find(pixel_stats, dataset, images, model, loader, processor)
    low, high, dark, bright = (*value_range(images), *value_range(scale.undo(images)))
    effect = f"values from {low:.3g} to {high:.3g} become pixels from {dark:.2f} to {bright:.2f}"
    return replace(scale, effect=effect)


def refuse_other_scale(scale: PixelScale, images: Tensor) -> None:
    """Raise an error for a later batch that the scale of the first does not bring to [0, 1].

    Waits for the device.

    Args:
        scale: of the first batch.
        images: (B, c, H, W).

    Raises:
        SetupError: if more than a twentieth of the pixels lie outside.
    """
    if images.dtype == torch.uint8 or restores_unit_range(scale, images, _OUTLIERS_LATER):
        return
    raise SetupError(
        f"A later batch has another scale than the first ({scale.source}; {scale}): "
        f"{_ranges(images)}, and, undone, {_ranges(scale.undo(images))}, outside [0, 1]. Normalize "
        "all validation images alike, or give pixels in [0, 1] beside the images: ",
        Option("batch_adapter", "lambda batch: Batch(images=..., labels=..., pictures=...)"),
        ".",
    )


def _find(
    pixel_stats: Any,
    dataset: object,
    images: Tensor,
    model: nn.Module | None,
    loader: object,
    processor: object,
) -> PixelScale:
    if images.dtype == torch.uint8:
        return PixelScale((0.0,), (1.0,), "uint8")
    if pixel_stats is not None:
        return _doubted(_fitting(parse_stats(pixel_stats, images, "pixel_stats"), images), images)
    source = "statistics of the loader itself"
    found = [parse_stats(stats, images, source) for stats in loader_stats(loader)]
    if not found:
        parse = partial(parse_stats, images=images, source="Normalize in the validation transforms")
        found = dataset_stats(dataset, parse)
    if found:
        return _doubted(_fitting(_only_one(found, images), images), images)
    if in_unit_range(images):
        return _AS_THEY_ARE
    of_processor = list(_processor_scales(processor, images))
    return _sure(of_processor, images) or _guess(model, images, of_processor)


def _processor_scales(processor: object, images: Tensor) -> Iterator[PixelScale]:
    """Statistics of an image processor that are finite and fit the number of channels."""
    found = image_processor_of(processor)
    for stats in processor_stats(found) if found is not None else ():
        if not all(map(math.isfinite, (*stats[0], *stats[1]))):
            continue
        if all(len(part) in (1, images.shape[1]) for part in stats) and min(stats[1]) > 0:
            yield parse_stats(stats, images, f"the image processor ({type(found).__name__})")


def _sure(scales: Sequence[PixelScale], images: Tensor) -> PixelScale | None:
    """The first that fits the pixels, unless usual statistics do so exactly and it does not."""
    fitting = [
        each for each in scales if restores_unit_range(each, images) and not is_flat(each, images)
    ]
    usual = (parse_stats(stats, images, name) for name, stats in _usual(images))
    is_doubtful = any(spans_unit_range(each, images) for each in usual)
    sure = (each for each in fitting if spans_unit_range(each, images) or not is_doubtful)
    return next(sure, None)


def _guess(
    model: nn.Module | None, images: Tensor, of_processor: Sequence[PixelScale]
) -> PixelScale:
    """The model's own statistics, if the pixels fit them and no others."""
    of_model = list(dict.fromkeys(_timm_scales(model, images)))
    usual = [parse_stats(stats, images, name) for name, stats in _usual(images)]
    likely = [*of_model, *of_processor, *usual]
    exact = {
        (each.mean, each.std): each for each in reversed(likely) if spans_unit_range(each, images)
    }
    guess = next(iter(exact.values()), None)
    if guess is not None and len(exact) == 1 and guess in of_model:
        doubt = (
            "The scale of the pixels is a guess: the validation data does not say how the images "
            f"were normalized, and the statistics of {_TIMM} (mean {format_numbers(guess.mean)}, "
            f"std {format_numbers(guess.std)}) alone bring the first batch to the whole of [0, "
            "1]. If the picture looks wrong, pass pixel_stats=(mean, std)."
        )
        return replace(guess, source=f"a guess: {guess.source}", doubt=doubt)
    raise SetupError(
        f"The scale of the pixels is unknown: {_ranges(images)}. The statistics of their "
        "normalization were not found: the validation data set's transforms hold no Normalize, the "
        "loader has no statistics of its own, and a model's timm config is no proof. ",
        *_advice(images, likely),
    )


def _doubted(scale: PixelScale, images: Tensor) -> PixelScale:
    """Add a doubt to a scale if the images look as if they had not been normalized with it.

    It then squeezes them into a narrow band, while they fill [0, 1] as they are or by other usual
    statistics.
    """
    dark, bright = value_range(scale.undo(images))
    other = _likelier(scale, images) if bright - dark < _SQUEEZED else None
    if other is None:
        return scale
    mean, std = format_numbers(scale.mean), format_numbers(scale.std)
    low, high = value_range(images)
    how = "as if nothing had been normalized" if other == _AS_THEY_ARE else f"as of {other.source}"
    stats = Option("pixel_stats", _stats(other))
    doubt = (
        f"The monitor undoes a normalization with mean {mean} and std {std} (source: "
        f"{scale.source}), and yet the values go from {low:.2f} to {high:.2f}, {how}; undone, they "
        f"become pixels from {dark:.2f} to {bright:.2f} alone. Either the images were not "
        f"normalized like that: then pass {stats}. Or they are as pale as that, and all is well."
    )
    return replace(scale, doubt=doubt)


def _likelier(scale: PixelScale, images: Tensor) -> PixelScale | None:
    """Other statistics by which images fill the range of pixels; None without such.

    Values in [0, 1] need not reach both ends to be pixels.
    """
    low, high = value_range(images)
    if in_unit_range(images) and high - low >= _FILLED:
        is_other = bool(((scale.undo(images) - images).abs() >= 0.02).any())
        return _AS_THEY_ARE if is_other else None
    usual = (parse_stats(stats, images, name) for name, stats in _usual(images))
    return next((each for each in usual if spans_unit_range(each, images)), None)


def _stats(scale: PixelScale) -> str:
    if scale == _AS_THEY_ARE:
        return "(0, 1)"
    return f"({_spelled(scale.mean)}, {_spelled(scale.std)})"


def _timm_scales(model: nn.Module | None, images: Tensor) -> Iterator[PixelScale]:
    for config in pretrained_configs(model):
        stats = config.get("mean"), config.get("std")
        # A grey-scale model keeps its three-channel statistics; they say nothing about one channel.
        if all(isinstance(s, (tuple, list)) and len(s) in (1, images.shape[1]) for s in stats):
            yield parse_stats(stats, images, _TIMM)


def _usual(images: Tensor) -> list[tuple[str, Stats]]:
    """The usual statistics for the number of channels of images, by name."""
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
            f"{distinct[0].source}: different statistics were found: {stats}. Choose those of the "
            "validation images. ",
            *_advice(images, distinct),
        )
    return distinct[0]


def _fitting(scale: PixelScale, images: Tensor) -> PixelScale:
    is_lost = is_flat(scale, images, _LEVEL) and not is_flat(_AS_THEY_ARE, images, _LEVEL)
    if restores_unit_range(scale, images) and not is_lost:
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
    """Advise statistics that fit the range of the values, each with the range that it gives."""
    low, high = value_range(images)
    if in_unit_range(images):
        stats = Option("pixel_stats", "(0, 1)")
        return ["The values lie in [0, 1], as pixels do: pass ", stats, "."]
    if low >= 0 and 2 < high <= 255:
        stats = Option("pixel_stats", "(0.0, 1 / 255)")
        return ["They look like 0..255 stored as floats: pass ", stats, "."]
    possible = {
        (each.mean, each.std): each
        for each in reversed(likely)
        if restores_unit_range(each, images)
    }
    if not possible:
        stats = Option("pixel_stats", "(mean, std)")
        return ["Pass the numbers with which your code normalizes the images: ", stats, "."]
    parts: list[str | Option] = [
        "Pass the statistics with which the images were normalized. These would fit: "
    ]
    for scale in reversed(possible.values()):
        dark, bright = value_range(scale.undo(images))
        parts += [
            Option("pixel_stats", _stats(scale)),
            f" ({scale.source}) with pixels from {dark:.2f} to {bright:.2f}; ",
        ]
    return [*parts, "check(model, loader) then saves a picture as the space sees it."]


def _spelled(numbers: tuple[float, ...]) -> str:
    return repr(numbers[0]) if len(set(numbers)) == 1 else repr(numbers)


def format_numbers(numbers: Sequence[float]) -> str:
    """Format numbers with three digits; only one of them if all are equal."""
    distinct = numbers if len(set(numbers)) > 1 else numbers[:1]
    return " ".join(f"{number:.3g}" for number in distinct)
