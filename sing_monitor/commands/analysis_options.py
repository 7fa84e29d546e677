"""Options of an analysis on the command line, taken from their one definition."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

# Another form on the command line, or none, because Python code is needed.
_NOT_PLAIN = ("cache_dir",)
_MARKUP = re.compile(r":\w+:`([^`]*)`|``([^`]*)``")


@dataclass(frozen=True)
class PlainOption:
    """An option whose value is one word.

    Args:
        name: in Python.
        default: its value where it is not given.
        help: text for the user.
        parse: turns the word into the value.
        shown: stands for the value in a help text.
        choices: the words that are possible; None: any.
    """

    name: str
    default: Any
    help: str
    parse: Callable[[str], Any]
    shown: str
    choices: tuple[str, ...] | None = None

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return f"--{self.name.replace('_', '-')}"


def plain_options() -> list[PlainOption]:
    """The options of an analysis that a command line can take as they are."""
    from sing_monitor.monitor.options import AnalysisOptions

    hints = get_type_hints(AnalysisOptions)
    found = []
    for each in fields(AnalysisOptions):
        kind = None if each.name in _NOT_PLAIN else _kind(hints[each.name])
        if kind is not None:
            text = _MARKUP.sub(lambda match: match[1] or match[2], each.metadata["help"])
            found.append(PlainOption(each.name, each.default, text, *kind))
    return found


def add_plain_options(parser: argparse.ArgumentParser) -> None:
    """Let a command take them."""
    for each in plain_options():
        default = (
            "" if each.default is None or each.default is False else f" (default: {each.default})"
        )
        parser.add_argument(
            each.flag,
            type=each.parse,
            choices=each.choices,
            default=each.default,
            metavar=None if each.choices else each.shown,
            help=f"{each.help.rstrip('.')}{default}".replace("%", "%%"),
        )


def given_options(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Their values on a command line, by name."""
    return {each.name: getattr(arguments, each.name) for each in plain_options()}


def _kind(hint: Any) -> tuple[Callable[[str], Any], str, tuple[str, ...] | None] | None:
    """How a word becomes a value of a type; None for types that are no single word."""
    if hint is int:
        return int, "N", None
    if get_origin(hint) is Literal:
        return str, "WORD", get_args(hint)
    kinds = set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}
    if kinds == {str, NoneType}:
        return str, "NAME", None
    if kinds == {bool, Sequence[str]}:
        return true_or_names, "auto|NAME,...", None
    if PathLike[str] in kinds:
        return str, "FILE", None
    if float in kinds and kinds <= {float, Literal["auto"]}:
        return number_or_auto, "X", None
    return None


def true_or_names(text: str) -> bool | list[str]:
    """What a word means to an option that takes True or names.

    Example::

        >>> true_or_names("auto"), true_or_names("layer1,layer4")
        (True, ['layer1', 'layer4'])
    """
    return True if text == "auto" else [name.strip() for name in text.split(",")]


def number_or_auto(text: str) -> float | str:
    """What a word means to an option that takes ``auto`` or a number.

    Raises:
        ArgumentTypeError: if it is neither.
    """
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"is {text!r}; expected auto or a number") from None
