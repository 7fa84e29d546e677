"""What the last numbers of a run say, in one or two plain sentences; pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sing_monitor.app.wording.degrees import saturation
from sing_monitor.app.wording.metrics import baseline_of, label, spread_of, support_of, value_text
from sing_monitor.app.wording.random_heads import WITHIN, is_within
from sing_monitor.app.wording.support_marks import MARK, MARKED_ABOVE
from sing_monitor.headline import HIDDEN, headline, hidden_classes, leading_key

_BARELY = 3.0
_KEPT = 0.9
_POOR_TRANSLATION = 0.2
# The tag ``sing.reference`` of runs that were made without a semantic space.
NO_REFERENCE = "none"


def reading(values: Mapping[str, object]) -> str:
    """The last numbers of a run in a few plain sentences.

    What the head hides of the class comes first. Of a run of an earlier version, which did not
    measure it, AS is read. Its bound is the paper's: below about 3 degrees a change is barely
    visible. A class that keeps less than 0.9 of its zero-shot accuracy has changed all the same
    (ours).

    Args:
        values: latest values by catalogue key; others are ignored.
    """
    known = {key: float(v) for key, v in values.items() if isinstance(v, int | float)}
    attribute = known.get("sing/attribute_score_centered", math.nan)
    if known.get("head/null_dim") == 0:
        return "The head reads every direction of the features: it has no null space."
    is_alone = values.get("sing.reference") == NO_REFERENCE
    if (first := headline(known)) is not None:
        rest = _classes(known) + (_head_alone(known) if is_alone else _degrees(known))
        return f"{first[0].upper()}{first[1:]} {rest}".rstrip() + _doubts(known)
    if is_alone:
        return _head_alone(known)
    if not math.isfinite(attribute):
        return "The scores of the last validation are undefined."
    kept = known.get("sing/retention", math.nan)
    return f"{_movement(known)}; {_verdict(attribute, kept)}.{_doubts(known)}"


def _classes(known: Mapping[str, float]) -> str:
    """Which classes are hidden, where some are."""
    if not (named := hidden_classes(known)):
        return ""
    said = f"{named[0].upper()}{named[1:]}"
    if leading_key(known) != HIDDEN:
        return f"{said}. "
    return f"{said}; the page Classes names {'it' if named.startswith('one') else 'them'}. "


def _degrees(known: Mapping[str, float]) -> str:
    key = "sing/attribute_score_centered"
    if not math.isfinite(known.get("sing/image_score_centered", math.nan)):
        return ""
    toward = value_text(key, known.get(key, math.nan), sign=True)
    return f"{_movement(known)}, {toward} of it toward the class."


def _head_alone(known: Mapping[str, float]) -> str:
    """What the head says without a semantic space."""
    key = "head/null_energy_centered"
    share, random = (known.get(each or "", math.nan) for each in (key, baseline_of(key)))
    if not math.isfinite(share):
        return "The null energy of the last validation is undefined."
    beside = f" (a random subspace holds {100 * random:.0f} %)" if math.isfinite(random) else ""
    return (
        f"The head cannot see {100 * share:.0f} % of what differs between the features{beside}. "
        "What it means is not known: the run was made without a semantic space."
    )


def _movement(known: Mapping[str, float]) -> str:
    key = "sing/image_score_centered"
    moved, random = (known.get(each or "", math.nan) for each in (key, baseline_of(key)))
    relative = "sing/image_score_relative"
    values = (known.get(each or "", math.nan) for each in (relative, spread_of(relative)))
    said = f", {WITHIN}" if is_within(*values) else ""
    beside = (
        f" (a random subspace: {value_text(key, random)}{said})" if math.isfinite(random) else ""
    )
    return (
        f"Removing what the head cannot see moves the meaning by {value_text(key, moved)}{beside}"
    )


def _verdict(attribute: float, kept: float) -> str:
    key = "sing/attribute_score_centered"
    change, size = value_text(key, attribute, sign=True), value_text(key, abs(attribute))
    if abs(attribute) < _BARELY and kept < _KEPT:
        # Images of a class may go opposite ways, and their mean stays.
        return (
            f"on average the class barely moves ({change}), but images are taken for other classes "
            f"without it: of the zero-shot accuracy {value_text('sing/retention', kept)} remains"
        )
    if abs(attribute) < _BARELY:
        return f"on average the class barely changes ({change})"
    if attribute < 0:
        return (
            f"{size} of class meaning are lost with it; whether the head sees the same elsewhere, "
            "the run does not say"
        )
    return f"without it, images are {size} nearer to their class"


def _doubts(known: Mapping[str, float]) -> str:
    key = "translator/r2"
    r2, share = (
        known.get(key, math.nan),
        known.get(support_of("sing/image_score_centered") or "", math.nan),
    )
    found = ""
    if r2 < _POOR_TRANSLATION:
        found += (
            f" The translation is poor ({label(key)}: {value_text(key, r2)}), so trust no score."
        )
    if (grown := saturation(known)) is not None:
        found += f" Degrees still grow with the probe (saturation {grown:.2f})."
    if share > MARKED_ABOVE:
        found += (
            f" {MARK} {100 * share:.0f} % of the images are out of support: their scores may say "
            "more about the translator than about the head."
        )
    return found
