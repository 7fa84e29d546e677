"""The default vocabulary: everyday concepts, each with a prompt that reads naturally."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_COLOURS = "red orange yellow green blue purple pink brown black white grey gold silver teal beige"

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
        **{colour: f"something {colour}" for colour in _COLOURS.split()},
        **{texture: f"a {texture} texture" for texture in _TEXTURES.split()},
        **{material: f"something made of {material}" for material in _MATERIALS.split()},
        **_SCENES,
    }
)
"""Sixty concepts, name -> prompt: fifteen each of colours, textures, materials and scenes."""
