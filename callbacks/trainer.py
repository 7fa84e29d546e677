"""What a trainer is asked for at set-up: callbacks beside ours, and the semantic space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from sing_monitor.callbacks.spelling import for_callback
from sing_monitor.errors import Option, SetupError
from sing_monitor.extra_pass.lightning_modules import is_lightning
from sing_monitor.space.semantic_space import SemanticSpace, resolve_space

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
            rank_zero_warn(
                f"EarlyStopping(monitor={callback.monitor!r}) stops the run as soon as the metric "
                "is NaN, and ours are NaN where they are undefined or skipped. "
                "Pass check_finite=False to go on."
            )


def open_space(trainer: pl.Trainer, given: str | SemanticSpace) -> SemanticSpace:
    """Load the space; rank 0 first, so that weights are downloaded once. A collective.

    Raises:
        MisconfigurationException: on every rank, if one of them cannot load it.
    """
    space: SemanticSpace | None = None
    failure: Exception | None = None
    for is_my_turn in (trainer.is_global_zero, not trainer.is_global_zero):
        if is_my_turn:
            try:
                space = resolve_space(given)
            except (ValueError, TypeError, RuntimeError) as error:
                failure = error
        trainer.strategy.barrier()
    # A rank that went on alone would wait for the others forever.
    is_open = space is not None
    if not trainer.strategy.reduce_boolean_decision(is_open) or space is None:
        raise MisconfigurationException(
            "the semantic space could not be loaded on another rank."
            if failure is None
            else for_callback(failure)
        ) from failure
    return space
