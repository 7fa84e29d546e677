"""Vocabularies from text files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sing_monitor.space.vocabulary import read_vocabulary


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "words.txt"


def test_a_line_is_a_word_or_a_name_with_its_prompt(file: Path) -> None:
    file.write_text("# colours\nred\n\n  sea : a photo taken at sea  \n3:4\n", encoding="utf-8")
    assert read_vocabulary(file) == {
        "red": ("an image of red",),
        "sea": ("a photo taken at sea",),
        "3:4": ("an image of 3:4",),
    }


def test_templates_are_for_words_alone_and_a_repeated_name_collects_its_prompts(
    file: Path,
) -> None:
    file.write_text("sea: the sea\nred\nsea: an ocean\nred\n", encoding="utf-8")
    assert read_vocabulary(file, ["a photo of {}", "{} paint"]) == {
        "sea": ("the sea", "an ocean"),
        "red": ("a photo of red", "red paint"),
    }


def test_any_language_and_the_mark_of_windows_editors(file: Path) -> None:
    file.write_text(
        "\u7ea2\u8272\ncr\u00e8me: une image couleur cr\u00e8me\n", encoding="utf-8-sig"
    )
    assert list(read_vocabulary(file)) == ["\u7ea2\u8272", "cr\u00e8me"]


@pytest.mark.parametrize(
    ("content", "templates", "said"),
    [
        (b"# nothing\n\n", ("{}",), "names no concept"),
        (b"caf\xe9\n", ("{}",), "not UTF-8"),
        (b"red\n", ("an image",), "'an image' must hold"),
        (b"red\n", ("{} and {}",), "exactly once"),
    ],
)
def test_what_is_no_vocabulary_is_refused(
    file: Path, content: bytes, templates: tuple[str, ...], said: str
) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_vocabulary(file, templates)
