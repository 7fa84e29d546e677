"""Fingerprints of images, and the text embeddings that scores refer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from sing_monitor.space.cache import EmbeddingCache
from sing_monitor.space.texts import (
    DEFAULT_CONCEPTS,
    Texts,
    TextSet,
    concept_set,
    embed_texts,
    fingerprint,
    prototypes,
    text_set,
    to_uint8,
)

FROZEN = {
    (3, 8, 10): -1923233487209331562,
    (1, 5, 7): -7792327173929861296,
}


class LetterSpace:
    """A text's embedding is how often it has each letter; what was asked for is remembered."""

    name = "letters"
    dim = 26

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode_images(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def encode_texts(self, texts: list[str]) -> Tensor:
        self.asked += texts
        return torch.tensor([[float(t.count(chr(97 + i))) for i in range(26)] for t in texts])


def random_images(count: int, *shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def counting_image(channels: int, height: int, width: int) -> Tensor:
    values = torch.arange(channels * height * width) % 251
    return values.to(torch.uint8).reshape(1, channels, height, width)


# Fingerprints


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


# Texts


def test_each_distinct_prompt_is_embedded_once() -> None:
    space = LetterSpace()
    rows = embed_texts(space, ["abba", "c", "abba"])
    assert space.asked == ["abba", "c"]
    assert rows[:, :3].tolist() == [[2, 2, 0], [0, 0, 1], [2, 2, 0]]
    assert rows.dtype == torch.float32
    assert embed_texts(space, []).shape == (0, 26)


def test_the_cache_spares_what_it_holds(tmp_path: Path) -> None:
    def cache() -> EmbeddingCache:
        return EmbeddingCache("letters", "texts", 26, tmp_path)

    first, second = LetterSpace(), LetterSpace()
    expected = embed_texts(first, ["a", "b"], cache())
    later = cache()
    assert torch.equal(embed_texts(second, ["c", "b", "a", "c"], later)[[2, 1]], expected)
    assert second.asked == ["c"]
    assert torch.equal(embed_texts(second, ["b", "c"], later)[0], expected[1])
    assert second.asked == ["c"]


@pytest.mark.parametrize(
    ("result", "match"),
    [
        (torch.zeros(2, 25), r"shape \(2, 25\).*expected \(2, 26\)"),
        (torch.zeros(1, 26), r"shape \(1, 26\)"),
        (torch.full((2, 26), torch.nan), "NaN"),
    ],
)
def test_a_space_that_returns_something_else_is_named(result: Tensor, match: str) -> None:
    space = LetterSpace()
    space.encode_texts = lambda texts: result  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=f"letters.encode_texts returned {match}"):
        embed_texts(space, ["a", "b"])


def test_one_template_gives_the_raw_embedding() -> None:
    space = LetterSpace()
    texts = text_set(space, ["cat", "cab"], "an {} here")
    assert texts.names == ("cat", "cab")
    assert torch.equal(texts.embeddings, space.encode_texts(["an cat here", "an cab here"]))


def test_several_templates_are_averaged_at_unit_length() -> None:
    space = LetterSpace()
    # Letter counts (a, b): "a", "bb" -> unit vectors (1, 0), (0, 1) whatever their lengths.
    texts = text_set(space, ["a"], ["{}", "{}aa", "bb{}"])
    half = 1 / 5**0.5
    expected = torch.tensor([(1 + 1 + half) / 3, 2 * half / 3])
    torch.testing.assert_close(texts.embeddings[0, :2], expected)
    assert texts.embeddings.dtype == torch.float32


def test_names_may_repeat_and_may_hold_braces() -> None:
    texts = text_set(LetterSpace(), ["a", "a", "{}b"], "{}")
    assert texts.names == ("a", "a", "{}b")
    assert texts.embeddings[:, :2].tolist() == [[1, 0], [1, 0], [0, 1]]
    assert text_set(LetterSpace(), [], "{}").embeddings.shape == (0, 26)


@pytest.mark.parametrize(
    "templates", ["an image", "{} and {}", ["{}", "no"], "an image of {0}", []]
)
def test_a_template_needs_one_place_for_the_name(templates: str | list[str]) -> None:
    with pytest.raises(ValueError, match="template") as caught:
        text_set(LetterSpace(), ["cat"], templates)
    assert '"an image of a {}"' in str(caught.value)


# Concepts


def test_the_default_vocabulary_is_about_sixty_prompts_that_name_their_concept() -> None:
    assert len(DEFAULT_CONCEPTS) == 60
    assert len(set(DEFAULT_CONCEPTS.values())) == 60
    for name, prompt in DEFAULT_CONCEPTS.items():
        assert name in prompt
    assert DEFAULT_CONCEPTS["red"] == "something red"
    assert DEFAULT_CONCEPTS["striped"] == "a striped texture"
    assert DEFAULT_CONCEPTS["wood"] == "something made of wood"
    assert DEFAULT_CONCEPTS["beach"] == "a photo taken on a beach"
    with pytest.raises(TypeError):
        DEFAULT_CONCEPTS["red"] = "nothing"  # type: ignore[index]


def test_no_choice_means_the_default_vocabulary() -> None:
    space = LetterSpace()
    concepts = concept_set(space, None)
    assert concepts is not None
    assert concepts.names == tuple(DEFAULT_CONCEPTS)
    assert space.asked == list(DEFAULT_CONCEPTS.values())


@pytest.mark.parametrize("concepts", [[], (), {}])
def test_an_empty_choice_means_none(concepts: Any) -> None:
    assert concept_set(LetterSpace(), concepts) is None


@pytest.mark.parametrize(
    ("concepts", "asked"),
    [
        (["fur", "sand"], ["an image of fur", "an image of sand"]),
        (("fur", "fur"), ["an image of fur"]),
        ({"fur": "a furry thing", "sand": ["dunes", "sand"]}, ["a furry thing", "dunes", "sand"]),
    ],
)
def test_words_and_prompts(
    concepts: Mapping[str, str | Sequence[str]] | Sequence[str], asked: list[str]
) -> None:
    space = LetterSpace()
    found = concept_set(space, concepts)
    assert found is not None
    assert found.names == tuple(dict.fromkeys(concepts))
    assert space.asked == asked


def test_several_prompts_of_a_concept_are_averaged_at_unit_length() -> None:
    found = concept_set(LetterSpace(), {"ab": ["aaa", "b"], "c": "ccc"})
    assert found is not None
    torch.testing.assert_close(found.embeddings[:, :3], torch.tensor([[0.5, 0.5, 0], [0, 0, 3.0]]))


def test_wrong_concepts_are_refused() -> None:
    with pytest.raises(TypeError, match=r"\['red'\]"):
        concept_set(LetterSpace(), "red")
    with pytest.raises(ValueError, match="'red' has no prompt"):
        concept_set(LetterSpace(), {"red": []})


# Prototypes


def test_prototypes_are_mean_directions() -> None:
    embeddings = torch.tensor([[2.0, 0.0], [0.0, 5.0], [0.0, -3.0]])
    found = prototypes(embeddings, torch.tensor([0, 0, 2]), ["x", "y", "z"])
    assert found.names == ("x", "y", "z")
    expected = torch.tensor([[0.5, 0.5], [torch.nan, torch.nan], [0.0, -1.0]])
    torch.testing.assert_close(found.embeddings, expected, equal_nan=True)


def test_prototypes_do_not_depend_on_the_order_of_the_images() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(50, 6, generator=generator)
    labels = torch.randint(0, 3, (50,), generator=generator)
    order = torch.randperm(50, generator=generator)
    found = prototypes(embeddings, labels, "abc").embeddings
    shuffled = prototypes(embeddings[order] * 7, labels[order], "abc").embeddings
    torch.testing.assert_close(found, shuffled)
    expected = torch.stack([normalize(embeddings[labels == c], dim=1).mean(0) for c in range(3)])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([0, 3], r"\[0, 3\]; expected \[0, 3\)"),
        ([-1, 0], r"\[-1, 0\]"),
        ([0], r"labels \(1,\); expected"),
    ],
)
def test_wrong_labels_are_refused(labels: list[int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        prototypes(torch.zeros(2, 4), torch.tensor(labels), ["x", "y", "z"])


# Sets


@pytest.mark.parametrize(
    ("embeddings", "match"),
    [
        (torch.zeros(3, 4), r"shape \(3, 4\); expected \(2, n\)"),
        (torch.zeros(2), r"shape \(2,\); expected \(2, n\)"),
        (torch.zeros(2, 4, dtype=torch.int64), r"torch\.int64; expected floating point"),
    ],
)
def test_a_text_set_has_a_row_for_each_name(embeddings: Tensor, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        TextSet(("a", "b"), embeddings)


def test_texts_of_different_spaces_are_refused() -> None:
    def of_size(dim: int) -> TextSet:
        return TextSet(("a",), torch.zeros(1, dim))

    assert Texts(of_size(4), attributes={"colour": of_size(4)}).concepts is None
    with pytest.raises(ValueError, match="'concepts': 5"):
        Texts(of_size(4), concepts=of_size(5))
    with pytest.raises(ValueError, match="'colour': 3"):
        Texts(of_size(4), concepts=of_size(4), attributes={"colour": of_size(3)})
