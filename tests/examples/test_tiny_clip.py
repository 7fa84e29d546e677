"""The quickstart's digits and the vision-language model shipped with them."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

# The examples are scripts and import each other by bare name.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from colored_digits import ColoredDigits, split_indices
from tiny_clip import ASSET, WORDS, WordTokenizer, load_tiny_clip, load_tiny_clip_model
from train_tiny_clip import UNKNOWN_WORD, caption, contrastive_loss, train, zero_shot_report

SPLITS = ("clip", "train", "val")


def same_data(first: ColoredDigits, second: ColoredDigits) -> bool:
    names = ("images", "labels", "colour_ids", "background_ids", "digit_ids")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


def test_splits_share_no_digit_and_cover_all_of_them() -> None:
    indices = torch.cat([split_indices(split) for split in SPLITS])
    assert sorted(indices.tolist()) == list(range(1797))


@pytest.mark.parametrize("split", SPLITS)
def test_a_data_set_shows_only_its_own_digits(split: str) -> None:
    data = ColoredDigits(split, seed=3, copies=2)
    assert len(data) == 2 * len(split_indices(split))
    assert set(data.digit_ids.tolist()) == set(split_indices(split).tolist())


def test_the_seed_decides_everything() -> None:
    data = ColoredDigits("val", shortcut=0.5, seed=4)
    state = torch.get_rng_state()
    assert same_data(data, ColoredDigits("val", shortcut=0.5, seed=4))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(data.images, ColoredDigits("val", shortcut=0.5, seed=5).images)


def test_an_item_is_an_image_in_unit_range_with_three_labels() -> None:
    data = ColoredDigits("val")
    item = data[11]
    assert item["image"].shape == (3, 32, 32)
    assert item["image"].dtype == torch.float32
    assert 0 <= item["image"].min() < item["image"].max() <= 1
    for name, names in (
        ("label", data.classes),
        ("colour", data.colours),
        ("background", data.backgrounds),
    ):
        assert item[name].dtype == torch.int64
        assert 0 <= item[name] < len(names)


@pytest.mark.parametrize("shortcut", [0.0, 0.5, 0.95, 1.0])
def test_the_shortcut_share_is_as_asked(shortcut: float) -> None:
    data = ColoredDigits("train", shortcut=shortcut, seed=1, copies=8)
    agree = (data.colour_ids == data.labels % len(data.colours)).double().mean().item()
    # Ink drawn at random agrees with the class once in six.
    expected = shortcut + (1 - shortcut) / 6
    noise = 4 * math.sqrt((1 - shortcut) * 5 / 36 / len(data))
    assert agree == pytest.approx(expected, abs=noise + 1 / len(data))


def test_the_shortcut_leaves_the_background_independent() -> None:
    data = ColoredDigits("train", shortcut=1.0, seed=1, copies=8)
    for label in range(10):
        shares = torch.bincount(data.background_ids[data.labels == label], minlength=3).double()
        assert torch.allclose(shares / shares.sum(), torch.tensor(1 / 3).double(), atol=0.1)


def test_the_corners_show_the_background_that_the_label_names() -> None:
    data = ColoredDigits("val", seed=2)
    brightness = data.images[:, :, 0, 0].double().mean(1)
    means = torch.stack([brightness[data.background_ids == i].mean() for i in range(3)])
    nearest = (brightness[:, None] - means).abs().argmin(1)
    assert (nearest == data.background_ids).double().mean() > 0.99
    assert means[data.backgrounds.index("black")] < means[data.backgrounds.index("gray")]
    assert means[data.backgrounds.index("gray")] < means[data.backgrounds.index("white")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "clip, train, val"),
        ({"split": "val", "shortcut": 1.5}, "from 0 to 1"),
        ({"split": "val", "copies": 0}, "at least 1"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ColoredDigits(**arguments)


def test_an_unknown_word_keeps_its_place() -> None:
    tokenizer = WordTokenizer()
    known, unknown = tokenizer(["an image of a seven", "an image of a zebra"])
    assert known.tolist().count(tokenizer.unknown_id) == 0
    assert (known != unknown).nonzero().flatten().tolist() == [4]
    assert unknown[4] == tokenizer.unknown_id


def test_every_text_ends_with_the_largest_token() -> None:
    tokenizer = WordTokenizer()
    texts = ["", "seven", "A Red SEVEN, on white!", "seven " * 40]
    tokens = tokenizer(texts)
    assert tokens.shape == (4, tokenizer.context_length)
    assert tokens.dtype == torch.int64
    assert (tokens == tokenizer.end_id).sum(1).tolist() == [1] * 4
    assert tokens.argmax(1).tolist() == [0, 1, 5, tokenizer.context_length - 1]
    assert tokens.max() == tokenizer.vocab_size - 1


def test_captions_use_only_words_that_the_tokenizer_knows() -> None:
    rng = np.random.default_rng(0)
    words = {"digit": "eight", "colour": "cyan", "background": "gray"}
    texts = {caption(words, rng) for _ in range(300)}
    assert len(texts) > 10
    assert {word for text in texts for word in text.split()} <= {*WORDS, UNKNOWN_WORD}
    assert all(set(words.values()) <= set(text.split()) for text in texts)
    assert max(len(text.split()) for text in texts) < WordTokenizer().context_length


def test_the_loss_is_zero_when_every_caption_finds_its_images() -> None:
    true = F.one_hot(torch.tensor([0, 1, 2, 1])).float()
    texts = torch.eye(3)
    assert contrastive_loss(true @ texts, texts, torch.tensor(100.0), true) < 1e-6


def test_the_loss_of_indistinguishable_embeddings_is_the_lost_information() -> None:
    true = F.one_hot(torch.tensor([0, 1, 2, 0])).float()
    images, texts = torch.ones(4, 1), torch.ones(3, 1)
    by_text = (2 * math.log(4) + math.log(4 / 2)) / 3
    expected = (math.log(3) + by_text) / 2
    loss = contrastive_loss(images, texts, torch.tensor(10.0), true)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_training_twice_gives_the_same_weights() -> None:
    first, second = (
        train(steps=2, batch_size=16, learning_rate=1e-3, seed=7, copies=1).state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_shipped_file_is_small() -> None:
    assert ASSET.stat().st_size <= 1_500_000


def test_the_shipped_model_knows_digits_that_it_never_saw() -> None:
    report = zero_shot_report(load_tiny_clip_model(), ColoredDigits("val", seed=11, copies=2))
    assert report["digit"] > 0.90
    assert report["colour"] > 0.97
    assert report["background"] > 0.98


def test_the_space_answers_as_the_model_does() -> None:
    data, space = ColoredDigits("val", seed=12), load_tiny_clip()
    images = space.encode_images(data.images.float() / 255)
    texts = space.encode_texts([f"an image of a {name}" for name in data.classes])
    assert images.shape == (len(data), space.dim)
    assert texts.shape == (10, space.dim)
    nearest = (F.normalize(images) @ F.normalize(texts).T).argmax(1)
    assert (nearest == data.labels).double().mean() > 0.90


def test_missing_weights_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train_tiny_clip\.py"):
        load_tiny_clip_model(tmp_path / "absent.safetensors")
