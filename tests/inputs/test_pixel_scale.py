"""Pixels are restored in new memory: the model's input, which training goes on with, stays."""

from __future__ import annotations

import math

import pytest
import torch

from sing_monitor.inputs.pixel_scale import PixelScale, restores_unit_range
from sing_monitor.inputs.squashed import SquashedInputs
from sing_monitor.space.fingerprints import to_uint8

SCALES = [PixelScale((0.0,), (1.0,), ""), PixelScale((0.5,), (0.25,), ""), SquashedInputs("")]
OF_COLORS = [PixelScale((0.0,) * 3, (1.0,) * 3, ""), PixelScale((0.4, 0.5, 0.6), (0.2,) * 3, "")]


@pytest.mark.parametrize("scale", SCALES, ids=["as it is", "normalized", "squashed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_given_images_are_neither_changed_nor_returned(
    scale: PixelScale, dtype: torch.dtype, channels: int
) -> None:
    images = torch.linspace(-60, 300, 2 * channels * 16).reshape(2, channels, 4, 4)
    images = images.clamp(0, 255).to(dtype) if dtype == torch.uint8 else (images / 100).to(dtype)
    given = images.clone()
    for found in (scale.restore(images), scale.undo(images)):
        assert torch.equal(images, given)
        found.fill_(0.5)
        assert torch.equal(images, given)


@pytest.mark.parametrize("scale", [*SCALES[:2], *OF_COLORS], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_levels_are_what_is_restored_in_8_bits(scale: PixelScale, channels: int) -> None:
    images = torch.linspace(-3, 3, 2 * channels * 30).reshape(2, channels, 5, 6)
    for each in (images, images.transpose(2, 3), images[:0]):
        levels = torch.from_numpy(scale.levels(each))
        assert torch.equal(levels, to_uint8(scale.restore(each)))


@pytest.mark.parametrize("scale", SCALES, ids=["as it is", "normalized", "squashed"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_pixel_and_no_outlier(scale: PixelScale, number: float) -> None:
    images = torch.zeros(2, 3, 4, 4)
    images[0] = number
    restored = scale.restore(images)
    assert restored[0].isnan().all()
    assert restored[1].isfinite().all()
    assert restores_unit_range(scale, images)
