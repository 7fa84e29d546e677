"""How evenly the features of an image are spread over it, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sing_monitor.app.wording.text import plain

HEURISTIC = (
    "Heuristic: the head does not read the plain mean over these places (another pooling, a layer "
    "in between, or a map that was averaged down unevenly), so what it sees of a single place is "
    "not known. Its answer need not come from where features are long."
)
NO_NULL_SPACE = "This head ignores nothing: it has no null space, so there is no third map."
NOTHING_SEEN = "This head sees nothing of this image: its weights are zero."
_NONE = "none: "
# Shares of the places on which an even spread would be as wide, and what they are called.
_SPREADS = (
    (0.75, "spread over the whole image"),
    (0.4, "mostly on a large part of the image"),
    (0.1, "mostly on a small part of the image"),
    (0.0, "on one spot"),
)
# So many places are one, however small the map is.
_ONE = 1.5


def spread(entropy: float, places: int) -> tuple[str, str]:
    """Two lines about a map: where its features stand, and the number that says so.

    The same entropy as that of the map has an even spread on ``places ** entropy`` places.

    Args:
        entropy: normalized, 0 to 1; NaN where it is undefined.
        places: of the map.

    Example::

        >>> spread(0.97, 49)
        ('spread over the whole image', 'H 0.97, as if evenly on 44 of 49')
        >>> spread(0.0, 49)[0]
        'on one spot'
    """
    if not math.isfinite(entropy):
        return "nowhere", "H is undefined"
    width = places**entropy
    share = 0.0 if width < _ONE else width / places
    says = next(words for least, words in _SPREADS if share >= least)
    return says, f"H {entropy:.2f}, as if evenly on {round(width)} of {places}"


def together(overlap: float) -> str:
    """One sentence about whether two parts stand in the same places.

    Args:
        overlap: cosine of the maps of the seen and of the null part.

    Example::

        >>> print(together(0.5)[:77])
        What the head sees and what it ignores stand mostly in different places: over
    """
    where = (
        "in much the same places"
        if overlap >= 0.95
        else "mostly in the same places"
        if overlap >= 0.75
        else "mostly in different places"
    )
    return (
        f"What the head sees and what it ignores stand {where}: overlap {overlap:.2f} (cosine of "
        "the two maps; 1: the same, 0: nowhere both; two even maps have 1 as well)."
    )


def no_maps(config: Mapping[str, Any], not_chosen: str = "") -> str:
    """Why a run stores no maps, in one sentence.

    Args:
        config: settings of the monitor.
        not_chosen: what to say where the run was made without the analysis.

    Example::

        >>> no_maps({"n_maps": 0})[:46]
        'No maps of where its features stand: the run w'
    """
    begin = "No maps of where its features stand: "
    found = str(config.get("map") or "")
    if not_chosen:
        return f"{begin}{not_chosen}"
    if config.get("n_maps") == 0:
        return f"{begin}the run was monitored with n_maps=0; n_maps=48 takes them."
    if found.startswith(_NONE):
        return f"{begin}{plain(found.removeprefix(_NONE))}."
    if config.get("n_images") == 0:
        return f"{begin}with n_images=0 neither pictures nor maps of them leave a training."
    return f"{begin}an older version of sing-monitor wrote this validation, or it took none."
