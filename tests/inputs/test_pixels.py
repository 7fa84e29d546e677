"""Pixels back in [0, 1]: known answers for every source, their order, and the refusals."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset
from torchvision.datasets import FakeData
from torchvision.transforms import Compose, RandomApply, ToTensor, v2
from torchvision.transforms import Normalize as NormalizeV1
from torchvision.transforms._presets import ImageClassification

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.pixel_scale import PixelScale
from sing_monitor.inputs.pixels import find_pixel_scale

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OTHER = ((0.1307,) * 3, (0.3081,) * 3)
FROM_TRANSFORMS = "Normalize in the validation transforms"


def make_pixels(channels: int = 3) -> Tensor:
    pixels = torch.rand(4, channels, 6, 6, generator=torch.Generator().manual_seed(0))
    pixels[0, :, 0, 0], pixels[0, :, 0, 1] = 0.0, 1.0
    return pixels


def normalize(pixels: Tensor, mean: Any = MEAN, std: Any = STD) -> Tensor:
    mean, std = (torch.tensor(part).reshape(1, -1, 1, 1) for part in (mean, std))
    return (pixels - mean) / std


def make_dataset(transform: Any) -> Dataset[Any]:
    return FakeData(4, (3, 6, 6), transform=transform)


def make_model(**kwargs: Any) -> nn.Module:
    inside = timm.create_model("resnet10t", num_classes=2, **kwargs)
    return nn.ModuleDict({"any_name": nn.Sequential(inside)})


class Normalize:
    """Has the attributes of albumentations' Normalize."""

    def __init__(self, normalization: str = "standard") -> None:
        self.mean, self.std, self.max_pixel_value = MEAN, STD, 255.0
        self.normalization = normalization


class Wrapper(Dataset[Any]):
    def __init__(self, dataset: Dataset[Any], transform: Any = None) -> None:
        self.dataset, self.transform = dataset, transform


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_restore_undoes_normalize(dtype: torch.dtype, channels: int) -> None:
    pixels = make_pixels(channels)
    mean, std = MEAN[:channels], STD[:channels]
    images = normalize(pixels, mean, std).to(dtype)
    before = images.clone()
    restored = PixelScale(mean, std, "").restore(images)
    assert restored.dtype == torch.float32
    assert restored.shape == (4, 3, 6, 6)
    atol = 4 * torch.finfo(dtype).eps + 1e-6
    torch.testing.assert_close(restored, pixels.expand(4, 3, 6, 6), atol=atol, rtol=0)
    assert restored.min() >= 0
    assert restored.max() <= 1
    assert torch.equal(images, before)


def test_half_precision_is_restored_in_float32() -> None:
    images = normalize(make_pixels()).bfloat16()
    expected = PixelScale(MEAN, STD, "").restore(images.float())
    assert torch.equal(PixelScale(MEAN, STD, "").restore(images), expected)


@pytest.mark.parametrize("pixel_stats", [None, (MEAN, STD)])
def test_uint8_keeps_every_level(pixel_stats: Any) -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    scale = find_pixel_scale(pixel_stats, make_dataset(NormalizeV1(MEAN, STD)), images, None)
    assert scale.source == "uint8"
    restored = scale.restore(images)
    assert restored.shape == (1, 3, 16, 16)
    assert torch.equal((restored * 255).round().to(torch.uint8), images.expand(1, 3, 16, 16))


def test_restored_pixels_are_clamped_and_new() -> None:
    images = torch.tensor([-0.01, 0.5, 1.01]).reshape(1, 1, 1, 3)
    restored = PixelScale((0.0,), (1.0,), "").restore(images)
    assert restored[0, 0, 0].tolist() == [0.0, 0.5, 1.0]
    restored.zero_()
    assert images[0, 0, 0, 1] == 0.5


@pytest.mark.parametrize(
    "transform",
    [
        NormalizeV1(MEAN, STD),
        Compose([ToTensor(), NormalizeV1(torch.tensor(MEAN), list(STD))]),
        Compose([Compose([ToTensor()]), Compose([NormalizeV1(MEAN, STD)])]),
        nn.Sequential(nn.Identity(), v2.Normalize(list(MEAN), list(STD))),
        v2.Compose([v2.RandomApply([v2.Normalize(MEAN, STD)], p=1.0)]),
        RandomApply([NormalizeV1(MEAN, STD)], p=1.0),
        v2.Compose([v2.ToImage(), v2.Compose([nn.Sequential(v2.Normalize(MEAN, STD))])]),
        ImageClassification(crop_size=6),
        Compose([Normalize()]),
        NormalizeV1([255 * m for m in MEAN], [255 * s for s in STD]),
        Compose([NormalizeV1(MEAN, STD), v2.Normalize(MEAN, STD)]),
    ],
)
def test_normalize_is_found_in_transforms(transform: Any) -> None:
    scale = find_pixel_scale(None, make_dataset(transform), normalize(make_pixels()), None)
    assert scale.source == FROM_TRANSFORMS
    assert scale.mean == pytest.approx(MEAN)
    assert scale.std == pytest.approx(STD)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda data: Subset(data, [0, 1]),
        lambda data: Subset(Subset(data, [0, 1]), [1]),
        lambda data: ConcatDataset([data, data]),
        lambda data: ConcatDataset([Subset(data, [0]), make_dataset(v2.Normalize(MEAN, STD))]),
        lambda data: Wrapper(data),
        lambda data: Wrapper(Subset(data, [0]), ToTensor()),
    ],
)
def test_normalize_is_found_in_wrapped_datasets(wrap: Any) -> None:
    dataset = wrap(make_dataset(NormalizeV1(MEAN, STD)))
    scale = find_pixel_scale(None, dataset, normalize(make_pixels()), None)
    assert scale == PixelScale(MEAN, STD, FROM_TRANSFORMS)


@pytest.mark.parametrize(
    "pixel_stats",
    [(MEAN, STD), [list(MEAN), torch.tensor(STD)], ([255 * m for m in MEAN], [57, 57, 57])],
)
def test_pixel_stats_come_first(pixel_stats: Any) -> None:
    dataset, model = make_dataset(NormalizeV1(*OTHER)), make_model()
    scale = find_pixel_scale(pixel_stats, dataset, normalize(make_pixels()), model)
    assert scale.source == "pixel_stats"
    assert scale.mean == pytest.approx(MEAN)


def test_transforms_come_before_values_and_config() -> None:
    pixels = make_pixels() / 2 + 0.25
    dataset = make_dataset(NormalizeV1(0.25, 0.5))
    scale = find_pixel_scale(None, dataset, (pixels - 0.25) / 0.5, make_model())
    assert scale.source == FROM_TRANSFORMS
    torch.testing.assert_close(scale.restore((pixels - 0.25) / 0.5), pixels)


def test_values_in_unit_range_come_before_config() -> None:
    scale = find_pixel_scale(None, TensorDataset(), make_pixels(), make_model())
    assert scale.source == "values already in [0, 1]"
    assert torch.equal(scale.restore(make_pixels()), make_pixels())


def test_interpolation_overshoot_is_no_normalisation() -> None:
    images = make_pixels() * 1.03 - 0.015
    assert find_pixel_scale(None, None, images, make_model()).mean == (0.0,)


def test_a_few_pixels_may_overshoot_what_was_given() -> None:
    pixels = make_pixels()
    pixels[0, 0, 2, 2] = 1.2
    assert find_pixel_scale((MEAN, STD), None, normalize(pixels), None).source == "pixel_stats"
    pixels[:, 0] = 1.2
    with pytest.raises(SetupError, match="does not fit"):
        find_pixel_scale((MEAN, STD), None, normalize(pixels), None)


def test_timm_config_is_found_inside_the_module() -> None:
    images = normalize(make_pixels())
    scale = find_pixel_scale(None, None, images, make_model())
    assert scale == PixelScale(MEAN, STD, "a guess: timm's default_cfg")
    assert "pixel_stats=(mean, std)" in scale.doubt
    torch.testing.assert_close(scale.restore(images), make_pixels())


def test_equal_numbers_undo_grey_and_colour() -> None:
    for channels in (1, 3):
        images = normalize(make_pixels(channels), (0.5,), (0.5,))
        scale = find_pixel_scale((0.5, 0.5), None, images, None)
        expected = make_pixels(channels).expand(4, 3, 6, 6)
        torch.testing.assert_close(scale.restore(images), expected)


def test_bytes_stored_as_floats() -> None:
    images = make_pixels() * 255
    with pytest.raises(SetupError, match=r"pixel_stats=\(0.0, 1 / 255\)"):
        find_pixel_scale(None, None, images, make_model())
    scale = find_pixel_scale((0.0, 1 / 255), None, images, None)
    torch.testing.assert_close(scale.restore(images), make_pixels())


def test_unnormalised_can_be_said() -> None:
    scale = find_pixel_scale((0, 1), make_dataset(NormalizeV1(MEAN, STD)), make_pixels(), None)
    assert torch.equal(scale.restore(make_pixels()), make_pixels())


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_images(value: float) -> None:
    images = torch.full((1, 1, 4, 4), value)
    restored = find_pixel_scale(None, None, images, None).restore(images)
    assert torch.equal(restored, torch.full((1, 3, 4, 4), value))


@pytest.mark.parametrize(
    ("pixel_stats", "transform", "images", "sentences"),
    [
        (None, None, normalize(make_pixels()), ["channel 0 from -2.118 to 2.249", "channel 2"]),
        (None, None, normalize(make_pixels()), ["(0.485, 0.456, 0.406), (0.229, 0.224, 0.225)"]),
        (None, None, make_pixels() * 2 - 1, ["[-1, 1]", "pixel_stats=(0.5, 0.5)"]),
        (None, NormalizeV1(MEAN, STD), 3 * normalize(make_pixels()), [FROM_TRANSFORMS, "fit"]),
        (None, Compose([Normalize("image")]), normalize(make_pixels()), ["no Normalize"]),
        (OTHER, None, make_pixels() * 255, ["pixel_stats (mean (0.1307", "(0.0, 1 / 255)"]),
        ((0, 255), None, make_pixels() * 255, ["does not fit", "(0.0, 1 / 255)"]),
        (
            None,
            Compose([NormalizeV1(MEAN, STD), NormalizeV1(*OTHER)]),
            make_pixels(),
            ["different statistics", "0.1307", "0.485"],
        ),
        ("none", None, make_pixels(), ["pixel_stats is 'none'", "expected (mean, std)"]),
        (0.5, None, make_pixels(), ["pixel_stats is 0.5", "expected (mean, std)"]),
        ((MEAN, None), None, make_pixels(), ["expected (mean, std)"]),
        ((MEAN, STD, 1), None, make_pixels(), ["expected (mean, std)"]),
        ((MEAN, (1, 0, 1)), None, make_pixels(), ["std above 0"]),
        ((MEAN, float("nan")), None, make_pixels(), ["finite"]),
        ((MEAN, STD), None, make_pixels(1), ["1 channel(s)"]),
        (None, None, make_pixels() * float("nan"), ["NaN", "(4, 3, 6, 6)"]),
        ((MEAN, STD), None, make_pixels() / 0, ["NaN or infinite"]),
        (None, None, make_pixels()[:0], ["empty"]),
    ],
)
def test_refuses_with_what_was_seen(
    pixel_stats: Any, transform: Any, images: Tensor, sentences: list[str]
) -> None:
    with pytest.raises(SetupError) as caught:
        find_pixel_scale(pixel_stats, make_dataset(transform), images, None)
    for sentence in sentences:
        assert sentence in str(caught.value)


def test_untrained_timm_model_does_not_explain_other_scales() -> None:
    with pytest.raises(SetupError, match=r"timm config is no proof\. Pass the numbers"):
        find_pixel_scale(None, None, normalize(make_pixels()) * 2, make_model())
    with pytest.raises(SetupError, match=r"pixel_stats=\(0.5, 0.5\)"):
        find_pixel_scale(None, None, make_pixels() * 2 - 1, make_model())


def test_three_channel_config_says_nothing_about_grey_images() -> None:
    images = normalize(make_pixels(1), (0.4,), (0.2,))
    with pytest.raises(SetupError, match="channel 0 from -2 to 3"):
        find_pixel_scale(None, None, images, make_model(in_chans=1))


def low_contrast(channels: int = 3) -> Tensor:
    return 0.1 + 0.8 * make_pixels(channels)


def test_a_config_that_is_not_the_only_one_to_fit_is_no_proof() -> None:
    images = normalize(low_contrast(), (0.5,), (0.5,))
    with pytest.raises(SetupError) as caught:
        find_pixel_scale(None, None, images, make_model())
    for sentence in (
        "pixel_stats=(0.5, 0.5) (images scaled to [-1, 1]) with pixels from 0.10 to 0.90",
        "(0.229, 0.224, 0.225)) (timm's default_cfg) with pixels from",
    ):
        assert sentence in str(caught.value)
    advised = find_pixel_scale((0.5, 0.5), None, images, make_model())
    torch.testing.assert_close(advised.restore(images), low_contrast())


@pytest.mark.parametrize("stats", [(MEAN, STD), ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.26))])
def test_a_guess_needs_every_channel_to_reach_black_and_white(stats: Any) -> None:
    images = normalize(low_contrast() if stats[0] is MEAN else make_pixels(), *stats)
    with pytest.raises(SetupError, match="no proof"):
        find_pixel_scale(None, None, images, make_model())


@pytest.mark.parametrize("images", [make_pixels(), low_contrast()])
@pytest.mark.parametrize(
    ("pixel_stats", "transform"),
    [
        ((5.0, 0.1), None),
        ("none", None),
        ((MEAN, (1, 0, 1)), None),
        (None, NormalizeV1((0.9,) * 3, (0.9,) * 3)),
        (None, Compose([NormalizeV1(MEAN, STD), NormalizeV1(*OTHER)])),
    ],
)
def test_values_in_unit_range_get_one_advice(
    pixel_stats: Any, transform: Any, images: Tensor
) -> None:
    with pytest.raises(SetupError) as caught:
        find_pixel_scale(pixel_stats, make_dataset(transform), images, make_model())
    assert [str(part) for part in caught.value.parts if isinstance(part, Option)] == [
        "pixel_stats=(0, 1)"
    ]
    followed = find_pixel_scale((0, 1), make_dataset(transform), images, make_model())
    assert torch.equal(followed.restore(images), images)


@pytest.mark.parametrize("stats", [(0, 255), (0.0, 255.0), ((0, 0, 0), (255, 255, 255))])
def test_a_std_above_one_counts_in_levels(stats: Any) -> None:
    scale = find_pixel_scale(stats, None, make_pixels(), make_model())
    assert (scale.mean, scale.std) == ((0.0,) * 3, (1.0,) * 3)


def test_values_that_look_untouched_are_doubted_aloud() -> None:
    images = 0.5 + 0.5 * make_pixels()
    scale = find_pixel_scale(None, make_dataset(NormalizeV1((0.2,) * 3, (0.7,) * 3)), images, None)
    assert "as if nothing had been normalized" in scale.doubt
    assert "pixel_stats=(0, 1)" in scale.doubt
    sure = find_pixel_scale(None, make_dataset(NormalizeV1((0.0,) * 3, (1.0,) * 3)), images, None)
    assert sure.doubt == ""


USUAL = [(MEAN, STD), ((0.1307,) * 3, (0.3081,) * 3), (0.5, 0.5), ((0.4914, 0.4822, 0.4465), 0.25)]


@pytest.mark.parametrize("stats", USUAL)
@pytest.mark.parametrize("images", [make_pixels(), 0.2 + 0.6 * make_pixels()])
def test_statistics_that_were_not_applied_are_doubted_aloud(stats: Any, images: Tensor) -> None:
    scale = find_pixel_scale(stats, None, images, None)
    for words in (
        f"from {float(images.min()):.2f} to {float(images.max()):.2f}, as if nothing had been",
        "Either the images were not normalized like that: then pass pixel_stats=(0, 1). Or",
    ):
        assert words in scale.doubt
    # Followed, it is silent.
    assert find_pixel_scale((0, 1), None, images, None).doubt == ""


def test_statistics_of_another_scale_are_doubted_with_the_likelier_ones() -> None:
    scale = find_pixel_scale((MEAN, STD), None, 2 * make_pixels() - 1, None)
    assert "as of images scaled to [-1, 1]; undone, they become pixels from" in scale.doubt
    assert "pass pixel_stats=(0.5, 0.5)" in scale.doubt


@pytest.mark.parametrize("stats", USUAL)
@pytest.mark.parametrize("contrast", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("dark", [True, False])
def test_statistics_that_were_applied_are_not_doubted(
    stats: Any, contrast: float, dark: bool
) -> None:
    pixels = contrast * make_pixels()
    # Bright images that were scaled to [-1, 1] look as if they were not: nobody can tell.
    pixels = pixels if dark or stats == (0.5, 0.5) else 1 - pixels
    mean, std = ((part if isinstance(part, tuple) else (part,) * 3) for part in stats)
    assert find_pixel_scale(stats, None, normalize(pixels, mean, std), None).doubt == ""


class Processor:
    """Has the attributes of transformers' image processors."""

    do_rescale, rescale_factor, do_normalize = True, 1 / 255, True
    image_mean, image_std = list(MEAN), list(STD)

    def __init__(self, **changes: Any) -> None:
        vars(self).update(changes)


class Processors:
    """Has those of transformers' processors of images and texts."""

    def __init__(self) -> None:
        self.image_processor = Processor()


@pytest.mark.parametrize(
    ("processor", "done"),
    [
        (Processor(), normalize),
        (Processors(), normalize),
        (Processor(do_rescale=False), normalize),  # was given pixels in [0, 1]
        (Processor(do_rescale=False), lambda pixels: normalize(255 * pixels)),  # or levels
        (Processor(do_rescale=False, do_normalize=False), lambda pixels: 255 * pixels),
        (Processor(rescale_factor=1 / 127.5, do_normalize=False), lambda pixels: 2 * pixels),
        (Processor(image_mean=0.5, image_std=0.5), lambda pixels: 2 * pixels - 1),
    ],
)
@pytest.mark.parametrize("pixels", [make_pixels(), 0.1 + 0.8 * make_pixels()])
def test_an_image_processor_tells_what_it_did(processor: Any, done: Any, pixels: Tensor) -> None:
    images = done(pixels)
    scale = find_pixel_scale(None, None, images, None, processor=processor)
    assert (scale.source, scale.doubt) == ("the image processor (Processor)", "")
    torch.testing.assert_close(scale.restore(images), pixels)


def test_what_is_said_explicitly_comes_before_an_image_processor() -> None:
    images = normalize(make_pixels())
    scale = find_pixel_scale((MEAN, STD), None, images, None, processor=Processor())
    assert scale.source == "pixel_stats"
    data = make_dataset(NormalizeV1(MEAN, STD))
    assert find_pixel_scale(None, data, images, None, processor=Processor()).source == (
        FROM_TRANSFORMS
    )
    as_they_are = find_pixel_scale(None, None, make_pixels(), None, processor=Processor())
    assert as_they_are.source == "values already in [0, 1]"


@pytest.mark.parametrize(
    ("processor", "images"),
    [
        (Processor(), 2 * make_pixels() - 1),  # fits, and other statistics fit exactly
        (Processor(image_mean=[0.5] * 3, image_std=[0.1] * 3), normalize(make_pixels())),
        (Processor(image_mean=None), 4 * make_pixels() - 2),
        (Processor(image_std=["x"]), normalize(make_pixels())),
        (Processor(image_mean=[0.5] * 2), normalize(make_pixels())),
        (Processor(image_std=[0.0] * 3), normalize(make_pixels())),
        (Processor(rescale_factor=0), normalize(make_pixels())),
        (Processor(rescale_factor=0, do_normalize=False), normalize(make_pixels())),
        (object(), normalize(make_pixels())),
    ],
)
def test_an_image_processor_that_is_not_sure_is_no_proof(processor: Any, images: Tensor) -> None:
    with pytest.raises(SetupError, match="The scale of the pixels is unknown"):
        find_pixel_scale(None, None, images, None, processor=processor)


def test_the_effect_is_told() -> None:
    images = normalize(make_pixels(1), (0.5,), (0.25,))
    scale = find_pixel_scale((0.5, 0.25), None, images, None)
    assert scale.effect == "values from -2 to 2 become pixels from 0.00 to 1.00"
    levels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    told = find_pixel_scale(None, None, levels, None).effect
    assert told == "values from 0 to 255 become pixels from 0.00 to 1.00"
