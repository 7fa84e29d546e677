"""Processes of a distributed training, and the values that they exchange."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

from sing_monitor.errors import SetupError, as_setup_error

T = TypeVar("T")

# Set by torchrun, by Lightning for the processes it starts, by SLURM and by LSF.
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def is_first_process() -> bool:
    """Whether this is process 0 of a training, or its only one."""
    if _is_distributed():
        return dist.get_rank() == 0
    ranks = (os.environ.get(name) for name in _RANK_VARIABLES)
    return next((rank for rank in ranks if rank), "0") == "0"


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
    is_first = is_first_process()
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


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()
