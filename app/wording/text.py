"""Names and sentences of strangers, made safe and short enough to show."""

from __future__ import annotations

import re

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# Addresses become links, arrows and icons are drawn, escaped or not: an invisible word joiner
# between their signs stops it.
_DRAWN = re.compile(r"(?<=:)(?=\S)|(?<=www)(?=\.)|(?<=@)|(?<=[-<>~])(?=[-=>])", re.I)
_JOINER = "\u2060"
_ICON = re.compile(r"(?<=:)(?=material/)", re.I)


def plain(text: str) -> str:
    r"""The text for Markdown, every sign of which stands for itself.

    Example::

        >>> print(plain("**bold** <b>"))
        \*\*bold\*\* \<b\>
    """
    return _PUNCTUATION.sub(r"\\\1", _DRAWN.sub(_JOINER, one_line(text)))


def code(text: str) -> str:
    """The text for Markdown, in the type of code: for ids and addresses, which stay as they are.

    The only code span of this app around what a store or a user says; two backticks, which would
    end it, become quotes.

    Example::

        >>> print(code("a`b``c"))
        `` a`b''c ``
    """
    line = _ICON.sub(_JOINER, one_line(text)).replace("``", "''")
    return f"`` {line or '(empty)'} ``"


def one_line(text: str) -> str:
    """Without line breaks and invisible signs, which could hide or turn round what follows."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def short(text: str, length: int = 40) -> str:
    """At most ``length`` characters; what is left out is the middle, since names often end alike.

    Example::

        >>> short("resnet50-with-a-very-long-name-seed-3", 20)
        'resnet50-wit…-seed-3'
    """
    line = one_line(text)
    if len(line) <= length:
        return line
    tail = (length - 1) * 2 // 5
    return f"{line[: length - 1 - tail]}…{line[len(line) - tail :]}"


def listed(items: list[str]) -> str:
    """Items as in a sentence: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def count(number: int, noun: str) -> str:
    """A number with its noun: ``1 run``, ``2 runs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
