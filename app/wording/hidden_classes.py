"""Which classes are hidden from the head, in words; pure functions."""

from __future__ import annotations

import pandas as pd

from sing_monitor.app.wording.text import plain, short
from sing_monitor.scores.hidden_classes import FALSE_DISCOVERIES, SUBSTANTIAL_LOSS

ABOUT = (
    "A class is hidden if its images are read from whole features and no longer from what the head "
    "sees of them: an exact McNemar test for each class on its own images, q below "
    f"{FALSE_DISCOVERIES:g} over the classes, and a net loss of at least {SUBSTANTIAL_LOSS:.0%} of "
    "the images."
)
READ = "Share of the images whose class is read rightly from the whole features."
READ_SEEN = "The same from what the head sees of them alone, by a reader made for it."
# So many are named; the table has all.
_MOST = 8


def sentence(rows: pd.DataFrame, epoch: int) -> str:
    """The hidden classes with their evidence, as Markdown; empty where the run does not tell.

    Args:
        rows: one for each class, from `charts.classes.hidden_first`.
        epoch: that they are of.
    """
    if "hidden" not in rows:
        return ""
    hidden = rows[rows["hidden"]]
    if hidden.empty:
        return f":material/visibility: At epoch {epoch} no class is hidden from the head."
    named = [
        f"**{plain(short(row['name'], 30))}** (right {row['zero_shot']:.0%} from all, "
        f"{row['zero_shot_seen']:.0%} from what the head sees, q {row['hidden_q']:.1g})"
        for row in hidden.head(_MOST).to_dict("records")
    ]
    more = f" and {len(hidden) - _MOST} more" if len(hidden) > _MOST else ""
    start = f":material/visibility_off: Hidden from the head at epoch {epoch}: "
    return f"{start}{' · '.join(named)}{more}"


def order(rows: pd.DataFrame) -> str:
    """Which classes come first in charts and table, in words."""
    has_hidden = "hidden" in rows and rows["hidden"].any()
    return f"{'hidden from the head, then those ' if has_hidden else ''}with the lowest mean AS"
