from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sing_monitor.space.cache import EmbeddingCache
from sing_monitor.space.text_embeddings import (
    Texts,
    TextSet,
    concept_set,
    embed_texts,
    prototypes,
    text_set,
)
from sing_monitor.space.vocabulary import DEFAULT_CONCEPTS


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


# Texts


def test_each_distinct_prompt_is_embedded_once() -> None:
    space = LetterSpace()
    rows = embed_texts(space, ["abba", "c", "abba"])
    assert space.asked == ["abba", "c"]
    assert rows[:, :3].tolist() == [[2, 2, 0], [0, 0, 1], [2, 2, 0]]
    assert rows.dtype == torch.float32
    assert embed_texts(space, []).shape == (0, 26)


def test_the_default_precision_of_torch_changes_nothing() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        rows = embed_texts(LetterSpace(), ["abba", "c"])
    finally:
        torch.set_default_dtype(torch.float32)
    assert rows.dtype == torch.float32
    assert rows[:, :3].tolist() == [[2, 2, 0], [0, 0, 1]]


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
