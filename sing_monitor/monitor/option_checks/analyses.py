"""Check of the choice of analyses, and what a choice makes superfluous."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sing_monitor.errors import Option, SetupError

if TYPE_CHECKING:
    from sing_monitor.analyses import Need

# The options that ask for what is captured, with their values for none of it.
OFF: Mapping[Need, tuple[str, Any]] = {
    "embeddings": ("space", None),
    "maps": ("n_maps", 0),
    "weights": ("n_weights", 0),
}
_NEEDED: Mapping[Need, str] = {
    "embeddings": "a semantic space",
    "maps": "feature maps",
    "weights": "weights that are followed over a training",
}
# Its translator reads features in the space; the others build on it.
_READS = "sing"


def check_analyses(chosen: Any, captured: Collection[Need], options: Collection[str]) -> None:
    """Refuse anything but a list of analyses that the other options leave possible.

    Args:
        chosen: of the user.
        captured: what the other options ask for.
        options: the names of all that there are.

    Raises:
        SetupError: for an unknown name, or an analysis without what it needs.
    """
    from sing_monitor.analyses import CHOICES

    if isinstance(chosen, str) or not isinstance(chosen, Sequence) or not chosen:
        raise SetupError(
            Option("analyses", repr(chosen)),
            f": expected a list out of {', '.join(CHOICES)}; or None for all.",
        )
    for name in chosen:
        if name not in CHOICES:
            close = difflib.get_close_matches(str(name), CHOICES, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise SetupError(
                Option("analyses"),
                f": there is no analysis {name!r}. {hint}There are {', '.join(CHOICES)}.",
            )
        for need in sorted(CHOICES[name] - set(captured)):
            option, value = OFF[need]
            asked: list[str | Option] = (
                [" by ", Option(option, repr(value))] if option in options else []
            )
            raise SetupError(
                Option("analyses"),
                f": {name!r} needs {_NEEDED[need]}, and there is none",
                *asked,
                f". Leave {name!r} out{', or ask for it' if asked else ''}.",
            )
        if "embeddings" in CHOICES[name] and _READS not in chosen:
            raise SetupError(
                Option("analyses"),
                f": {name!r} builds on the translator of {_READS!r}. Add {_READS!r}.",
            )


def superfluous(chosen: Collection[str]) -> Collection[Need]:
    """What none of the chosen analyses needs, so that it need not be captured."""
    from sing_monitor.analyses import CHOICES

    wanted = {need for name in chosen for need in CHOICES[name]}
    wanted |= {"embeddings"} if _READS in chosen else set()
    return [need for need in OFF if need not in wanted]
