from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.space.fingerprints import (
    _sums_on_cpu,
    _sums_on_device,
    fingerprint,
    to_uint8,
)

FROZEN = {
    (3, 8, 10): -1923233487209331562,
    (1, 5, 7): -7792327173929861296,
}


def random_images(count: int, *shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def counting_image(channels: int, height: int, width: int) -> Tensor:
    values = torch.arange(channels * height * width) % 251
    return values.to(torch.uint8).reshape(1, channels, height, width)


@pytest.mark.parametrize("shape", FROZEN)
def test_the_fingerprint_is_frozen(shape: tuple[int, int, int]) -> None:
    # Caches on disk hold these numbers as keys: a change would make them worthless.
    assert fingerprint(counting_image(*shape)).tolist() == [FROZEN[shape]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_fingerprint_is_the_same_on_a_gpu() -> None:
    images = random_images(20, 3, 9, 11)
    on_gpu = fingerprint(images.cuda())
    assert on_gpu.device.type == "cuda"
    assert torch.equal(on_gpu.cpu(), fingerprint(images))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5, 7), (3, 3, 3)])
def test_every_single_pixel_counts_in_each_of_its_bits(shape: tuple[int, int, int]) -> None:
    image = random_images(1, *shape)
    size = image.numel()
    changed = image.reshape(1, 1, size).repeat(8, size, 1)
    for bit in range(8):
        changed[bit] ^= torch.eye(size, dtype=torch.uint8) << bit
    prints = fingerprint(changed.reshape(-1, *shape)).tolist()
    assert len({*prints, fingerprint(image).item()}) == 8 * size + 1


def test_swapping_any_two_pixels_changes_the_fingerprint() -> None:
    image = torch.arange(48, dtype=torch.uint8)
    swapped = [image]
    for i in range(48):
        for j in range(i):
            other = image.clone()
            other[[i, j]] = image[[j, i]]
            swapped.append(other)
    prints = fingerprint(torch.stack(swapped).reshape(-1, 3, 4, 4))
    assert len(set(prints.tolist())) == len(swapped)


@pytest.mark.parametrize("kind", ["black", "noise"])
@pytest.mark.parametrize("places", [(7,), (3, 7), (0, 4), (6, 7)])
def test_differences_in_two_words_do_not_cancel(kind: str, places: tuple[int, ...]) -> None:
    # A word is eight pixels. A difference in its last one alone, and equal differences in both its
    # halves, are what the steps before the sum are for: without them there would be as few as 256
    # fingerprints for these 65,536 images.
    images = torch.zeros(65536, 24, dtype=torch.uint8)
    for place in places:
        images[:, place] = torch.arange(65536) % 256
        images[:, 16 + place] = torch.arange(65536) // 256
    if kind == "noise":
        images ^= random_images(1, 24)
    assert len(fingerprint(images.reshape(-1, 1, 4, 6)).unique()) == 65536


def test_the_shape_counts() -> None:
    image = random_images(1, 3, 4, 8)
    shapes = [(3, 4, 8), (3, 8, 4), (4, 3, 8), (1, 12, 8), (1, 1, 96)]
    assert len({fingerprint(image.reshape(1, *shape)).item() for shape in shapes}) == len(shapes)
    black = [torch.zeros(1, 1, 1, width, dtype=torch.uint8) for width in range(1, 17)]
    assert len({fingerprint(image).item() for image in black}) == 16


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_the_batch_does_not_count(channels: int, height: int, width: int, seed: int) -> None:
    images = random_images(5, channels, height, width, seed=seed)
    alone = torch.cat([fingerprint(image.unsqueeze(0)) for image in images])
    assert torch.equal(fingerprint(images), alone)
    assert torch.equal(fingerprint(images[[4, 0, 4]]), alone[[4, 0, 4]])


def test_the_memory_layout_does_not_count() -> None:
    images = random_images(4, 3, 8, 8)
    expected = fingerprint(images)
    assert torch.equal(fingerprint(images.contiguous(memory_format=torch.channels_last)), expected)
    odd = torch.zeros(images.numel() + 3, dtype=torch.uint8)[3:].copy_(images.reshape(-1))
    assert torch.equal(fingerprint(odd.reshape(images.shape)), expected)


def test_the_input_is_not_written_to() -> None:
    images = random_images(4, 3, 8, 8)
    copy = images.clone()
    fingerprint(images)
    assert torch.equal(images, copy)


def test_no_images_have_no_fingerprints() -> None:
    prints = fingerprint(torch.zeros(0, 3, 8, 8, dtype=torch.uint8))
    assert prints.shape == (0,)
    assert prints.dtype == torch.int64


@pytest.mark.parametrize("kind", ["noise", "counter"])
def test_every_bit_is_as_good_as_a_coin(kind: str) -> None:
    count = 20_000
    images = random_images(count, 1, 4, 4)
    if kind == "counter":  # nearly equal images: the two lowest bytes count, the rest is black
        images.zero_()
        images[:, 0, 0, 0] = torch.arange(count) % 256
        images[:, 0, 0, 1] = torch.arange(count) // 256
    prints = fingerprint(images)
    bits = (prints.unsqueeze(1) >> torch.arange(64)) & 1
    # Five standard errors of a fair coin, for 64 bits and for all pairs with the lowest one.
    error = 5 * 0.5 / count**0.5
    assert (bits.double().mean(0) - 0.5).abs().max() < error
    agree = (bits[:, 1:] == bits[:, :1]).double().mean(0)
    assert (agree - 0.5).abs().max() < error
    uniform = (prints >> 1).double() / 2.0**63 + 0.5
    shares = torch.histc(uniform, 20, 0.0, 1.0) / count
    assert (shares - 0.05).abs().max() < 5 * (0.05 * 0.95 / count) ** 0.5


@pytest.mark.parametrize(
    ("images", "error"),
    [
        (torch.zeros(1, 3, 4, 4), TypeError),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), ValueError),
    ],
)
def test_other_images_have_no_fingerprint(images: Tensor, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        fingerprint(images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eight_bit_pixels_survive_the_way_to_floats_and_back(dtype: torch.dtype) -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(pixels.to(dtype) / 255), pixels)
    # Normalised and brought back, as from a data loader.
    there = (pixels.to(dtype) / 255 - 0.485) / 0.229
    assert torch.equal(to_uint8(there * 0.229 + 0.485), pixels)


def test_pixels_outside_saturate_and_integers_are_refused() -> None:
    assert to_uint8(torch.tensor([-0.3, 1.7])).tolist() == [0, 255]
    with pytest.raises(TypeError, match=r"torch\.uint8"):
        to_uint8(torch.zeros(3, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (1, 1, 1, 1), (5, 3, 7, 5), (3, 3, 32, 32)])
def test_what_devices_add_up_is_what_the_processor_does(shape: tuple[int, ...]) -> None:
    images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).byte()
    assert torch.equal(_sums_on_device(images), _sums_on_cpu(images))
