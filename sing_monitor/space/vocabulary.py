"""Vocabularies of concepts: the default one, and text files of the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

TEMPLATE = "an image of {}"
# A colon without a space after it belongs to the name, as in "3:4".
_NAME_AND_PROMPT = re.compile(r"(?P<name>.+?)\s*:\s+(?P<prompt>.+)")

_COLORS = "red orange yellow green blue purple pink brown black white grey gold silver teal beige"

_TEXTURES = (
    "striped dotted checkered zigzag woven knitted furry feathered scaly wrinkled bumpy smooth "
    "shiny grainy cracked"
)

_MATERIALS = (
    "wood metal glass plastic paper leather fabric wool stone brick concrete clay rubber ice sand"
)

_SCENES = {
    "beach": "a photo taken on a beach",
    "sea": "a photo taken at sea",
    "under water": "a photo taken under water",
    "snow": "a photo taken in the snow",
    "mountains": "a photo taken in the mountains",
    "forest": "a photo taken in a forest",
    "meadow": "a photo taken in a meadow",
    "desert": "a photo taken in a desert",
    "street": "a photo taken on a street",
    "farm": "a photo taken on a farm",
    "garden": "a photo taken in a garden",
    "kitchen": "a photo taken in a kitchen",
    "living room": "a photo taken in a living room",
    "sky": "a photo of the open sky",
    "night": "a photo taken at night",
}

DEFAULT_CONCEPTS: Mapping[str, str] = MappingProxyType(
    {
        **{color: f"something {color}" for color in _COLORS.split()},
        **{texture: f"a {texture} texture" for texture in _TEXTURES.split()},
        **{material: f"something made of {material}" for material in _MATERIALS.split()},
        **_SCENES,
    }
)
"""Sixty concepts, name -> prompt: fifteen each of colors, textures, materials and scenes."""


def read_vocabulary(
    path: Path, templates: Sequence[str] = (TEMPLATE,)
) -> dict[str, tuple[str, ...]]:
    """Read concepts from a text file in UTF-8, in any language.

    Each line holds a concept: a plain word, which goes into every template, or ``name: prompt``
    with a prompt of its own. A name on several such lines has several prompts. Empty lines and
    lines that start with ``#`` are ignored.

    Args:
        path: the file.
        templates: for plain words, each with "{}" once.

    Returns:
        Name -> prompts, in the order of the file. The embeddings of several prompts are averaged.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the file is not UTF-8 or holds no concept, or a template does not hold "{}"
            exactly once.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(
                f'template {template!r} must hold "{{}}" exactly once, where the word goes, as in '
                f"{TEMPLATE!r}"
            )
    found: dict[str, list[str]] = {}
    for line in _lines(path):
        if line.startswith("#"):
            continue
        described = _NAME_AND_PROMPT.fullmatch(line)
        name = described["name"] if described else line
        prompts = (
            [described["prompt"]]
            if described
            else [template.replace("{}", line) for template in templates]
        )
        known = found.setdefault(name, [])
        known += [prompt for prompt in prompts if prompt not in known]
    if not found:
        raise ValueError(
            f"{path} names no concept; write one a line: a word, or 'name: a prompt for it'"
        )
    return {name: tuple(prompts) for name, prompts in found.items()}


def read_class_names(path: Path) -> list[str]:
    """Read names of classes from a text file in UTF-8: one a line, in the order of the labels.

    Empty lines are ignored.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the file is not UTF-8.
    """
    return _lines(path)


def _lines(path: Path) -> list[str]:
    try:
        # Without the byte order mark that Windows editors write at the beginning.
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from None
    return [line.strip() for line in lines if line.strip()]
