"""Exchange between the processes of a training; every process takes part every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch.distributed as dist

from sing_monitor.capture.probe import Account, ProbeRows
from sing_monitor.errors import SetupError

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """Contribution of one process to an analysis: its rows, or the reason why it has none.

    Args:
        rows: of the probe, or None.
        failure: the error of this process, or None.
        is_setup_fault: whether it will go wrong again at every validation.
        expected: number of probe images of the whole pass.
        attributes: names of the annotated attributes that this rank has seen.
        account: what became of the images that are not among the rows.
    """

    rows: ProbeRows | None = None
    failure: SetupError | None = None
    is_setup_fault: bool = False
    expected: int = 0
    attributes: tuple[str, ...] = ()
    account: Account = field(default_factory=Account)


@dataclass(frozen=True)
class Outcome:
    """Result of an analysis on process 0; every process logs the same.

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
    failure: SetupError | None = None
    is_setup_fault: bool = False
    wanted: Sequence[int] = ()
    poor_classes: Sequence[str] = ()
    attributes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    threshold: int | None = None
    seen: int | None = None


def processes() -> int:
    """Number of processes of the training."""
    return dist.get_world_size() if _is_distributed() else 1


def gather(value: T) -> list[T]:
    """Values of all processes, on process 0; an empty list elsewhere. A collective."""
    if processes() == 1:
        return [value]
    values: list[T | None] | None = [None] * processes() if dist.get_rank() == 0 else None
    dist.gather_object(value, values, dst=0)
    return [value for value in values or [] if value is not None]


def broadcast(value: T | None) -> T:
    """Process 0's value, on every process. A collective."""
    values = [value]
    if processes() > 1:
        dist.broadcast_object_list(values, src=0)
    return values[0]  # type: ignore[return-value]


def first_alone(action: Callable[[], T]) -> T:
    """Run an action in process 0 and then in the others, so that one download serves all.

    A collective: a process that went on alone would leave the others waiting forever.

    Raises:
        SetupError: in every process, if one of them fails with a ValueError, TypeError or
            RuntimeError.
    """
    result: T | None = None
    failure: Exception | None = None
    is_first = not _is_distributed() or dist.get_rank() == 0
    for is_my_turn in (is_first, not is_first):
        if is_my_turn:
            try:
                result = action()
            except (ValueError, TypeError, RuntimeError) as error:
                failure = error
        if processes() > 1:
            dist.barrier()
    own = [] if failure is None else [as_setup_error(failure)]
    failures = broadcast([each for part in gather(own) for each in part])
    if failure is not None:
        raise as_setup_error(failure) from failure
    if failures:
        raise SetupError("another process failed: ", *failures[0].parts)
    return result  # type: ignore[return-value]


def as_setup_error(error: BaseException) -> SetupError:
    """The error with its parts, which another process can spell; of other kinds the sentence."""
    if isinstance(error, SetupError):
        return error
    return SetupError(str(error) or type(error).__name__)


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()
