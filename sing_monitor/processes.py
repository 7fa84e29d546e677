"""Processes of one training, and the values that they exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist

from sing_monitor.errors import SetupError, as_setup_error

T = TypeVar("T")


def is_distributed() -> bool:
    """Whether this process belongs to a group of torch's."""
    return dist.is_available() and dist.is_initialized()


@dataclass(frozen=True)
class Processes:
    """Processes that share one training.

    A process may belong to a group, or carry a rank of a cluster, and still train a model of its
    own: then ``count`` is 1, and it is the first.

    Args:
        count: number of processes.
    """

    count: int = 1

    @classmethod
    def of_torch(cls) -> Processes:
        """All processes of torch's default group; this one alone where there is none."""
        return cls(dist.get_world_size() if is_distributed() else 1)

    @property
    def is_first(self) -> bool:
        """Whether this is process 0 of the training, or its only one."""
        return self.count == 1 or dist.get_rank() == 0

    def gather(self, value: T) -> list[T]:
        """Values of all processes, on process 0; an empty list elsewhere. A collective."""
        if self.count == 1:
            return [value]
        values: list[T | None] | None = [None] * self.count if self.is_first else None
        dist.gather_object(value, values, dst=0)
        return [value for value in values or [] if value is not None]

    def broadcast(self, value: T | None) -> T:
        """Process 0's value, on every process. A collective."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, src=0)
        return values[0]  # type: ignore[return-value]

    def first_alone(self, action: Callable[[], T]) -> T:
        """Run an action in process 0 and then in the others, so that one download serves all.

        A collective: a process that went on alone would leave the others waiting forever.

        Raises:
            SetupError: in every process, if one of them fails with a ValueError, TypeError or
                RuntimeError.
        """
        result: T | None = None
        failure: Exception | None = None
        for is_my_turn in (self.is_first, not self.is_first):
            if is_my_turn:
                try:
                    result = action()
                except (ValueError, TypeError, RuntimeError) as error:
                    failure = error
            if self.count > 1:
                dist.barrier()
        own = [] if failure is None else [as_setup_error(failure)]
        failures = self.broadcast([each for part in self.gather(own) for each in part])
        if failure is not None:
            raise as_setup_error(failure) from failure
        if failures:
            raise SetupError("another process failed: ", *failures[0].parts)
        return result  # type: ignore[return-value]
