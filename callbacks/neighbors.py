"""Other callbacks of a trainer: namesakes, and early stopping on metrics that may be NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sing_monitor.errors import Option, SetupError
from sing_monitor.lightning_types import is_lightning
from sing_monitor.messages import warn

if TYPE_CHECKING:
    import lightning.pytorch as pl


def refuse_namesakes(names: Sequence[str | None], name: str | None) -> None:
    """Two callbacks that log one key would silently give the mean of both.

    Args:
        names: of all SINGCallbacks of the trainer.
        name: of the one that is set up.

    Raises:
        SetupError: if another has it too.
    """
    same = sum(other == name for other in names)
    if same > 1:
        raise SetupError(
            f"{same} SINGCallbacks of one trainer have name={name!r} and would log the same keys. "
            "Give each its own, as in ",
            Option("name", "'aux'"),
            ", which logs sing.aux/...; one of them may go without.",
        )


def warn_about_early_stopping(trainer: pl.Trainer, name: str | None) -> None:
    """Say so where EarlyStopping would end a run because one of our metrics is undefined."""
    from sing_monitor.analyses import CATALOGUE

    suffix = "" if name is None else f".{name}"
    ours = {f"{spec.key.partition('/')[0]}{suffix}" for spec in CATALOGUE}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if not is_lightning(callback, "EarlyStopping") or not callback.check_finite:
            continue
        if str(callback.monitor).partition("/")[0] in ours:
            warn(
                f"EarlyStopping(monitor={callback.monitor!r}) stops the run as soon as the metric "
                "is NaN, and ours are NaN where they are undefined or skipped. "
                "Pass check_finite=False to go on."
            )
