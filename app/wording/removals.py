"""The ways to remove the null part of a feature, by the names that controls and links give them."""

from __future__ import annotations

from typing import Literal

from sing_monitor.scores.pairs import CENTERED, PLAIN, RANDOM

Removal = Literal["centered", "raw"]

_PAIRS = {"centered": CENTERED, "raw": PLAIN, "random": RANDOM}
# As controls show them, the one where they begin first.
EQUIVALENTS = ["Centered", "Raw"]
WITH_RANDOM = [*EQUIVALENTS, "Random"]


def suffix(removal: str) -> str:
    """What the names of columns and metrics of this removal end in.

    Example::

        >>> suffix("Centered"), suffix("raw"), suffix("random")
        ('_centered', '', '_random')
    """
    return _PAIRS[removal.lower()].suffix
