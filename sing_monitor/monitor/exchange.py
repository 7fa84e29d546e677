"""What ranks tell each other at the end of a validation; every rank takes part every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch.distributed as dist

from sing_monitor.capture.probe import Account, ProbeRows

if TYPE_CHECKING:
    import lightning.pytorch as pl

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """What a rank contributes to an analysis: its rows, or why it has none.

    Args:
        rows: of the probe, or None.
        failure: what went wrong on this rank, or None.
        is_setup_fault: whether it will go wrong again at every validation.
        expected: number of probe images of the whole pass.
        attributes: names of the annotated attributes that this rank has seen.
        account: what became of the images that are not among the rows.
    """

    rows: ProbeRows | None = None
    failure: str | None = None
    is_setup_fault: bool = False
    expected: int = 0
    attributes: tuple[str, ...] = ()
    account: Account = field(default_factory=Account)


@dataclass(frozen=True)
class Outcome:
    """What rank 0 made of the shares; every rank logs the same.

    Args:
        scalars: by key of the catalogue.
        failure: why there are none, or None.
        is_setup_fault: whether the monitor is turned off for good.
        wanted: ids of the images whose thumbnails are to be stored.
        poor_classes: those whose scores mean nothing, because the translator fails on them.
        attributes: names of the annotated attributes. They are part of the metrics' keys, which
            must be the same on every rank.
        notes: what the user should know about these scalars.
        infos: what is worth a line, and no reason to worry.
        threshold: of the hashes that belong to the probe from now on; None: as before.
        seen: how many images came, on all ranks together; None: as before.
    """

    scalars: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    is_setup_fault: bool = False
    wanted: Sequence[int] = ()
    poor_classes: Sequence[str] = ()
    attributes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    threshold: int | None = None
    seen: int | None = None


def gather(trainer: pl.Trainer, value: T) -> list[T]:
    """Values of all ranks, on rank 0; an empty list elsewhere. A collective."""
    if trainer.world_size == 1:
        return [value]
    values: list[T | None] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    dist.gather_object(value, values, dst=0)
    return [value for value in values or [] if value is not None]


def broadcast(trainer: pl.Trainer, value: T | None) -> T:
    """Rank 0's value, on every rank. A collective."""
    return trainer.strategy.broadcast(value)  # type: ignore[return-value]
