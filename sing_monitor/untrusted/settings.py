"""The settings of a monitor as a run keeps them: the kinds of what readers rely on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _are_named_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _are_named_lists(value: object) -> bool:
    return isinstance(value, dict) and all(map(_are_texts, value.values()))


def _are_pixels(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), list) and all(map(_is_number, value[key]))
        for key in ("mean", "std")
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_prompt(value: object) -> bool:
    return isinstance(value, str) or _are_texts(value)


def _are_prompts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_prompt, value.values()))


_KINDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "alert_metrics": ("lists of texts by name", _are_named_lists),
    "alerts": ("texts by name", _are_named_texts),
    "class_names": ("a list of texts", _are_texts),
    "concept_prompts": ("texts, or lists of them, by name", _are_prompts),
    "concepts": ("a list of texts", _are_texts),
    "head": ("a text", _is_text),
    "hierarchy": ("a text", _is_text),
    "layers": (
        "yes or no, or a list of texts",
        lambda value: value in (True, False) or _are_texts(value),
    ),
    "map": ("a text", _is_text),
    "n_images": ("a number", _is_number),
    "n_maps": ("a number", _is_number),
    "n_weights": ("a number", _is_number),
    "pixels": ("lists of numbers, mean and std", _are_pixels),
    "prompt": ("a text or a list of texts", _is_prompt),
    "ridge": ("a number or a text", lambda value: _is_text(value) or _is_number(value)),
    "space": ("a text", _is_text),
    "stages": ("a list of texts", _are_texts),
}


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings; those that are absent or None stay so, as earlier versions left them.

    Raises:
        ValueError: if one is of another kind than readers take it to be.
    """
    for name, (expected, is_right) in _KINDS.items():
        value = settings.get(name)
        if value is not None and not is_right(value):
            raise ValueError(f"its {name!r} is a {type(value).__name__}; expected {expected}")
    return dict(settings)
