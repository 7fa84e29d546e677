"""The settings of a monitor as a run keeps them: the kinds of what readers rely on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


def _are_parts(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, list)
        and len(each) == 2
        and isinstance(each[0], int)
        and (each[1] is None or _are_texts(each[1]))
        for each in value
    )


def _is_prompt(value: object) -> bool:
    return isinstance(value, str) or _are_texts(value)


def _are_prompts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_prompt, value.values()))


_KINDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "alert_metrics": ("lists of texts by name", _are_named_lists),
    "alerts": ("texts by name", _are_named_texts),
    "analyses": ("a list of texts", _are_texts),
    "analyses_since": ("pairs of an epoch and a list of texts", _are_parts),
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


@dataclass(frozen=True)
class Part:
    """Epochs of a run in which the same analyses were chosen.

    Args:
        since: the first of them.
        until: the last of them; None: up to the end.
        chosen: names of the analyses; None: all.
    """

    since: int
    until: int | None
    chosen: tuple[str, ...] | None


def analyses_by_epoch(settings: Mapping[str, Any]) -> list[Part]:
    """Which analyses were chosen from which epoch on; a resumed run may have chosen others.

    Args:
        settings: of the run; earlier versions kept those of its beginning alone.

    Example::

        >>> parts = analyses_by_epoch({"analyses_since": [[0, ["head"]], [3, None]]})
        >>> [(part.since, part.until, part.chosen) for part in parts]
        [(0, 2, ('head',)), (3, None, None)]
    """
    pairs = settings.get("analyses_since") or [[0, settings.get("analyses")]]
    ends = [since - 1 for since, _ in pairs[1:]]
    return [
        Part(since, until, None if chosen is None else tuple(chosen))
        for (since, chosen), until in zip(pairs, [*ends, None], strict=True)
    ]


def with_analyses(
    settings: Mapping[str, Any], chosen: Sequence[str] | None, since: int
) -> dict[str, Any]:
    """The settings of a run that is taken up again with other analyses.

    Args:
        settings: of the run so far.
        chosen: names of the analyses; None: all.
        since: the first epoch of theirs.

    Example::

        >>> with_analyses({"analyses": ["head"], "n_maps": 0}, None, 3)["analyses_since"]
        [[0, ['head']], [3, None]]
    """
    before = [part for part in analyses_by_epoch(settings) if part.since < since]
    pairs = [[part.since, _as_list(part.chosen)] for part in before]
    return {**settings, "analyses_since": [*pairs, [since, _as_list(chosen)]]}


def _as_list(chosen: Sequence[str] | None) -> list[str] | None:
    return None if chosen is None else [*chosen]
