"""How the pages about single images open: which null removal, and the table of a validation."""

from __future__ import annotations

from functools import partial
from typing import cast

import pandas as pd

from sing_monitor.app.parts import epoch_tables, support_tables
from sing_monitor.app.parts.image_cards import ImageView
from sing_monitor.app.parts.image_history import NEEDED
from sing_monitor.app.read import store
from sing_monitor.app.ui import states
from sing_monitor.app.ui.selection import Run
from sing_monitor.app.ui.widgets import removal_box
from sing_monitor.app.wording.removals import EQUIVALENTS, Removal, suffix


def removal_choice() -> Removal:
    """Choose the null removal; the random subspace has no picture of its own."""
    about = "Centered keeps the mean of the null part, raw takes it away too, as in the paper."
    return cast(Removal, removal_box(EQUIVALENTS, about).lower())


def opened(
    run: Run, at: tuple[int, int], score: str, removal: Removal
) -> tuple[ImageView, pd.DataFrame] | None:
    """What is looked at, and the table of images; None where the page has said why it cannot.

    Args:
        run: whose.
        at: epoch and global step of the validation.
        score: AS or IS.
        removal: raw or centered.
    """
    table = states.attempt(partial(store.table, run.source, "images", *at), run)
    if table is None:
        return None
    names = epoch_tables.class_names(run, at)
    outside = support_tables.shares(run, at, "support", "image", suffix(removal))
    view = ImageView(run, at[0], score, removal, names, outside)
    needed = [*NEEDED, *view.columns.values()]
    return (view, table) if states.has_columns(table, needed, "images") else None
